package certs_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/agent/certs"
	"fairlead.dev/fairlead/test/testenv"
)

// However far a writer has got with each of the files, and however long it stays there,
// what is served is one whole set: the old one or, at the end, the new one.
func TestNoHalfWrittenFileGetsThrough(t *testing.T) {
	below := must(must(testenv.NewAuthority("next")).Below("issuer"))
	before, after := issue(t, authority()), issue(t, below)
	order := []string{certs.KeyFile, certs.ChainFile, certs.RootsFile}
	p := newPlace(t)
	p.plain(before)
	p.prepare()
	for i, name := range order {
		content := after.Files()[name]
		for _, part := range []int{0, 1, len(content) / 3, len(content) / 2, bytes.LastIndex(content, []byte("-----BEGIN")), len(content) - 30, len(content)} {
			if i == len(order)-1 && part == len(content) {
				continue
			}
			p.write(name, content[:part])
			// The same as a process that starts now would.
			fresh := newPlace(t, func(o *certs.Options) { o.Mount = p.mount })
			fresh.prepare()
			if status := fresh.Status(); status.Certificate != nil || !strings.Contains(status.Complaint, p.mount) {
				t.Errorf("with %d of %d bytes of %s the status is %+v", part, len(content), name, status)
			}
		}
	}
	p.run()
	p.complains(certs.RootsFile)
	if !p.holds(before) {
		t.Error("what was served changed")
	}
	p.write(certs.RootsFile, after.Roots)
	p.serves(after, "the last file is whole")
}

// Half of a bundle of roots is a good bundle of fewer roots. That its writer is not done is
// told by the kernel, however long that takes.
func TestWaitsForAWriter(t *testing.T) {
	p := newPlace(t)
	two := issue(t, authority()).With(must(testenv.NewAuthority("second")))
	p.plain(two)
	p.prepare()
	p.run()
	three := two.With(must(testenv.NewAuthority("third")))
	f, err := os.OpenFile(filepath.Join(p.mount, certs.RootsFile), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Write(authority().Roots); err != nil {
		t.Fatal(err)
	}
	p.complains(p.mount + " has files that are still being written")
	if !p.holds(two) {
		t.Error("half a bundle was taken")
	}
	if _, err := f.Write(three.Roots[len(authority().Roots):]); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	p.serves(three, "the writer is done")
	eventually(t, func() bool { return p.Status().Complaint == "" }, "there is nothing to complain about")
}

// While somebody swaps secrets as fast as possible, no reader finds two generations
// mixed: not in what is mounted, and not behind the link.
func TestNeverMixesGenerations(t *testing.T) {
	p := newPlace(t)
	credentials := make([]testenv.Credentials, 8)
	for i := range credentials {
		credentials[i] = issue(t, authority())
	}
	p.secret(credentials[0])
	p.prepare()
	p.run()
	for i := range 400 {
		p.secret(credentials[i%len(credentials)])
		if stored := p.consistent(); stored == 0 {
			t.Fatal("nothing is stored")
		}
	}
	last := issue(t, authority())
	p.secret(last)
	p.serves(last, "the swaps are over")
	if told := p.refusals(); len(told) != 0 {
		t.Errorf("refused %v", told)
	}
}

// consistent reads as Envoy does, first one file and then the other, and fails the test if
// they do not belong together although the link did not change meanwhile.
func (p *place) consistent() (read int) {
	link := filepath.Join(p.Paths().Folder, "current")
	before, err := os.Readlink(link)
	if err != nil {
		p.t.Fatal(err)
	}
	content := p.stored()
	if after, err := os.Readlink(link); err != nil || after != before {
		return len(content)
	}
	if _, _, err := certs.Check(content, time.Now()); err != nil {
		p.t.Errorf("behind %s is %v", before, err)
	}
	return len(content)
}

func TestUnreadable(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*place) error
		want  string
	}{
		"a file that is missing": {func(p *place) error { return os.Remove(filepath.Join(p.mount, certs.RootsFile)) }, "root-cert.pem is not there"},
		"a folder in its place": {func(p *place) error {
			return errors.Join(os.Remove(filepath.Join(p.mount, certs.KeyFile)), os.Mkdir(filepath.Join(p.mount, certs.KeyFile), 0o700))
		}, "key.pem cannot be read: it is not a regular file"},
		"a pipe nobody writes to": {func(p *place) error {
			return errors.Join(os.Remove(filepath.Join(p.mount, certs.ChainFile)), unix.Mkfifo(filepath.Join(p.mount, certs.ChainFile), 0o600))
		}, "cert-chain.pem cannot be read: it is not a regular file"},
		"a file without end": {func(p *place) error { return os.Truncate(filepath.Join(p.mount, certs.RootsFile), 1<<30) }, "root-cert.pem cannot be read: it is larger than 1048576 bytes"},
		"a link to itself": {func(p *place) error {
			return errors.Join(os.Remove(filepath.Join(p.mount, certs.KeyFile)), os.Symlink(certs.KeyFile, filepath.Join(p.mount, certs.KeyFile)))
		}, "key.pem cannot be read"},
		"a file in place of the folder": {func(p *place) error {
			return errors.Join(os.RemoveAll(p.mount), os.WriteFile(p.mount, nil, 0o600))
		}, "is not a folder"},
	} {
		t.Run(name, func(t *testing.T) {
			p, c := newPlace(t), issue(t, authority())
			p.plain(c)
			if err := test.spoil(p); err != nil {
				t.Fatal(err)
			}
			p.prepare()
			if status := p.Status(); status.Certificate != nil || !strings.Contains(status.Complaint, test.want) {
				t.Fatalf("the status is %+v, want %q in its complaint", status, test.want)
			}
			if err := os.RemoveAll(p.mount); err != nil {
				t.Fatal(err)
			}
			p.run()
			p.plain(c)
			p.serves(c, "it was mended")
		})
	}
}

// A process of its own, since the limit that stands for a full disk holds for all that a
// process writes.
func TestFullDisk(t *testing.T) {
	const inside = "FAIRLEAD_TEST_FULL_DISK"
	if os.Getenv(inside) == "" {
		command := exec.Command(os.Args[0], "-test.run=^TestFullDisk$")
		command.Env = append(os.Environ(), inside+"=1")
		if output, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		return
	}
	p := newPlace(t, func(o *certs.Options) { o.Recheck = 20 * time.Millisecond })
	first, second := issue(t, authority()), issue(t, authority())
	p.secret(first)
	p.prepare()
	p.secret(second)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	// Else the kernel ends the process.
	signal.Ignore(unix.SIGXFSZ)
	setLimit := func(bytes uint64) {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: limit.Max}); err != nil {
			t.Fatal(err)
		}
	}
	// The key fits, the chain does not.
	setLimit(uint64(len(second.Chain) - 1))
	p.run()
	p.complains(p.Paths().Folder + " has no room for the new certificate: free some space")
	if found := names(t, p.Paths().Folder); !slices.Equal(found, []string{"..1", "current", "sds-certificate.json", "sds-roots.json"}) {
		t.Errorf("the folder holds %v", found)
	}
	if !p.holds(first) || p.Status().Certificate.Generation != 1 {
		t.Error("what was served is no longer")
	}
	setLimit(limit.Cur)
	p.serves(second, "there is room again")
	eventually(t, func() bool { return p.Status().Complaint == "" }, "there is nothing to complain about")
}
