package controlplane_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"fairlead.dev/fairlead/agent/controlplane"
	"fairlead.dev/fairlead/test/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = 30 * time.Second
	manager  = "spiffe://cluster.local/ns/fairlead-system/sa/manager"
)

// serve runs something on a listener until the test ends.
func serve(t *testing.T, listener net.Listener, run func(net.Listener), stop func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		run(listener)
	}()
	t.Cleanup(func() {
		stop()
		_ = listener.Close()
		<-done
	})
}

func serveGRPC(t *testing.T, listener net.Listener, options ...grpc.ServerOption) {
	t.Helper()
	server := grpc.NewServer(options...)
	serve(t, listener, func(l net.Listener) { _ = server.Serve(l) }, server.Stop)
}

// hold takes connections and says nothing, as a process that is stopped does: the kernel
// accepts for it.
func hold(t *testing.T, network, address string) net.Listener {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := testenv.SocketDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "xds.sock")
}

// probe bounds what is not to end by its bound.
func probe(t *testing.T, target controlplane.Target) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return controlplane.Probe(ctx, target)
}

func refused(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the error is %v, want: %s", err, want)
	}
}

func TestSocket(t *testing.T) {
	path := socketPath(t)
	target := controlplane.Target{Socket: path}
	refused(t, probe(t, target), "there is no socket at "+path+": start the manager, or correct --xds-socket")

	listener := hold(t, "unix", path)
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	cause := errors.New("nothing in 2 s")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(cause) })
	err := controlplane.Probe(ctx, target)
	refused(t, err, "the manager at "+path+" took the connection, but says nothing (nothing in 2 s): it hangs")
	if !errors.Is(err, cause) {
		t.Error("the cause is not in the error")
	}
	_ = listener.Close()
	refused(t, probe(t, target), "nobody listens at "+path+": start the manager")

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	serveGRPC(t, hold(t, "unix", path))
	for range 3 {
		if err := probe(t, target); err != nil {
			t.Error(err)
		}
	}
}

func TestSomethingElseListens(t *testing.T) {
	web := socketPath(t)
	server := &http.Server{}
	serve(t, hold(t, "unix", web), func(l net.Listener) { _ = server.Serve(l) }, func() { _ = server.Close() })
	refused(t, probe(t, controlplane.Target{Socket: web}), "what listens at "+web+" does not speak HTTP/2: correct the manager's address")

	for answer, want := range map[string]string{
		"": "ended the connection without a word",
		"\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00": "is about to end: wait for the next one",
		"\x00\x00\x00\x04\x01\x00\x00\x00\x00":                                 "does not speak HTTP/2",
		"\x00\x00":                                                             "does not speak HTTP/2",
	} {
		path := socketPath(t)
		serve(t, hold(t, "unix", path), func(l net.Listener) {
			for {
				connection, err := l.Accept()
				if err != nil {
					return
				}
				// All that a client begins with, lest its end be a reset.
				_, _ = connection.Read(make([]byte, 100))
				_, _ = connection.Write([]byte(answer))
				_ = connection.Close()
			}
		}, func() {})
		refused(t, probe(t, controlplane.Target{Socket: path}), want)
	}
}

func newAuthority(t *testing.T) *testenv.Authority {
	t.Helper()
	a, err := testenv.NewAuthority("root")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, a *testenv.Authority, until time.Time, names ...string) testenv.Credentials {
	t.Helper()
	issued, err := a.Issue("", testenv.Named(names...), func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), until
	})
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

// mounted is a workload's certificate, and the authority's as the root.
func mounted(t *testing.T, a *testenv.Authority) controlplane.Target {
	t.Helper()
	dir := t.TempDir()
	if err := testenv.MountSecret(dir, issue(t, a, time.Now().Add(time.Hour), "spiffe://cluster.local/ns/shop/sa/reviews").Files()); err != nil {
		t.Fatal(err)
	}
	return controlplane.Target{
		Certificate: filepath.Join(dir, "cert-chain.pem"), Key: filepath.Join(dir, "key.pem"), Roots: []string{filepath.Join(dir, "root-cert.pem")},
	}
}

// manage serves gRPC to workloads of the clients' authority, and returns where.
func manage(t *testing.T, own testenv.Credentials, clients *testenv.Authority) string {
	t.Helper()
	config, err := own.MutualTLS(clients.Roots)
	if err != nil {
		t.Fatal(err)
	}
	listener := hold(t, "tcp", "127.0.0.1:0")
	serveGRPC(t, listener, grpc.Creds(credentials.NewTLS(config)))
	return listener.Addr().String()
}

func TestMutualTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	later, earlier := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	for _, test := range []struct {
		about             string
		issuer, clients   *testenv.Authority
		until             time.Time
		names             []string
		serverName, wants string
	}{
		{"by its address", ours, ours, later, []string{"127.0.0.1"}, "", ""},
		{"by a name", ours, ours, later, []string{"manager.system"}, "manager.system", ""},
		{"by its identity", ours, ours, later, []string{manager}, manager, ""},
		{"another name", ours, ours, later, []string{"other", manager}, "manager.system", "is for other, " + manager + " and not for manager.system: correct --xds-address or --xds-server-name"},
		{"another identity", ours, ours, later, []string{"spiffe://cluster.local/x"}, manager, "is for spiffe://cluster.local/x and not for " + manager},
		{"another root", theirs, ours, later, []string{"127.0.0.1"}, "", "is of no root in"},
		{"another root with the identity", theirs, ours, later, []string{manager}, manager, "is of no root in"},
		{"expired", ours, ours, earlier, []string{"127.0.0.1"}, "", "is not valid"},
		{"expired with the identity", ours, ours, earlier, []string{manager}, manager, "is not valid"},
		{"does not know us", ours, theirs, later, []string{"127.0.0.1"}, "", "refuses the agent's certificate"},
	} {
		t.Run(test.about, func(t *testing.T) {
			target := mounted(t, ours)
			target.Address = manage(t, issue(t, test.issuer, test.until, test.names...), test.clients)
			target.ServerName = test.serverName
			err := probe(t, target)
			if test.wants == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			refused(t, err, test.wants)
			refused(t, err, target.Address)
		})
	}
}

func TestNetwork(t *testing.T) {
	target := mounted(t, newAuthority(t))

	closed := hold(t, "tcp", "127.0.0.1:0")
	target.Address = closed.Addr().String()
	_ = closed.Close()
	refused(t, probe(t, target), "nobody listens at "+target.Address)

	hung := hold(t, "tcp", "127.0.0.1:0")
	target.Address = hung.Addr().String()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("nothing in 50ms"))
	defer cancel()
	refused(t, controlplane.Probe(ctx, target), "took the connection, but says nothing (nothing in 50ms): it hangs")

	plain := hold(t, "tcp", "127.0.0.1:0")
	serveGRPC(t, plain)
	target.Address = plain.Addr().String()
	refused(t, probe(t, target), "what listens at "+target.Address+" does not speak TLS")

	target.Roots = []string{target.Key}
	refused(t, probe(t, target), "there is no certificate in "+target.Key)
	target.Roots[0] += "-none"
	refused(t, probe(t, target), "read the roots: open "+target.Roots[0])
	target.Key = target.Certificate
	refused(t, probe(t, target), "read the agent's certificate "+target.Certificate)
}
