package certs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Give takes a certificate from memory, all of it PEM, by the rules for a mounted one. An
// error says why the one before it is still served; Status does, too.
func (f *Folder) Give(key, chain, roots []byte) error {
	taken, err := f.put(files{KeyFile: key, ChainFile: chain, RootsFile: roots})
	f.tell(taken, err)
	if taken {
		f.options.Changed(*f.Status().Certificate)
	}
	return err
}

// ErrNoCertificate is that of Trust while there is nothing whose roots could be replaced.
var ErrNoCertificate = errors.New("there is no certificate yet")

// Trust replaces the roots; certificate and key stay. Roots that the certificate does not
// lead to are refused as Give refuses them.
func (f *Folder) Trust(roots []byte) error {
	f.mu.Lock()
	served := f.served
	f.mu.Unlock()
	if served == nil {
		return ErrNoCertificate
	}
	// The key is not kept in memory.
	folder := f.store.generation(served.about.Generation)
	key, err := os.ReadFile(filepath.Join(folder, KeyFile))
	if err != nil {
		return fmt.Errorf("read the key that is served: %w", err)
	}
	chain, err := os.ReadFile(filepath.Join(folder, ChainFile))
	if err != nil {
		return fmt.Errorf("read the certificate that is served: %w", err)
	}
	return f.Give(key, chain, roots)
}
