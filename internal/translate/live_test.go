package translate_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/translate"
	"fairlead.dev/fairlead/test/testenv"
)

// live is a real Envoy that runs what was translated, with real servers behind it.
type live struct {
	t     *testing.T
	part  string // the third part of its addresses, so that runs do not meet
	dir   string
	admin *http.Client
	args  []string // further ones of Envoy's
}

// nextPart tells proxies of one run apart; the process tells runs apart.
var nextPart atomic.Int32

// startLive runs Envoy on a mesh from testdata/live, as the proxy of the Pod front; change
// may still change what is served.
func startLive(t *testing.T, file string, change func(*live, *inlined)) *live {
	t.Helper()
	l := newLive(t, newPart())
	all := l.inline(l.mesh(file), "front")
	change(l, all)
	l.run(all)
	return l
}

func newPart() string { return fmt.Sprint((os.Getpid()*2+int(nextPart.Add(1)))%200 + 50) }

func newLive(t *testing.T, part string) *live {
	t.Helper()
	dir, err := testenv.SocketDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l := &live{t: t, part: part, dir: dir}
	l.admin = testenv.UnixClient(l.socket())
	return l
}

// mesh reads a mesh from testdata/live, and puts text for words in capitals.
func (l *live) mesh(file string, words ...string) *mesh.Store {
	l.t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata/live", file))
	if err != nil {
		l.t.Fatal(err)
	}
	text = bytes.ReplaceAll(text, []byte(".19.0."), []byte(".19."+l.part+"."))
	text = bytes.ReplaceAll(text, []byte(`"LARGE"`), []byte(strings.Repeat("x", 100_000)))
	text = []byte(strings.NewReplacer(words...).Replace(string(text)))
	store, _ := meshOf(l.t, bytes.Split(text, []byte("\n---\n")))
	return store
}

// inline returns what the proxy of a Pod is served.
func (l *live) inline(store *mesh.Store, pod string) *inlined {
	l.t.Helper()
	class := translate.ClassOf(store, store.Workload(mesh.NamespacedName{Namespace: "default", Name: pod}))
	resources, _ := translateAll(store, class, nil)
	for _, resource := range resources {
		checkValid(l.t, resource)
	}
	all := &inlined{Admin: &bootstrapv3.Admin{Address: &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: l.socket()}}}}}
	all.add(l.t, "", resources)
	return all
}

func (l *live) socket() string { return filepath.Join(l.dir, "admin.sock") }

// address returns a loopback address of this run.
func (l *live) address(last int) string { return fmt.Sprintf("127.19.%s.%d", l.part, last) }

// run starts Envoy, and returns what ends it.
func (l *live) run(all *inlined) (end func()) {
	l.t.Helper()
	binary, err := testenv.Envoy()
	if err != nil {
		l.t.Fatal(err)
	}
	path := filepath.Join(l.dir, "envoy.json")
	if err := os.WriteFile(path, all.bootstrap(l.t), 0o600); err != nil {
		l.t.Fatal(err)
	}
	var output bytes.Buffer
	envoy := exec.Command(binary, "--config-path", path, "--disable-hot-restart", "--concurrency", "1", "--log-level", "warn",
		"--drain-strategy", "immediate")
	envoy.Args = append(envoy.Args, l.args...)
	envoy.Dir, envoy.Stdout, envoy.Stderr = l.dir, &output, &output
	if err := envoy.Start(); err != nil {
		l.t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		_ = envoy.Process.Signal(syscall.SIGTERM)
		_ = envoy.Wait()
	})
	l.t.Cleanup(func() {
		end()
		if l.t.Failed() {
			l.t.Logf("Envoy wrote:\n%s", output.String())
		}
	})
	return end
}

// post asks something of Envoy's administration interface.
func (l *live) post(path string) {
	l.t.Helper()
	response, err := l.admin.Post("http://admin"+path, "", nil)
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		l.t.Fatalf("%s: %s", path, response.Status)
	}
}

// app is a static cluster of the agent's bootstrap.
func (l *live) app(port int) *clusterv3.Cluster { return l.appAt(port, 11) }

func (l *live) appAt(port, last int) *clusterv3.Cluster {
	name := fmt.Sprintf("app|%d", port)
	return &clusterv3.Cluster{Name: name, LoadAssignment: &endpointv3.ClusterLoadAssignment{
		ClusterName: name,
		Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: address(l.address(last), port)}},
		}}}},
	}}
}

func address(host string, port int) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(port)},
	}}}
}

// seen is what a server answers: the request as it arrived.
type seen struct {
	Server    string
	Path      string
	Authority string
	Protocol  string
	Header    http.Header
}

// serveHTTP runs a server that answers what it saw, in HTTP/1.1 or in HTTP/2 without TLS.
func (l *live) serveHTTP(name, at string) {
	l.t.Helper()
	var flaky atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	work := func(w http.ResponseWriter, _ *http.Request) {
		<-time.After(20 * time.Millisecond)
		w.Header().Set("Server", name)
	}
	mux.HandleFunc("/work", work)
	mux.HandleFunc("/once", work)
	mux.HandleFunc("/upgrade", upgrade)
	mux.HandleFunc("/echo", echo)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Remove", "yes")
		w.Header().Set("X-More", "server")
		w.Header().Set("Server", name)
		if strings.HasPrefix(r.URL.Path, "/flaky") && flaky.Add(1)%3 != 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(seen{name, r.RequestURI, r.Host, r.Proto, r.Header})
	})
	listener, err := net.Listen("tcp", at)
	if err != nil {
		l.t.Fatal(err)
	}
	server := &http.Server{Handler: mux, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = server.Serve(listener) }()
	l.t.Cleanup(func() { _ = server.Close() })
}

// upgrade changes to a protocol that echoes one line.
func upgrade(w http.ResponseWriter, _ *http.Request) {
	connection, buffer, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = connection.Close() }()
	_, _ = fmt.Fprint(connection, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	line, _ := buffer.ReadString('\n')
	_, _ = fmt.Fprint(connection, "echo "+line)
}

// echo answers with what it is sent, as it comes: a stream that lasts as long as its
// client likes.
func echo(w http.ResponseWriter, r *http.Request) {
	controller := http.NewResponseController(w)
	_ = controller.EnableFullDuplex()
	for piece := make([]byte, 1024); ; {
		_ = controller.Flush()
		n, err := r.Body.Read(piece)
		if _, failed := w.Write(piece[:n]); err != nil || failed != nil {
			return
		}
	}
}

// serveTCP runs a server that echoes lines.
func (l *live) serveTCP(at string) {
	l.t.Helper()
	l.serveLines(at, "")
}

// serveGreeting runs a server that speaks first, as MySQL's does, and then echoes lines.
func (l *live) serveGreeting(at string) {
	l.t.Helper()
	l.serveLines(at, "hello\n")
}

func (l *live) serveLines(at, greeting string) {
	l.t.Helper()
	listener, err := net.Listen("tcp", at)
	if err != nil {
		l.t.Fatal(err)
	}
	l.serveLinesOn(listener, greeting)
}

func (l *live) serveLinesOn(listener net.Listener, greeting string) {
	l.t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = connection.Close() }()
				_, _ = fmt.Fprint(connection, greeting)
				for lines := bufio.NewScanner(connection); lines.Scan(); {
					_, _ = fmt.Fprintln(connection, "echo "+lines.Text())
				}
			}()
		}
	}()
}

// answer is a response, with what the server saw if one was reached.
type answer struct {
	*http.Response
	Body string
	seen
}

// send makes a request by a proxy, until Envoy listens there.
func (l *live) send(proxy string, request *http.Request) answer {
	l.t.Helper()
	client := &http.Client{
		Transport: &http.Transport{
			Proxy:             func(*http.Request) (*url.URL, error) { return url.Parse("http://" + proxy) },
			DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       20 * time.Second,
	}
	return l.do(client, request)
}

func (l *live) do(client *http.Client, request *http.Request) answer {
	l.t.Helper()
	var got answer
	var body []byte
	NewWithT(l.t).Eventually(func() error {
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		got.Response = response
		body, err = io.ReadAll(response.Body)
		return err
	}).WithTimeout(20*time.Second).Should(Succeed(), "Envoy starts to listen soon after it was started")
	got.Body = string(body)
	_ = json.Unmarshal(body, &got.seen)
	return got
}

// speak opens a connection, sends a line and returns the answer.
func (l *live) speak(at, line string) string {
	l.t.Helper()
	var connection net.Conn
	NewWithT(l.t).Eventually(func(ctx context.Context) (err error) {
		connection, err = new(net.Dialer).DialContext(ctx, "tcp", at)
		return err
	}).WithContext(l.t.Context()).WithTimeout(20*time.Second).Should(Succeed(), "Envoy starts to listen soon after it was started")
	defer func() { _ = connection.Close() }()
	_ = connection.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = fmt.Fprintln(connection, line)
	reply, _ := bufio.NewReader(connection).ReadString('\n')
	return strings.TrimSuffix(reply, "\n")
}

// listenOn moves a listener to other addresses with one port.
func listenOn(listener *listenerv3.Listener, port int, addresses ...string) {
	listener.Address = address(addresses[0], port)
	for _, more := range addresses[1:] {
		listener.AdditionalAddresses = append(listener.AdditionalAddresses, &listenerv3.AdditionalAddress{Address: address(more, port)})
	}
}
