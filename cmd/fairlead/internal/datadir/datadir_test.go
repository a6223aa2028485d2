package datadir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEverythingIsClosedToOthers(t *testing.T) {
	root := filepath.Join(t.TempDir(), "new", "data")
	// Left open by somebody, such as a copy.
	if err := os.MkdirAll(filepath.Join(root, "pki"), 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := Create(root)
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dir.Path(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir.Path() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(root); err != nil {
		t.Error(err)
	}
}

func TestFoldersThatAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		path func(t *testing.T) string
		want string
	}{
		"a file": {func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}, "choose another one"},
		"below a file system that takes none": {func(*testing.T) string { return "/proc/fairlead" }, "choose another one"},
		"writable for others": {func(t *testing.T) string {
			path := t.TempDir()
			if err := os.Chmod(path, 0o777); err != nil {
				t.Fatal(err)
			}
			return path
		}, "chmod go-w"},
		"a long path":  {func(*testing.T) string { return "/tmp/" + strings.Repeat("x", 80) }, "choose a shorter one"},
		"with a comma": {func(*testing.T) string { return "/tmp/a,b" }, "without any of"},
	} {
		t.Run(name, func(t *testing.T) {
			path := test.path(t)
			_, err := Create(path)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("said: %v", err)
			}
		})
	}
}

func TestFolderWithoutCluster(t *testing.T) {
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "fairlead up --data") {
		t.Errorf("said: %v", err)
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if held, err := IsHeld(path); held || err != nil {
		t.Fatal(held, err)
	}
	lock, err := Acquire(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Write(Holder{PID: 4711}); err != nil {
		t.Fatal(err)
	}
	_, err = Acquire(path)
	var taken *HeldError
	if !errors.As(err, &taken) || taken.PID != 4711 {
		t.Errorf("said: %v", err)
	}
	if held, err := IsHeld(path); !held || err != nil {
		t.Error(held, err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	// What it says stays for whoever comes next.
	again, err := Acquire(path)
	if err != nil {
		t.Fatal(err)
	}
	var holder Holder
	if err := again.Read(&holder); err != nil || holder.PID != 4711 {
		t.Error(holder, err)
	}
	if err := again.Remove(); err != nil {
		t.Fatal(err)
	}
	if held, err := IsHeld(path); held || err != nil {
		t.Error(held, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
