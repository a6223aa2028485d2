package controllers

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/internal/pki"
)

const (
	// broughtSettle is the pause after something happened in the folder: who copies files into
	// it copies one after the other.
	broughtSettle = 500 * time.Millisecond
	// broughtInterval is how often the folder is read although nothing is known to have happened
	// in it: certificates expire, and not every file system tells of changes.
	broughtInterval = time.Minute
)

// Brought is an authority that the user brings in a folder, which may be a mounted Secret. The
// leader reads it again whenever something happens there. A folder that makes no authority is
// told of, and the last good one counts.
type Brought struct {
	folder string
	clock  clock.WithTicker
	log    *slog.Logger

	mu sync.Mutex
	// read: the folder was read. good is what was found there last that was whole, fault what is
	// wrong with it now.
	read  bool
	good  *pki.Generation
	fault error
}

// NewBrought knows an authority by its folder.
func NewBrought(folder string, c clock.WithTicker, log *slog.Logger) *Brought {
	return &Brought{folder: folder, clock: c, log: log}
}

// Get returns the authority when it was last good, nil if it never was, and what is wrong with
// the folder now.
func (b *Brought) Get() (*pki.Generation, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.read {
		b.look()
	}
	return b.good, b.fault
}

// look reads the folder, and says whether it is not as it was.
func (b *Brought) look() bool {
	g, err := pki.GenerationFromFiles(os.DirFS(b.folder), b.clock.Now())
	if err != nil {
		fault := fmt.Errorf("--authority-dir %s: %w", b.folder, err)
		same := b.read && b.fault != nil && b.fault.Error() == fault.Error()
		b.read, b.fault = true, fault
		return !same
	}
	same := b.fault == nil && b.good != nil && slices.EqualFunc(b.good.Certificates(), g.Certificates(), (*x509.Certificate).Equal)
	b.read, b.good, b.fault = true, g, nil
	return !same
}

// follow reads the folder again until the context ends, and calls changed when it is not as it
// was. Its caller leads.
func (b *Brought) follow(ctx context.Context, changed func()) error {
	var events <-chan fsnotify.Event
	var faults <-chan error
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		defer watcher.Close()
		events, faults = watcher.Events, watcher.Errors
		err = watcher.Add(b.folder)
	}
	if err != nil {
		b.log.Warn("Changes of the authority that was brought are noticed late, since its folder cannot be watched",
			"folder", b.folder, "within", broughtInterval, "err", err)
	}
	timer := b.clock.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-events:
			timer.Reset(broughtSettle)
			continue
		case <-faults: //nolint:errcheck // something was lost, and all of the folder is read again
			timer.Reset(broughtSettle)
			continue
		case <-timer.C():
		}
		if watcher != nil {
			// The folder may have been made, or replaced: the watch is of what had its name.
			_ = watcher.Add(b.folder)
		}
		b.mu.Lock()
		news := b.look()
		b.mu.Unlock()
		if news {
			changed()
		}
		timer.Reset(broughtInterval)
	}
}
