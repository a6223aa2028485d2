package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"

	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/internal/agentapi"
	"fairlead.dev/fairlead/test/testenv"
)

// issuing is a manager that issues whatever an agent with a token or a certificate asks
// for, and notes what it is told.
type issuing struct {
	authority *testenv.Authority
	identity  string

	mu     sync.Mutex
	stream grpc.ServerStream
	tokens []string
	issued int
	report *agentapi.Report
}

func (m *issuing) register(server *grpc.Server) {
	server.RegisterService(&grpc.ServiceDesc{ServiceName: "fairlead.agent.v1.Agents", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
		StreamName: "Connect", ServerStreams: true, ClientStreams: true,
		Handler: func(_ any, s grpc.ServerStream) error { return m.serve(s) },
	}}}, m)
}

func (m *issuing) serve(s grpc.ServerStream) error {
	shown, _ := metadata.FromIncomingContext(s.Context())
	m.mu.Lock()
	m.stream, m.tokens = s, append(m.tokens, shown.Get("authorization")...)
	m.mu.Unlock()
	for {
		said := &agentapi.FromAgent{}
		if err := s.RecvMsg(said); err != nil {
			return err
		}
		answer, err := m.answer(said)
		if err == nil && answer != nil {
			err = s.SendMsg(answer)
		}
		if err != nil {
			return err
		}
	}
}

func (m *issuing) answer(said *agentapi.FromAgent) (*agentapi.FromManager, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch said := said.GetMessage().(type) {
	case *agentapi.FromAgent_Hello:
		return &agentapi.FromManager{Message: &agentapi.FromManager_Welcome{Welcome: &agentapi.Welcome{ReportInterval: durationpb.New(time.Second)}}}, nil
	case *agentapi.FromAgent_SigningRequest:
		csr, err := x509.ParseCertificateRequest(said.SigningRequest.GetCsr())
		if err != nil {
			return nil, err
		}
		chain, err := m.authority.Certify(m.identity, csr.PublicKey)
		m.issued++
		return &agentapi.FromManager{Message: &agentapi.FromManager_Issued{Issued: &agentapi.Issued{
			Id: said.SigningRequest.GetId(), Chain: chain, Roots: m.authority.Roots,
		}}}, err
	case *agentapi.FromAgent_Report:
		m.report = said.Report
	}
	return nil, nil
}

func (m *issuing) renew() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stream.SendMsg(&agentapi.FromManager{Message: &agentapi.FromManager_Renew{Renew: &agentapi.Renew{Reason: "window"}}})
}

func (m *issuing) reported() *agentapi.Report {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.report
}

var _ = Describe("fairlead-agent proxy with --certificate-source=manager", func() {
	const (
		identity = "spiffe://cluster.local/ns/fairlead-system/sa/fairlead-manager"
		workload = "spiffe://cluster.local/ns/shop/sa/reviews"
	)
	It("gets its certificates by the stream, and reports what Envoy serves", func(ctx context.Context) {
		base, err := testenv.SocketDir()
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(os.RemoveAll, base)
		authority, err := testenv.NewAuthority("root")
		Expect(err).NotTo(HaveOccurred())
		own, err := authority.Issue(identity)
		Expect(err).NotTo(HaveOccurred())
		config, err := own.MutualTLS(authority.Roots)
		Expect(err).NotTo(HaveOccurred())
		callers := &seen{}
		config.ClientAuth, config.MinVersion = tls.VerifyClientCertIfGiven, tls.VersionTLS13
		config.VerifyConnection = func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return nil
			}
			return callers.note(state)
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		Expect(err).NotTo(HaveOccurred())
		m := &issuing{authority: authority, identity: workload}
		c := newControlPlane(grpc.Creds(credentials.NewTLS(config)))
		m.register(c.server)
		c.start(listener)
		DeferCleanup(c.stop)
		Expect(c.serve("shop/reviews-v1", "1", toApp("app|9080", "mark"))).To(Succeed())
		app := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		DeferCleanup(app.Close)
		for file, content := range map[string]string{"token": "bound", "roots.pem": string(authority.Roots)} {
			Expect(os.WriteFile(filepath.Join(base, file), []byte(content), 0o600)).To(Succeed())
		}

		agent := startAgent(filepath.Join(base, "agent"), "--app=9080="+app.Listener.Addr().String(), "--xds-address="+listener.Addr().String(), "--xds-server-name="+identity,
			"--certificate-source=manager", "--token-file="+filepath.Join(base, "token"), "--manager-roots="+filepath.Join(base, "roots.pem"))
		agent.becomesReady()
		Expect(m.tokens).To(HaveExactElements("Bearer bound"))

		By("reporting what is proven, and what Envoy counts")
		for range 3 {
			Expect(agent.answer(ctx)).To(HavePrefix("200 mark"))
		}
		Eventually(m.reported).Within(patience).Should(And(
			HaveField("State", "live"), HaveField("Complaint", ""), HaveField("Requests", BeEquivalentTo(3)), HaveField("HandshakesFailed", BeEquivalentTo(0)),
			HaveField("Certificate.Uris", HaveExactElements(workload)), HaveField("Certificate.Generation", BeEquivalentTo(1)),
			HaveField("Certificate.Proven", Not(BeNil())), HaveField("RawConnections", BeEquivalentTo(0)), HaveField("RawQuiet", Not(BeNil())),
		))

		By("renewing when it is told to, without a restart")
		Expect(m.renew()).To(Succeed())
		Eventually(m.reported).Within(patience).Should(And(HaveField("Certificate.Generation", BeEquivalentTo(2)), HaveField("Certificate.Proven", Not(BeNil()))))

		By("counting on over a hot restart, whose Envoy is known by the new certificate")
		agent.Signal(syscall.SIGHUP)
		Eventually(func() envoy.Status { return agent.status().Status }).Within(patience).Should(And(HaveField("Epoch", 1), HaveField("State", envoy.Live)))
		Expect(agent.answer(ctx)).To(HavePrefix("200 mark"))
		Eventually(m.reported).Within(patience).Should(And(HaveField("Epoch", BeEquivalentTo(1)), HaveField("Requests", BeEquivalentTo(4))))
		serial := m.reported().GetCertificate().GetSerial()
		Expect(callers.all()).To(ContainElement(serial + " " + workload))

		By("keeping key and token to itself")
		key, err := os.ReadFile(filepath.Join(agent.dir, "certs", "current", "key.pem"))
		Expect(err).NotTo(HaveOccurred())
		response, err := agent.client.Get("http://agent/status")
		Expect(err).NotTo(HaveOccurred())
		defer func() { _ = response.Body.Close() }()
		content, err := io.ReadAll(response.Body)
		Expect(err).NotTo(HaveOccurred())
		said := string(content)
		Expect(said).To(ContainSubstring(`"manager": {`))
		for _, text := range []string{said, string(agent.Err.Contents())} {
			Expect(text).NotTo(Or(ContainSubstring("PRIVATE KEY"), ContainSubstring(string(key[40:80])), ContainSubstring("bound")))
		}
	})
})
