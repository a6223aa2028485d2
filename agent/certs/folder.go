package certs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Folder is the agent's folder of certificates. Make it with New, call Prepare once, then
// Run; everything else may be called at any time from anywhere.
type Folder struct {
	options Options
	paths   Paths

	mu     sync.Mutex
	store  store
	served *set
	status Status
	// generation is what the last one was called, even if it could not be stored.
	generation int
}

// New touches nothing.
func New(o Options) *Folder {
	if o.Mount != "" {
		o.Mount = filepath.Clean(o.Mount)
	}
	if o.ProofPatience == 0 {
		o.ProofPatience = 30 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	paths := PathsIn(o.Dir)
	return &Folder{options: o, paths: paths, store: store{paths: paths}}
}

// Prepare empties the agent's folder of certificates, writes the SDS files, and takes what
// is mounted now. That nothing is, or nothing good, is no error but a complaint in Status:
// it may come. Options.Changed is not called.
func (f *Folder) Prepare() error {
	f.mu.Lock()
	err := f.store.empty()
	f.mu.Unlock()
	if err != nil {
		return err
	}
	if f.options.Mount == "" {
		return nil
	}
	var taken bool
	for range changingTries {
		if taken, err = f.take(); !errors.Is(err, errChanging) {
			break
		}
	}
	f.tell(taken, err)
	return nil
}

// Status is how the certificates are now.
func (f *Folder) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

const (
	// settle is how long nothing may have happened in the mounted folder before it is
	// read: files that are rewritten one by one are to be read when all are.
	settle = 50 * time.Millisecond
	// changingTries is how often files that change while they are read are read again
	// before somebody is told.
	changingTries = 20
	// changingPause is for files that are still being written after that: their end may
	// go by without an event.
	changingPause = time.Second
)

// Run follows the mounted folder until the context ends. It is not for a Folder without.
func (f *Folder) Run(ctx context.Context) {
	w := f.watch()
	defer w.close()
	recheck := time.NewTicker(f.options.Recheck)
	defer recheck.Stop()
	// At once, since there was no watch between Prepare and now.
	settled := time.NewTimer(0)
	defer settled.Stop()
	settling, changing := true, 0
	wait := func(pause time.Duration) {
		settled.Reset(pause)
		settling = true
	}
	for {
		select {
		case <-ctx.Done():
			return
		case event := <-w.events:
			if w.concerns(event) {
				wait(settle)
			}
		case err := <-w.errors:
			f.options.Log.Debug("Events of the mounted folder were lost", "error", err)
			wait(settle)
		case <-recheck.C:
			if !settling {
				wait(settle)
			}
		case <-settled.C:
			settling = false
			w.follow()
			taken, err := f.take()
			if errors.Is(err, errChanging) {
				if changing++; changing < changingTries {
					wait(settle)
					continue
				}
				wait(changingPause)
			} else {
				changing = 0
			}
			f.tell(taken, err)
			if taken {
				f.options.Changed(*f.Status().Certificate)
			}
		}
	}
}

// take stores what is mounted if it is good and not what is served already.
func (f *Folder) take() (taken bool, err error) {
	found, err := readMount(f.options.Mount)
	if err == nil {
		taken, err = f.put(found)
	}
	var c *complaint
	switch {
	case errors.Is(err, errChanging):
		err = fmt.Errorf("%s %w", f.options.Mount, err)
	case errors.As(err, &c) && c.file != f.options.Mount:
		c.file = filepath.Join(f.options.Mount, c.file)
	}
	return taken, err
}

// put stores files if they are good and not what is served already.
func (f *Folder) put(found files) (taken bool, err error) {
	now := f.options.Now()
	next, err := check(found, now)
	if err != nil {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.served != nil && f.served.digest == next.digest {
		return false, nil
	}
	f.generation++
	if err := f.store.put(f.generation, next.files); err != nil {
		return false, err
	}
	next.about.Generation, next.about.Loaded = f.generation, now
	next.files = nil
	f.served = next
	about := next.about
	f.status.Certificate, f.status.Proven, f.status.ProofComplaint = &about, time.Time{}, ""
	f.options.Log.Info("Took the certificate", "generation", about.Generation, "serial", about.Serial, "fingerprint", about.Fingerprint,
		"uris", about.URIs, "expires", about.Expires)
	return true, nil
}

// tell makes the outcome of a reading known, if it is another one than before.
func (f *Folder) tell(taken bool, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	f.mu.Lock()
	before, served := f.status.Complaint, f.status.Certificate
	f.status.Complaint = text
	f.mu.Unlock()
	switch {
	case text == before, taken:
		return
	case err == nil:
		f.options.Log.Info("The newest certificate is the one that is served")
		return
	case served != nil:
		f.options.Log.Warn("The new certificate cannot be used, so the one before it is still served", "error", err, "expires", served.Expires)
	case f.options.Mount != "" && missing(err, f.options.Mount):
		// As it should be for a workload that has none.
		f.options.Log.Info("No certificate is mounted", "mount", f.options.Mount)
		return
	default:
		f.options.Log.Warn("The new certificate cannot be used, and there is none before it", "error", err)
	}
	f.options.Refused(err)
}

// missing tells whether the whole folder is not there, rather than a file in it.
func missing(err error, mount string) bool {
	var c *complaint
	return errors.As(err, &c) && c.file == mount && errors.Is(err, fs.ErrNotExist)
}

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
