package translate_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	injectedv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/injected_resource/v3"
	. "github.com/onsi/gomega"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

// connections are those that a workload's proxy carries: of every sort one that is open.
type connections struct {
	l        *live
	http1    *kept
	outbound *kept
	http2    *http.Client
	stream   *stream
	tcp      *kept
	tcpOut   *kept
}

func (l *live) connections() *connections {
	l.t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	c := &connections{
		l:     l,
		http1: l.keep(l.address(10) + ":8080"), outbound: l.keep(l.address(10) + ":15001"),
		tcp: l.keep(l.address(10) + ":8081"), tcpOut: l.keep(l.address(10) + ":13306"),
		http2: &http.Client{Transport: transport},
	}
	l.t.Cleanup(transport.CloseIdleConnections)
	g := NewWithT(l.t)
	g.Expect(c.http1.get("/", "app")).To(Equal("200"))
	g.Expect(c.outbound.get("/", "reviews:9080")).To(Equal("200"))
	g.Expect(c.tcp.say("in")).To(Equal("echo in"))
	g.Expect(c.tcpOut.say("out")).To(Equal("echo out"))
	c.stream = c.open()
	g.Expect(c.stream.say("one")).To(Equal("one"))
	return c
}

// kept is a connection that its client keeps.
type kept struct {
	net.Conn
	reader *bufio.Reader
}

func (l *live) keep(at string) *kept {
	l.t.Helper()
	var connection net.Conn
	NewWithT(l.t).Eventually(func() (err error) {
		connection, err = net.Dial("tcp", at)
		return err
	}).WithTimeout(20*time.Second).Should(Succeed(), "Envoy starts to listen soon after it was started")
	l.t.Cleanup(func() { _ = connection.Close() })
	_ = connection.SetDeadline(time.Now().Add(time.Minute))
	return &kept{connection, bufio.NewReader(connection)}
}

// get makes a request in HTTP/1.1, and returns the status, and whether the connection is
// not to be used again.
func (k *kept) get(path, host string) string {
	if _, err := fmt.Fprintf(k, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host); err != nil {
		return err.Error()
	}
	response, err := http.ReadResponse(k.reader, nil)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err.Error()
	}
	if response.Close {
		return fmt.Sprintf("%d, close", response.StatusCode)
	}
	return fmt.Sprint(response.StatusCode)
}

func (k *kept) say(line string) string {
	_, _ = fmt.Fprintln(k, line)
	return k.hear()
}

// hear returns what is said next, or why nothing is.
func (k *kept) hear() string {
	line, err := k.reader.ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSuffix(line, "\n")
}

// get makes a request in HTTP/2, and tells whether it went by a connection that was there.
func (c *connections) get() string {
	known := false
	trace := httptrace.WithClientTrace(c.l.t.Context(), &httptrace.ClientTrace{
		GotConn: func(got httptrace.GotConnInfo) { known = got.Reused },
	})
	request, err := http.NewRequestWithContext(trace, http.MethodGet, "http://"+c.l.address(10)+":8080/", nil)
	if err != nil {
		return err.Error()
	}
	response, err := c.http2.Do(request)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err.Error()
	}
	if known {
		return fmt.Sprintf("%s %d by a connection that was there", response.Proto, response.StatusCode)
	}
	return fmt.Sprintf("%s %d by a new connection", response.Proto, response.StatusCode)
}

// stream is a long one, such as gRPC's are.
type stream struct {
	*kept
	body *io.PipeWriter
}

func (s *stream) say(line string) string {
	_, _ = fmt.Fprintln(s.body, line)
	return s.hear()
}

func (c *connections) open() *stream {
	c.l.t.Helper()
	read, write := io.Pipe()
	request, err := http.NewRequestWithContext(c.l.t.Context(), http.MethodPost, "http://"+c.l.address(10)+":8080/echo", read)
	if err != nil {
		c.l.t.Fatal(err)
	}
	response, err := c.http2.Do(request)
	if err != nil {
		c.l.t.Fatal(err)
	}
	c.l.t.Cleanup(func() { _ = response.Body.Close() })
	return &stream{&kept{reader: bufio.NewReader(response.Body)}, write}
}

// active returns how many connections the proxy has of a direction, as its agent counts them.
func (l *live) active(direction string) string {
	return l.stat("listener." + direction + ".downstream_cx_active")
}

// stat returns a value of Envoy's, as text.
func (l *live) stat(name string) string {
	response, err := l.admin.Get("http://admin/stats?filter=^" + name + "$")
	if err != nil {
		return err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err.Error()
	}
	_, value, _ := strings.Cut(strings.TrimSpace(string(text)), ": ")
	return value
}

func serveAll(l *live, all *inlined) {
	all.Clusters = append(all.Clusters, l.app(8080), l.app(8081))
	l.serveHTTP("v1", l.address(21)+":9080")
	l.serveHTTP("app", l.address(11)+":8080")
	l.serveTCP(l.address(11) + ":8081")
	l.serveTCP(l.address(51) + ":3306")
}

// An agent that is to end asks for this first: callers are to go, calls are to go on.
func TestDrainOfInboundListeners(t *testing.T) {
	t.Parallel()
	l := startLive(t, "explicit.yaml", serveAll)
	c := l.connections()
	g := NewWithT(t)
	g.Expect(l.active("inbound")).To(Equal("3"), "HTTP/1.1, HTTP/2 and TCP")
	g.Expect(l.active("outbound")).To(Equal("2"), "HTTP/1.1 and TCP")
	g.Expect(c.get()).To(Equal("HTTP/2.0 200 by a connection that was there"))

	l.post("/drain_listeners?graceful&inboundonly")

	g.Expect(c.http1.get("/", "app")).To(Equal("200, close"))
	g.Expect(c.http1.hear()).To(Equal("EOF"))
	g.Expect(c.get()).To(Equal("HTTP/2.0 200 by a connection that was there"), "GOAWAY comes with it")
	g.Eventually(c.get).WithTimeout(20*time.Second).Should(Equal("HTTP/2.0 200 by a new connection"), "the client heard of it")
	g.Expect(c.stream.say("two")).To(Equal("two"))
	_ = c.stream.body.Close()
	g.Expect(c.stream.hear()).To(Equal("EOF"))
	g.Eventually(l.active).WithArguments("inbound").WithTimeout(20*time.Second).Should(Equal("1"), "TCP alone cannot be asked to go")
	g.Expect(c.tcp.say("in")).To(Equal("echo in"))

	g.Expect(c.outbound.get("/", "reviews:9080")).To(Equal("200"))
	g.Expect(c.tcpOut.say("out")).To(Equal("echo out"))
	g.Expect(l.active("outbound")).To(Equal("2"))
}

// What health checks may be failed for does not end what the application calls.
func TestFailedHealthDrainsInboundOnly(t *testing.T) {
	t.Parallel()
	l := startLive(t, "explicit.yaml", serveAll)
	c := l.connections()
	g := NewWithT(t)
	l.post("/healthcheck/fail")
	g.Expect(c.http1.get("/", "app")).To(Equal("200, close"))
	g.Expect(c.outbound.get("/", "reviews:9080")).To(Equal("200"))
}

// An agent whose Envoy has lost its administration interface to a successor raises the
// pressure instead. HTTP/2 clients that say nothing are told
// too.
func TestPressureEndsConnections(t *testing.T) {
	t.Parallel()
	var pressure string
	l := startLive(t, "explicit.yaml", func(l *live, all *inlined) {
		serveAll(l, all)
		pressure = filepath.Join(l.dir, "pressure")
		setPressure(t, pressure, "0")
		all.Overload = endsConnections(t, pressure)
	})
	c := l.connections()
	g := NewWithT(t)
	g.Expect(l.active("inbound")).To(Equal("3"))

	setPressure(t, pressure, "1")
	g.Eventually(c.get).WithTimeout(20*time.Second).Should(Equal("HTTP/2.0 200 by a new connection"), "GOAWAY came without a request")
	// A request may be on its way on an idle connection of HTTP/1.1: it is answered.
	g.Expect(c.http1.get("/", "app")).To(Equal("200, close"))
	g.Expect(c.http1.hear()).To(Equal("EOF"))
	g.Expect(c.outbound.get("/", "reviews:9080")).To(Equal("200, close"))
	g.Expect(c.outbound.hear()).To(Equal("EOF"))
	g.Expect(c.stream.say("two")).To(Equal("two"), "a stream goes on")
	_ = c.stream.body.Close()
	g.Expect(c.stream.hear()).To(Equal("EOF"))
	g.Eventually(l.active).WithArguments("inbound").WithTimeout(20*time.Second).Should(Equal("1"), "TCP alone cannot be asked to go")
	g.Expect(c.tcp.say("in")).To(Equal("echo in"))
}

// setPressure replaces the file as the agent does: Envoy looks when one is moved there.
func setPressure(t *testing.T, path, value string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(value), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// endsConnections is what the agent's bootstrap does about pressure.
func endsConnections(t *testing.T, path string) *overloadv3.OverloadManager {
	t.Helper()
	const resource = "envoy.resource_monitors.injected_resource"
	full := []*overloadv3.Trigger{{Name: resource, TriggerOneof: &overloadv3.Trigger_Threshold{Threshold: &overloadv3.ThresholdTrigger{Value: 1}}}}
	return &overloadv3.OverloadManager{
		RefreshInterval: durationpb.New(100 * time.Millisecond),
		ResourceMonitors: []*overloadv3.ResourceMonitor{{
			Name:       resource,
			ConfigType: &overloadv3.ResourceMonitor_TypedConfig{TypedConfig: anyOf(t, &injectedv3.InjectedResourceConfig{Filename: path})},
		}},
		Actions: []*overloadv3.OverloadAction{
			{Name: "envoy.overload_actions.disable_http_keepalive", Triggers: full},
			{Name: "envoy.overload_actions.reduce_timeouts", Triggers: full, TypedConfig: anyOf(t, &overloadv3.ScaleTimersOverloadActionConfig{
				TimerScaleFactors: []*overloadv3.ScaleTimersOverloadActionConfig_ScaleTimer{{
					Timer:          overloadv3.ScaleTimersOverloadActionConfig_HTTP_DOWNSTREAM_CONNECTION_MAX,
					OverloadAdjust: &overloadv3.ScaleTimersOverloadActionConfig_ScaleTimer_MinTimeout{MinTimeout: durationpb.New(time.Second)},
				}},
			})},
		},
	}
}

func anyOf(t *testing.T, message proto.Message) *anypb.Any {
	t.Helper()
	packed, err := anypb.New(message)
	if err != nil {
		t.Fatal(err)
	}
	return packed
}
