package manager_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"fairlead.dev/fairlead/agent/certs"
	"fairlead.dev/fairlead/agent/controlplane"
	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/agent/manager"
	"fairlead.dev/fairlead/internal/agentapi"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/test/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = 20 * time.Second
	identity = "spiffe://cluster.local/ns/shop/sa/reviews"
	server   = "spiffe://cluster.local/ns/fairlead-system/sa/fairlead-manager"
	token    = "a-token-that-nobody-may-see"
)

// fakeManager is the other side by the real gRPC library: it lets in who shows the token
// or a certificate of its authority, and does with each call what the test says.
type fakeManager struct {
	t       *testing.T
	address string
	calls   chan *call

	mu        sync.Mutex
	authority *testenv.Authority
	server    *grpc.Server
}

// call is one stream. The test answers it and ends it.
type call struct {
	t      *testing.T
	stream grpc.ServerStream
	// by is how the agent was known.
	by    string
	hello *agentapi.Hello
	end   chan error
}

func newManager(t *testing.T, options ...grpc.ServerOption) *fakeManager {
	t.Helper()
	m := &fakeManager{t: t, calls: make(chan *call, 16), authority: newAuthority(t, "root")}
	m.address = m.start("127.0.0.1:0", server, options...)
	return m
}

func newAuthority(t *testing.T, name string) *testenv.Authority {
	t.Helper()
	a, err := testenv.NewAuthority(name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (m *fakeManager) roots() *testenv.Authority {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.authority
}

// start returns where it listens.
func (m *fakeManager) start(address, name string, options ...grpc.ServerOption) string {
	m.t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		m.t.Fatal(err)
	}
	options = append(options, grpc.Creds(credentials.NewTLS(&tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		authority := m.roots()
		own, err := authority.Issue(name)
		if err != nil {
			return nil, err
		}
		config, err := own.MutualTLS(authority.Roots)
		if err != nil {
			return nil, err
		}
		config.ClientAuth, config.NextProtos = tls.VerifyClientCertIfGiven, []string{"h2"}
		return config, nil
	}})))
	m.server = grpc.NewServer(options...)
	m.server.RegisterService(&grpc.ServiceDesc{ServiceName: "fairlead.agent.v1.Agents", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
		StreamName: "Connect", ServerStreams: true, ClientStreams: true,
		Handler: func(_ any, s grpc.ServerStream) error { return m.handle(s) },
	}}}, m)
	done := make(chan struct{})
	go func(serving *grpc.Server) {
		defer close(done)
		_ = serving.Serve(listener)
	}(m.server)
	m.t.Cleanup(func() {
		m.stop()
		<-done
	})
	return listener.Addr().String()
}

func (m *fakeManager) stop() { m.server.Stop() }

func (m *fakeManager) handle(s grpc.ServerStream) error {
	from, _ := peer.FromContext(s.Context())
	tlsInfo := from.AuthInfo.(credentials.TLSInfo)
	shown, _ := metadata.FromIncomingContext(s.Context())
	var by string
	switch bearer := shown.Get("authorization"); {
	case len(tlsInfo.State.PeerCertificates) > 0:
		by = tlsInfo.State.PeerCertificates[0].URIs[0].String()
	case slices.Equal(bearer, []string{"Bearer " + token}):
		by = "token"
	default:
		return status.Error(codes.Unauthenticated, "neither a certificate nor a token: 100 %")
	}
	first := &agentapi.FromAgent{}
	if err := s.RecvMsg(first); err != nil {
		return err
	}
	c := &call{t: m.t, stream: s, by: by, hello: first.GetHello(), end: make(chan error, 1)}
	m.calls <- c
	select {
	case err := <-c.end:
		return err
	case <-s.Context().Done():
		return nil
	}
}

// next waits for the next call, and welcomes it.
func (m *fakeManager) next(by string) *call {
	m.t.Helper()
	select {
	case c := <-m.calls:
		if c.by != by || c.hello.GetNode() != "shop/reviews-1" || c.hello.GetAgentVersion() != "v1" {
			m.t.Fatalf("known by %q, hello %v, want to be known by %q", c.by, c.hello, by)
		}
		c.send(&agentapi.FromManager{Message: &agentapi.FromManager_Welcome{Welcome: &agentapi.Welcome{
			ReportInterval: durationpb.New(time.Hour), Roots: m.roots().Roots, Identity: identity,
		}}})
		return c
	case <-time.After(patience):
		m.t.Fatal("nobody calls")
		return nil
	}
}

func (c *call) send(m *agentapi.FromManager) {
	c.t.Helper()
	if err := c.stream.SendMsg(m); err != nil {
		c.t.Fatal(err)
	}
}

func (c *call) receive() *agentapi.FromAgent {
	c.t.Helper()
	got := make(chan *agentapi.FromAgent, 1)
	go func() {
		m := &agentapi.FromAgent{}
		if c.stream.RecvMsg(m) == nil {
			got <- m
		}
		close(got)
	}()
	select {
	case m := <-got:
		if m == nil {
			c.t.Fatal("the stream ended")
		}
		return m
	case <-time.After(patience):
		c.t.Fatal("the agent says nothing")
		return nil
	}
}

// asked waits for a signing request and passes over reports; reported waits for a report
// of which something holds, and passes over others.
func (c *call) asked() *agentapi.SigningRequest {
	c.t.Helper()
	for {
		if r := c.receive().GetSigningRequest(); r != nil {
			return r
		}
	}
}

func (c *call) reported(holds func(*agentapi.Report) bool) *agentapi.Report {
	c.t.Helper()
	for {
		if r := c.receive().GetReport(); r != nil && holds(r) {
			return r
		}
	}
}

// issue answers a request by the authority given.
func (c *call) issue(r *agentapi.SigningRequest, by *testenv.Authority, changes ...func(*x509.Certificate)) {
	c.t.Helper()
	csr, err := x509.ParseCertificateRequest(r.GetCsr())
	if err != nil || csr.CheckSignature() != nil || len(csr.URIs) != 1 || csr.URIs[0].String() != identity {
		c.t.Fatalf("the request is %v: %v", csr, err)
	}
	chain, err := by.Certify(identity, csr.PublicKey, changes...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.send(&agentapi.FromManager{Message: &agentapi.FromManager_Issued{Issued: &agentapi.Issued{Id: r.GetId(), Chain: chain, Roots: by.Roots}}})
}

func (c *call) refuse(r *agentapi.SigningRequest, after time.Duration) {
	c.t.Helper()
	refused := &agentapi.Refused{Id: r.GetId(), Code: "Denied", Message: "ask somebody else"}
	if after > 0 {
		refused.RetryAfter = durationpb.New(after)
	}
	c.send(&agentapi.FromManager{Message: &agentapi.FromManager_Refused{Refused: refused}})
}

func (c *call) renew() {
	c.t.Helper()
	c.send(&agentapi.FromManager{Message: &agentapi.FromManager_Renew{Renew: &agentapi.Renew{Reason: "window"}}})
}

func (c *call) trust(roots []byte) {
	c.t.Helper()
	c.send(&agentapi.FromManager{Message: &agentapi.FromManager_Trust{Trust: &agentapi.Trust{Roots: roots}}})
}

// agent is a Client with a folder, and what it wrote to its log.
type agent struct {
	*manager.Client
	t      *testing.T
	folder *certs.Folder
	dir    string
	runs   context.CancelFunc

	mu    sync.Mutex
	log   strings.Builder
	proxy envoy.Status
}

func newAgent(t *testing.T, m *fakeManager, changes ...func(*manager.Options)) *agent {
	t.Helper()
	a := &agent{t: t, dir: t.TempDir(), proxy: envoy.Status{State: envoy.Live, Reason: "Envoy serves", Epoch: 3, PID: 1}}
	for file, content := range map[string][]byte{"token": []byte(token + "\n"), "roots.pem": m.roots().Roots} {
		if err := os.WriteFile(filepath.Join(a.dir, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log := slog.New(slog.NewTextHandler(a, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a.folder = certs.New(certs.Options{Dir: a.dir, Log: log, Refused: func(error) {}, Changed: func(certs.Certificate) {}})
	if err := a.folder.Prepare(); err != nil {
		t.Fatal(err)
	}
	current := certs.PathsIn(a.dir).Current
	options := manager.Options{
		Node: "shop/reviews-1", Version: "v1",
		Target: func() controlplane.Target {
			return controlplane.Target{
				Address: m.address, ServerName: server, Roots: []string{filepath.Join(current, certs.RootsFile)},
				Certificate: filepath.Join(current, certs.ChainFile), Key: filepath.Join(current, certs.KeyFile),
			}
		},
		TokenFile: filepath.Join(a.dir, "token"), FirstRoots: filepath.Join(a.dir, "roots.pem"),
		Certificates: a.folder, Algorithm: pki.ECDSAP256,
		Proxy: func() envoy.Status {
			a.mu.Lock()
			defer a.mu.Unlock()
			return a.proxy
		},
		Count: func(context.Context) (envoy.Counts, error) { return envoy.Counts{Requests: 7}, nil },
		Log:   log,
	}
	for _, change := range changes {
		change(&options)
	}
	a.Client = manager.New(options)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { a.Run(ctx) })
	a.runs = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(func() {
		a.runs()
		a.keepsSecrets()
	})
	return a
}

func (a *agent) Write(line []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.log.Write(line)
}

func (a *agent) logged() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.log.String()
}

// keepsSecrets looks for the key and the token in all that the agent says.
func (a *agent) keepsSecrets() {
	a.t.Helper()
	said := a.logged() + fmt.Sprintf("%+v %+v", a.Status(), a.folder.Status())
	if a.t.Failed() {
		a.t.Log(said)
	}
	if strings.Contains(said, token) || strings.Contains(said, "PRIVATE KEY") {
		a.t.Error("a token or key is in what the agent says")
	}
	key, err := os.ReadFile(filepath.Join(certs.PathsIn(a.dir).Current, certs.KeyFile))
	if err == nil && strings.Contains(said, string(key[40:80])) {
		a.t.Error("the key is in what the agent says")
	}
}

func (a *agent) complains(with string) {
	a.t.Helper()
	NewWithT(a.t).Eventually(func() string { return a.Status().Complaint }).Within(patience).WithPolling(5*time.Millisecond).
		Should(ContainSubstring(with), "the stream's state is told")
}

func (a *agent) serves(generation int) {
	a.t.Helper()
	NewWithT(a.t).Eventually(func() int {
		if c := a.folder.Status().Certificate; c != nil {
			return c.Generation
		}
		return 0
	}).Within(patience).WithPolling(5*time.Millisecond).Should(Equal(generation), "certificates follow each other")
}

// writeRoots changes those for the first contact, as the kubelet does.
func (a *agent) writeRoots(roots []byte) {
	a.t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, "roots.pem"), roots, 0o600); err != nil {
		a.t.Fatal(err)
	}
}
