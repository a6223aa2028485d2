package certs_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/agent/bootstrap"
	"fairlead.dev/fairlead/agent/certs"
	"fairlead.dev/fairlead/test/testenv"
)

// startEnvoy runs the real Envoy with the agent's own bootstrap, to which a listener for
// traffic is added that reads the same secrets. It ends with the test.
func (p *place) startEnvoy() {
	p.t.Helper()
	binary, err := testenv.Envoy()
	if err != nil {
		p.t.Fatal(err)
	}
	content, err := bootstrap.Build(bootstrap.Config{
		Namespace: "shop", Pod: "reviews", Workload: "reviews",
		// Nobody is there, and nobody is waited for.
		XDSSocket: filepath.Join(p.dir, "xds.sock"), InitialFetchTimeout: time.Millisecond,
		AdminSocket: filepath.Join(p.dir, "admin.sock"), CertsDir: p.Paths().Folder, ProofSocket: p.Paths().ProofSocket,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	if content, err = withTraffic(content, p.trafficSocket()); err != nil {
		p.t.Fatal(err)
	}
	if err := testenv.ValidateEnvoy(p.t.Context(), content); err != nil {
		p.t.Fatal(err)
	}
	path := filepath.Join(p.dir, "envoy.json")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		p.t.Fatal(err)
	}
	var log bytes.Buffer
	command := exec.Command(binary, "--config-path", path, "--disable-hot-restart", "--concurrency", "2", "--log-level", "warning")
	command.Stderr = &log
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if p.t.Failed() {
			p.t.Logf("Envoy's log:\n%s\nthe agent's log:\n%s", log.String(), p.logged())
		}
	})
}

func (p *place) trafficSocket() string { return filepath.Join(p.dir, "traffic.sock") }

// withTraffic adds a listener that answers HTTP by mutual TLS.
func withTraffic(content []byte, socket string) ([]byte, error) {
	var message map[string]any
	if err := json.Unmarshal(content, &message); err != nil {
		return nil, err
	}
	static := message["static_resources"].(map[string]any)
	listeners := static["listeners"].([]any)
	proof, err := json.Marshal(listeners[0])
	if err != nil {
		return nil, err
	}
	var traffic map[string]any
	if err := json.Unmarshal(proof, &traffic); err != nil {
		return nil, err
	}
	traffic["name"], traffic["stat_prefix"] = "traffic", "traffic"
	traffic["address"] = map[string]any{"pipe": map[string]any{"path": socket}}
	chain := traffic["filter_chains"].([]any)[0].(map[string]any)
	tlsContext := chain["transport_socket"].(map[string]any)["typed_config"].(map[string]any)["common_tls_context"].(map[string]any)
	tlsContext["alpn_protocols"] = []string{"h2", "http/1.1"}
	chain["filters"] = []any{map[string]any{
		"name": "envoy.filters.network.http_connection_manager",
		"typed_config": map[string]any{
			"@type":        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
			"stat_prefix":  "traffic",
			"http_filters": []any{map[string]any{"name": "envoy.filters.http.router", "typed_config": map[string]any{"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}},
			"route_config": map[string]any{"virtual_hosts": []any{map[string]any{
				"name": "all", "domains": []string{"*"},
				"routes": []any{map[string]any{"match": map[string]any{"prefix": "/"}, "direct_response": map[string]any{"status": 200, "body": map[string]any{"inline_string": "served"}}}},
			}}},
		},
	}}
	static["listeners"] = append(listeners, traffic)
	return json.Marshal(message)
}

// proves waits for a proof of the current certificate.
func (p *place) proves() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	if err := p.Prove(ctx); err != nil {
		p.t.Fatalf("%v: %+v", err, p.Status())
	}
	if status := p.Status(); status.Proven.IsZero() || status.ProofComplaint != "" {
		p.t.Fatalf("the status is %+v", status)
	}
}

// caller is a workload that calls at a steady rate, keeping connections for a while.
type caller struct {
	requests, connections atomic.Int64
	failed                []error
	mu                    sync.Mutex
}

// call runs until the context ends. New connections come all the time, since each is given
// up after some requests.
func (c *caller) call(ctx context.Context, socket string, http2 bool, config *tls.Config) {
	for ctx.Err() == nil {
		transport := &http.Transport{
			ForceAttemptHTTP2: http2,
			DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				plain, err := new(net.Dialer).DialContext(ctx, "unix", socket)
				if err != nil {
					return nil, err
				}
				c.connections.Add(1)
				connection := tls.Client(plain, config)
				return connection, connection.HandshakeContext(ctx)
			},
		}
		for range 50 {
			if ctx.Err() != nil {
				break
			}
			if err := c.get(transport); err != nil {
				c.mu.Lock()
				c.failed = append(c.failed, err)
				c.mu.Unlock()
			}
			c.requests.Add(1)
			select {
			case <-time.After(2 * time.Millisecond):
			case <-ctx.Done():
			}
		}
		transport.CloseIdleConnections()
	}
}

func (c *caller) get(transport *http.Transport) error {
	client := http.Client{Transport: transport, Timeout: 10 * time.Second}
	response, err := client.Get("https://reviews/")
	if err != nil {
		return err
	}
	body, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || string(body) != "served" {
		return fmt.Errorf("answered %s %q", response.Status, body)
	}
	return nil
}

// callerConfig trusts both authorities and has a certificate of the first. It takes any
// identity, as the callee is at no name.
func callerConfig(t testing.TB, first, second *testenv.Authority, protocol string) *tls.Config {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(first.Roots)
	roots.AppendCertsFromPEM(second.Roots)
	c := issue(t, first)
	own := must(tls.X509KeyPair(c.Chain, c.Key))
	return &tls.Config{
		Certificates: []tls.Certificate{own}, NextProtos: []string{protocol}, InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			intermediates := x509.NewCertPool()
			for _, c := range state.PeerCertificates[1:] {
				intermediates.AddCert(c)
			}
			_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates})
			return err
		},
	}
}

func TestNoRequestFailsWhileCertificatesChange(t *testing.T) {
	const changes = 100
	first := authority()
	second := must(testenv.NewAuthority("second"))
	below := must(second.Below("issuer"))
	p := newPlace(t)
	p.secret(issue(t, first))
	p.prepare()
	p.run()
	p.startEnvoy()
	p.proves()

	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	var c caller
	for i := range 6 {
		http2 := i%2 == 0
		config := callerConfig(t, first, second, map[bool]string{true: "h2", false: "http/1.1"}[http2])
		callers.Go(func() { c.call(ctx, p.trafficSocket(), http2, config) })
	}
	for i := range changes {
		next := issue(t, first)
		switch i % 3 {
		case 1:
			next = next.With(second)
		case 2:
			next = issue(t, below).With(first)
		}
		// The kubelet's way, and a person's in turn.
		p.secret(next)
		p.serves(next, "a new certificate was mounted")
		p.proves()
	}
	cancel()
	callers.Wait()
	t.Logf("%d changes, %d requests on %d connections", changes, c.requests.Load(), c.connections.Load())
	if len(c.failed) > 0 {
		t.Errorf("%d requests failed, the first: %v", len(c.failed), c.failed[0])
	}
	if c.requests.Load() < changes || c.connections.Load() < 12 {
		t.Errorf("only %d requests were made on %d connections", c.requests.Load(), c.connections.Load())
	}
	if got := p.Status().Certificate.Generation; got != 1+changes || len(p.refusals()) != 0 {
		t.Errorf("the generation is %d, and %v was refused", got, p.refusals())
	}
}

// Envoy may pass over generations, but not over the last one.
func TestEnvoyEndsUpWithTheLastOfManySwaps(t *testing.T) {
	first, second := authority(), must(testenv.NewAuthority("second"))
	p := newPlace(t)
	p.secret(issue(t, first))
	p.prepare()
	p.startEnvoy()
	p.proves()
	for range 20 {
		for i := range 15 {
			next := issue(t, first)
			if i%2 == 0 {
				next = issue(t, second)
			}
			p.secret(next)
			if taken, err := p.Take(); err != nil || !taken {
				t.Fatalf("taken: %t, %v", taken, err)
			}
		}
		p.proves()
	}
	if got := p.Status().Certificate.Generation; got != 1+20*15 {
		t.Errorf("the generation is %d", got)
	}
}

// A workload may start before its certificate is there.
func TestEnvoyTakesTheFirstCertificateThatComes(t *testing.T) {
	p := newPlace(t)
	p.prepare()
	p.run()
	p.startEnvoy()
	NewWithT(t).Eventually(func() error {
		_, err := os.Stat(p.Paths().ProofSocket)
		return err
	}).Within(patience).Should(Succeed(), "Envoy listens without a certificate")
	if err := p.Prove(t.Context()); err != nil || !p.Status().Proven.IsZero() {
		t.Errorf("of no certificate was proven: %v, %+v", err, p.Status())
	}
	c := issue(t, authority())
	p.secret(c)
	p.serves(c, "a certificate was mounted")
	p.proves()
}

// What this package takes, Envoy has to take too, else it would go on with the one before.
func TestEnvoyTakesWhatIsTaken(t *testing.T) {
	p := newPlace(t, func(o *certs.Options) { o.ProofPatience = 5 * time.Second })
	p.secret(issue(t, authority()))
	p.prepare()
	p.startEnvoy()
	p.proves()
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	intermediate := issue(t, must(authority().Below("issuer")))
	_, anchored, _ := bytes.Cut(intermediate.Chain, []byte("-----END CERTIFICATE-----\n"))
	cases := map[string]map[string][]byte{
		"RSA":                      certified(&rsaKey.PublicKey, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)),
		"P-384":                    certified(&p384.PublicKey, "EC PRIVATE KEY", must(x509.MarshalECPrivateKey(p384))),
		"a root twice":             issue(t, authority()).With(authority()).Files(),
		"two roots of one name":    issue(t, authority()).With(must(testenv.NewAuthority("root"))).Files(),
		"an intermediate":          intermediate.Files(),
		"an intermediate for root": with(intermediate.Files(), certs.RootsFile, anchored),
	}
	for name, content := range cases {
		t.Run(name, func(t *testing.T) {
			if err := testenv.MountSecret(p.mount, content); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Take(); err != nil {
				t.Fatal(err)
			}
			p.proves()
		})
	}
}

// An Envoy that has another certificate, or none, is told of and asked further.
func TestComplainsOfAnEnvoyThatServesAnother(t *testing.T) {
	p := newPlace(t, func(o *certs.Options) { o.ProofPatience = 20 * time.Millisecond })
	stale, current := issue(t, authority()), issue(t, authority())
	p.secret(current)
	p.prepare()
	ctx, cancel := context.WithCancel(t.Context())
	proven := make(chan error, 1)
	go func() { proven <- p.Prove(ctx) }()
	complains := func(with string) {
		t.Helper()
		NewWithT(t).Eventually(func() string { return p.Status().ProofComplaint }).Within(patience).Should(ContainSubstring(with))
	}
	complains("envoy cannot be asked for its certificate at proof.sock: ")

	closeListener := serveTLS(t, p.Paths().ProofSocket, stale)
	complains("envoy serves the certificate with fingerprint ")
	if status := p.Status(); !status.Proven.IsZero() {
		t.Errorf("the status is %+v", status)
	}
	closeListener()
	closeListener = serveTLS(t, p.Paths().ProofSocket, current.With(must(testenv.NewAuthority("old"))))
	complains("does not judge its peers by the current root-cert.pem yet")
	closeListener()
	// Of the same name, so that nothing but a refusal tells.
	other := current
	other.Roots = must(testenv.NewAuthority("root")).Roots
	closeListener = serveTLS(t, p.Paths().ProofSocket, other)
	complains("does not take it from others")
	closeListener()
	serveTLS(t, p.Paths().ProofSocket, current)
	if err := <-proven; err != nil {
		t.Error(err)
	}
	cancel()
	if status := p.Status(); status.Proven.IsZero() || status.ProofComplaint != "" {
		t.Errorf("the status is %+v", status)
	}
}

// serveTLS stands for an Envoy with other files than it was given, which the real one
// cannot be brought to.
func serveTLS(t *testing.T, socket string, c testenv.Credentials) (stop func()) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.Roots)
	listener, err := tls.Listen("unix", socket, &tls.Config{
		Certificates: []tls.Certificate{must(tls.X509KeyPair(c.Chain, c.Key))},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: roots, MinVersion: tls.VersionTLS13,
	})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer func() { _ = connection.Close() }()
				_, _ = io.Copy(connection, connection)
			})
		}
	})
	stop = sync.OnceFunc(func() {
		_ = listener.Close()
		serving.Wait()
	})
	t.Cleanup(stop)
	return stop
}
