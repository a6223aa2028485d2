package probe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
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
type Header struct{ Name, Value string }

// TCPSocket is a connection that is taken.
type TCPSocket struct {
	Host string
	Port uint16
}

// GRPC is a service that says SERVING by the health checking protocol.
type GRPC struct {
	Port    uint16
	Service string
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
// as if it was not there. All problems are returned, each with path, field and fix.
func Parse(text string) (Probes, error) {
	d := &decoder{}
	probes := Probes{}
	members := d.object("", []byte(text))
	for _, path := range slices.Sorted(maps.Keys(members)) {
		d.path = path
		if !probePath.MatchString(path) {
			d.problem("", "is no path of a probe: use /app-health/<container>/livez, readyz or startupz")
			continue
		}
		probes[path] = d.probe(members[path])
	}
	if err := errors.Join(d.problems...); err != nil {
		return nil, err
	}
	return probes, nil
}

// decoder gathers what is wrong. Unlike encoding/json it tells field names apart by
// case, and knows in which path and field it is.
type decoder struct {
	path     string
	problems []error
}

func (d *decoder) problem(field, format string, args ...any) {
	where := d.path
	if where != "" && field != "" {
		where += ": "
	}
	if where += field; where != "" {
		where += " "
	}
	d.problems = append(d.problems, errors.New(where+fmt.Sprintf(format, args...)))
}

// object returns the members of an object, without those that are null.
func (d *decoder) object(field string, content []byte) map[string]json.RawMessage {
	members := map[string]json.RawMessage{}
	in := json.NewDecoder(bytes.NewReader(content))
	if opening, err := in.Token(); err != nil {
		d.problem(field, "is not JSON: %v", err)
		return nil
	} else if opening != json.Delim('{') {
		d.problem(field, "is %.40s: write an object, as {\"name\": value}", content)
		return nil
	}
	for in.More() {
		key, err := in.Token()
		var value json.RawMessage
		if err == nil {
			err = in.Decode(&value)
		}
		if err != nil {
			d.problem(field, "is not JSON: %v", err)
			return nil
		}
		// Within an object a token that is read here is always a name.
		name, _ := key.(string)
		if _, twice := members[name]; twice {
			d.problem(field, "has %q twice: leave one out", name)
		}
		members[name] = value
	}
	_, err := in.Token()
	if err == nil {
		if _, after := in.Token(); !errors.Is(after, io.EOF) {
			err = errors.New("something follows the object")
		}
	}
	if err != nil {
		d.problem(field, "is not JSON: %v", err)
		return nil
	}
	maps.DeleteFunc(members, func(_ string, value json.RawMessage) bool { return string(value) == "null" })
	return members
}

// known complains of members that are not among those named.
func (d *decoder) known(field string, members map[string]json.RawMessage, names ...string) {
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if !slices.Contains(names, name) {
			d.problem(join(field, name), "is unknown: use %s", strings.Join(names, ", "))
		}
	}
}

func join(field, name string) string {
	if field == "" {
		return name
	}
	return field + "." + name
}

func (d *decoder) probe(content []byte) Probe {
	members := d.object("", content)
	if members == nil {
		return Probe{}
	}
	d.known("", members, "httpGet", "tcpSocket", "grpc", "timeoutSeconds")
	p := Probe{Timeout: time.Second}
	kinds := 0
	for kind, read := range map[string]func([]byte){
		"httpGet":   func(c []byte) { p.HTTPGet = d.httpGet(c) },
		"tcpSocket": func(c []byte) { p.TCPSocket = d.tcpSocket(c) },
		"grpc":      func(c []byte) { p.GRPC = d.grpc(c) },
	} {
		if members[kind] != nil {
			kinds++
			read(members[kind])
		}
	}
	if kinds != 1 {
		d.problem("", "has %d of httpGet, tcpSocket and grpc: give one", kinds)
	}
	if content, ok := members["timeoutSeconds"]; ok {
		seconds, err := strconv.ParseInt(string(content), 10, 32)
		if err != nil || seconds < 1 {
			d.problem("timeoutSeconds", "is %.40s: write a whole number from 1 up, or leave it out for 1", content)
		}
		p.Timeout = time.Duration(seconds) * time.Second
	}
	return p
}

func (d *decoder) httpGet(content []byte) *HTTPGet {
	const field = "httpGet"
	members := d.object(field, content)
	if members == nil {
		return nil
	}
	d.known(field, members, "path", "port", "scheme", "host", "httpHeaders")
	get := &HTTPGet{Host: d.host(field, members), Port: d.port(field, members)}
	path := d.text(field, "path", members)
	// As the kubelet does: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#Probe
	// allows any text.
	if parsed, err := url.Parse(path); err == nil {
		get.URL = url.URL{Path: parsed.Path, RawPath: parsed.RawPath, RawQuery: parsed.RawQuery}
	} else {
		get.URL = url.URL{Path: path}
	}
	if !strings.HasPrefix(get.URL.Path, "/") {
		get.URL.Path, get.URL.RawPath = "/"+get.URL.Path, ""
	}
	switch scheme := d.text(field, "scheme", members); scheme {
	case "", "HTTP":
		get.URL.Scheme = "http"
	case "HTTPS":
		get.URL.Scheme = "https"
	default:
		d.problem(join(field, "scheme"), "is %.40q: use HTTP or HTTPS", scheme)
	}
	if content, ok := members["httpHeaders"]; ok {
		get.Headers = d.headers(join(field, "httpHeaders"), content)
	}
	return get
}

func (d *decoder) headers(field string, content []byte) (headers []Header) {
	var elements []json.RawMessage
	if err := json.Unmarshal(content, &elements); err != nil {
		d.problem(field, "is %.40s: write a list of {\"name\": ..., \"value\": ...}", content)
		return nil
	}
	for i, element := range elements {
		at := fmt.Sprintf("%s[%d]", field, i)
		members := d.object(at, element)
		if members == nil {
			continue
		}
		d.known(at, members, "name", "value")
		h := Header{http.CanonicalHeaderKey(d.text(at, "name", members)), d.text(at, "value", members)}
		if !headerName.MatchString(h.Name) {
			d.problem(join(at, "name"), "is %.40q: write the name of a header, such as X-Probe", h.Name)
		}
		if strings.ContainsFunc(h.Value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
			d.problem(join(at, "value"), "has a control character: leave it out, since no header can carry it")
		}
		headers = append(headers, h)
	}
	return headers
}

func (d *decoder) tcpSocket(content []byte) *TCPSocket {
	const field = "tcpSocket"
	members := d.object(field, content)
	if members == nil {
		return nil
	}
	d.known(field, members, "port", "host")
	return &TCPSocket{Host: d.host(field, members), Port: d.port(field, members)}
}

func (d *decoder) grpc(content []byte) *GRPC {
	const field = "grpc"
	members := d.object(field, content)
	if members == nil {
		return nil
	}
	d.known(field, members, "port", "service")
	return &GRPC{Port: d.port(field, members), Service: d.text(field, "service", members)}
}

// text returns "" for a member that is not there.
func (d *decoder) text(field, name string, members map[string]json.RawMessage) (text string) {
	if content, ok := members[name]; ok {
		if err := json.Unmarshal(content, &text); err != nil {
			d.problem(join(field, name), "is %.40s: write a text in quotes", content)
		}
	}
	return text
}

func (d *decoder) host(field string, members map[string]json.RawMessage) string {
	host := d.text(field, "host", members)
	if host != "" && !hostName.MatchString(host) {
		d.problem(join(field, "host"), "is %.40q: write a name or an address without a port, or leave it out", host)
	}
	return host
}

func (d *decoder) port(field string, members map[string]json.RawMessage) uint16 {
	content, ok := members["port"]
	if !ok {
		d.problem(join(field, "port"), "is missing: give the port's number")
		return 0
	}
	var name string
	if json.Unmarshal(content, &name) == nil {
		d.problem(join(field, "port"), "is %.40q: give the number of the port that the container has by that name", name)
		return 0
	}
	port, err := strconv.ParseUint(string(content), 10, 16)
	if err != nil || port == 0 {
		d.problem(join(field, "port"), "is %.40s: use a number from 1 to 65535", content)
	}
	return uint16(port)
}
