package probe

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// asked is the answer of the agent to a kubelet that asks for the one probe, at the
// Pod's address.
func asked(t *testing.T, probe string) (int, string) {
	t.Helper()
	recorder := ask(t, probe)
	return recorder.Code, recorder.Body.String()
}

func ask(t *testing.T, probe string) *httptest.ResponseRecorder {
	t.Helper()
	probes, err := Parse(of(probe))
	if err != nil {
		t.Fatal(err)
	}
	request := httptest.NewRequest(http.MethodGet, "/app-health/web/livez", nil)
	request.Host = "10.1.2.3:15021"
	request.Header = http.Header{"User-Agent": {"kube-probe/1.37"}, "Accept": {"*/*"}, "Connection": {"close"}}
	recorder := httptest.NewRecorder()
	NewHandler(probes, DefaultAddress).ServeHTTP(recorder, request)
	return recorder
}

func portOf(address net.Addr) string { return strconv.Itoa(address.(*net.TCPAddr).Port) }

// application serves until the test ends.
func application(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

// nobody is a port at which nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return portOf(listener.Addr())
}

func TestHTTPStatusIsTheApplications(t *testing.T) {
	server := application(t, func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		w.Header().Set("Content-Type", "text/x-health")
		w.WriteHeader(code)
		if code != http.StatusNoContent && code != http.StatusNotModified {
			_, _ = io.WriteString(w, "said "+r.URL.RawQuery)
		}
	})
	port := portOf(server.Listener.Addr())
	for _, code := range []int{200, 201, 204, 304, 399, 400, 404, 418, 500, 503, 599} {
		got := ask(t, fmt.Sprintf(`{"httpGet": {"path": "/%d?loud=1", "port": %s}}`, code, port))
		body, contentType := "said loud=1", "text/x-health"
		switch code {
		case http.StatusNoContent:
			body = ""
		case http.StatusNotModified:
			// Go's server leaves out the type of what is not sent.
			body, contentType = "", ""
		}
		if got.Code != code || got.Body.String() != body || got.Header().Get("Content-Type") != contentType {
			t.Errorf("%d is handed on as %d %q, %v", code, got.Code, got.Body, got.Header())
		}
	}
}

func TestRequestIsTheKubelets(t *testing.T) {
	var seen *http.Request
	server := application(t, func(_ http.ResponseWriter, r *http.Request) { seen = r })
	port := portOf(server.Listener.Addr())
	for _, test := range []struct {
		name, get string
		host      string
		headers   http.Header
	}{
		{"as the kubelet asks", `{"port": %s}`, "10.1.2.3:" + port,
			http.Header{"User-Agent": {"kube-probe/1.37"}, "Accept": {"*/*"}}},
		{"with headers and a host of its own", `{"port": %s, "httpHeaders": [{"name": "host", "value": "shop.example"}, {"name": "X-A", "value": "1"}, {"name": "X-A", "value": "2"}, {"name": "accept", "value": "text/plain"}]}`, "shop.example",
			http.Header{"User-Agent": {"kube-probe/1.37"}, "Accept": {"text/plain"}, "X-A": {"1", "2"}}},
		{"without the two that it may take away", `{"port": %s, "httpHeaders": [{"name": "User-Agent", "value": ""}, {"name": "Accept", "value": ""}]}`, "10.1.2.3:" + port,
			http.Header{}},
		{"at a host of its own", `{"port": %s, "host": "127.0.0.1"}`, "127.0.0.1:" + port,
			http.Header{"User-Agent": {"kube-probe/1.37"}, "Accept": {"*/*"}}},
	} {
		seen = nil
		if code, body := asked(t, `{"httpGet": `+fmt.Sprintf(test.get, port)+`}`); code != http.StatusOK {
			t.Errorf("%s: answered by %d %q", test.name, code, body)
			continue
		}
		if seen.Host != test.host || seen.Proto != "HTTP/1.1" || !seen.Close || seen.Method != http.MethodGet {
			t.Errorf("%s: %s %s to host %s, close %v", test.name, seen.Method, seen.Proto, seen.Host, seen.Close)
		}
		seen.Header.Del("Connection")
		if fmt.Sprint(seen.Header) != fmt.Sprint(test.headers) {
			t.Errorf("%s: with headers\n%v, want\n%v", test.name, seen.Header, test.headers)
		}
	}
}

func TestRedirects(t *testing.T) {
	var requests int
	var server *httptest.Server
	server = application(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		switch r.URL.Path {
		case "/there":
			_, _ = io.WriteString(w, "there")
		case "/relative":
			http.Redirect(w, r, "/there", http.StatusFound)
		case "/absolute":
			// Where the application believes to be.
			http.Redirect(w, r, "http://10.1.2.3:"+portOf(server.Listener.Addr())+"/there", http.StatusMovedPermanently)
		case "/away":
			http.Redirect(w, r, "http://192.0.2.1/there", http.StatusTemporaryRedirect)
		case "/self":
			http.Redirect(w, r, "/self", http.StatusFound)
		}
	})
	port := portOf(server.Listener.Addr())
	for _, test := range []struct {
		path     string
		code     int
		body     string
		requests int
	}{
		{"/relative", http.StatusOK, "there", 2},
		{"/absolute", http.StatusOK, "there", 2},
		{"/away", http.StatusTemporaryRedirect, "192.0.2.1", 1},
		{"/self", http.StatusServiceUnavailable, "it redirects for ever, or more than 10 times", 10},
	} {
		requests = 0
		got := ask(t, fmt.Sprintf(`{"httpGet": {"path": %q, "port": %s}}`, test.path, port))
		if got.Code != test.code || !strings.Contains(got.Body.String(), test.body) || requests != test.requests {
			t.Errorf("%s is answered by %d %q after %d requests", test.path, got.Code, got.Body, requests)
		}
		if location := got.Header().Get("Location"); location != "" {
			t.Errorf("%s would lead the kubelet to %s", test.path, location)
		}
	}
}

func TestHTTPSIsNotVerified(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	if code, body := asked(t, `{"httpGet": {"port": `+portOf(server.Listener.Addr())+`, "scheme": "HTTPS"}}`); code != http.StatusOK || body != "HTTP/1.1" {
		t.Errorf("answered by %d %q", code, body)
	}
}

func TestBodyIsCut(t *testing.T) {
	server := application(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", 1<<20)) })
	if code, body := asked(t, `{"httpGet": {"port": `+portOf(server.Listener.Addr())+`}}`); code != http.StatusOK || len(body) != 10<<10 {
		t.Errorf("answered by %d and %d bytes", code, len(body))
	}
}

func TestTCP(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	port := portOf(listener.Addr())
	for _, probe := range []string{`{"tcpSocket": {"port": ` + port + `}}`, `{"tcpSocket": {"port": ` + port + `, "host": "localhost"}}`} {
		if code, body := asked(t, probe); code != http.StatusOK {
			t.Errorf("%s is answered by %d %q", probe, code, body)
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	for _, kind := range []string{"httpGet", "tcpSocket", "grpc"} {
		port := nobody(t)
		code, body := asked(t, `{"`+kind+`": {"port": `+port+`}}`)
		if want := "the application does not answer: dial tcp 127.0.0.1:" + port + ": connect: connection refused\n"; code != http.StatusServiceUnavailable || body != want {
			t.Errorf("%s is answered by %d %q, want %q", kind, code, body, want)
		}
	}
}

// stuck takes connections and says nothing.
func TestStuckApplication(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	for _, kind := range []string{"httpGet", "grpc"} {
		code, body := asked(t, `{"`+kind+`": {"port": `+portOf(listener.Addr())+`}, "timeoutSeconds": 1}`)
		if code != http.StatusServiceUnavailable || body != "the application had not answered within 1s\n" {
			t.Errorf("%s is answered by %d %q", kind, code, body)
		}
	}
	// Nor may it stop in the middle of its answer.
	half := application(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "five!")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	if code, body := asked(t, `{"httpGet": {"port": `+portOf(half.Listener.Addr())+`}}`); code != http.StatusServiceUnavailable || body != "the application had not answered within 1s\n" {
		t.Errorf("half an answer is handed on as %d %q", code, body)
	}
}

// Whoever asks and goes away leaves nothing running.
func TestKubeletGoesAway(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan struct{})
	server := application(t, func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		close(ended)
	})
	probes, err := Parse(of(`{"httpGet": {"port": ` + portOf(server.Listener.Addr()) + `}, "timeoutSeconds": 3600}`))
	if err != nil {
		t.Fatal(err)
	}
	ctx, goAway := context.WithCancel(t.Context())
	go func() {
		<-begun
		goAway()
	}()
	NewHandler(probes, DefaultAddress).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/app-health/web/livez", nil))
	<-ended
}

func TestOtherPaths(t *testing.T) {
	probes, err := Parse(of(`{"tcpSocket": {"port": 1}}`))
	if err != nil {
		t.Fatal(err)
	}
	handler := NewHandler(probes, DefaultAddress)
	for request, want := range map[string]string{
		"GET /app-health/web/readyz": "404 no container has such a probe; those that have one are asked at:\n/app-health/web/livez\n",
		"POST /app-health/web/livez": "405 Method Not Allowed\n",
	} {
		method, path, _ := strings.Cut(request, " ")
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, httptest.NewRequest(method, path, nil))
		if got := fmt.Sprintf("%d %s", recorder.Code, recorder.Body); got != want {
			t.Errorf("%s is answered by %q, want %q", request, got, want)
		}
	}
}

func TestGRPC(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, checks := grpc.NewServer(), health.NewServer()
	healthpb.RegisterHealthServer(server, checks)
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()
	long := strings.Repeat("long.", 100)
	checks.SetServingStatus("shop.Reviews", healthpb.HealthCheckResponse_NOT_SERVING)
	checks.SetServingStatus("odd", healthpb.HealthCheckResponse_ServingStatus(300))
	checks.SetServingStatus(long, healthpb.HealthCheckResponse_SERVING)
	for service, want := range map[string]string{
		"":             "200 SERVING\n",
		long:           "200 SERVING\n",
		"shop.Reviews": "503 service \"shop.Reviews\" is NOT_SERVING\n",
		"odd":          "503 service \"odd\" is of status 300\n",
		"shop.None":    "503 the application knows no health of such a service: unknown service\n",
	} {
		code, body := asked(t, fmt.Sprintf(`{"grpc": {"port": %s, "service": %q}}`, portOf(listener.Addr()), service))
		if got := fmt.Sprintf("%d %s", code, body); got != want {
			t.Errorf("%.20q is answered by %q, want %q", service, got, want)
		}
	}
}

// Servers that are no health servers are told apart from those that are not well.
func TestNoGRPCHealth(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()

	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	web := httptest.NewUnstartedServer(http.NotFoundHandler())
	web.Config.Protocols = &protocols
	web.Start()
	defer web.Close()
	old := httptest.NewUnstartedServer(http.NotFoundHandler())
	old.Config.ErrorLog = log.New(io.Discard, "", 0)
	old.Start()
	defer old.Close()
	for name, test := range map[string]struct {
		at   net.Addr
		want string
	}{
		"gRPC without health": {listener.Addr(), "the application does not implement grpc.health.v1.Health: unknown service grpc.health.v1.Health\n"},
		"HTTP/2":              {web.Listener.Addr(), "the application answers with HTTP status 404, and no gRPC\n"},
		"HTTP/1.1 only":       {old.Listener.Addr(), "the application does not answer: "},
	} {
		if code, body := asked(t, `{"grpc": {"port": `+portOf(test.at)+`}}`); code != http.StatusServiceUnavailable || !strings.HasPrefix(body, test.want) {
			t.Errorf("%s is answered by %d %q", name, code, body)
		}
	}
}
