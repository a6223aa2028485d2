package agents_test

import (
	"cmp"
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	. "github.com/onsi/gomega"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"fairlead.dev/fairlead/internal/agentapi"
	"fairlead.dev/fairlead/internal/agents"
	"fairlead.dev/fairlead/internal/delivery"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/xds"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const domain = "cluster.local"

var (
	reviews = pki.Identity{TrustDomain: domain, Namespace: "shop", ServiceAccount: "reviews"}
	manager = pki.Identity{TrustDomain: domain, Namespace: "fairlead-system", ServiceAccount: "fairlead-manager"}
	ratings = pki.Identity{TrustDomain: domain, Namespace: "shop", ServiceAccount: "ratings"}
)

// mesh is a manager's network side: discovery and agents on one port, by TLS. Two Pods run:
// shop/reviews-1 as reviews, and shop/ratings-1 as ratings.
type mesh struct {
	*testing.T
	g       *WithT
	clock   *clocktesting.FakeClock
	source  *pki.Source
	table   *agents.Table
	address string
	serving *pki.Serving
	stop    func()
	// away: the other replicas do not find it as their leader.
	away bool

	mu sync.Mutex
	// tokens are those that are good, and the Pods that they are bound to.
	tokens map[string]*xds.Caller
	// fault is why nothing is issued, if it is not nil.
	fault error
}

func newMesh(t *testing.T) *mesh {
	t.Helper()
	m := newReplica(t, nil, nil)
	m.source.Set(must(pki.NewAuthority(m.generation(1))))
	m.g.Eventually(m.serving.Certificate).ShouldNot(BeNil(), "the manager has a certificate")
	return m
}

// newReplica is one more manager of the same mesh. Relay makes what it shall know of the others.
func newReplica(t *testing.T, source *pki.Source, relay func(*pki.Serving) *agents.Relay) *mesh {
	t.Helper()
	m := &mesh{
		T: t, g: NewWithT(t), clock: clocktesting.NewFakeClock(time.Now()), source: cmp.Or(source, pki.NewSource()),
		address: freeAddress(),
		tokens:  map[string]*xds.Caller{"token of reviews-1": {Namespace: "shop", ServiceAccount: "reviews", Pod: "reviews-1"}},
	}
	m.table = agents.NewTable(m.clock, nil)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	m.serving = pki.NewServing(m.source, manager, nil, clock.RealClock{}, log)
	options := agents.Options{
		Table: m.table, Source: m.source, Admit: m.admit, TrustDomain: domain,
		Issue: m.issue, Lifetime: func(pki.Identity) time.Duration { return time.Hour },
		MaxAge: func() time.Duration { return time.Hour }, Clock: m.clock, Log: log,
	}
	running := []func(context.Context) error{m.serving.Start}
	if relay != nil {
		options.Relay = relay(m.serving)
		running = append(running, options.Relay.Start)
	}
	authenticator := &agents.Authenticator{Source: m.source, TrustDomain: domain, Review: m.Review, Clock: m.clock, Metrics: agents.NewMetrics(nil)}
	cache := xds.NewCache(xds.Options{Clock: m.clock, Log: log, Report: func(delivery.Report) {}})
	cache.Publish(xds.Publication{Updates: []xds.Update{{Class: "class"}}})
	running = append(running, xds.NewServer(cache, xds.ServerOptions{
		Directory: m, Log: log,
		Network: &xds.Network{
			Address: m.address, TLS: agents.AskingTLS(m.serving.ServerConfig()), Authenticate: authenticator.Authenticate,
			Services: agents.NewServer(options).Register, MaxConnectionAge: time.Hour,
		},
	}).Start)
	ctx, stop := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	for _, start := range running {
		ended.Go(func() {
			if err := start(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	m.stop = sync.OnceFunc(func() {
		stop()
		ended.Wait()
	})
	t.Cleanup(m.stop)
	return m
}

func freeAddress() string {
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// generation is one that has been valid for a day.
func (m *mesh) generation(number int) *pki.Generation {
	return must(pki.NewGeneration(number, domain, time.Now().Add(-24*time.Hour), 365*24*time.Hour))
}

// admit knows the two Pods, as the publisher does.
func (m *mesh) admit(node string, caller *xds.Caller) error {
	for _, pod := range []struct{ name, account string }{{"reviews-1", "reviews"}, {"ratings-1", "ratings"}} {
		if node == "shop/"+pod.name {
			return caller.Permits("shop", pod.name, pod.account)
		}
	}
	return fmt.Errorf("there is no Pod %s", node)
}

// Class implements xds.Directory.
func (m *mesh) Class(client xds.Client, caller *xds.Caller) (string, error) {
	return "class", m.admit(client.Node, caller)
}

// Review is for agents.Authenticator.
func (m *mesh) Review(_ context.Context, token string) (*xds.Caller, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch caller := m.tokens[token]; {
	case token == "unanswered":
		return nil, errors.New("the API server is away")
	case caller == nil:
		return nil, fmt.Errorf("%w: unknown", agents.ErrToken)
	default:
		return caller, nil
	}
}

func (m *mesh) issue(ctx context.Context, request pki.Request, csr []byte) (chain, roots []byte, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fault != nil {
		return nil, nil, m.fault
	}
	return pki.Builtin(m.source, m.clock)(ctx, request, csr)
}

// credential is what a caller shows: a certificate, a token, both, or nothing.
type credential struct {
	certificate *tls.Certificate
	token       string
}

// certificate is one of a generation, for now.
func certificate(by *pki.Generation, who pki.Identity, now time.Time) credential {
	key := must(pki.ECDSAP256.NewKey())
	_, chain, err := by.Sign(pki.Request{Identity: who, PublicKey: key.Public(), Lifetime: time.Hour}, now)
	if err != nil {
		panic(err)
	}
	return paired(key, chain)
}

func paired(key crypto.Signer, chain []byte) credential {
	pair := must(tls.X509KeyPair(chain, must(pki.EncodeKey(key))))
	return credential{certificate: &pair}
}

// dial connects with a credential.
func (m *mesh) dial(shown credential) (*grpc.ClientConn, context.Context) {
	m.Helper()
	connection := must(grpc.NewClient(m.address, grpc.WithTransportCredentials(credentials.NewTLS(m.trusting(shown)))))
	ctx, cancel := context.WithCancel(context.Background())
	m.Cleanup(func() {
		cancel()
		_ = connection.Close()
	})
	if shown.token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+shown.token)
	}
	return connection, ctx
}

// trusting shows a credential's certificate, and takes any.
func (m *mesh) trusting(shown credential) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}
	if shown.certificate != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return shown.certificate, nil }
	}
	return config
}

// agent is the client's side of a stream.
type agent struct {
	*mesh
	stream grpc.ClientStream
	cancel context.CancelFunc
}

// connect opens a stream over a connection and says Hello.
func (m *mesh) connect(ctx context.Context, connection *grpc.ClientConn, hello *agentapi.Hello) *agent {
	m.Helper()
	ctx, cancel := context.WithCancel(ctx)
	stream := must(connection.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/fairlead.agent.v1.Agents/Connect", grpc.WaitForReady(true)))
	a := &agent{mesh: m, stream: stream, cancel: cancel}
	m.Cleanup(cancel)
	a.send(&agentapi.FromAgent{Message: &agentapi.FromAgent_Hello{Hello: hello}})
	return a
}

// join is an agent that shows a credential, speaks for a node, and was welcomed.
func (m *mesh) join(shown credential, node string) *agent {
	m.Helper()
	connection, ctx := m.dial(shown)
	a := m.connect(ctx, connection, &agentapi.Hello{Node: node, AgentVersion: "1", WantsCertificates: true})
	welcome := a.next().GetWelcome()
	m.g.Expect(welcome.GetReportInterval().AsDuration()).To(Equal(agents.DefaultReportInterval))
	m.g.Expect(welcome.GetRoots()).To(Equal(m.source.Get().Bundle()))
	m.g.Expect(welcome.GetIdentity()).To(Equal(reviews.String()))
	return a
}

func (a *agent) send(message *agentapi.FromAgent) {
	a.Helper()
	// What goes wrong is told by the next receive.
	_ = a.stream.SendMsg(message)
}

func (a *agent) receive() (*agentapi.FromManager, error) {
	message := &agentapi.FromManager{}
	return message, a.stream.RecvMsg(message)
}

func (a *agent) next() *agentapi.FromManager {
	a.Helper()
	message, err := a.receive()
	a.g.Expect(err).NotTo(HaveOccurred())
	return message
}

// leave ends the stream, and waits until the manager has noticed.
func (a *agent) leave(node string) {
	a.Helper()
	a.cancel()
	a.g.Eventually(func() bool { return a.known(node).Connected.IsZero() }).Should(BeTrue(), "the manager knows that the agent is gone")
}

func (a *agent) report(report *agentapi.Report) {
	a.send(&agentapi.FromAgent{Message: &agentapi.FromAgent_Report{Report: report}})
}

// ask sends a request for a certificate, and returns the answer.
func (a *agent) ask(csr []byte) *agentapi.FromManager {
	a.Helper()
	a.send(&agentapi.FromAgent{Message: &agentapi.FromAgent_SigningRequest{SigningRequest: &agentapi.SigningRequest{Id: 7, Csr: csr}}})
	return a.next()
}

// known is what the table has of a node.
func (m *mesh) known(node string) agents.Agent {
	for _, a := range m.table.Snapshot() {
		if a.Node == node {
			return a
		}
	}
	return agents.Agent{}
}

// discover opens a discovery stream for a node, and returns how it was refused, if it was.
func (m *mesh) discover(shown credential, node string) error {
	connection, ctx := m.dial(shown)
	stream := must(discovery.NewAggregatedDiscoveryServiceClient(connection).DeltaAggregatedResources(ctx, grpc.WaitForReady(true)))
	// What goes wrong is told by Recv.
	_ = stream.Send(&discovery.DeltaDiscoveryRequest{Node: &corev3.Node{Id: node}, TypeUrl: xds.ClusterType, ResourceNamesSubscribe: []string{"*"}})
	_, err := stream.Recv()
	return err
}

// poll asks for clusters by REST for a node, and returns how it was refused, if it was.
func (m *mesh) poll(shown credential, node string) error {
	transport := &http.Transport{TLSClientConfig: m.trusting(shown), DisableKeepAlives: true}
	request := must(http.NewRequest(http.MethodPost, "https://"+m.address+"/v3/discovery:clusters", strings.NewReader(`{"node":{"id":"`+node+`"}}`)))
	request.Header.Set("Authorization", "Bearer "+shown.token)
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	code := map[int]codes.Code{http.StatusOK: codes.OK, http.StatusUnauthorized: codes.Unauthenticated, http.StatusForbidden: codes.PermissionDenied}[response.StatusCode]
	return status.Error(code, string(must(io.ReadAll(response.Body))))
}

// attach opens an agent's stream for a node, and returns how it was refused, if it was.
func (m *mesh) attach(shown credential, node string) error {
	connection, ctx := m.dial(shown)
	_, err := m.connect(ctx, connection, &agentapi.Hello{Node: node}).receive()
	return err
}
