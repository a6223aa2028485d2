package bootstrap_test

import (
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"fairlead.dev/fairlead/agent/certs"
	"fairlead.dev/fairlead/test/testenv"
)

// reviews is the identity of the workload.
const reviews = "spiffe://cluster.local/ns/shop/sa/reviews"

func newAuthority(t *testing.T) *testenv.Authority {
	t.Helper()
	a, err := testenv.NewAuthority("root")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// mutualTLS is for a server or a client in the test that has the names given, among
// workloads of the authority.
func mutualTLS(t *testing.T, a *testenv.Authority, names ...string) *tls.Config {
	t.Helper()
	issued, err := a.Issue("", testenv.Named(names...))
	if err != nil {
		t.Fatal(err)
	}
	config, err := issued.MutualTLS(a.Roots)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// agentDir is a folder as the agent keeps it, with a certificate.
func agentDir(t *testing.T) string {
	t.Helper()
	dir, err := testenv.SocketDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	putCertificate(t, dir, newAuthority(t))
	return dir
}

// putCertificate has the agent's own code put a certificate into its folder.
func putCertificate(t *testing.T, dir string, a *testenv.Authority) {
	t.Helper()
	issued, err := a.Issue(reviews)
	if err != nil {
		t.Fatal(err)
	}
	mount := filepath.Join(t.TempDir(), "mounted")
	if err := testenv.MountSecret(mount, issued.Files()); err != nil {
		t.Fatal(err)
	}
	folder := certs.New(certs.Options{Mount: mount, Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err := folder.Prepare(); err != nil {
		t.Fatal(err)
	}
	if status := folder.Status(); status.Certificate == nil {
		t.Fatal(status.Complaint)
	}
}
