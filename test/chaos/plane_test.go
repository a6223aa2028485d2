package chaos

import (
	"context"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/delta/v3"
	"google.golang.org/grpc"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/translate"
)

// plane is a control plane that can be taken away and brought back.
type plane struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	t      testing.TB
	socket string
	cache  cache.SnapshotCache

	server  *grpc.Server
	serving sync.WaitGroup

	mu sync.Mutex
	// refusals are what proxies could not take, in their words.
	refusals []string
}

func startPlane(t testing.TB, socket string) *plane {
	t.Helper()
	p := &plane{t: t, socket: socket, cache: cache.NewSnapshotCache(true, cache.IDHash{}, nil)}
	p.start()
	t.Cleanup(p.stop)
	return p
}

func (p *plane) start() {
	p.t.Helper()
	listener, err := net.Listen("unix", p.socket)
	if err != nil {
		p.t.Fatal(err)
	}
	server := grpc.NewServer()
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(server, p)
	p.server = server
	p.serving.Go(func() { _ = server.Serve(listener) })
}

// stop breaks all streams; nobody listens any more.
func (p *plane) stop() {
	p.server.Stop()
	p.serving.Wait()
	_ = os.Remove(p.socket)
}

func (p *plane) DeltaAggregatedResources(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	return delta.NewServer(stream.Context(), p.cache, heard{p}).DeltaStreamHandler(stream, resource.AnyType)
}

// heard keeps what proxies refuse.
type heard struct{ *plane }

func (heard) OnDeltaStreamOpen(context.Context, int64, string) error { return nil }
func (heard) OnDeltaStreamClosed(int64, *corev3.Node)                {}
func (heard) OnStreamDeltaResponse(int64, *discoveryv3.DeltaDiscoveryRequest, *discoveryv3.DeltaDiscoveryResponse) {
}

func (h heard) OnStreamDeltaRequest(_ int64, request *discoveryv3.DeltaDiscoveryRequest) error {
	if detail := request.GetErrorDetail(); detail != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.refusals = append(h.refusals, detail.GetMessage())
	}
	return nil
}

func (p *plane) refused() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.refusals, "\n")
}

// serve gives the proxy of a workload what the mesh means for it. change may still change
// each resource, which is a copy.
func (p *plane) serve(store *mesh.Store, workload *mesh.Workload, version string, change func(translate.Resource)) {
	p.t.Helper()
	resources := map[resource.Type][]types.Resource{
		translate.ListenerType: {}, translate.RouteType: {}, translate.ScopedRouteType: {},
		translate.ClusterType: {}, translate.EndpointType: {},
	}
	for _, unit := range translate.Units(store, translate.ClassOf(store, workload)) {
		for _, r := range translate.Translate(store, unit).Resources {
			if cluster, ok := r.Message.(*clusterv3.Cluster); ok && cluster.GetType() != clusterv3.Cluster_EDS {
				continue
			}
			if change != nil {
				change(r)
			}
			resources[r.TypeURL] = append(resources[r.TypeURL], r.Message)
		}
	}
	snapshot, err := cache.NewSnapshot(version, resources)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cache.SetSnapshot(context.Background(), workload.Key().String(), snapshot); err != nil {
		p.t.Fatal(err)
	}
}
