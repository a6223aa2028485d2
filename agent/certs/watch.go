package certs

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fsnotify/fsnotify"
)

// watch tells what happens in the mounted folder, or while that is not there, in the
// nearest folder above it that is. Without inotify, of which a node has a limited number,
// it tells nothing, and the folder is only read again from time to time.
type watch struct {
	events <-chan fsnotify.Event
	errors <-chan error

	mount   string
	log     *slog.Logger
	watcher *fsnotify.Watcher
	// folder is watched, if watched is not nil.
	folder  string
	watched os.FileInfo
	lost    bool
	failed  bool
}

func (f *Folder) watch() *watch {
	w := &watch{mount: f.options.Mount, log: f.options.Log}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		w.fail(err)
		return w
	}
	w.watcher, w.events, w.errors = watcher, watcher.Events, watcher.Errors
	return w
}

func (w *watch) close() {
	if w.watcher != nil {
		_ = w.watcher.Close()
	}
}

func (w *watch) fail(err error) {
	if !w.failed {
		w.log.Warn("Changes of the mounted certificate are noticed late, since its folder cannot be watched: raise the node's "+
			"fs.inotify.max_user_instances and fs.inotify.max_user_watches", "folder", w.mount, "error", err)
	}
	w.failed = true
}

// concerns tells whether an event at the path may mean other certificates. Other files
// of the same folder are nobody's business.
func (w *watch) concerns(event fsnotify.Event) bool {
	path := event.Name
	if path == w.folder && event.Has(fsnotify.Remove|fsnotify.Rename) {
		// The watch is lost, even if a folder of the same path and inode is there again.
		w.lost = true
	}
	if w.folder == w.mount {
		return path == w.mount || filepath.Base(path) == dataLink || slices.Contains(fileNames, filepath.Base(path))
	}
	return path == w.folder || w.mount == path || strings.HasPrefix(w.mount, path+string(filepath.Separator))
}

// follow watches what is nearest to the mounted folder now. It is called before each
// reading, so that what happens after it is told.
func (w *watch) follow() {
	if w.watcher == nil {
		return
	}
	// What is looked for may come between looking and watching: then once more.
	for folder, found := w.nearest(); ; {
		if folder == "" || w.watched != nil && !w.lost && folder == w.folder && os.SameFile(found, w.watched) {
			return
		}
		if w.watched != nil {
			// It has gone by itself with a folder that was removed.
			_ = w.watcher.Remove(w.folder)
			w.watched = nil
		}
		if err := w.watcher.Add(folder); err != nil {
			if _, statErr := os.Stat(folder); statErr == nil {
				w.fail(err)
				return
			}
		} else {
			w.folder, w.watched, w.lost, w.failed = folder, found, false, false
		}
		folder, found = w.nearest()
	}
}

func (w *watch) nearest() (string, os.FileInfo) {
	for folder := w.mount; ; folder = filepath.Dir(folder) {
		if info, err := os.Stat(folder); err == nil && info.IsDir() {
			return folder, info
		}
		if folder == filepath.Dir(folder) {
			return "", nil
		}
	}
}
