package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/agent/envoy"
)

const node = "shop/reviews-v1"

func in(state envoy.State) func() envoy.Status {
	return func() envoy.Status { return envoy.Status{State: state, Reason: "so it is"} }
}

// answer is what a handler says to a request without a network.
func answer(o Options, method, path string, headers ...string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, path, nil)
	request.RemoteAddr = "127.0.0.1:40123"
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "peer" {
			request.RemoteAddr = headers[i+1]
			continue
		}
		request.Header.Set(headers[i], headers[i+1])
	}
	recorder := httptest.NewRecorder()
	Handler(o).ServeHTTP(recorder, request)
	return recorder
}

func TestReadyInEachState(t *testing.T) {
	for state, want := range map[envoy.State]int{
		envoy.Starting:     http.StatusServiceUnavailable,
		envoy.Live:         http.StatusOK,
		envoy.Unresponsive: http.StatusServiceUnavailable,
		envoy.Draining:     http.StatusServiceUnavailable,
		envoy.Failed:       http.StatusServiceUnavailable,
	} {
		for _, path := range []string{"/ready", "/healthz/ready"} {
			got := answer(Options{Node: node, Status: in(state)}, http.MethodGet, path)
			if got.Code != want || got.Body.String() != string(state)+": so it is\n" {
				t.Errorf("%s of a proxy that is %s is %d %q", path, state, got.Code, got.Body)
			}
		}
	}
}

func TestStatusIsJSON(t *testing.T) {
	o := Options{Node: node, Status: func() envoy.Status {
		return envoy.Status{
			State: envoy.Failed, Reason: "refused: <a> & b", Since: time.Date(2026, 11, 24, 5, 30, 0, 0, time.UTC), Epoch: 2, PID: 17,
		}
	}}
	const (
		head = "{\n  \"state\": \"failed\",\n  \"reason\": \"refused: <a> & b\",\n  \"since\": \"2026-11-24T05:30:00Z\",\n"
		last = ",\n  \"node\": \"shop/reviews-v1\""
	)
	certificates := func() any {
		return struct {
			Error string `json:"error"`
		}{"<none> & \"such\""}
	}
	for _, test := range []struct {
		method, path string
		certificates func() any
		code         int
		begin, end   string
	}{
		{"GET", "/status", nil, http.StatusOK, head, last + "\n}\n"},
		{"GET", "/status", func() any { return nil }, http.StatusOK, head, last + "\n}\n"},
		{"GET", "/status", certificates, http.StatusOK, head, last + `,
  "certificates": {
    "error": "<none> & \"such\""
  }
}
`},
		{"POST", "/status", nil, http.StatusMethodNotAllowed, "", "Method Not Allowed\n"},
		{"GET", "/nothing", nil, http.StatusNotFound, "", "404 page not found\n"},
		{"GET", "/metrics", nil, http.StatusNotFound, "", "404 page not found\n"},
		{"POST", "/quitquitquit", nil, http.StatusNotFound, "", "404 page not found\n"},
	} {
		o.Certificates = test.certificates
		got := answer(o, test.method, test.path)
		if body := got.Body.String(); got.Code != test.code || !strings.HasPrefix(body, test.begin) || !strings.HasSuffix(body, test.end) {
			t.Errorf("%s %s is answered by %d\n%s", test.method, test.path, got.Code, got.Body)
		}
	}
}

func TestPageNamesWhatIsThere(t *testing.T) {
	o := Options{Node: node, Status: in(envoy.Live)}
	got := answer(o, http.MethodGet, "/").Body.String()
	for _, part := range []string{"fairlead-agent of shop/reviews-v1\n", "live since ", "GET /ready ", "GET /status "} {
		if !strings.Contains(got, part) {
			t.Errorf("the page lacks %q:\n%s", part, got)
		}
	}
	if strings.Contains(got, "/metrics") || strings.Contains(got, "/quitquitquit") || strings.Contains(got, "/app-health") {
		t.Errorf("the page names what is not there:\n%s", got)
	}
	o.Metrics, o.AppHealth, o.Quit = http.NotFoundHandler(), http.NotFoundHandler(), func() {}
	got = answer(o, http.MethodGet, "/").Body.String()
	for _, part := range []string{"GET /metrics ", "GET /app-health/... ", "POST /quitquitquit "} {
		if !strings.Contains(got, part) {
			t.Errorf("the page lacks %q:\n%s", part, got)
		}
	}
}

func TestWhoMayStopTheAgent(t *testing.T) {
	for _, test := range []struct {
		name    string
		method  string
		headers []string
		code    int
		body    string
	}{
		{"a program of the Pod", "POST", nil, http.StatusOK, "stopping\n"},
		{"the same over IPv6", "POST", []string{"peer", "[::1]:40123"}, http.StatusOK, "stopping\n"},
		{"the same on a socket for both families", "POST", []string{"peer", "[::ffff:127.0.0.1]:40123"}, http.StatusOK, "stopping\n"},
		{"another Pod", "POST", []string{"peer", "10.1.2.3:40123"}, http.StatusForbidden, "only programs of the same Pod may stop the agent"},
		{"another Pod over IPv6", "POST", []string{"peer", "[fd00::1]:40123"}, http.StatusForbidden, "only programs of the same Pod"},
		{"somebody behind our Envoy", "POST", []string{"X-Forwarded-Proto", "http"}, http.StatusForbidden, "only programs of the same Pod"},
		{"a page in a browser", "POST", []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden, "a page of another site may not stop the agent"},
		{"a crawler", "GET", nil, http.StatusMethodNotAllowed, "Method Not Allowed"},
		{"nobody known", "POST", []string{"peer", "@"}, http.StatusForbidden, "only programs of the same Pod"},
	} {
		asked := 0
		got := answer(Options{Node: node, Status: in(envoy.Live), Quit: func() { asked++ }}, test.method, "/quitquitquit", test.headers...)
		if got.Code != test.code || !strings.HasPrefix(got.Body.String(), test.body) {
			t.Errorf("%s is answered by %d %q", test.name, got.Code, got.Body)
		}
		if want := got.Code == http.StatusOK; (asked == 1) != want {
			t.Errorf("%s: the agent was asked to stop %d times", test.name, asked)
		}
	}
}

func TestAgentIsAskedToStopOnce(t *testing.T) {
	asked := 0
	handler := Handler(Options{Node: node, Status: in(envoy.Live), Quit: func() { asked++ }})
	for _, want := range []string{"stopping\n", "stopping already\n"} {
		request := httptest.NewRequest(http.MethodPost, "/quitquitquit", nil)
		request.RemoteAddr = "127.0.0.1:1"
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		if recorder.Code != http.StatusOK || recorder.Body.String() != want {
			t.Errorf("answered by %d %q, want %q", recorder.Code, recorder.Body, want)
		}
	}
	if asked != 1 {
		t.Errorf("the agent was asked to stop %d times", asked)
	}
}

func TestSlowRequestsTakeTheirShareOnly(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	handler := Handler(Options{Node: node, Status: in(envoy.Live), Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		begun <- struct{}{}
		<-end
		w.WriteHeader(http.StatusOK)
	})})
	codes := make(chan int, mostScrapes)
	for range mostScrapes {
		go func() {
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			codes <- recorder.Code
		}()
		<-begun
	}
	for path, want := range map[string]int{"/metrics": http.StatusServiceUnavailable, "/ready": http.StatusOK} {
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, nil))
		if recorder.Code != want {
			t.Errorf("%s is answered by %d %q beside %d slow scrapes", path, recorder.Code, recorder.Body, mostScrapes)
		}
	}
	close(end)
	for range mostScrapes {
		if code := <-codes; code != http.StatusOK {
			t.Errorf("a slow scrape got %d", code)
		}
	}
}
