package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/internal/agentapi"
	"fairlead.dev/fairlead/internal/agents"
	"fairlead.dev/fairlead/internal/delivery"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/xds"
	"fairlead.dev/fairlead/test/testenv"
)

// network is the manager's side as it is released: discovery and agents on one port. One
// Pod is known to it, and one token.
type network struct {
	address string
	source  *pki.Source
	table   *agents.Table
	// proven are those that called for Envoy's configuration.
	mu     sync.Mutex
	proven []string
}

const (
	domain     = "cluster.local"
	boundToken = "bound-to-reviews-v1"
)

var managerIdentity = pki.Identity{TrustDomain: domain, Namespace: "fairlead-system", ServiceAccount: "fairlead-manager"}

// Class implements xds.Directory.
func (n *network) Class(client xds.Client, caller *xds.Caller) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.proven = append(n.proven, caller.String())
	return "class", n.admit(client.Node, caller)
}

func (n *network) admit(name string, caller *xds.Caller) error {
	if name != node {
		return fmt.Errorf("there is no Pod %s", name)
	}
	return caller.Permits("shop", "reviews-v1", "reviews")
}

// Review is for agents.Authenticator.
func (n *network) Review(_ context.Context, token string) (*xds.Caller, error) {
	if token != boundToken {
		return nil, fmt.Errorf("%w: unknown", agents.ErrToken)
	}
	return &xds.Caller{Namespace: "shop", ServiceAccount: "reviews", Pod: "reviews-v1"}, nil
}

// startNetwork serves listeners to the Pod, by their names.
func startNetwork(listeners map[string]types.Resource) *network {
	GinkgoHelper()
	first, err := pki.NewGeneration(1, domain, time.Now(), time.Hour)
	Expect(err).NotTo(HaveOccurred())
	authority, err := pki.NewAuthority(first)
	Expect(err).NotTo(HaveOccurred())
	free, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	Expect(free.Close()).To(Succeed())
	now, log := clock.RealClock{}, slog.New(slog.NewTextHandler(GinkgoWriter, nil))
	n := &network{address: free.Addr().String(), source: pki.NewSource(), table: agents.NewTable(now, nil)}
	n.source.Set(authority)
	service := agents.NewServer(agents.Options{
		Table: n.table, Source: n.source, Admit: n.admit, TrustDomain: domain, MaxAge: func() time.Duration { return time.Hour },
		Issue: pki.Builtin(n.source, now), Lifetime: func(pki.Identity) time.Duration { return time.Hour },
		ReportInterval: time.Second, Clock: now, Log: log,
	})
	authenticator := &agents.Authenticator{Source: n.source, TrustDomain: domain, Review: n.Review, Clock: now, Metrics: agents.NewMetrics(nil)}
	serving := pki.NewServing(n.source, managerIdentity, nil, now, log)
	update := xds.Update{Class: "class"}
	for name, listener := range listeners {
		resource, err := xds.NewResource(xds.Key{TypeURL: xds.ListenerType, Name: name}, listener, nil, nil)
		Expect(err).NotTo(HaveOccurred())
		update.Set = append(update.Set, resource)
	}
	cache := xds.NewCache(xds.Options{Clock: now, Log: log, Report: func(delivery.Report) {}})
	cache.Publish(xds.Publication{Updates: []xds.Update{update}})
	server := xds.NewServer(cache, xds.ServerOptions{Directory: n, Log: log, Network: &xds.Network{
		Address: n.address, TLS: agents.AskingTLS(serving.ServerConfig()), Authenticate: authenticator.Authenticate,
		Services: service.Register, MaxConnectionAge: time.Hour,
	}})
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, start := range []func(context.Context) error{serving.Start, server.Start} {
		running.Go(func() {
			defer GinkgoRecover()
			Expect(start(ctx)).To(Succeed())
		})
	}
	DeferCleanup(func() {
		stop()
		running.Wait()
	})
	return n
}

// reported is the last report of the Pod.
func (n *network) reported() *agentapi.Report {
	for _, a := range n.table.Snapshot() {
		if a.Node == node {
			return a.Report
		}
	}
	return nil
}

var _ = Describe("fairlead-agent proxy with --certificate-source=manager", func() {
	It("gets its certificates by the stream, and reports what Envoy serves", func(ctx context.Context) {
		base, err := testenv.SocketDir()
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(os.RemoveAll, base)
		raw := filepath.Join(base, "raw.sock")
		n := startNetwork(map[string]types.Resource{"inbound": toApp("app|9080", "mark"), "outbound|5432": rawToApp("app|9080", raw)})
		app := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		DeferCleanup(app.Close)
		token, roots := filepath.Join(base, "token"), filepath.Join(base, "roots.pem")
		Expect(os.WriteFile(token, []byte(boundToken), 0o600)).To(Succeed())
		Expect(os.WriteFile(roots, n.source.Get().Bundle(), 0o600)).To(Succeed())

		agent := startAgent(filepath.Join(base, "agent"), "--app=9080="+app.Listener.Addr().String(), "--xds-address="+n.address,
			"--xds-server-name="+managerIdentity.String(), "--certificate-source=manager", "--token-file="+token, "--manager-roots="+roots)
		agent.becomesReady()
		n.mu.Lock()
		Expect(n.proven).NotTo(BeEmpty())
		Expect(n.proven).To(HaveEach("shop/reviews"))
		n.mu.Unlock()

		By("reporting what is proven, and what Envoy counts")
		for range 3 {
			Expect(agent.answer(ctx)).To(HavePrefix("200 mark"))
		}
		root := pki.RootID(n.source.Get().Roots()[0])
		Eventually(n.reported).Within(patience).Should(And(
			HaveField("State", "live"), HaveField("Complaint", ""), HaveField("Requests", BeEquivalentTo(3)), HaveField("HandshakesFailed", BeEquivalentTo(0)),
			HaveField("Certificate.Uris", HaveExactElements("spiffe://cluster.local/ns/shop/sa/reviews")), HaveField("Certificate.Generation", BeEquivalentTo(1)),
			HaveField("Certificate.Root", root), HaveField("Certificate.Trusted", HaveExactElements(root)), HaveField("Certificate.Proven", Not(BeNil())),
			HaveField("RawConnections", BeEquivalentTo(0)), HaveField("RawQuiet", Not(BeNil())),
		))

		By("telling connections of TCP from those of HTTP, and when there was none")
		quiet := n.reported().GetRawQuiet().AsTime()
		connection, err := net.Dial("unix", raw)
		Expect(err).NotTo(HaveOccurred())
		address, err := agent.inbound()
		Expect(err).NotTo(HaveOccurred())
		idle, err := net.Dial("tcp", address)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(idle.Close)
		Expect(idle.Write([]byte("GET / HTTP/1.1\r\nHost: app\r\n\r\n"))).NotTo(BeZero())
		Eventually(n.reported).Within(patience).Should(And(HaveField("RawConnections", BeEquivalentTo(1)), HaveField("Requests", BeEquivalentTo(4))))
		Expect(n.reported().GetRawQuiet().AsTime()).To(BeTemporally(">=", quiet))
		Expect(connection.Close()).To(Succeed())
		ended := time.Now()
		Eventually(n.reported).Within(patience).Should(HaveField("RawConnections", BeEquivalentTo(0)))
		Expect(n.reported().GetRawQuiet().AsTime()).To(BeTemporally(">=", ended))

		By("trusting another root as soon as the manager does, without a restart")
		second, err := pki.NewGeneration(2, domain, time.Now(), time.Hour)
		Expect(err).NotTo(HaveOccurred())
		authority, err := n.source.Get().Add(second)
		Expect(err).NotTo(HaveOccurred())
		authority, err = authority.Trust(2)
		Expect(err).NotTo(HaveOccurred())
		n.source.Set(authority)
		Eventually(n.reported).Within(patience).Should(And(HaveField("Certificate.Trusted", HaveLen(2)), HaveField("Certificate.Proven", Not(BeNil()))))

		By("renewing when it is told to, by the root that signs then")
		authority, err = authority.Activate(2)
		Expect(err).NotTo(HaveOccurred())
		n.source.Set(authority)
		Expect(n.table.Renew(node, "authority")).To(BeTrue())
		next := pki.RootID(second.Root)
		Eventually(n.reported).Within(patience).Should(And(HaveField("Certificate.Root", next), HaveField("Certificate.Proven", Not(BeNil()))))

		By("counting on over a hot restart, whose Envoy is known by the new certificate when the old root is gone")
		authority, err = authority.Drop(1)
		Expect(err).NotTo(HaveOccurred())
		n.source.Set(authority)
		Eventually(n.reported).Within(patience).Should(And(HaveField("Certificate.Trusted", HaveExactElements(next)), HaveField("Certificate.Proven", Not(BeNil()))))
		agent.Signal(syscall.SIGHUP)
		Eventually(func() envoy.Status { return agent.status().Status }).Within(patience).Should(And(HaveField("Epoch", 1), HaveField("State", envoy.Live)))
		Expect(agent.answer(ctx)).To(HavePrefix("200 mark"))
		Eventually(n.reported).Within(patience).Should(And(HaveField("Epoch", BeEquivalentTo(1)), HaveField("Requests", BeEquivalentTo(5)), HaveField("Complaint", "")))

		By("keeping key and token to itself")
		key, err := os.ReadFile(filepath.Join(agent.dir, "certs", "current", "key.pem"))
		Expect(err).NotTo(HaveOccurred())
		response, err := agent.client.Get("http://agent/status")
		Expect(err).NotTo(HaveOccurred())
		defer func() { _ = response.Body.Close() }()
		said, err := io.ReadAll(response.Body)
		Expect(err).NotTo(HaveOccurred())
		Expect(said).To(ContainSubstring(`"manager": {`))
		for _, text := range []string{string(said), string(agent.Err.Contents())} {
			Expect(text).NotTo(Or(ContainSubstring("PRIVATE KEY"), ContainSubstring(string(key[40:80])), ContainSubstring(boundToken)))
		}
	})
})
