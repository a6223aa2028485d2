package certs_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"go.uber.org/goleak"

	"fairlead.dev/fairlead/agent/certs"
	"fairlead.dev/fairlead/test/testenv"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

const (
	identity = "spiffe://cluster.local/ns/shop/sa/reviews"
	// patience is for a machine that is busy with other things.
	patience = 20 * time.Second
)

// authority is a root and issuer for those tests that need only one: keys are slow to make.
var authority = sync.OnceValue(func() *testenv.Authority {
	a, err := testenv.NewAuthority("root")
	if err != nil {
		panic(err)
	}
	return a
})

func issue(t testing.TB, by *testenv.Authority, changes ...func(*x509.Certificate)) testenv.Credentials {
	t.Helper()
	c, err := by.Issue(identity, changes...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// place is a mounted folder and an agent's, and what was told of them.
type place struct {
	t          testing.TB
	mount, dir string
	*certs.Folder

	mu      sync.Mutex
	changes []certs.Certificate
	refused []string
	logs    strings.Builder
}

// newPlace makes a Folder that is not prepared yet. Recheck is so long that nothing in a
// test can come from it, unless changed.
func newPlace(t testing.TB, changes ...func(*certs.Options)) *place {
	t.Helper()
	dir, err := testenv.SocketDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &place{t: t, mount: filepath.Join(dir, "mount"), dir: filepath.Join(dir, "agent")}
	if err := os.Mkdir(p.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	options := certs.Options{
		Mount: p.mount, Dir: p.dir, Recheck: time.Hour,
		Log: slog.New(slog.NewTextHandler(p, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Changed: func(c certs.Certificate) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.changes = append(p.changes, c)
		},
		Refused: func(err error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.refused = append(p.refused, err.Error())
		},
	}
	for _, change := range changes {
		change(&options)
	}
	p.Folder = certs.New(options)
	return p
}

func (p *place) Paths() certs.Paths { return certs.PathsIn(p.dir) }

// Write takes log lines.
func (p *place) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.logs.Write(line)
}

func (p *place) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.logs.String()
}

func (p *place) refusals() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.refused)
}

func (p *place) changed() []certs.Certificate {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.changes)
}

func (p *place) prepare() {
	p.t.Helper()
	if err := p.Prepare(); err != nil {
		p.t.Fatal(err)
	}
}

// run has the mounted folder followed until the test ends.
func (p *place) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Run(ctx)
	}()
	p.t.Cleanup(func() {
		cancel()
		<-done
	})
}

// secret mounts credentials as a kubelet does, plain writes one file after the other.
func (p *place) secret(c testenv.Credentials) {
	p.t.Helper()
	if err := testenv.MountSecret(p.mount, c.Files()); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) plain(c testenv.Credentials) {
	p.t.Helper()
	if err := os.MkdirAll(p.mount, 0o700); err != nil {
		p.t.Fatal(err)
	}
	for _, name := range []string{certs.RootsFile, certs.ChainFile, certs.KeyFile} {
		p.write(name, c.Files()[name])
	}
}

// write writes over a file where it is.
func (p *place) write(name string, content []byte) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.mount, name), content, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// stored is what Envoy would read, by name; nil if there is nothing.
func (p *place) stored() map[string][]byte {
	p.t.Helper()
	found := map[string][]byte{}
	for _, name := range []string{certs.RootsFile, certs.ChainFile, certs.KeyFile} {
		content, err := os.ReadFile(filepath.Join(p.Paths().Folder, "current", name))
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			p.t.Fatal(err)
		}
		found[name] = content
	}
	return found
}

// holds tells whether the credentials are what Envoy would read.
func (p *place) holds(c testenv.Credentials) bool {
	p.t.Helper()
	return maps.EqualFunc(p.stored(), c.Files(), bytes.Equal)
}

// serves waits until Envoy is given the credentials.
func (p *place) serves(c testenv.Credentials, why string) {
	p.t.Helper()
	eventually(p.t, func() bool { return p.holds(c) }, why)
}

// complains waits for a complaint.
func (p *place) complains(with string) {
	p.t.Helper()
	NewWithT(p.t).Eventually(func() string { return p.Status().Complaint }).Within(patience).WithPolling(5*time.Millisecond).
		Should(ContainSubstring(with), "what is mounted is judged")
}

func eventually(t testing.TB, holds func() bool, why string) {
	t.Helper()
	NewWithT(t).Eventually(holds).Within(patience).WithPolling(5*time.Millisecond).Should(BeTrue(), why)
}
