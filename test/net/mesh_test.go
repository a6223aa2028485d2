//go:build netns

package net

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/internal/delivery"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
	"fairlead.dev/fairlead/internal/publish"
	"fairlead.dev/fairlead/internal/xds"
	"fairlead.dev/fairlead/test/testenv"
)

// nobodyAsks is a table of findings that this suite does not look at.
type nobodyAsks struct{}

func (nobodyAsks) Findings(mesh.ObjectID, []message.Finding) {}

// controlPlane serves a store's values to proxies, as the manager does.
func controlPlane(socket string, store *mesh.Store) {
	GinkgoHelper()
	log := slog.New(slog.NewTextHandler(GinkgoWriter, nil))
	cache := xds.NewCache(xds.Options{Clock: clock.RealClock{}, Log: log, Report: func(delivery.Report) {}})
	primed := make(chan struct{})
	close(primed)
	publisher := publish.New(publish.Options{
		Store: store, Cache: cache, Table: nobodyAsks{}, Clock: clock.RealClock{}, Log: log, Primed: primed,
	})
	server := xds.NewServer(cache, xds.ServerOptions{Socket: socket, After: publisher.Published(), Directory: publisher, Log: log})
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	DeferCleanup(func() {
		stop()
		running.Wait()
	})
	for _, start := range []func(context.Context) error{publisher.Start, server.Start} {
		running.Go(func() {
			defer GinkgoRecover()
			Expect(start(ctx)).To(Succeed())
		})
	}
	Eventually(func() error { return os.Chown(socket, int(proxy.uid), int(proxy.gid)) }).
		WithTimeout(patience).Should(Succeed(), "the control plane listens")
	Expect(os.Chown(filepath.Dir(socket), int(proxy.uid), int(proxy.gid))).To(Succeed())
}

// startProxy runs the agent, with the real Envoy, in the namespace until the spec ends.
func startProxy(n *namespace, dir, socket string, flags ...string) {
	GinkgoHelper()
	binary, err := testenv.Envoy()
	Expect(err).NotTo(HaveOccurred())
	command := exec.Command(agent, append([]string{
		"proxy", "--pod-name=shop-1", "--pod-namespace=default", "--dir=" + dir, "--xds-socket=" + socket,
		"--envoy=" + binary, "--concurrency=1",
	}, flags...)...)
	command.Stdout, command.Stderr = GinkgoWriter, GinkgoWriter
	Expect(n.start(proxy, command)).To(Succeed())
	DeferCleanup(func() {
		Expect(command.Process.Signal(os.Interrupt)).To(Succeed())
		_ = command.Wait()
	})
	client := testenv.UnixClient(envoy.StatusSocket(dir))
	Eventually(func() (int, error) {
		response, err := client.Get("http://agent/ready")
		if err != nil {
			return 0, err
		}
		return response.StatusCode, response.Body.Close()
	}).WithTimeout(patience).Should(Equal(http.StatusOK), "Envoy has its listeners and clusters")
}

// serveHTTP answers requests with the server's name, who called, and whether a proxy was
// on the way: only one gives requests an id here.
func (n *namespace) serveHTTP(u user, address, name string) {
	GinkgoHelper()
	var listener net.Listener
	Expect(n.as(u, func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	})).To(Succeed())
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, _, _ := net.SplitHostPort(r.RemoteAddr)
		by := "directly"
		if r.Header.Get("X-Request-Id") != "" {
			by = "by proxy"
		}
		fmt.Fprintf(w, "%s: %s, from %s %s", name, r.Host, from, by)
	})}
	go func() { _ = server.Serve(listener) }()
	DeferCleanup(server.Close)
}

// get returns what answers a request.
func (n *namespace) get(u user, url, host string) string {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err.Error()
	}
	request.Host = host
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(_ context.Context, _, to string) (net.Conn, error) { return n.dial(u, "", to) },
	}}
	response, err := client.Do(request)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return fmt.Sprintf("%d %s %v", response.StatusCode, body, err)
	}
	return string(body)
}

// service adds a service with one endpoint.
func service(store *mesh.Store, name, address string, port mesh.ServicePort, endpoint string) {
	host := name + ".default.svc.cluster.local"
	store.SetService(&mesh.Service{
		Origin: mesh.Origin{ObjectID: mesh.ObjectID{Kind: "Service", Namespace: "default", Name: name}},
		Host:   host, Name: name, Namespace: "default", Ports: []mesh.ServicePort{port}, Addresses: []netip.Addr{netip.MustParseAddr(address)},
	})
	at := netip.MustParseAddrPort(endpoint)
	workload := mesh.NamespacedName{Namespace: "default", Name: name + "-1"}
	store.SetEndpoints(host, name+"-a", []mesh.Endpoint{{
		Address: at.Addr(), Port: at.Port(), PortName: port.Name, Ready: true, Serving: true, Workload: workload,
	}})
}

// meshed is a Pod of the mesh, the folder of its agent, and what is outside of it. The
// mesh has services of either family: shop, which the Pod serves, reviews and database.
type meshed struct {
	pod, outside *namespace
	dir, socket  string
}

func newMeshed(addresses ...string) *meshed {
	GinkgoHelper()
	m := &meshed{}
	m.pod, m.outside = newPod()
	dir, err := testenv.SocketDir()
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(os.RemoveAll, dir)
	Expect(os.Chown(dir, int(proxy.uid), int(proxy.gid))).To(Succeed())
	m.dir, m.socket = filepath.Join(dir, "agent"), filepath.Join(dir, "xds", "xds.sock")

	store := mesh.NewStore()
	store.SetServiceRanges([]netip.Prefix{netip.MustParsePrefix("10.96.0.0/16"), netip.MustParsePrefix("fd96::/112")})
	web := mesh.ServicePort{Name: "http", Number: 80, Protocol: mesh.HTTP}
	unsaid := mesh.ServicePort{Number: 8000, Protocol: mesh.Unknown}
	raw := mesh.ServicePort{Name: "tcp", Number: 3306, Protocol: mesh.TCP}
	service(store, "shop", "10.96.0.10", web, "10.77.0.2:8080")
	service(store, "reviews", "10.96.0.20", web, "10.77.0.1:9080")
	service(store, "database", "10.96.0.30", raw, "10.77.0.1:13306")
	service(store, "queue", "10.96.0.40", unsaid, "10.77.0.1:13306")
	service(store, "unsaid", "10.96.0.50", unsaid, "10.77.0.1:9080")
	pod := &mesh.Workload{
		Namespace: "default", Name: "shop-1", Ready: true,
		Ports: []mesh.WorkloadPort{{Number: 8080, Protocol: mesh.HTTP}},
	}
	pod.Address = netip.MustParseAddr(addresses[0])
	if pod.HasIPv6 = len(addresses) > 1; pod.HasIPv6 {
		service(store, "shop6", "fd96::10", web, "[fd77::2]:8080")
		service(store, "reviews6", "fd96::20", web, "[fd77::1]:9080")
		service(store, "database6", "fd96::30", raw, "[fd77::1]:13306")
	}
	store.SetWorkload(pod)
	controlPlane(m.socket, store)

	m.pod.serveHTTP(application, ":8080", "shop")
	m.pod.serve(application, 7777, "undeclared", caller)
	m.outside.serveHTTP(root, ":9080", "reviews")
	m.outside.serve(root, 13306, "database", caller)
	m.outside.serve(root, 7000, "elsewhere", caller)
	return m
}

func (m *meshed) startProxy() {
	GinkgoHelper()
	startProxy(m.pod, m.dir, m.socket, "--app=8080=127.0.0.1:8080")
}

var _ = Describe("A Pod of the mesh", func() {
	It("is called, calls others, and calls itself, by its Envoy and without knowing it", func() {
		m := newMeshed("10.77.0.2")
		pod, outside := m.pod, m.outside
		pod.redirect()
		Expect(pod.call(application, "10.88.0.1:7000")).To(Equal("refused"), "Envoy does not run yet, and nothing goes past it")
		m.startProxy()

		By("outbound")
		Eventually(pod.get).WithArguments(application, "http://10.96.0.20/", "reviews").WithTimeout(patience).
			Should(Equal("reviews: reviews, from 10.77.0.2 by proxy"))
		Expect(pod.call(application, "10.96.0.30:3306")).To(Equal("database 10.77.0.2"), "a TCP service's address exists in Envoy only")
		Expect(pod.call(application, "10.96.0.40:8000")).To(Equal("database 10.77.0.2"), "whoever speaks first, where nothing says the protocol")
		Expect(pod.get(application, "http://10.96.0.50:8000/", "unsaid")).To(Equal("reviews: unsaid, from 10.77.0.2 by proxy"), "HTTP is recognised there")
		Expect(pod.call(application, "10.88.0.1:7000")).To(Equal("elsewhere 10.77.0.2"), "what the mesh does not know passes through")

		By("inbound")
		Expect(outside.get(root, "http://10.77.0.2:8080/", "shop")).To(Equal("shop: shop, from 127.0.0.1 by proxy"))
		Expect(outside.call(root, "10.77.0.2:7777")).To(Equal("undeclared 127.0.0.6"), "a port that the mesh does not know passes through")

		By("to itself")
		Expect(pod.get(application, "http://10.96.0.10/", "shop")).To(Equal("shop: shop, from 127.0.0.1 by proxy"), "as a service")
		Expect(pod.get(application, "http://127.0.0.1:8080/", "local")).To(Equal("shop: local, from 127.0.0.1 directly"))
		Expect(pod.get(application, "http://10.77.0.2:8080/", "own")).To(Equal("shop: own, from 10.77.0.2 directly"))

		By("past its Envoy again")
		pod.redirect("--remove")
		Expect(outside.get(root, "http://10.77.0.2:8080/", "shop")).To(Equal("shop: shop, from 10.77.0.1 directly"))
		Expect(pod.get(application, "http://10.77.0.1:9080/", "reviews")).To(Equal("reviews: reviews, from 10.77.0.2 directly"))
	})

	It("is called and calls over IPv6 too, where it has an address", func() {
		m := newMeshed("10.77.0.2", "fd77::2")
		pod, outside := m.pod, m.outside
		pod.redirect()
		m.startProxy()

		By("outbound")
		Eventually(pod.get).WithArguments(application, "http://[fd96::20]/", "reviews").WithTimeout(patience).
			Should(Equal("reviews: reviews, from fd77::2 by proxy"))
		Expect(pod.get(application, "http://10.96.0.20/", "reviews")).To(Equal("reviews: reviews, from 10.77.0.2 by proxy"))
		Expect(pod.call(application, "[fd96::30]:3306")).To(Equal("database fd77::2"), "a TCP service's address exists in Envoy only")
		Expect(pod.call(application, "[fd88::1]:7000")).To(Equal("elsewhere fd77::2"), "what the mesh does not know passes through")

		By("inbound")
		Expect(outside.get(root, "http://[fd77::2]:8080/", "shop")).To(Equal("shop: shop, from 127.0.0.1 by proxy"))
		Expect(outside.call(root, "[fd77::2]:7777")).To(Equal("undeclared ::1"), "a port that the mesh does not know passes through")
		Expect(outside.call(root, "10.77.0.2:7777")).To(Equal("undeclared 127.0.0.6"))

		By("to itself")
		Expect(pod.get(application, "http://[fd96::10]/", "shop")).To(Equal("shop: shop, from 127.0.0.1 by proxy"), "as a service")
		Expect(pod.get(application, "http://[::1]:8080/", "local")).To(Equal("shop: local, from ::1 directly"))
	})

	It("needs no IPv6 of its kernel, where it has no address of that family", func() {
		m := newMeshed("10.77.0.2")
		m.pod.withoutIPv6 = true
		m.pod.redirect()
		m.startProxy()
		Eventually(m.pod.get).WithArguments(application, "http://10.96.0.20/", "reviews").WithTimeout(patience).
			Should(Equal("reviews: reviews, from 10.77.0.2 by proxy"))
		Expect(m.outside.get(root, "http://10.77.0.2:8080/", "shop")).To(Equal("shop: shop, from 127.0.0.1 by proxy"))
		Expect(m.outside.call(root, "10.77.0.2:7777")).To(Equal("undeclared 127.0.0.6"))
	})
})
