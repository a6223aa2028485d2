package translate_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/test/testenv"
)

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
			Origin:  mesh.Origin{ObjectID: mesh.ObjectID{Kind: "DestinationRule", Namespace: "default", Name: "reviews"}},
			Host:    "reviews.default.svc.cluster.local",
			Traffic: mesh.Traffic{Ports: []mesh.PortTraffic{{Port: 82, Traffic: mesh.Traffic{TLS: &mesh.ClientTLS{Mode: mesh.TLSMesh, Path: "spec"}}}}},
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

// Connections of HTTP end at the greatest age, and no request fails by it. Between sidecars it is the caller
// that ends them, never the server, which cannot know of a request that is on its way. Those of TCP stay.
func TestConnectionsEndAtAnAge(t *testing.T) {
	t.Parallel()
	p := (&pair{change: func(store *mesh.Store) { store.SetSettings(mesh.Settings{MaxConnectionAge: 3 * time.Second}) }}).start(t)
	g := NewWithT(t)
	raw := p.keep(p.address(10) + ":13081")
	g.Expect(raw.say("a")).To(Equal("echo a"))
	ended := func(stat string) int {
		n, _ := strconv.Atoi(p.stat(stat))
		return n
	}
	load := p.live.load("http://reviews/work", "http://reviews:82/work")
	for stat, what := range map[string]string{
		"http.outbound.downstream_cx_max_duration_reached":                                        "of the application",
		"cluster.outbound.80..reviews.default.svc.cluster.local.upstream_cx_max_duration_reached": "of its proxy",
		"cluster.outbound.82..reviews.default.svc.cluster.local.upstream_cx_max_duration_reached": "of its proxy in HTTP/2",
	} {
		g.Eventually(ended).WithArguments(stat).WithTimeout(20*time.Second).Should(BeNumerically(">=", 2), "connections %s have reached the age", what)
	}
	load.stop()
	g.Expect(load.failures()).To(BeEmpty(), "of %d requests", load.count())
	for _, port := range []string{"8080", "8082"} {
		g.Expect(p.server.stat("http.inbound_"+port+".downstream_cx_max_duration_reached")).To(Equal("0"), "the caller is first")
	}

	other := p.keep(p.address(21) + ":8080")
	g.Eventually(other.get).WithArguments("/", "reviews").WithTimeout(20*time.Second).Should(Equal("200, close"), "the server ends those of others")
	g.Expect(raw.say("b")).To(Equal("echo b"))
}
