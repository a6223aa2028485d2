package certs_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"fairlead.dev/fairlead/agent/certs"
	"fairlead.dev/fairlead/test/testenv"
)

// Every test here but one has a recheck of an hour: what is noticed, inotify told.

func TestNoticesASecretThatIsSwapped(t *testing.T) {
	p := newPlace(t)
	p.secret(issue(t, authority()))
	p.prepare()
	p.run()
	for range 5 {
		c := issue(t, authority())
		p.secret(c)
		p.serves(c, "the kubelet swapped the secret")
	}
}

func TestNoticesFilesThatAreRewritten(t *testing.T) {
	p := newPlace(t)
	p.plain(issue(t, authority()))
	p.prepare()
	p.run()
	for range 5 {
		c := issue(t, authority())
		p.plain(c)
		p.serves(c, "the files were written over")
	}
}

func TestNoticesFilesThatAreRenamed(t *testing.T) {
	p := newPlace(t)
	p.plain(issue(t, authority()))
	p.prepare()
	p.run()
	c := issue(t, authority())
	for name, content := range c.Files() {
		p.write(name+".new", content)
		if err := os.Rename(filepath.Join(p.mount, name+".new"), filepath.Join(p.mount, name)); err != nil {
			t.Fatal(err)
		}
	}
	p.serves(c, "the files were replaced")
}

func TestFollowsAFolderThatComesAndGoes(t *testing.T) {
	p := newPlace(t)
	// Three folders deep, none of which is there.
	base := filepath.Join(p.dir, "var")
	p.mount = filepath.Join(base, "run", "certs")
	p.Folder = certs.New(certs.Options{Mount: p.mount, Dir: p.dir, Recheck: time.Hour, Log: slog.New(slog.DiscardHandler),
		Changed: func(certs.Certificate) {}, Refused: func(error) {}})
	p.prepare()
	p.run()
	p.complains(p.mount + " is not there")

	first := issue(t, authority())
	p.secret(first)
	p.serves(first, "the folder was made")

	if err := os.RemoveAll(p.mount); err != nil {
		t.Fatal(err)
	}
	p.complains("is not there")
	if !p.holds(first) {
		t.Error("what was served went with the folder")
	}
	second := issue(t, authority())
	p.plain(second)
	p.serves(second, "the folder was made again")

	if err := os.RemoveAll(base); err != nil {
		t.Fatal(err)
	}
	p.complains("is not there")
	third := issue(t, authority())
	p.secret(third)
	p.serves(third, "the folder and those above it were made again")

	// Another folder takes its place, with no moment between.
	staged := issue(t, authority())
	if err := testenv.MountSecret(p.mount+".new", staged.Files()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(p.mount, p.mount+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(p.mount+".new", p.mount); err != nil {
		t.Fatal(err)
	}
	p.serves(staged, "another folder took its place")
	last := issue(t, authority())
	p.secret(last)
	p.serves(last, "the new folder changed")
}

// The folder does not change if it holds links to files that do. linkerd2#15109 was a change
// that nothing told of.
func TestReadsAgainWithoutAnEvent(t *testing.T) {
	p := newPlace(t, func(o *certs.Options) { o.Recheck = 20 * time.Millisecond })
	elsewhere := filepath.Join(p.dir, "elsewhere")
	for _, folder := range []string{elsewhere, p.mount} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	store := func(c testenv.Credentials) {
		for name, content := range c.Files() {
			if err := os.WriteFile(filepath.Join(elsewhere, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	first := issue(t, authority())
	store(first)
	for name := range first.Files() {
		if err := os.Symlink(filepath.Join(elsewhere, name), filepath.Join(p.mount, name)); err != nil {
			t.Fatal(err)
		}
	}
	p.prepare()
	p.run()
	second := issue(t, authority())
	store(second)
	p.serves(second, "it is read again from time to time")
}
