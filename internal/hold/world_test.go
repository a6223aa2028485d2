package hold_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	. "github.com/onsi/gomega"
	"go.uber.org/goleak"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/anypb"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/internal/delivery"
	"fairlead.dev/fairlead/internal/hold"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/xds"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a holder before the real delivery, with a translation that makes a listener of each
// group of objects: its content lists which generation of each object is in use, "a@1 b@2".
// What a proxy refuses is said in these words.
type world struct {
	*testing.T
	*WithT
	holder *hold.Holder
	cache  *xds.Cache
	socket string
	wake   chan struct{}

	mu      sync.Mutex
	inUse   map[string]int64
	touched map[mesh.ObjectID]int64
	told    map[string][]delivery.Report
}

func named(name string) mesh.ObjectID {
	return mesh.ObjectID{Kind: "VirtualService", Namespace: "default", Name: name}
}

// group is the listener that an object is in: "a/1" and "a/2" share "a".
func group(name string) string { return strings.Split(name, "/")[0] }

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		T: t, WithT: NewWithT(t), socket: filepath.Join(t.TempDir(), "x", "xds.sock"), wake: make(chan struct{}, 1),
		inUse: map[string]int64{}, touched: map[mesh.ObjectID]int64{}, told: map[string][]delivery.Report{},
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	w.holder = hold.New(hold.Options{Clock: clock.RealClock{}, Log: log, Report: func(r delivery.Report) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.told[r.Object.Name] = append(w.told[r.Object.Name], r)
	}})
	w.cache = xds.NewCache(xds.Options{Clock: clock.RealClock{}, Log: log, Report: w.holder.Delivered})
	server := xds.NewServer(w.cache, xds.ServerOptions{Socket: w.socket, Directory: everybody{}, Log: log})
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { w.Check(server.Start(ctx)) })
	running.Go(func() {
		for {
			select {
			case <-w.wake:
				w.publish()
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	w.publish()
	w.Eventually(func() error {
		connection, err := net.Dial("unix", w.socket)
		if err == nil {
			_ = connection.Close()
		}
		return err
	}).Should(Succeed(), "proxies are served")
	return w
}

func (w *world) Check(err error) {
	if err != nil {
		w.Error(err)
	}
}

// everybody is of one class.
type everybody struct{}

func (everybody) Class(xds.Client, *xds.Caller) (string, error) { return "default", nil }

// use is what specs do to the store.
func (w *world) use(name string, generation int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inUse[name], w.touched[named(name)] = generation, generation
	if generation == 0 {
		delete(w.inUse, name)
		w.touched[named(name)] = mesh.DeletedGeneration
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *world) publish() {
	w.mu.Lock()
	contents, owners := map[string][]string{}, map[string][]mesh.ObjectID{}
	for _, name := range slices.Sorted(maps.Keys(w.inUse)) {
		contents[group(name)] = append(contents[group(name)], fmt.Sprintf("%s@%d", name, w.inUse[name]))
		owners[group(name)] = append(owners[group(name)], named(name))
	}
	touched := w.touched
	w.touched = map[mesh.ObjectID]int64{}
	w.mu.Unlock()
	update := xds.Update{Class: "default"}
	for name, content := range contents {
		listener := &listenerv3.Listener{Name: name, StatPrefix: strings.Join(content, " ")}
		resource, err := xds.NewResource(xds.Key{TypeURL: xds.ListenerType, Name: name}, listener, nil, owners[name])
		w.Check(err)
		update.Set = append(update.Set, resource)
	}
	for id := range touched {
		if _, used := contents[group(id.Name)]; !used {
			update.Remove = append(update.Remove, xds.Key{TypeURL: xds.ListenerType, Name: group(id.Name)})
		}
	}
	w.cache.Publish(xds.Publication{Updates: []xds.Update{update}, Objects: touched})
}

// observation is an object in a generation that is accepted.
func (w *world) observation(name string, generation int64, written ...hold.Record) hold.Observation {
	return hold.Observation{
		Object: named(name), UID: types.UID("of " + name), Generation: generation, Spec: w.spec(name, generation),
		Remove: func() { w.use(name, 0) }, Written: written,
	}
}

func (w *world) spec(name string, generation int64) *hold.Spec {
	return &hold.Spec{Generation: generation, Set: func() { w.use(name, generation) }}
}

// write changes objects in one instant: "a@2".
func (w *world) write(versions ...string) {
	for _, version := range versions {
		var name string
		var generation int64
		_, err := fmt.Sscanf(strings.Replace(version, "@", " ", 1), "%s %d", &name, &generation)
		w.Check(err)
		w.holder.Observe(w.observation(name, generation))
	}
}

// last is what was told of an object last.
func (w *world) last(name string) delivery.Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	reports := w.told[name]
	if len(reports) == 0 {
		return delivery.Report{}
	}
	return reports[len(reports)-1]
}

// runs waits until it is told that every proxy runs these versions.
func (w *world) runs(versions ...string) {
	w.Helper()
	for _, version := range versions {
		name, _, _ := strings.Cut(version, "@")
		w.Eventually(func() string {
			r := w.last(name)
			if r.Concerned == 0 || r.Acknowledged < r.Concerned {
				return "not everywhere"
			}
			return fmt.Sprintf("%s@%d", name, r.Generation)
		}, 4*time.Second, time.Millisecond).Should(Equal(version), "every proxy runs it")
	}
}

// holds waits until it is told that a version is held, for another generation in its place.
func (w *world) holds(version string, serving int64) {
	w.Helper()
	name, _, _ := strings.Cut(version, "@")
	w.Eventually(func() string {
		r := w.last(name)
		if !r.Held || r.Serving != serving {
			return "not held"
		}
		return fmt.Sprintf("%s@%d", name, r.Generation)
	}, 4*time.Second, time.Millisecond).Should(Equal(version), "it is held at %d", serving)
}

// proxy takes what it is sent, unless a listener has one of the words that it refuses; a word
// "a@2+b@2" is refused if both are there.
type proxy struct {
	*world
	refuses []string

	mu   sync.Mutex
	runs map[string]string // nil until the first response
}

func (w *world) connect(node string, delta bool, refuses ...string) *proxy {
	w.Helper()
	connection, err := grpc.NewClient("unix:"+w.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	w.Expect(err).NotTo(HaveOccurred())
	p := &proxy{world: w, refuses: refuses}
	ctx, cancel := context.WithCancel(context.Background())
	client := discovery.NewAggregatedDiscoveryServiceClient(connection)
	var running sync.WaitGroup
	running.Go(func() {
		if delta {
			p.takeDelta(ctx, client, node)
		} else {
			p.takeWhole(ctx, client, node)
		}
	})
	w.Cleanup(func() {
		cancel()
		running.Wait()
		_ = connection.Close()
	})
	w.Eventually(func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.runs != nil }).Should(BeTrue(), "%s is served", node)
	return p
}

func (p *proxy) takeDelta(ctx context.Context, client discovery.AggregatedDiscoveryServiceClient, node string) {
	stream, err := client.DeltaAggregatedResources(ctx)
	p.Check(err)
	request := &discovery.DeltaDiscoveryRequest{Node: &corev3.Node{Id: node}, TypeUrl: xds.ListenerType}
	for stream.Send(request) == nil {
		response, err := stream.Recv()
		if err != nil {
			return
		}
		var resources []*anypb.Any
		for _, resource := range response.GetResources() {
			resources = append(resources, resource.GetResource())
		}
		request = &discovery.DeltaDiscoveryRequest{TypeUrl: xds.ListenerType, ResponseNonce: response.GetNonce()}
		request.ErrorDetail = p.take(resources, response.GetRemovedResources())
	}
}

func (p *proxy) takeWhole(ctx context.Context, client discovery.AggregatedDiscoveryServiceClient, node string) {
	stream, err := client.StreamAggregatedResources(ctx)
	p.Check(err)
	version := ""
	request := &discovery.DiscoveryRequest{Node: &corev3.Node{Id: node}, TypeUrl: xds.ListenerType}
	for stream.Send(request) == nil {
		response, err := stream.Recv()
		if err != nil {
			return
		}
		request = &discovery.DiscoveryRequest{TypeUrl: xds.ListenerType, ResponseNonce: response.GetNonce()}
		if request.ErrorDetail = p.take(response.GetResources(), nil); request.ErrorDetail == nil {
			version = response.GetVersionInfo()
		}
		request.VersionInfo = version
	}
}

// take returns what is wrong with a response, nil if the proxy runs it now.
func (p *proxy) take(resources []*anypb.Any, removed []string) *statuspb.Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.runs == nil {
		p.runs = map[string]string{}
	}
	runs := maps.Clone(p.runs)
	for _, name := range removed {
		delete(runs, name)
	}
	for _, body := range resources {
		var listener listenerv3.Listener
		p.Check(body.UnmarshalTo(&listener))
		content := strings.Fields(listener.GetStatPrefix())
		for _, word := range p.refuses {
			if !slices.ContainsFunc(strings.Split(word, "+"), func(w string) bool { return !slices.Contains(content, w) }) {
				return &statuspb.Status{Code: 3, Message: "no " + word}
			}
		}
		runs[listener.GetName()] = listener.GetStatPrefix()
	}
	p.runs = runs
	return nil
}
