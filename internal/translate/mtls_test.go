package translate_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/agent/certs"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/test/testenv"
)

const (
	frontID   = "spiffe://cluster.local/ns/default/sa/front"
	reviewsID = "spiffe://cluster.local/ns/default/sa/reviews"
)

// pair is two real Envoys, those of front and reviews, or of another Pod in front's place.
type pair struct {
	*live  // the caller's
	server *live
	root   *testenv.Authority
	store  *mesh.Store
}

// startPair runs both Envoys of testdata/live/mtls.yaml, each with the certificate of an identity; none
// without.
func startPair(t *testing.T, mode mesh.MTLSMode, caller, callerID, serverID string, change func(*mesh.Store)) *pair {
	t.Helper()
	root, err := testenv.NewAuthority("root")
	if err != nil {
		t.Fatal(err)
	}
	part := newPart()
	p := &pair{live: newLive(t, part), server: newLive(t, part), root: root}
	p.store = p.mesh("mtls.yaml", "MODE", string(mode))
	change(p.store)
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

	p.server.certify(root, serverID)
	served := p.server.inline(p.store, "reviews")
	for port := 8080; port <= 8084; port++ {
		served.Clusters = append(served.Clusters, p.appAt(port, 31))
	}
	p.server.run(served)
	p.certify(root, callerID)
	p.run(p.inline(p.store, caller))
	for _, l := range []*live{p.live, p.server} {
		NewWithT(t).Eventually(l.stat).WithArguments("server.state").WithTimeout(20*time.Second).Should(Equal("0"), "Envoy is live")
	}
	return p
}

// certify puts a certificate where the agent does.
func (l *live) certify(root *testenv.Authority, identity string) {
	l.t.Helper()
	if identity == "" {
		return
	}
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
	if p.store.Workload(mesh.NamespacedName{Namespace: "default", Name: "front"}) == nil {
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

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	p := startPair(t, "", "front", frontID, reviewsID, func(*mesh.Store) {})
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

func TestStrictTakesMutualTLSOnly(t *testing.T) {
	t.Parallel()
	p := startPair(t, mesh.MTLSStrict, "front", frontID, reviewsID, func(*mesh.Store) {})
	g := NewWithT(t)
	server := p.address(21)
	g.Expect(p.get("http://reviews/").Server).To(Equal("reviews"))
	g.Expect(p.get("http://reviews:82/").Server).To(Equal("grpc"))
	g.Expect(p.speak(p.address(10)+":13081", "tcp")).To(Equal("echo tcp"))
	_, err := p.plain("http://" + server + ":8080/")
	g.Expect(err).To(HaveOccurred())
	g.Expect(p.speak(server+":8081", "tcp")).To(BeEmpty())
	g.Expect(p.ownTLS(server + ":8084")).NotTo(Equal("echo tls"))

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

func TestDisableHasNobodyWait(t *testing.T) {
	t.Parallel()
	p := startPair(t, mesh.MTLSDisable, "front", frontID, reviewsID, func(*mesh.Store) {})
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
	p := startPair(t, "", "front", frontID, "spiffe://cluster.local/ns/default/sa/other", func(*mesh.Store) {})
	g := NewWithT(t)
	g.Expect(p.get("http://reviews/").StatusCode).To(Equal(503))
	g.Expect(p.speak(p.address(10)+":13081", "tcp")).To(BeEmpty())
	g.Expect(p.stat(`cluster.outbound.81..reviews.default.svc.cluster.local.ssl.fail_verify_san`)).NotTo(BeElementOf("0", ""))
}

// Without certificates a proxy calls in plaintext, and is told of no files that it does not have.
func TestACallerWithoutCertificates(t *testing.T) {
	t.Parallel()
	p := startPair(t, "", "bare", "", reviewsID, func(store *mesh.Store) {
		store.DeleteWorkload(mesh.NamespacedName{Namespace: "default", Name: "front"})
		store.SetPolicy(&mesh.Policy{
			Origin: mesh.Origin{ObjectID: mesh.ObjectID{Kind: "DestinationRule", Namespace: "default", Name: "reviews"}},
			Host:   "reviews.default.svc.cluster.local",
			TLS:    []mesh.TLSRule{{Port: 82, Mode: mesh.TLSMutual, Path: "spec"}},
		})
	})
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
