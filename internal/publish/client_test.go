package publish_test

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	. "github.com/onsi/gomega"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/internal/delivery"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
	"fairlead.dev/fairlead/internal/publish"
	"fairlead.dev/fairlead/internal/xds"
)

// line is the whole way from a store to proxies, served on a real socket.
type line struct {
	*testing.T
	g      *WithT
	store  *mesh.Store
	primed chan struct{}
	socket string

	mu         sync.Mutex
	findings   map[mesh.ObjectID][]string
	deliveries map[mesh.ObjectID]delivery.Report
}

func newLine(t *testing.T) *line { return newLineWith(t, 0, 0) }

// newLineWith gives proxies that were served before a start time to reconnect, and sends
// everything again and again.
func newLineWith(t *testing.T, grace, refresh time.Duration) *line {
	t.Helper()
	l := &line{
		T: t, g: NewWithT(t), store: mesh.NewStore(), primed: make(chan struct{}),
		socket:   filepath.Join(t.TempDir(), "x", "xds.sock"),
		findings: map[mesh.ObjectID][]string{}, deliveries: map[mesh.ObjectID]delivery.Report{},
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	cache := xds.NewCache(xds.Options{Clock: clock.RealClock{}, Log: log, ReconnectGrace: grace, Report: func(r delivery.Report) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.deliveries[r.Object] = r
	}})
	publisher := publish.New(publish.Options{
		Store: l.store, Cache: cache, Table: l, Clock: clock.RealClock{}, Log: log, Primed: l.primed, Refresh: refresh,
	})
	server := xds.NewServer(cache, xds.ServerOptions{Socket: l.socket, After: publisher.Published(), Directory: publisher, Log: log})
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, start := range []func(context.Context) error{publisher.Start, server.Start} {
		running.Go(func() {
			if err := start(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	return l
}

// Findings implements publish.Sink.
func (l *line) Findings(object mesh.ObjectID, findings []message.Finding) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.findings[object] = nil
	for _, finding := range findings {
		l.findings[object] = append(l.findings[object], finding.Code+" "+finding.Path)
	}
}

func (l *line) found(object mesh.ObjectID) func() []string {
	return func() []string {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.findings[object]
	}
}

func (l *line) acknowledged(object mesh.ObjectID, generation int64) {
	l.Helper()
	l.g.Eventually(func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		r := l.deliveries[object]
		return r.Generation == generation && r.Concerned > 0 && r.Acknowledged == r.Concerned
	}).Should(BeTrue(), "%s in generation %d is acknowledged by all whom it concerns", object, generation)
}

func (l *line) prime() {
	close(l.primed)
	l.g.Eventually(func() error {
		connection, err := net.Dial("unix", l.socket)
		if err == nil {
			_ = connection.Close()
		}
		return err
	}).Should(Succeed(), "proxies are served")
}

// eager is a proxy that takes everything and asks for what it is referred to, as Envoy does.
type eager struct {
	*line
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	news []string // "cluster NAME", "-route NAME", since the last look
}

func (l *line) connect(node string) *eager {
	l.Helper()
	connection, err := grpc.NewClient("unix:"+l.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	l.g.Expect(err).NotTo(HaveOccurred())
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(connection).DeltaAggregatedResources(ctx)
	l.g.Expect(err).NotTo(HaveOccurred())
	e := &eager{line: l, cancel: cancel, done: make(chan struct{})}
	for i, typeURL := range []string{xds.ClusterType, xds.ListenerType, xds.ScopeType} {
		request := &discovery.DeltaDiscoveryRequest{TypeUrl: typeURL, ResourceNamesSubscribe: []string{"*"}}
		if i == 0 {
			request.Node = &corev3.Node{Id: node}
		}
		if err := stream.Send(request); i == 0 {
			l.g.Expect(err).NotTo(HaveOccurred())
		} // A later one fails if the proxy was refused by then.
	}
	go e.take(stream)
	l.Cleanup(func() {
		cancel()
		<-e.done
		_ = connection.Close()
	})
	return e
}

func (e *eager) take(stream discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient) {
	defer close(e.done)
	routes := map[string]string{} // by scope
	for {
		response, err := stream.Recv()
		if err != nil {
			return
		}
		wanted, unwanted := map[string][]string{}, map[string][]string{}
		e.mu.Lock()
		for _, resource := range response.GetResources() {
			e.news = append(e.news, xds.Key{TypeURL: response.GetTypeUrl(), Name: resource.GetName()}.String())
			switch response.GetTypeUrl() {
			case xds.ClusterType:
				wanted[xds.EndpointType] = append(wanted[xds.EndpointType], resource.GetName())
			case xds.ScopeType:
				scope := &routev3.ScopedRouteConfiguration{}
				if err := resource.GetResource().UnmarshalTo(scope); err != nil {
					panic(err)
				}
				wanted[xds.RouteType] = append(wanted[xds.RouteType], scope.GetRouteConfigurationName())
				routes[scope.GetName()] = scope.GetRouteConfigurationName()
			}
		}
		for _, name := range response.GetRemovedResources() {
			e.news = append(e.news, "-"+xds.Key{TypeURL: response.GetTypeUrl(), Name: name}.String())
			switch response.GetTypeUrl() {
			case xds.ClusterType:
				unwanted[xds.EndpointType] = append(unwanted[xds.EndpointType], name)
			case xds.ScopeType:
				unwanted[xds.RouteType] = append(unwanted[xds.RouteType], routes[name])
			}
		}
		e.mu.Unlock()
		_ = stream.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: response.GetTypeUrl(), ResponseNonce: response.GetNonce()})
		for _, typeURL := range []string{xds.EndpointType, xds.RouteType} {
			if len(wanted[typeURL])+len(unwanted[typeURL]) > 0 {
				_ = stream.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: typeURL,
					ResourceNamesSubscribe: wanted[typeURL], ResourceNamesUnsubscribe: unwanted[typeURL]})
			}
		}
	}
}

// receives waits until the proxy was sent exactly these since the last look.
func (e *eager) receives(news ...string) {
	e.Helper()
	slices.Sort(news)
	look := func() []string {
		e.mu.Lock()
		defer e.mu.Unlock()
		sorted := slices.Sorted(slices.Values(e.news))
		return slices.Compact(sorted)
	}
	e.g.Eventually(look).Should(Equal(news))
	e.g.Consistently(look, 30*time.Millisecond, 5*time.Millisecond).Should(Equal(news))
	e.mu.Lock()
	e.news = nil
	e.mu.Unlock()
}

// forget waits until nothing has come for a while and drops what came.
func (e *eager) forget() {
	e.Helper()
	before := -1
	e.g.Eventually(func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		quiet := len(e.news) == before
		before = len(e.news)
		return quiet && before > 0
	}, 5*time.Second, 50*time.Millisecond).Should(BeTrue(), "the first configuration is complete")
	e.mu.Lock()
	e.news = nil
	e.mu.Unlock()
}

// times is how often the proxy was sent a resource since the last look.
func (e *eager) times(what string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, news := range e.news {
		if news == what {
			n++
		}
	}
	return n
}
