package certs

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

const (
	// A name that Envoy's configuration does not know, for what is to be renamed.
	unfinished = "..unfinished"
	// keptGenerations stay in the folder: the served one, and the one before, which
	// Envoy may be reading.
	keptGenerations = 2
)

// store is the agent's own folder of certificates.
type store struct {
	paths Paths
	// generations are those on disk, oldest first. The last is the served one.
	generations []int
}

// empty makes the folder one that holds nothing but the two SDS files. Generations of an
// earlier agent are gone with the Envoy that read them.
func (s *store) empty() error {
	folder := s.paths.Folder
	if err := os.Mkdir(folder, 0o700); err != nil {
		info, statErr := os.Lstat(folder)
		if !errors.Is(err, os.ErrExist) || statErr != nil || !info.IsDir() {
			return fmt.Errorf("create the folder of certificates: %w", err)
		}
		entries, err := os.ReadDir(folder)
		if err != nil {
			return fmt.Errorf("empty the folder of certificates: %w", err)
		}
		for _, entry := range entries {
			if err := os.RemoveAll(filepath.Join(folder, entry.Name())); err != nil {
				return fmt.Errorf("empty the folder of certificates: %w", err)
			}
		}
		if err := os.Chmod(folder, 0o700); err != nil {
			return fmt.Errorf("close the folder of certificates to others: %w", err)
		}
	}
	s.generations = nil
	return s.writeSDS()
}

// put stores a generation and has current lead to it, by one rename: whoever opens a file
// by that link finds the old generation or the new one. If it fails, nothing has changed.
func (s *store) put(number int, content files) error {
	folder := s.generation(number)
	err := os.Mkdir(folder, 0o700)
	for _, name := range fileNames {
		if err != nil {
			break
		}
		err = writeFile(filepath.Join(folder, name), content[name])
	}
	if err == nil {
		err = s.lead(number)
	}
	if err != nil {
		return errors.Join(explain(s.paths.Folder, err), os.RemoveAll(folder))
	}
	s.generations = append(s.generations, number)
	// One that cannot be removed is tried again with the next change.
	for len(s.generations) > keptGenerations && os.RemoveAll(s.generation(s.generations[0])) == nil {
		s.generations = s.generations[1:]
	}
	return nil
}

// nudge does what makes Envoy look: the link is replaced by one that leads to the same
// generation.
func (s *store) nudge() error {
	if len(s.generations) == 0 {
		return nil
	}
	return explain(s.paths.Folder, s.lead(s.generations[len(s.generations)-1]))
}

func (s *store) lead(number int) error {
	link := filepath.Join(s.paths.Folder, unfinished)
	if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Symlink(filepath.Base(s.generation(number)), link); err != nil {
		return err
	}
	return os.Rename(link, s.paths.Current)
}

func (s *store) generation(number int) string {
	return filepath.Join(s.paths.Folder, ".."+strconv.Itoa(number))
}

// explain says what to do about a folder that cannot be written to.
func explain(folder string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return fmt.Errorf("%s has no room for the new certificate: free some space there, or raise the volume's size limit: %w", folder, err)
	case errors.Is(err, syscall.EROFS), errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s cannot be written to: give the agent a writable folder of its own: %w", folder, err)
	}
	return fmt.Errorf("store the new certificate in %s: %w", folder, err)
}

func writeFile(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

// writeSDS tells Envoy where its secrets are, by files of the type
// envoy.service.discovery.v3.DiscoveryResponse. They never change: what they name does.
func (s *store) writeSDS() error {
	type object = map[string]any
	at := func(file string) object { return object{"filename": filepath.Join(s.paths.Current, file)} }
	watched := object{"path": s.paths.Folder}
	for path, secret := range map[string]object{
		s.paths.CertificateSDS: {"name": CertificateSecret, "tls_certificate": object{
			"certificate_chain": at(ChainFile), "private_key": at(KeyFile), "watched_directory": watched,
		}},
		s.paths.RootsSDS: {"name": RootsSecret, "validation_context": object{"trusted_ca": at(RootsFile), "watched_directory": watched}},
	} {
		secret["@type"] = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
		content, err := json.MarshalIndent(object{"resources": []object{secret}}, "", "  ")
		if err != nil {
			return err
		}
		if err := writeFile(path, append(content, '\n')); err != nil {
			return explain(s.paths.Folder, err)
		}
	}
	return nil
}
