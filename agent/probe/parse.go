package probe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Probes are what is probed, by the path at which the agent is asked.
type Probes map[string]Probe

// Probe is one of HTTPGet, TCPSocket and GRPC.
type Probe struct {
	HTTPGet   *HTTPGet
	TCPSocket *TCPSocket
	GRPC      *GRPC
	// Timeout is how long the application has.
	Timeout time.Duration
}

// HTTPGet is a GET request that is answered by 200 to 399.
type HTTPGet struct {
	// Host is where to connect to; if empty, it is the application's address.
	Host string
	Port uint16
	// URL has a scheme, a path and perhaps a query.
	URL url.URL
	// Headers are in their order. One named Host is the request's host.
	Headers []Header
}

// Header is a header of an HTTPGet.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// TCPSocket is a connection that is taken.
type TCPSocket struct {
	Host string `json:"host"`
	Port uint16 `json:"port"`
}

// GRPC is a service that says SERVING by the health checking protocol.
type GRPC struct {
	Port    uint16 `json:"port"`
	Service string `json:"service"`
}

var (
	probePath = regexp.MustCompile(`^/app-health/[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/(livez|readyz|startupz)$`)
	// headerName is a token of RFC 9110, section 5.6.2.
	headerName = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$")
	// hostName is loose: what cannot be looked up is told when it is.
	hostName = regexp.MustCompile(`^[-A-Za-z0-9_.:%]+$`)
)

// Parse reads a JSON object with a probe for each path:
//
//	{"/app-health/web/livez": {"httpGet": {"path": "/", "port": 8080}, "timeoutSeconds": 2}}
//
// Path is /app-health/<container>/ and livez, readyz or startupz. A probe has httpGet
// (path, port, scheme, host, httpHeaders), tcpSocket (port, host) or grpc (port,
// service), as in the Kubernetes API, and timeoutSeconds. A port is a number: who
// writes the JSON knows the container, and with it what a name means. What is null is
// as if it was not there. All problems are returned, each with path, field and fix;
// of a probe that is of another shape, the first.
func Parse(text string) (Probes, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &members); err != nil {
		return nil, fmt.Errorf("is not a JSON object with a probe for each path: %w", err)
	}
	probes := Probes{}
	var problems []error
	for _, path := range slices.Sorted(maps.Keys(members)) {
		found := problemsOf{path: path}
		if probePath.MatchString(path) {
			probes[path] = found.probe(members[path])
		} else {
			found.add("is no path of a probe: use /app-health/<container>/livez, readyz or startupz")
		}
		problems = append(problems, found.errs...)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return probes, nil
}

// declared is a probe as it is written.
type declared struct {
	HTTPGet *struct {
		Path    string   `json:"path"`
		Port    uint16   `json:"port"`
		Scheme  string   `json:"scheme"`
		Host    string   `json:"host"`
		Headers []Header `json:"httpHeaders"`
	} `json:"httpGet"`
	TCPSocket      *TCPSocket `json:"tcpSocket"`
	GRPC           *GRPC      `json:"grpc"`
	TimeoutSeconds *int32     `json:"timeoutSeconds"`
}

// problemsOf gathers what is wrong with the probe of a path.
type problemsOf struct {
	path string
	errs []error
}

func (f *problemsOf) add(format string, args ...any) {
	f.errs = append(f.errs, errors.New(f.path+" "+fmt.Sprintf(format, args...)))
}

// at is add for a field.
func (f *problemsOf) at(field, format string, args ...any) {
	f.errs = append(f.errs, errors.New(f.path+": "+field+" "+fmt.Sprintf(format, args...)))
}

func (f *problemsOf) probe(content []byte) (p Probe) {
	var d declared
	in := json.NewDecoder(bytes.NewReader(content))
	in.DisallowUnknownFields()
	if err := in.Decode(&d); err != nil {
		f.explain(err)
		return p
	}
	kinds := 0
	if d.HTTPGet != nil {
		kinds++
		p.HTTPGet = &HTTPGet{Host: d.HTTPGet.Host, Port: d.HTTPGet.Port, URL: f.url(d.HTTPGet.Scheme, d.HTTPGet.Path), Headers: d.HTTPGet.Headers}
		f.place("httpGet", p.HTTPGet.Host, p.HTTPGet.Port)
		f.headers(p.HTTPGet.Headers)
	}
	if p.TCPSocket = d.TCPSocket; p.TCPSocket != nil {
		kinds++
		f.place("tcpSocket", p.TCPSocket.Host, p.TCPSocket.Port)
	}
	if p.GRPC = d.GRPC; p.GRPC != nil {
		kinds++
		f.place("grpc", "", p.GRPC.Port)
	}
	if kinds != 1 {
		f.add("has %d of httpGet, tcpSocket and grpc: give one", kinds)
	}
	p.Timeout = time.Second
	if d.TimeoutSeconds != nil {
		if *d.TimeoutSeconds < 1 {
			f.at("timeoutSeconds", "is %d: write a whole number from 1 up, or leave it out for 1", *d.TimeoutSeconds)
		}
		p.Timeout = time.Duration(*d.TimeoutSeconds) * time.Second
	}
	return p
}

// explain says what to write in place of what encoding/json refuses.
func (f *problemsOf) explain(err error) {
	mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		f.add("has an %s: use those that a probe has in the Kubernetes API", strings.TrimPrefix(err.Error(), "json: "))
		return
	}
	fix := "write an object, as {\"name\": value}"
	switch mismatch.Type.Kind() {
	case reflect.String:
		fix = "write a text in quotes"
	case reflect.Uint16:
		fix = "give the number of the port, from 1 to 65535"
	case reflect.Int32:
		fix = "write a whole number from 1 up"
	case reflect.Slice:
		fix = "write a list of {\"name\": ..., \"value\": ...}"
	}
	if mismatch.Field == "" {
		f.add("is of type %s: %s", mismatch.Value, fix)
		return
	}
	f.at(mismatch.Field, "is of type %s: %s", mismatch.Value, fix)
}

// url takes any path, as the kubelet does.
func (f *problemsOf) url(scheme, path string) url.URL {
	u := url.URL{Path: path}
	if parsed, err := url.Parse(path); err == nil {
		u = url.URL{Path: parsed.Path, RawPath: parsed.RawPath, RawQuery: parsed.RawQuery}
	}
	if !strings.HasPrefix(u.Path, "/") {
		u.Path, u.RawPath = "/"+u.Path, ""
	}
	switch scheme {
	case "", "HTTP":
		u.Scheme = "http"
	case "HTTPS":
		u.Scheme = "https"
	default:
		f.at("httpGet.scheme", "is %.40q: use HTTP or HTTPS", scheme)
	}
	return u
}

func (f *problemsOf) headers(headers []Header) {
	for i, h := range headers {
		field := fmt.Sprintf("httpGet.httpHeaders[%d]", i)
		headers[i].Name = http.CanonicalHeaderKey(h.Name)
		if !headerName.MatchString(h.Name) {
			f.at(field+".name", "is %.40q: write the name of a header, such as X-Probe", h.Name)
		}
		if strings.ContainsFunc(h.Value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
			f.at(field+".value", "has a control character: leave it out, since no header can carry it")
		}
	}
}

// place checks where to connect to.
func (f *problemsOf) place(kind, host string, port uint16) {
	if port == 0 {
		f.at(kind+".port", "is 0 or missing: give the number of the port, from 1 to 65535")
	}
	if host != "" && !hostName.MatchString(host) {
		f.at(kind+".host", "is %.40q: write a name or an address without a port, or leave it out", host)
	}
}
