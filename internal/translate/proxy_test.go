package translate_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

// Every field that is implemented, tried on a real Envoy: what a client asks by the
// explicit listener and where that ends up.
func TestExplicitProxy(t *testing.T) {
	t.Parallel()
	l := startLive(t, "explicit.yaml", func(l *live, all *inlined) {
		all.Clusters = append(all.Clusters, l.app(8080), l.app(8081))
		l.serveHTTP("v1", l.address(21)+":9080")
		l.serveHTTP("v2", l.address(22)+":9080")
		l.serveHTTP("store", l.address(41)+":9080")
		l.serveHTTP("app", l.address(11)+":8080")
		l.serveTCP(l.address(11) + ":8081")
		l.serveTCP(l.address(51) + ":3306")
	})
	proxy := l.address(10) + ":15001"
	get := func(url string, headers ...string) answer {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, header := range headers {
			name, value, _ := strings.Cut(header, ": ")
			request.Header.Set(name, value)
		}
		return l.send(proxy, request)
	}

	t.Run("requests", func(t *testing.T) {
		for _, c := range []struct {
			url     string
			headers []string
			status  int
			server  string // empty for an answer of Envoy's own
			path    string // as the server saw it; empty for any
		}{
			{url: "http://reviews:9080/", status: 200, server: "v1", path: "/"},
			{url: "http://reviews.default:9080/", status: 200, server: "v1"},
			{url: "http://reviews.default.svc:9080/", status: 200, server: "v1"},
			{url: "http://reviews.default.svc.cluster.local:9080/", status: 200, server: "v1"},
			{url: "http://reviews.default.svc.cluster.local.:9080/", status: 200, server: "v1"},
			{url: "http://store/", status: 200, server: "store"},
			{url: "http://store:80/", status: 200, server: "store"},
			{url: "http://shop.example/", status: 200, server: "store"},
			{url: "http://shop.example:80/", status: 200, server: "store"},
			{url: "http://reviews/", status: 404},
			{url: "http://db:3306/", status: 404},
			{url: "http://nowhere.example/", status: 404},

			{url: "http://reviews:9080/exact", status: 200, server: "v2"},
			{url: "http://reviews:9080/exact?query=is-no-part", status: 200, server: "v2"},
			{url: "http://reviews:9080/exactly", status: 200, server: "v1"},
			{url: "http://reviews:9080/prefix/x", status: 200, server: "v2"},
			{url: "http://reviews:9080/prefix", status: 200, server: "v1"},
			{url: "http://reviews:9080/x/../prefix/y", status: 200, server: "v2", path: "/prefix/y"},
			{url: "http://reviews:9080/regex/42", status: 200, server: "v2"},
			{url: "http://reviews:9080/regex/42x", status: 200, server: "v1"},
			{url: "http://reviews:9080/AnyCase/x", status: 200, server: "v2"},
			{url: "http://reviews:9080/Exact", status: 200, server: "v1"},
			{url: "http://reviews:9080/method", status: 200, server: "v1"},
			{url: "http://reviews:9080/authority", status: 200, server: "v1"},
			{url: "http://reviews.default:9080/authority", status: 200, server: "v2"},

			{url: "http://reviews:9080/headers", headers: []string{"End-User: jason", "X-Present: 1"}, status: 200, server: "v2"},
			{url: "http://reviews:9080/headers", headers: []string{"End-User: jason"}, status: 200, server: "v1"},
			{url: "http://reviews:9080/headers", headers: []string{"End-User: JASON", "X-Present: 1"}, status: 200, server: "v1"},
			{url: "http://reviews:9080/headers", headers: []string{"End-User: jason", "X-Present: 1", "X-Internal: 1"}, status: 200, server: "v1"},
			{url: "http://reviews:9080/headers", headers: []string{"End-User: jason", "X-Present: 1", "X-Tier: gold"}, status: 200, server: "v1"},
			{url: "http://reviews:9080/headers", headers: []string{"End-User: jason", "X-Present: 1", "X-Tier: silver"}, status: 200, server: "v2"},
			{url: "http://reviews:9080/headers", headers: []string{"End-User: jason", "X-Present: 1", "X-Any: 1"}, status: 200, server: "v1"},
			{url: "http://reviews:9080/query?user=jason&debug=", status: 200, server: "v2"},
			{url: "http://reviews:9080/query?user=jason", status: 200, server: "v1"},
			{url: "http://reviews:9080/admin-only", status: 200, server: "v1"},
			{url: "http://reviews:9081/admin-only", status: 200, server: "v2"},
			{url: "http://reviews:9080/mine", status: 200, server: "v2"},
			{url: "http://reviews:9080/yours", status: 200, server: "v1"},

			{url: "http://reviews:9080/old/x?q=1", status: 200, server: "v1", path: "/new/x?q=1"},
			{url: "http://reviews:9080/older?q=1", status: 200, server: "v1", path: "/new/?q=1"},
			{url: "http://reviews:9080/oldest/of/all?q=1", status: 200, server: "v1", path: "/new/?q=1"},
			{url: "http://reviews:9080/users/42/name", status: 200, server: "v1", path: "/u/42/name"},
			{url: "http://reviews:9080/what/ever?q=1", headers: []string{"Rewrite: all"}, status: 200, server: "v1", path: `/all\1of-it?q=1`},

			{url: "http://reviews:9080/teapot", status: 418},
			{url: "http://reviews:9080/large", status: 200},
			{url: "http://reviews:9080/no-host", status: 503},
			{url: "http://reviews:9080/no-subset", status: 503},
			{url: "http://reviews:9080/no-endpoint", status: 503},
			{url: "http://reviews:9080/slow", status: 504},
		} {
			got := get(c.url, c.headers...)
			if got.StatusCode != c.status || got.Server != c.server {
				t.Errorf("%s %v: status %d from %q, want %d from %q: %s", c.url, c.headers, got.StatusCode, got.Server, c.status, c.server, got.Body)
			}
			if c.path != "" && got.Path != c.path {
				t.Errorf("%s: the server saw %s, want %s", c.url, got.Path, c.path)
			}
		}
	})

	t.Run("method", func(t *testing.T) {
		request, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://reviews:9080/method", nil)
		NewWithT(t).Expect(l.send(proxy, request).Server).To(Equal("v2"))
	})

	t.Run("redirects", func(t *testing.T) {
		for path, want := range map[string]struct {
			status   int
			location string
		}{
			"/redirect/all":       {308, "https://shop.example:8443/elsewhere"},
			"/redirect/same-port": {302, "http://shop.example:9080/redirect/same-port"},
			"/redirect/own-port":  {303, "https://reviews:443/redirect/own-port"},
			"/redirect/host-only": {307, "http://shop.example/redirect/host-only"},
			"/redirect/path":      {301, "http://reviews:9080/"},
		} {
			got := get("http://reviews:9080" + path)
			if got.StatusCode != want.status || got.Response.Header.Get("Location") != want.location {
				t.Errorf("%s: %d %s, want %d %s", path, got.StatusCode, got.Response.Header.Get("Location"), want.status, want.location)
			}
		}
	})

	t.Run("headers", func(t *testing.T) {
		g := NewWithT(t)
		got := get("http://reviews:9080/change-headers", "X-Set: old", "X-Add: first", "X-Remove: yes", "X-Empty: full")
		g.Expect(got.seen.Header).To(HaveKeyWithValue("X-Set", []string{"new"}))
		g.Expect(got.seen.Header).To(HaveKeyWithValue("X-Empty", []string{""}))
		g.Expect(got.seen.Header).To(HaveKeyWithValue("X-Add", []string{"first", "second"}))
		g.Expect(got.seen.Header).To(HaveKeyWithValue("X-Share", []string{"one"}))
		g.Expect(got.seen.Header).NotTo(HaveKey("X-Remove"))
		g.Expect(got.Response.Header).To(HaveKeyWithValue("X-Version", []string{"changed"}))
		g.Expect(got.Response.Header).To(HaveKeyWithValue("X-More", []string{"server", "mesh"}))
		g.Expect(got.Response.Header).NotTo(HaveKey("X-Remove"))

		g.Expect(get("http://reviews:9080/old/x").Authority).To(Equal("reviews.internal"))
		teapot := get("http://reviews:9080/teapot")
		g.Expect(teapot.Body).To(Equal(`{"short": true}`))
		g.Expect(teapot.Response.Header).To(HaveKeyWithValue("Content-Type", []string{"application/json"}))
		g.Expect(get("http://reviews:9080/large").Body).To(HaveLen(100_000))
	})

	t.Run("the proxy is not seen", func(t *testing.T) {
		g := NewWithT(t)
		got := get("http://reviews:9080/", "X-Request-Id: from-the-client")
		g.Expect(got.Response.Header).To(HaveKeyWithValue("Server", []string{"v1"}))
		g.Expect(got.Response.Header).NotTo(HaveKey("Via"))
		g.Expect(got.seen.Header).NotTo(HaveKey("Via"))
		g.Expect(got.seen.Header).To(HaveKeyWithValue("X-Request-Id", []string{"from-the-client"}))
		g.Expect(got.Authority).To(Equal("reviews:9080"))
		g.Expect(get("http://reviews:9080/").seen.Header).To(HaveKey("X-Request-Id"))
	})

	t.Run("weights", func(t *testing.T) {
		g := NewWithT(t)
		const requests = 500
		servers, statuses := map[string]int{}, map[int]int{}
		for range requests {
			servers[get("http://reviews:9080/split").Server]++
			statuses[get("http://reviews:9080/half").StatusCode]++
		}
		// A tenth of 500 is 50; six standard deviations are 40.
		g.Expect(servers["v1"]+servers["v2"]).To(Equal(requests), "%v", servers)
		g.Expect(servers["v2"]).To(BeNumerically("~", 50, 40))
		g.Expect(statuses[200]+statuses[503]).To(Equal(requests), "%v", statuses)
		g.Expect(statuses[200]).To(BeNumerically("~", 250, 68), "the share of the destination that exists serves")
	})

	t.Run("retries", func(t *testing.T) {
		g := NewWithT(t)
		for range 20 {
			// One of two endpoints takes no connections: the default policy finds the other.
			g.Expect(get("http://store/").StatusCode).To(Equal(200))
		}
		for range 5 {
			g.Expect(get("http://reviews:9080/flaky").StatusCode).To(Equal(200))
		}
		g.Expect(get("http://reviews:9080/flaky-once").StatusCode).To(Equal(503))
	})

	t.Run("HTTP/2 to a gRPC port", func(t *testing.T) {
		g := NewWithT(t)
		got := get("http://store:9000/")
		g.Expect(got.Server).To(Equal("store"))
		g.Expect(got.Protocol).To(Equal("HTTP/2.0"))
		g.Expect(get("http://store/").Protocol).To(Equal("HTTP/1.1"))
	})

	t.Run("upgrade", func(t *testing.T) {
		g := NewWithT(t)
		connection, err := net.Dial("tcp", proxy)
		g.Expect(err).NotTo(HaveOccurred())
		defer func() { _ = connection.Close() }()
		_ = connection.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = fmt.Fprint(connection, "GET /upgrade HTTP/1.1\r\nHost: reviews:9080\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		reader := bufio.NewReader(connection)
		response, err := http.ReadResponse(reader, nil)
		g.Expect(err).NotTo(HaveOccurred())
		defer func() { _ = response.Body.Close() }()
		g.Expect(response.StatusCode).To(Equal(http.StatusSwitchingProtocols))
		_, _ = fmt.Fprintln(connection, "hello")
		line, err := reader.ReadString('\n')
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(line).To(Equal("echo hello\n"))
	})

	t.Run("inbound and TCP", func(t *testing.T) {
		g := NewWithT(t)
		request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.address(10)+":8080/whoami", nil)
		got := l.do(http.DefaultClient, request)
		g.Expect(got.Server).To(Equal("app"))
		g.Expect(got.Response.Header).To(HaveKeyWithValue("Server", []string{"app"}))
		g.Expect(l.speak(l.address(10)+":8081", "in")).To(Equal("echo in"))
		g.Expect(l.speak(l.address(10)+":13306", "out")).To(Equal("echo out"))
	})
}

// The listener of a proxy to which traffic is redirected, called by the addresses of
// loopback services in place of redirect rules.
func TestInterceptingProxy(t *testing.T) {
	t.Parallel()
	l := startLive(t, "intercepted.yaml", func(l *live, all *inlined) {
		l.serveHTTP("reviews", l.address(21)+":9080")
		l.serveHTTP("unsaid", l.address(22)+":9080")
		l.serveGreeting(l.address(51) + ":3306")
		for _, listener := range all.Listeners {
			switch listener.Name {
			case "outbound":
				listenOn(listener, 15901, l.address(1))
			case "inbound":
				listenOn(listener, 15906, l.address(10))
			default:
				listener.BindToPort = nil
			}
		}
	})
	get := func(host, path string) answer {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+":15901"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = "any.example"
		request.Header.Set("X-Mesh-Dst", l.address(2)+":15901") // forged
		return l.do(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}, request)
	}
	g := NewWithT(t)
	got := get(l.address(1), "/")
	g.Expect(got.Server).To(Equal("reviews"))
	g.Expect(got.Authority).To(Equal("any.example"))
	g.Expect(got.seen.Header).NotTo(HaveKey("X-Mesh-Dst"))
	g.Expect(get(l.address(1), "/teapot").StatusCode).To(Equal(418))
	g.Expect(get(l.address(2), "/").Server).To(Equal("unsaid"), "HTTP on a port that does not say so")

	db := l.keep(l.address(3) + ":15901")
	g.Expect(db.hear()).To(Equal("hello"), "a server that speaks first")
	g.Expect(db.say("out")).To(Equal("echo out"))
	g.Expect(l.keep(l.address(4)+":15901").hear()).To(Equal("hello"), "one of which nothing says that it does")
	g.Expect(l.stat("listener.outbound.downstream_pre_cx_timeout")).To(Equal("1"), "only that one waited")

	late := l.keep(l.address(1) + ":15901")
	// As long as a client may hesitate in whose Pod the processor is scarce.
	_ = late.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	_, err := late.Read(make([]byte, 1))
	g.Expect(err).To(MatchError(os.ErrDeadlineExceeded), "the connection stays open")
	_ = late.SetReadDeadline(time.Now().Add(time.Minute))
	g.Expect(late.get("/teapot", "any.example")).To(Equal("418"), "it is routed as any other")
	g.Expect(l.active("outbound")).To(Equal("3"), "the listener of each address counts to the same")
}
