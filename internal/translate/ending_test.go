package translate_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	. "github.com/onsi/gomega"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/translate"
)

const reviewsHost = "reviews.default.svc.cluster.local"

// A Pod ends while others call it: no request is lost, tried once or more often, whether
// its callers hear of it before its own proxy drains, or after. That proxy ends as soon as
// nobody is connected to it.
func TestEndpointThatEnds(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"callers first", "proxy first"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			caller := startLive(t, "ending.yaml", fromFiles)
			store := caller.mesh("ending.yaml")
			leaving, end := caller.callee(store, "reviews-1", 31)
			caller.callee(store, "reviews-2", 32)
			load := caller.load(
				"http://reviews:9080/work", "http://reviews:9081/work", "http://reviews:9080/once", "http://reviews:9081/once")
			g := NewWithT(t)
			both := Equal(map[string]bool{"reviews-1": true, "reviews-2": true})
			g.Eventually(load.servers).WithTimeout(20*time.Second).Should(both, "both serve")
			g.Expect(leaving.active("inbound")).NotTo(Equal("0"))

			tell := func() {
				// What the API server says of a Pod that is being deleted.
				endpoints := slices.Clone(store.Endpoints(reviewsHost))
				for i := range endpoints {
					if endpoints[i].Address.String() == "198.19."+caller.part+".21" {
						endpoints[i].Ready, endpoints[i].Terminating = false, true
					}
				}
				store.SetEndpoints(reviewsHost, "reviews-a", endpoints)
				caller.writeEndpoints(store)
			}
			if order == "callers first" {
				tell()
				leaving.post("/drain_listeners?graceful&inboundonly")
			} else {
				leaving.post("/drain_listeners?graceful&inboundonly")
				served := load.count()
				g.Eventually(load.count).WithTimeout(20*time.Second).Should(BeNumerically(">", served+500), "callers go on for a while")
				tell()
			}
			g.Eventually(leaving.active).WithArguments("inbound").WithTimeout(20*time.Second).Should(Equal("0"), "callers let go of it")
			end()
			served := load.count()
			g.Eventually(load.count).WithTimeout(20*time.Second).Should(BeNumerically(">", served+200), "the other goes on")
			load.stop()
			t.Logf("%s: %d requests, %d failed", order, load.count(), len(load.failures()))
			g.Expect(load.failures()).To(BeEmpty())
		})
	}
}

// A Pod is gone without a word. Of the requests made from then on, those that may be tried
// again find the other one, though the one that is gone looks as if it had least to do.
func TestEndpointThatIsGone(t *testing.T) {
	t.Parallel()
	caller := startLive(t, "ending.yaml", fromFiles)
	store := caller.mesh("ending.yaml")
	_, end := caller.callee(store, "reviews-1", 31)
	caller.callee(store, "reviews-2", 32)
	end()
	load := caller.load("http://reviews:9080/work", "http://reviews:9081/work")
	NewWithT(t).Eventually(load.count).WithTimeout(20 * time.Second).Should(BeNumerically(">", 500))
	load.stop()
	NewWithT(t).Expect(load.failures()).To(BeEmpty())
}

// fromFiles lets clusters find their endpoints in files.
func fromFiles(l *live, all *inlined) {
	for _, cluster := range all.Clusters {
		cluster.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}
		cluster.LoadAssignment = nil
		cluster.EdsClusterConfig = &clusterv3.Cluster_EdsClusterConfig{EdsConfig: &corev3.ConfigSource{
			ResourceApiVersion: corev3.ApiVersion_V3,
			ConfigSourceSpecifier: &corev3.ConfigSource_PathConfigSource{PathConfigSource: &corev3.PathConfigSource{
				Path: filepath.Join(l.dir, cluster.Name),
			}},
		}}
	}
	l.writeEndpoints(l.mesh("ending.yaml"))
}

// writeEndpoints replaces the files as Envoy wants it, by moving others to their place.
func (l *live) writeEndpoints(store *mesh.Store) {
	l.t.Helper()
	for _, resource := range translate.Translate(store, translate.Unit{Kind: translate.UnitEndpoints, Host: reviewsHost}).Resources {
		text, err := protojson.Marshal(&discoveryv3.DiscoveryResponse{Resources: []*anypb.Any{anyOf(l.t, resource.Message)}})
		if err != nil {
			l.t.Fatal(err)
		}
		path := filepath.Join(l.dir, resource.Name)
		if err := os.WriteFile(path+".new", text, 0o600); err != nil {
			l.t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			l.t.Fatal(err)
		}
	}
}

// callee runs the proxy of another Pod of the mesh, and its application.
func (l *live) callee(store *mesh.Store, pod string, app int) (*live, func()) {
	l.t.Helper()
	other := newLive(l.t, l.part)
	other.serveHTTP(pod, l.address(app)+":9080")
	all := other.inline(store, pod)
	all.Clusters = append(all.Clusters, other.appAt(9080, app))
	end := other.run(all)
	NewWithT(l.t).Eventually(func() string { return other.stat("server.state") }).
		WithTimeout(20*time.Second).Should(Equal("0"), "the proxy is live")
	return other, end
}

// load is about 500 requests a second. Each takes a while, so that some are under way
// whenever something happens.
type load struct {
	stop func()

	mu     sync.Mutex
	seen   map[string]bool
	failed []string
	total  int
}

func (l *live) load(targets ...string) *load {
	running := &load{seen: map[string]bool{}}
	ctx, cancel := context.WithCancel(l.t.Context())
	proxy := &url.URL{Scheme: "http", Host: l.address(10) + ":15001"}
	transport := &http.Transport{Proxy: http.ProxyURL(proxy), MaxIdleConnsPerHost: 100}
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	var workers sync.WaitGroup
	for i := range 12 {
		target := targets[i%len(targets)]
		workers.Go(func() {
			pace := time.NewTicker(24 * time.Millisecond)
			defer pace.Stop()
			for ctx.Err() == nil {
				<-pace.C
				running.note(ask(client, target))
			}
		})
	}
	running.stop = sync.OnceFunc(func() {
		cancel()
		workers.Wait()
		transport.CloseIdleConnections()
	})
	l.t.Cleanup(running.stop)
	return running
}

// ask returns who answered, or what went wrong.
func ask(client *http.Client, target string) (server, failure string) {
	response, err := client.Get(target)
	if err != nil {
		return "", err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return "", fmt.Sprintf("%s: %s %s %v", target, response.Status, body, err)
	}
	return response.Header.Get("Server"), ""
}

func (l *load) note(server, failure string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total++
	if failure != "" {
		l.failed = append(l.failed, failure)
		return
	}
	l.seen[server] = true
}

func (l *load) servers() map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := map[string]bool{}
	for server := range l.seen {
		seen[server] = true
	}
	return seen
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

func (l *load) failures() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.failed)
}
