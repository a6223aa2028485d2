package xds_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	. "github.com/onsi/gomega"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"fairlead.dev/fairlead/internal/delivery"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/xds"
)

// bench is a cache with a server on a real socket, on a clock that the test owns.
type bench struct {
	*testing.T
	g      *WithT
	cache  *xds.Cache
	clock  *clocktesting.FakeClock
	socket string

	mu      sync.Mutex
	reports map[mesh.ObjectID]delivery.Report
}

const grace = 10 * time.Second

// steppedClock runs what was due in goroutines of its own, as the real clock does.
type steppedClock struct{ *clocktesting.FakeClock }

func (c steppedClock) AfterFunc(d time.Duration, do func()) clock.Timer {
	return c.FakeClock.AfterFunc(d, func() { go do() })
}

// classes are what the directory of the tests knows: every node is of the class that its
// namespace names.
type classes struct{}

func (classes) Class(client xds.Client, _ *xds.Caller) (string, error) {
	if client.Node == "default/stranger" {
		return "", io.ErrUnexpectedEOF
	}
	class, _, _ := strings.Cut(client.Node, "/")
	return class, nil
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{
		T: t, g: NewWithT(t), clock: clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)),
		socket:  filepath.Join(t.TempDir(), "xds", "xds.sock"),
		reports: map[mesh.ObjectID]delivery.Report{},
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	b.cache = xds.NewCache(xds.Options{Clock: steppedClock{b.clock}, Log: log, ReconnectGrace: grace, Report: func(r delivery.Report) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.reports[r.Object] = r
	}})
	server := xds.NewServer(b.cache, xds.ServerOptions{Socket: b.socket, Directory: classes{}, Log: log})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		b.g.Expect(<-ended).To(Succeed())
	})
	b.g.Eventually(func() error {
		connection, err := net.Dial("unix", b.socket)
		if err == nil {
			_ = connection.Close()
		}
		return err
	}).Should(Succeed(), "the server listens")
	return b
}

func (b *bench) report(object mesh.ObjectID) delivery.Report {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reports[object]
}

// counts are a report's concerned, acknowledged, rejected and lost.
func (b *bench) counts(object mesh.ObjectID) func() []int {
	return func() []int {
		r := b.report(object)
		return []int{r.Concerned, r.Acknowledged, r.Rejected, r.Lost}
	}
}

func (b *bench) publish(objects map[mesh.ObjectID]int64, set []*xds.Resource, remove ...xds.Key) {
	b.cache.Publish(xds.Publication{
		Updates: []xds.Update{{Class: "default", Set: set, Remove: remove}},
		Objects: objects,
	})
}

func (b *bench) resource(typeURL, name string, message proto.Message, requires []string, owners ...mesh.ObjectID) *xds.Resource {
	b.Helper()
	r, err := xds.NewResource(xds.Key{TypeURL: typeURL, Name: name}, message, requires, owners)
	b.g.Expect(err).NotTo(HaveOccurred())
	return r
}

func (b *bench) cluster(name, content string, owners ...mesh.ObjectID) *xds.Resource {
	return b.resource(xds.ClusterType, name, &clusterv3.Cluster{Name: name, AltStatName: content}, nil, owners...)
}

func (b *bench) endpoints(name, content string, owners ...mesh.ObjectID) *xds.Resource {
	return b.resource(xds.EndpointType, name, &endpointv3.ClusterLoadAssignment{ClusterName: name,
		Endpoints: []*endpointv3.LocalityLbEndpoints{{Locality: &corev3.Locality{Zone: content}}}}, nil, owners...)
}

func (b *bench) listener(name, content string, requires ...string) *xds.Resource {
	return b.resource(xds.ListenerType, name, &listenerv3.Listener{Name: name, StatPrefix: content}, requires)
}

func (b *bench) scope(name string) *xds.Resource {
	return b.resource(xds.ScopeType, name, &routev3.ScopedRouteConfiguration{Name: name, RouteConfigurationName: name}, nil)
}

func (b *bench) route(name, content string, requires []string, owners ...mesh.ObjectID) *xds.Resource {
	return b.resource(xds.RouteType, name, &routev3.RouteConfiguration{Name: name, RequestHeadersToRemove: []string{content}}, requires, owners...)
}

// proxy is a client that answers only when the test says so.
type proxy struct {
	*bench
	node   string
	first  bool
	delta  discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	sotw   discovery.AggregatedDiscoveryService_StreamAggregatedResourcesClient
	cancel context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	received map[string][]got // by type, unanswered
	ended    error
	// names are the subscriptions by name of the state-of-the-world variant.
	names map[string][]string
}

// got is a response as far as a test looks at it.
type got struct {
	nonce, version string
	// resources are "name=hash of content" as the server versions them; in state of the
	// world, names only.
	names, removed []string
}

func (b *bench) connect(node string, delta bool) *proxy {
	b.Helper()
	connection, err := grpc.NewClient("unix:"+b.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	b.g.Expect(err).NotTo(HaveOccurred())
	ctx, cancel := context.WithCancel(context.Background())
	p := &proxy{bench: b, node: node, first: true, cancel: cancel, done: make(chan struct{}),
		received: map[string][]got{}, names: map[string][]string{}}
	client := discovery.NewAggregatedDiscoveryServiceClient(connection)
	if delta {
		p.delta, err = client.DeltaAggregatedResources(ctx)
	} else {
		p.sotw, err = client.StreamAggregatedResources(ctx)
	}
	b.g.Expect(err).NotTo(HaveOccurred())
	go p.receive()
	b.Cleanup(func() {
		p.disconnect()
		_ = connection.Close()
	})
	return p
}

func (p *proxy) disconnect() {
	p.cancel()
	<-p.done
}

func (p *proxy) receive() {
	defer close(p.done)
	for {
		var typeURL string
		var g got
		var err error
		if p.delta != nil {
			var r *discovery.DeltaDiscoveryResponse
			if r, err = p.delta.Recv(); err == nil {
				typeURL, g = r.GetTypeUrl(), got{nonce: r.GetNonce(), removed: r.GetRemovedResources()}
				for _, resource := range r.GetResources() {
					g.names = append(g.names, resource.GetName())
				}
			}
		} else {
			var r *discovery.DiscoveryResponse
			if r, err = p.sotw.Recv(); err == nil {
				typeURL, g = r.GetTypeUrl(), got{nonce: r.GetNonce(), version: r.GetVersionInfo(), names: []string{}}
				for _, body := range r.GetResources() {
					message, unpackErr := body.UnmarshalNew()
					if unpackErr != nil {
						panic(unpackErr)
					}
					g.names = append(g.names, nameOf(message))
				}
			}
		}
		p.mu.Lock()
		if err != nil {
			p.ended = err
			p.mu.Unlock()
			return
		}
		p.received[typeURL] = append(p.received[typeURL], g)
		p.mu.Unlock()
	}
}

func nameOf(message proto.Message) string {
	switch m := message.(type) {
	case *endpointv3.ClusterLoadAssignment:
		return m.GetClusterName()
	case interface{ GetName() string }:
		return m.GetName()
	}
	panic("a message without a name")
}

// subscribe asks for names; none means everything of the type.
func (p *proxy) subscribe(typeURL string, names ...string) {
	p.send(typeURL, "", "", names, nil, nil)
}

func (p *proxy) send(typeURL, nonce, refusal string, subscribe, unsubscribe []string, initial map[string]string) {
	p.Helper()
	var node *corev3.Node
	if p.first {
		node, p.first = &corev3.Node{Id: p.node}, false
	}
	var detail *statuspb.Status
	if refusal != "" {
		detail = &statuspb.Status{Code: 13, Message: refusal}
	}
	if p.delta != nil {
		p.g.Expect(p.delta.Send(&discovery.DeltaDiscoveryRequest{
			Node: node, TypeUrl: typeURL, ResponseNonce: nonce, ErrorDetail: detail,
			ResourceNamesSubscribe: subscribe, ResourceNamesUnsubscribe: unsubscribe, InitialResourceVersions: initial,
		})).To(Succeed())
		return
	}
	p.names[typeURL] = append(p.names[typeURL], subscribe...)
	p.names[typeURL] = slices.DeleteFunc(p.names[typeURL], func(n string) bool { return slices.Contains(unsubscribe, n) })
	p.g.Expect(p.sotw.Send(&discovery.DiscoveryRequest{
		Node: node, TypeUrl: typeURL, ResponseNonce: nonce, ErrorDetail: detail, ResourceNames: p.names[typeURL],
	})).To(Succeed())
}

// next waits for the next response of a type.
func (p *proxy) next(typeURL string) got {
	p.Helper()
	var g got
	p.g.Eventually(func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.received[typeURL]) == 0 {
			return false
		}
		g, p.received[typeURL] = p.received[typeURL][0], p.received[typeURL][1:]
		return true
	}).Should(BeTrue(), "a response of type %s comes", typeURL)
	return g
}

// take waits for the next response, checks what it carries and acknowledges it.
func (p *proxy) take(typeURL string, names ...string) {
	p.Helper()
	g := p.expect(typeURL, names...)
	p.send(typeURL, g.nonce, "", nil, nil, nil)
}

// refuse waits for the next response, checks what it carries and refuses it.
func (p *proxy) refuse(typeURL, message string, names ...string) {
	p.Helper()
	g := p.expect(typeURL, names...)
	p.send(typeURL, g.nonce, message, nil, nil, nil)
}

func (p *proxy) expect(typeURL string, names ...string) got {
	p.Helper()
	g := p.next(typeURL)
	p.g.Expect(slices.Concat(g.names, prefixed("-", g.removed))).To(ConsistOf(names), "what a response of %s carries", typeURL)
	return g
}

// nothing checks that no response of a type is there, after the server has answered a
// question that it could only answer later: it handles a stream's requests in order.
func (p *proxy) nothing(typeURL string) {
	p.Helper()
	p.g.Consistently(func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.received[typeURL])
	}, 50*time.Millisecond, 5*time.Millisecond).Should(BeZero(), "no response of type %s", typeURL)
}

func prefixed(prefix string, names []string) []string {
	var all []string
	for _, name := range names {
		all = append(all, prefix+name)
	}
	return all
}
