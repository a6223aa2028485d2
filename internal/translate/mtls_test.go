package translate_test

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/agent/certs"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/test/testenv"
)

const (
	frontID   = "spiffe://cluster.local/ns/default/sa/front"
	reviewsID = "spiffe://cluster.local/ns/default/sa/reviews"
)

// pair is two real Envoys, those of front, or another caller, and of reviews. What is unset is
// filled in.
type pair struct {
	*live  // the caller's
	server *live
	root   *testenv.Authority
	store  *mesh.Store

	// mode is the server's mTLS mode, and redirected whether its listeners are those for intercepted calls.
	mode       mesh.MTLSMode
	redirected bool
	// caller is the calling Pod, and serverID the identity of the server's certificate.
	caller, serverID string
	change           func(*mesh.Store)
}

// start runs both Envoys of testdata/live/mtls.yaml.
func (p *pair) start(t *testing.T) *pair {
	t.Helper()
	root, err := testenv.NewAuthority("root")
	if err != nil {
		t.Fatal(err)
	}
	p.root = root
	part := newPart()
	p.live, p.server = newLive(t, part), newLive(t, part)
	p.load()
	p.serveHTTP("reviews", p.address(31)+":8080")
	p.serveTCP(p.address(31) + ":8081")
	p.serveHTTP("grpc", p.address(31)+":8082")
	p.serveGreeting(p.address(31) + ":8083")
	p.serveHTTP("plain", p.address(22)+":8080")
	own, err := root.Issue("app.example")
	if err != nil {
		t.Fatal(err)
	}
	p.serveTLS(own, p.address(31)+":8084")

	p.server.certify(root, cmp.Or(p.serverID, reviewsID))
	p.server.args = []string{"--drain-time-s", "1"}
	p.server.run(p.served())
	caller := cmp.Or(p.caller, "front")
	if caller == "front" {
		p.certify(root, frontID)
	}
	p.run(p.inline(p.store, caller))
	for _, l := range []*live{p.live, p.server} {
		NewWithT(t).Eventually(l.stat).WithArguments("server.state").WithTimeout(20*time.Second).Should(Equal("0"), "Envoy is live")
	}
	return p
}

// load reads the mesh.
func (p *pair) load() {
	traffic := "explicit"
	if p.redirected {
		traffic = "redirected"
	}
	p.store = p.mesh("mtls.yaml", "TRAFFIC", traffic, "MODE", string(p.mode))
	if p.change != nil {
		p.change(p.store)
	}
}

// served is what the server's proxy is told, its listeners by a file. What redirect rules would lead to
// one listener comes to it by the ports' own addresses.
func (p *pair) served() *inlined {
	all := p.server.inline(p.store, "reviews")
	all.ListenersFile = filepath.Join(p.server.dir, "listeners.json")
	for port := 8080; port <= 8084; port++ {
		all.Clusters = append(all.Clusters, p.appAt(port, 31))
	}
	if !p.redirected {
		return all
	}
	all.Listeners = slices.DeleteFunc(all.Listeners, func(l *listenerv3.Listener) bool { return l.Name != "inbound" })
	inbound := all.Listeners[0]
	listenOn(inbound, 8080, p.address(21))
	for port := 8081; port <= 8085; port++ { // the last one is not declared
		inbound.AdditionalAddresses = append(inbound.AdditionalAddresses, &listenerv3.AdditionalAddress{Address: address(p.address(21), port)})
	}
	return all
}

// certify puts a certificate where the agent does.
func (l *live) certify(root *testenv.Authority, identity string) {
	l.t.Helper()
	credentials, err := root.Issue(identity)
	if err != nil {
		l.t.Fatal(err)
	}
	folder := certs.New(certs.Options{Dir: l.dir, Log: slog.New(slog.DiscardHandler), Changed: func(certs.Certificate) {}, Refused: func(error) {}})
	if err := folder.Prepare(); err != nil {
		l.t.Fatal(err)
	}
	if err := folder.Give(credentials.Key, credentials.Chain, credentials.Roots); err != nil {
		l.t.Fatal(err)
	}
}

// serveTLS runs an application that has TLS of its own, and echoes lines.
func (l *live) serveTLS(credentials testenv.Credentials, at string) {
	l.t.Helper()
	certificate, err := tls.X509KeyPair(credentials.Chain, credentials.Key)
	if err != nil {
		l.t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", at, &tls.Config{Certificates: []tls.Certificate{certificate}})
	if err != nil {
		l.t.Fatal(err)
	}
	l.serveLinesOn(listener, "")
}

// get asks by the caller's proxy.
func (p *pair) get(url string) answer {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	last := 10
	if p.caller == "bare" {
		last = 12
	}
	return p.send(fmt.Sprintf("%s:%d", p.address(last), mesh.ExplicitOutboundPort), request)
}

// plain asks the server's port without any proxy.
func (p *pair) plain(url string) (int, error) {
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// ownTLS speaks TLS to an address as an application does, and says a line.
func (p *pair) ownTLS(at string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
	defer cancel()
	dialer := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
	connection, err := dialer.DialContext(ctx, "tcp", at)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = connection.Close() }()
	k := &kept{connection, bufio.NewReader(connection)}
	return k.say("tls")
}

// silent tells what a server says first to a caller that says nothing, and after what time.
func (p *pair) silent(at string) (string, time.Duration) {
	begin := time.Now()
	return p.keep(at).hear(), time.Since(begin)
}

// bothWays runs a test for a server that is called by its proxy's address, and for one whose calls are
// intercepted.
func bothWays(t *testing.T, test func(*testing.T, *pair)) {
	for name, p := range map[string]*pair{"explicit": {}, "intercepted": {redirected: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, p)
		})
	}
}

func TestMutualTLS(t *testing.T) { bothWays(t, mutualTLS) }

func mutualTLS(t *testing.T, p *pair) {
	p.start(t)
	g := NewWithT(t)
	server := p.address(21)
	g.Expect(p.get("http://reviews/").Server).To(Equal("reviews"))
	g.Expect(p.server.stat("listener.inbound.ssl.handshake")).To(Equal("1"))
	g.Expect(p.get("http://reviews:82/").Server).To(Equal("grpc"))
	g.Expect(p.server.stat("http.inbound_8082.downstream_cx_http2_total")).To(Equal("1"))
	g.Expect(p.speak(p.address(10)+":13081", "tcp")).To(Equal("echo tcp"))
	greeting, after := p.silent(p.address(10) + ":13083")
	g.Expect(greeting).To(Equal("hello"))
	g.Expect(after).To(BeNumerically("<", 900*time.Millisecond), "nobody waits for a caller that speaks mutual TLS")
	g.Expect(p.ownTLS(p.address(10)+":13084")).To(Equal("echo tls"), "TLS of the application within that of the mesh")
	g.Expect(p.server.stat("listener.inbound.ssl.handshake")).To(Equal("5"), "everything went by mutual TLS")

	answers := map[string]bool{}
	for range 20 {
		answers[p.get("http://both/").Server] = true
	}
	g.Expect(answers).To(Equal(map[string]bool{"reviews": true, "plain": true}), "each endpoint is called as it can be")

	// Callers without certificates.
	before := p.server.stat("listener.inbound.ssl.handshake")
	g.Expect(p.plain("http://" + server + ":8080/")).To(Equal(200))
	g.Expect(p.speak(server+":8081", "tcp")).To(Equal("echo tcp"))
	greeting, after = p.silent(server + ":8083")
	g.Expect(greeting).To(Equal("hello"))
	g.Expect(after).To(BeNumerically("~", time.Second, 500*time.Millisecond), "the price of a server that speaks first")
	g.Expect(p.ownTLS(server+":8084")).To(Equal("echo tls"), "the application's own TLS passes through")
	g.Expect(p.server.stat("listener.inbound.ssl.handshake")).To(Equal(before))
	g.Expect(p.server.stat("listener.inbound.ssl.session_reused")).To(Equal("0"))
}

func TestStrictTakesMutualTLSOnly(t *testing.T) { bothWays(t, strictTakesMutualTLSOnly) }

func strictTakesMutualTLSOnly(t *testing.T, p *pair) {
	p.mode = mesh.MTLSStrict
	p.start(t)
	g := NewWithT(t)
	server := p.address(21)
	g.Expect(p.get("http://reviews/").Server).To(Equal("reviews"))
	g.Expect(p.get("http://reviews:82/").Server).To(Equal("grpc"))
	g.Expect(p.speak(p.address(10)+":13081", "tcp")).To(Equal("echo tcp"))
	_, err := p.plain("http://" + server + ":8080/")
	g.Expect(err).To(HaveOccurred())
	g.Expect(p.speak(server+":8081", "tcp")).To(BeEmpty())
	g.Expect(p.ownTLS(server + ":8084")).NotTo(Equal("echo tls"))
	if p.redirected {
		g.Expect(p.speak(server+":8085", "undeclared")).To(BeEmpty())
	}

	handshake := func(credentials testenv.Credentials) error {
		config, err := credentials.MutualTLS(p.root.Roots)
		g.Expect(err).NotTo(HaveOccurred())
		config.InsecureSkipVerify, config.NextProtos = true, []string{"fairlead"}
		connection, err := tls.Dial("tcp", server+":8081", config)
		if err != nil {
			return err
		}
		defer func() { _ = connection.Close() }()
		_ = connection.SetDeadline(time.Now().Add(20 * time.Second))
		// Only with an answer is it known that the server took the certificate.
		_, _ = fmt.Fprintln(connection, "in")
		_, err = io.ReadFull(connection, make([]byte, len("echo in\n")))
		return err
	}
	mine, err := p.root.Issue(frontID)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(handshake(mine)).To(Succeed())
	elsewhere, err := p.root.Issue("spiffe://cluster.local.evil/ns/default/sa/front")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(handshake(elsewhere)).NotTo(Succeed(), "another trust domain")
	stranger, err := testenv.NewAuthority("root")
	g.Expect(err).NotTo(HaveOccurred())
	forged, err := stranger.Issue(frontID)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(handshake(forged)).NotTo(Succeed(), "another authority of the same name")
}

func TestDisableHasNobodyWait(t *testing.T) { bothWays(t, disableHasNobodyWait) }

func disableHasNobodyWait(t *testing.T, p *pair) {
	p.mode = mesh.MTLSDisable
	p.start(t)
	g := NewWithT(t)
	g.Expect(p.get("http://reviews/").Server).To(Equal("reviews"))
	for _, at := range []string{p.address(10) + ":13083", p.address(21) + ":8083"} {
		greeting, after := p.silent(at)
		g.Expect(greeting).To(Equal("hello"))
		g.Expect(after).To(BeNumerically("<", 900*time.Millisecond))
	}
	g.Expect(p.server.stat("listener.inbound.ssl.handshake")).To(Equal("0"), "callers were told to use plaintext")
}

func TestAServerWithAnotherIdentityIsNotCalled(t *testing.T) {
	t.Parallel()
	p := (&pair{serverID: "spiffe://cluster.local/ns/default/sa/other"}).start(t)
	g := NewWithT(t)
	g.Expect(p.get("http://reviews/").StatusCode).To(Equal(503))
	g.Expect(p.speak(p.address(10)+":13081", "tcp")).To(BeEmpty())
	g.Expect(p.stat(`cluster.outbound.81..reviews.default.svc.cluster.local.ssl.fail_verify_san`)).NotTo(BeElementOf("0", ""))
}

// Without certificates a proxy calls in plaintext, and is told of no files that it does not have.
func TestACallerWithoutCertificates(t *testing.T) {
	t.Parallel()
	p := (&pair{caller: "bare", change: func(store *mesh.Store) {
		store.SetPolicy(&mesh.Policy{
			Origin: mesh.Origin{ObjectID: mesh.ObjectID{Kind: "DestinationRule", Namespace: "default", Name: "reviews"}},
			Host:   "reviews.default.svc.cluster.local",
			TLS:    []mesh.TLSRule{{Port: 82, Mode: mesh.TLSMutual, Path: "spec"}},
		})
	}}).start(t)
	g := NewWithT(t)
	g.Expect(p.get("http://reviews/").Server).To(Equal("reviews"))
	g.Expect(p.get("http://reviews:82/").StatusCode).To(Equal(503), "it must use mutual TLS, and cannot")
	g.Expect(p.server.stat("listener.inbound.ssl.handshake")).To(Equal("0"))
	dump, err := p.admin.Get("http://admin/config_dump")
	g.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = dump.Body.Close() }()
	text, err := io.ReadAll(dump.Body)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(strings.Contains(string(text), "sds-")).To(BeFalse())
}

// What the modes differ in are filter chains: who speaks mutual TLS goes on when they change.
func TestModesChangeUnderOpenConnections(t *testing.T) { bothWays(t, modesChange) }

func modesChange(t *testing.T, p *pair) {
	p.mode = mesh.MTLSPermissive
	p.start(t)
	g := NewWithT(t)
	server, proxy := p.address(21), p.address(10)+":15001"
	change := func(mode mesh.MTLSMode) {
		p.mode = mode
		p.load()
		p.served().writeListeners(t)
	}
	requests, mutual := p.keep(proxy), p.keep(p.address(10)+":13081")
	plain := p.keep(server + ":8081")
	g.Expect(requests.get("/", "reviews")).To(Equal("200"))
	g.Expect(mutual.say("a")).To(Equal("echo a"))
	g.Expect(plain.say("a")).To(Equal("echo a"))

	change(mesh.MTLSStrict)
	g.Eventually(func() error { _, err := p.plain("http://" + server + ":8080/"); return err }).WithTimeout(20*time.Second).
		Should(HaveOccurred(), "plaintext is refused")
	g.Expect(plain.hear()).To(Equal("EOF"), "and that which was there is ended")
	g.Expect(requests.get("/", "reviews")).To(Equal("200"))
	g.Expect(mutual.say("b")).To(Equal("echo b"))

	change(mesh.MTLSPermissive)
	g.Eventually(func() error { _, err := p.plain("http://" + server + ":8080/"); return err }).WithTimeout(20*time.Second).
		Should(Succeed(), "plaintext is taken again")
	g.Expect(requests.get("/", "reviews")).To(Equal("200"))
	g.Expect(mutual.say("c")).To(Equal("echo c"))
	g.Expect(p.server.stat("listener.inbound.ssl.handshake")).To(Equal("2"), "all that by the connections of the beginning")

	// The caller has not heard of this one yet.
	change(mesh.MTLSDisable)
	g.Eventually(func() time.Duration { _, after := p.silent(server + ":8083"); return after }).WithTimeout(20*time.Second).
		Should(BeNumerically("<", 500*time.Millisecond), "nobody waits any more")
	for range 20 {
		g.Expect(requests.get("/", "reviews")).To(Equal("200"))
	}
	g.Eventually(mutual.hear).Should(Equal("EOF"), "but TCP has to begin anew")
}
