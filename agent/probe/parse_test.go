package probe

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	got, err := Parse(`{
		"/app-health/web/livez": {"httpGet": {"path": "/health?deep=1", "port": 8080, "scheme": "HTTPS", "host": "example.com",
			"httpHeaders": [{"name": "x-probe", "value": "a"}, {"name": "Host", "value": "shop"}]}, "timeoutSeconds": 3},
		"/app-health/web/readyz": {"httpGet": {"port": 1}},
		"/app-health/web/startupz": {"httpGet": {"path": "up", "port": 65535, "host": null}, "tcpSocket": null, "timeoutSeconds": null},
		"/app-health/a-1/livez": {"tcpSocket": {"port": 5432, "host": "::1"}},
		"/app-health/a-1/readyz": {"grpc": {"port": 9000, "service": null}},
		"/app-health/a-1/startupz": {"grpc": {"port": 9000, "service": "shop.Reviews"}}
	}`)
	if err != nil {
		t.Fatal(err)
	}
	want := Probes{
		"/app-health/web/livez": {Timeout: 3 * time.Second, HTTPGet: &HTTPGet{
			Host: "example.com", Port: 8080, URL: url.URL{Scheme: "https", Path: "/health", RawQuery: "deep=1"},
			Headers: []Header{{"X-Probe", "a"}, {"Host", "shop"}},
		}},
		"/app-health/web/readyz":   {Timeout: time.Second, HTTPGet: &HTTPGet{Port: 1, URL: url.URL{Scheme: "http", Path: "/"}}},
		"/app-health/web/startupz": {Timeout: time.Second, HTTPGet: &HTTPGet{Port: 65535, URL: url.URL{Scheme: "http", Path: "/up"}}},
		"/app-health/a-1/livez":    {Timeout: time.Second, TCPSocket: &TCPSocket{Host: "::1", Port: 5432}},
		"/app-health/a-1/readyz":   {Timeout: time.Second, GRPC: &GRPC{Port: 9000}},
		"/app-health/a-1/startupz": {Timeout: time.Second, GRPC: &GRPC{Port: 9000, Service: "shop.Reviews"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read otherwise (-want +got):\n%s", diff)
	}
	if probes, err := Parse("{}"); err != nil || len(probes) != 0 {
		t.Errorf("no probes are %v, %v", probes, err)
	}
}

func TestParseTellsPathFieldAndFix(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{``, `is not a JSON object with a probe for each path: unexpected end of JSON input`},
		{`[]`, `is not a JSON object with a probe for each path: json: cannot unmarshal array into Go value of type map[string]json.RawMessage`},
		{`{} {}`, `is not a JSON object with a probe for each path: invalid character '{' after top-level value`},
		{`{"/livez": {"tcpSocket": {"port": 1}}}`, `/livez is no path of a probe: use /app-health/<container>/livez, readyz or startupz`},
		{`{"/app-health/Web/livez": {}}`, `/app-health/Web/livez is no path of a probe: use /app-health/<container>/livez, readyz or startupz`},
		{of(`7`), `/app-health/web/livez is of type number: write an object, as {"name": value}`},
		{of(`{}`), `/app-health/web/livez has 0 of httpGet, tcpSocket and grpc: give one`},
		{of(`{"tcpSocket": {"port": 1}, "grpc": {"port": 1}}`), `/app-health/web/livez has 2 of httpGet, tcpSocket and grpc: give one`},
		{of(`{"exec": {}, "tcpSocket": {"port": 1}}`), `/app-health/web/livez has an unknown field "exec": use those that a probe has in the Kubernetes API`},
		{of(`{"httpGet": {"port": 1, "path": 2}}`), `/app-health/web/livez: httpGet.path is of type number: write a text in quotes`},
		{of(`{"httpGet": {"port": 1, "prot": 2}}`), `/app-health/web/livez has an unknown field "prot": use those that a probe has in the Kubernetes API`},
		{of(`{"httpGet": {"path": "/"}}`), `/app-health/web/livez: httpGet.port is 0 or missing: give the number of the port, from 1 to 65535`},
		{of(`{"httpGet": {"port": "http"}}`), `/app-health/web/livez: httpGet.port is of type string: give the number of the port, from 1 to 65535`},
		{of(`{"grpc": {"port": 0}}`), `/app-health/web/livez: grpc.port is 0 or missing: give the number of the port, from 1 to 65535`},
		{of(`{"grpc": {"port": 65536}}`), `/app-health/web/livez: grpc.port is of type number 65536: give the number of the port, from 1 to 65535`},
		{of(`{"grpc": {"port": 1.5}}`), `/app-health/web/livez: grpc.port is of type number 1.5: give the number of the port, from 1 to 65535`},
		{of(`{"grpc": {"port": 1, "host": "a"}}`), `/app-health/web/livez has an unknown field "host": use those that a probe has in the Kubernetes API`},
		{of(`{"tcpSocket": {"port": 1, "host": "a b"}}`), `/app-health/web/livez: tcpSocket.host is "a b": write a name or an address without a port, or leave it out`},
		{of(`{"httpGet": {"port": 1, "scheme": "https"}}`), `/app-health/web/livez: httpGet.scheme is "https": use HTTP or HTTPS`},
		{of(`{"httpGet": {"port": 1, "httpHeaders": {}}}`), `/app-health/web/livez: httpGet.httpHeaders is of type object: write a list of {"name": ..., "value": ...}`},
		{of(`{"httpGet": {"port": 1, "httpHeaders": [{"name": "A"}, {"name": "b c"}]}}`),
			`/app-health/web/livez: httpGet.httpHeaders[1].name is "b c": write the name of a header, such as X-Probe`},
		{of(`{"httpGet": {"port": 1, "httpHeaders": [{"name": "A", "value": "b\r\nC: d"}]}}`),
			`/app-health/web/livez: httpGet.httpHeaders[0].value has a control character: leave it out, since no header can carry it`},
		{of(`{"tcpSocket": {"port": 1}, "timeoutSeconds": 0}`), `/app-health/web/livez: timeoutSeconds is 0: write a whole number from 1 up, or leave it out for 1`},
		{of(`{"tcpSocket": {"port": 1}, "timeoutSeconds": "2s"}`), `/app-health/web/livez: timeoutSeconds is of type string: write a whole number from 1 up`},
	} {
		probes, err := Parse(test.text)
		if err == nil {
			t.Errorf("%s is read as %v", test.text, probes)
		} else if err.Error() != test.want {
			t.Errorf("%s: %q, want %q", test.text, err, test.want)
		}
	}
}

// All that is wrong is told at once.
func TestParseTellsAllProblems(t *testing.T) {
	_, err := Parse(`{"/app-health/web/livez": {"grpc": {"port": 0}, "timeoutSeconds": 0}, "/app-health/web/readyz": {"tcpSocket": {}}}`)
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("not three problems: %v", err)
	}
}

// of is a probe of the container web.
func of(probe string) string { return `{"/app-health/web/livez": ` + probe + `}` }

func FuzzParse(f *testing.F) {
	f.Add(`{"/app-health/web/livez": {"httpGet": {"path": "/a?b=c", "port": 8080, "scheme": "HTTPS", "httpHeaders": [{"name": "A", "value": "b"}]}, "timeoutSeconds": 3}}`)
	f.Add(`{"/app-health/web/readyz": {"tcpSocket": {"port": 5432, "host": "localhost"}}}`)
	f.Add(`{"/app-health/web/startupz": {"grpc": {"port": 9000, "service": "a.b"}}}`)
	f.Add(of(`{"httpGet": {"port": "http"}, "grpc": null}`))
	f.Fuzz(func(t *testing.T, text string) {
		probes, err := Parse(text)
		if err != nil {
			if probes != nil || strings.TrimSpace(err.Error()) == "" {
				t.Errorf("%q: %v with the error %q", text, probes, err)
			}
			return
		}
		for path, p := range probes {
			var ports []uint16
			if p.HTTPGet != nil {
				ports = append(ports, p.HTTPGet.Port)
				if _, err := url.Parse(p.HTTPGet.URL.String()); err != nil {
					t.Errorf("%q: %s has a URL that cannot be read back: %v", text, path, err)
				}
			}
			if p.TCPSocket != nil {
				ports = append(ports, p.TCPSocket.Port)
			}
			if p.GRPC != nil {
				ports = append(ports, p.GRPC.Port)
			}
			if len(ports) != 1 || ports[0] == 0 || p.Timeout < time.Second || !strings.HasPrefix(path, "/app-health/") {
				t.Errorf("%q is read as %s: %+v", text, path, p)
			}
		}
		// Whatever was read can be served: a path with a brace, say, would end the mux.
		NewHandler(probes, DefaultAddress)
	})
}
