package translate_test

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
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
