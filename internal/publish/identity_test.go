package publish_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/agent/bootstrap"
	"fairlead.dev/fairlead/agent/certs"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/test/testenv"
)

const identities = "spiffe://cluster.local/ns/default/sa/"

// Pods of one service account take the place of another's, under load. As it happens in
// Kubernetes, where an endpoint is there before it is ready, no connection is made to an
// identity that the caller does not believe. Where it is ready at once a handshake may fail in
// the moment in which Envoy replaces the cluster, and no request does. TCP stays connected.
func TestServiceAccountsChangeUnderLoad(t *testing.T) {
	l := newLine(t)
	part := os.Getpid()%200 + 50
	address := func(last int) netip.Addr { return netip.AddrFrom4([4]byte{198, 19, byte(part), byte(last)}) }
	loopback := func(last int) string { return mesh.LoopbackAddress(address(last)).String() }
	root, err := testenv.NewAuthority("root")
	l.g.Expect(err).NotTo(HaveOccurred())

	l.store.SetService(&mesh.Service{
		Origin: mesh.Origin{ObjectID: object("Service", "reviews")},
		Host:   "reviews" + domain, Name: "reviews", Namespace: "default",
		Ports: []mesh.ServicePort{{Name: "http", Number: 9080, Protocol: mesh.HTTP}, {Name: "tcp", Number: 9081, Protocol: mesh.TCP}},
	})
	pod := func(name string, last int) {
		l.store.SetWorkload(&mesh.Workload{
			Namespace: "default", Name: name, ServiceAccount: name, Address: address(last),
			Ready: true, Explicit: true, HasCertificates: true, MTLS: mesh.MTLSStrict,
			OutboundTCP: []mesh.OutboundTCP{{Host: "reviews" + domain, Port: 9081, ListenPort: 13081}},
		})
	}
	endpointOf := func(name string, last int, port string, ready bool) {
		l.store.SetEndpoints("reviews"+domain, "reviews-"+name, []mesh.Endpoint{{
			Address: address(last), PortName: port, Port: 9080, Ready: ready, Serving: true,
			Workload: mesh.NamespacedName{Namespace: "default", Name: name},
		}})
	}
	endpoint := func(name string, last int) { endpointOf(name, last, "http", true) }
	unready := func(name string, last int) { endpointOf(name, last, "http", false) }
	gone := func(name string) { l.store.SetEndpoints("reviews"+domain, "reviews-"+name, nil) }
	pod("front", 10)
	for i, name := range []string{"one", "two", "three"} {
		pod(name, 21+i)
		l.serveMutualTLS(root, name, loopback(21+i)+":9080")
	}
	endpoint("one", 21)
	endpointOf("three", 23, "tcp", true)
	l.prime()

	dir, err := testenv.SocketDir()
	l.g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	mine, err := root.Issue(identities + "front")
	l.g.Expect(err).NotTo(HaveOccurred())
	folder := filepath.Join(dir, "front")
	l.g.Expect(os.Mkdir(folder, 0o700)).To(Succeed())
	store := certs.New(certs.Options{Dir: folder, Log: slog.New(slog.DiscardHandler), Changed: func(certs.Certificate) {}, Refused: func(error) {}})
	l.g.Expect(store.Prepare()).To(Succeed())
	l.g.Expect(store.Give(mine.Key, mine.Chain, mine.Roots)).To(Succeed())
	proxy, err := testenv.StartProxy(dir, bootstrap.Config{
		Namespace: "default", Pod: "front", Workload: "front", XDSSocket: l.socket,
	}, t.Output())
	l.g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { l.g.Expect(proxy.Stop()).To(Succeed()) })
	l.g.Eventually(func() bool { return proxy.Status().Ready() }).WithTimeout(20*time.Second).Should(BeTrue(), "Envoy has its configuration")

	raw, err := net.Dial("tcp", loopback(10)+":13081")
	l.g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = raw.Close() })
	reader := bufio.NewReader(raw)
	stays := func() {
		_, err := fmt.Fprint(raw, "GET / HTTP/1.1\r\nHost: reviews\r\n\r\n")
		l.g.Expect(err).NotTo(HaveOccurred())
		response, err := http.ReadResponse(reader, nil)
		l.g.Expect(err).NotTo(HaveOccurred())
		_, err = io.Copy(io.Discard, response.Body)
		l.g.Expect(err).NotTo(HaveOccurred())
		l.g.Expect(response.Body.Close()).To(Succeed())
	}
	stays()
	load := l.load("http://"+loopback(10)+":"+strconv.Itoa(mesh.ExplicitOutboundPort), "http://reviews:9080/")
	answered := func(by string) {
		before := load.by(by)
		l.g.Eventually(load.by).WithArguments(by).WithTimeout(20*time.Second).Should(BeNumerically(">", before), "%s is called", by)
	}
	envoy := func(path string) func() (string, error) {
		return func() (string, error) { return proxy.Get(t.Context(), path) }
	}
	takesThePlaceOf := func(next string, nextLast int, former string, formerLast int) {
		unready(next, nextLast)
		l.g.Eventually(envoy("/config_dump?resource=dynamic_active_clusters")).WithTimeout(20*time.Second).
			Should(ContainSubstring(identities+next), "the new identity is believed")
		endpoint(next, nextLast)
		answered(next)
		unready(former, formerLast)
		l.g.Eventually(envoy("/clusters")).WithTimeout(20*time.Second).
			ShouldNot(ContainSubstring(loopback(formerLast)+":9080::health"), "the old endpoint is not called any more")
		gone(former)
		answered(next)
	}
	for range 10 {
		takesThePlaceOf("two", 22, "one", 21)
		takesThePlaceOf("one", 21, "two", 22)
	}
	stats, err := proxy.Get(t.Context(), "/stats?filter=cluster.outbound.9080..reviews.*ssl.fail_verify_san$")
	l.g.Expect(err).NotTo(HaveOccurred())
	l.g.Expect(stats).To(HaveSuffix(": 0\n"))
	for range 10 {
		endpoint("two", 22)
		answered("two")
		gone("one")
		answered("two")
		endpoint("one", 21)
		answered("one")
		gone("two")
		answered("one")
	}
	load.stop()
	stays()
	l.g.Expect(load.failed()).To(BeEmpty())
}

// serveMutualTLS runs a server with an identity, which answers with its name.
func (l *line) serveMutualTLS(root *testenv.Authority, name, at string) {
	credentials, err := root.Issue(identities + name)
	l.g.Expect(err).NotTo(HaveOccurred())
	config, err := credentials.MutualTLS(root.Roots)
	l.g.Expect(err).NotTo(HaveOccurred())
	listener, err := tls.Listen("tcp", at, config)
	l.g.Expect(err).NotTo(HaveOccurred())
	server := &http.Server{
		Handler:  http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, name) }),
		ErrorLog: log.New(io.Discard, "", 0), // connections that Envoy does not need after all
	}
	go func() { _ = server.Serve(listener) }()
	l.Cleanup(func() { _ = server.Close() })
}

// load is requests, one after the other in several lanes.
type load struct {
	stop   context.CancelFunc
	answer sync.Map // who answered, or what went wrong → *atomic.Int64
}

func (l *line) load(proxy, target string) *load {
	ctx, cancel := context.WithCancel(context.Background())
	var lanes sync.WaitGroup
	made := &load{}
	made.stop = func() { cancel(); lanes.Wait() }
	l.Cleanup(made.stop)
	via, err := url.Parse(proxy)
	l.g.Expect(err).NotTo(HaveOccurred())
	transport := &http.Transport{Proxy: http.ProxyURL(via), MaxIdleConnsPerHost: 8}
	l.Cleanup(transport.CloseIdleConnections)
	for range 8 {
		lanes.Go(func() {
			for ctx.Err() == nil {
				made.count(ask(transport, target))
			}
		})
	}
	return made
}

func ask(transport http.RoundTripper, target string) string {
	request, err := http.NewRequest(http.MethodGet, target, nil)
	if err != nil {
		return err.Error()
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	body := make([]byte, 64)
	n, _ := response.Body.Read(body)
	if response.StatusCode != http.StatusOK {
		return response.Status
	}
	return string(body[:n])
}

func (m *load) count(answer string) {
	counter, _ := m.answer.LoadOrStore(answer, &atomic.Int64{})
	counter.(*atomic.Int64).Add(1)
}

func (m *load) by(name string) int64 {
	counter, _ := m.answer.LoadOrStore(name, &atomic.Int64{})
	return counter.(*atomic.Int64).Load()
}

func (m *load) failed() []string {
	var failed []string
	m.answer.Range(func(answer, count any) bool {
		if answer != "one" && answer != "two" {
			failed = append(failed, fmt.Sprintf("%s %d times", answer, count.(*atomic.Int64).Load()))
		}
		return true
	})
	return failed
}
