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
	"sync/atomic"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	clusterservice "github.com/envoyproxy/go-control-plane/envoy/service/cluster/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	endpointservice "github.com/envoyproxy/go-control-plane/envoy/service/endpoint/v3"
	listenerservice "github.com/envoyproxy/go-control-plane/envoy/service/listener/v3"
	routeservice "github.com/envoyproxy/go-control-plane/envoy/service/route/v3"
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
	// separate is whether proxies have a stream for each type.
	separate bool
	// position is how far the replica has followed the API server.
	position atomic.Uint64

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
	b.cache = xds.NewCache(xds.Options{Clock: steppedClock{b.clock}, Log: log, ReconnectGrace: grace, Position: b.position.Load, Report: func(r delivery.Report) {
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
	node    string
	variant bool // true for delta
	dialed  *grpc.ClientConn
	ctx     context.Context
	cancel  context.CancelFunc
	// done is closed once a stream has ended, and running is done once all have.
	done    chan struct{}
	running sync.WaitGroup

	mu       sync.Mutex
	streams  map[string]*clientStream // by type; all of them the same, unless they are separate
	received map[string][]got         // by type, unanswered
	ended    error
	// names are the subscriptions by name of the state-of-the-world variant.
	names map[string][]string
}

// clientStream is a stream in one of the variants. The first request by it names the node.
type clientStream struct {
	delta interface {
		Send(*discovery.DeltaDiscoveryRequest) error
		Recv() (*discovery.DeltaDiscoveryResponse, error)
	}
	sotw interface {
		Send(*discovery.DiscoveryRequest) error
		Recv() (*discovery.DiscoveryResponse, error)
	}
	named bool
}

// got is a response as far as a test looks at it.
type got struct {
	nonce, version string
	// resources are "name=hash of content" as the server versions them; in state of the
	// world, names only.
	names, removed []string
	// versions are those of the resources, by name.
	versions map[string]string
}

func (b *bench) connect(node string, delta bool) *proxy {
	b.Helper()
	connection, err := grpc.NewClient("unix:"+b.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	b.g.Expect(err).NotTo(HaveOccurred())
	b.Cleanup(func() { _ = connection.Close() })
	return b.over(connection, node, delta)
}

// over returns a proxy with streams over a connection.
func (b *bench) over(connection *grpc.ClientConn, node string, delta bool) *proxy {
	ctx, cancel := context.WithCancel(context.Background())
	p := &proxy{bench: b, node: node, variant: delta, dialed: connection, ctx: ctx, cancel: cancel, done: make(chan struct{}),
		streams: map[string]*clientStream{}, received: map[string][]got{}, names: map[string][]string{}}
	b.Cleanup(p.disconnect)
	return p
}

func (p *proxy) disconnect() {
	p.cancel()
	p.running.Wait()
}

// methods are those of separate streams, in state of the world and with changes only.
var methods = map[string][2]string{
	xds.ClusterType:  {clusterservice.ClusterDiscoveryService_StreamClusters_FullMethodName, clusterservice.ClusterDiscoveryService_DeltaClusters_FullMethodName},
	xds.EndpointType: {endpointservice.EndpointDiscoveryService_StreamEndpoints_FullMethodName, endpointservice.EndpointDiscoveryService_DeltaEndpoints_FullMethodName},
	xds.ListenerType: {listenerservice.ListenerDiscoveryService_StreamListeners_FullMethodName, listenerservice.ListenerDiscoveryService_DeltaListeners_FullMethodName},
	xds.ScopeType:    {routeservice.ScopedRoutesDiscoveryService_StreamScopedRoutes_FullMethodName, routeservice.ScopedRoutesDiscoveryService_DeltaScopedRoutes_FullMethodName},
	xds.RouteType:    {routeservice.RouteDiscoveryService_StreamRoutes_FullMethodName, routeservice.RouteDiscoveryService_DeltaRoutes_FullMethodName},
}

// stream returns the stream for a type, opened at the first use.
func (p *proxy) stream(typeURL string) *clientStream {
	p.Helper()
	key := ""
	method := [2]string{
		discovery.AggregatedDiscoveryService_StreamAggregatedResources_FullMethodName, discovery.AggregatedDiscoveryService_DeltaAggregatedResources_FullMethodName,
	}
	if p.separate {
		key, method = typeURL, methods[typeURL]
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if opened := p.streams[key]; opened != nil {
		return opened
	}
	opened := &clientStream{}
	which := 0
	if p.variant {
		which = 1
	}
	raw, err := p.dialed.NewStream(p.ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method[which])
	p.g.Expect(err).NotTo(HaveOccurred())
	if p.variant {
		opened.delta = &grpc.GenericClientStream[discovery.DeltaDiscoveryRequest, discovery.DeltaDiscoveryResponse]{ClientStream: raw}
	} else {
		opened.sotw = &grpc.GenericClientStream[discovery.DiscoveryRequest, discovery.DiscoveryResponse]{ClientStream: raw}
	}
	p.streams[key] = opened
	p.running.Go(func() { p.receive(opened) })
	return opened
}

func (p *proxy) receive(stream *clientStream) {
	for {
		var typeURL string
		var g got
		var err error
		if stream.delta != nil {
			var r *discovery.DeltaDiscoveryResponse
			if r, err = stream.delta.Recv(); err == nil {
				typeURL, g = r.GetTypeUrl(), got{nonce: r.GetNonce(), removed: r.GetRemovedResources()}
				g.versions = map[string]string{}
				for _, resource := range r.GetResources() {
					g.names = append(g.names, resource.GetName())
					g.versions[resource.GetName()] = resource.GetVersion()
				}
			}
		} else {
			var r *discovery.DiscoveryResponse
			if r, err = stream.sotw.Recv(); err == nil {
				typeURL, g = r.GetTypeUrl(), got{nonce: r.GetNonce(), version: r.GetVersionInfo(), names: namesOf(r)}
			}
		}
		p.mu.Lock()
		if err != nil {
			if p.ended == nil {
				p.ended = err
				close(p.done)
			}
			p.mu.Unlock()
			return
		}
		p.received[typeURL] = append(p.received[typeURL], g)
		p.mu.Unlock()
	}
}

func namesOf(r *discovery.DiscoveryResponse) []string {
	names := []string{}
	for _, body := range r.GetResources() {
		message, err := body.UnmarshalNew()
		if err != nil {
			panic(err)
		}
		names = append(names, nameOf(message))
	}
	return names
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
	stream := p.stream(typeURL)
	var node *corev3.Node
	if !stream.named {
		node, stream.named = &corev3.Node{Id: p.node}, true
	}
	var detail *statuspb.Status
	if refusal != "" {
		detail = &statuspb.Status{Code: 13, Message: refusal}
	}
	if stream.delta != nil {
		p.g.Expect(stream.delta.Send(&discovery.DeltaDiscoveryRequest{
			Node: node, TypeUrl: typeURL, ResponseNonce: nonce, ErrorDetail: detail,
			ResourceNamesSubscribe: subscribe, ResourceNamesUnsubscribe: unsubscribe, InitialResourceVersions: initial,
		})).To(Succeed())
		return
	}
	p.names[typeURL] = append(p.names[typeURL], subscribe...)
	p.names[typeURL] = slices.DeleteFunc(p.names[typeURL], func(n string) bool { return slices.Contains(unsubscribe, n) })
	p.g.Expect(stream.sotw.Send(&discovery.DiscoveryRequest{
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

// has reports whether a response of a type is there.
func (p *proxy) has(typeURL string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.received[typeURL]) > 0
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
	p.g.Consistently(func() bool { return p.has(typeURL) }, 50*time.Millisecond, 5*time.Millisecond).Should(BeFalse(), "no response of type %s", typeURL)
}

func prefixed(prefix string, names []string) []string {
	var all []string
	for _, name := range names {
		all = append(all, prefix+name)
	}
	return all
}
