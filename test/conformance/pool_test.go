package conformance

import (
	"net/http"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/test/echo"
)

// connections counts those by which an application was called.
func connections(app *echo.App) int {
	all := map[string]struct{}{}
	for _, request := range app.Requests() {
		all[request.Connection] = struct{}{}
	}
	return len(all)
}

// overload sends requests that take a while, all at once, and returns what became of them.
func (c caller) overload(target string) echo.Tally {
	c.scene.Helper()
	return c.many(8, target, echo.DelayHeader, "300ms")
}

func TestConnectionPoolLimits(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.connectionPool.tcp.maxConnections",
		"DestinationRule spec.trafficPolicy.connectionPool.http.http1MaxPendingRequests",
		"DestinationRule spec.trafficPolicy.connectionPool.http.http2MaxRequests")
	apps := s.serve("reviews", "v1")
	s.Expect(s.front.overload("reviews/").Failed()).To(BeEmpty(), "there is no limit by itself")
	s.policy("reviews", `{connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}}`)
	before := len(apps["v1"].Requests())
	s.Expect(s.front.overload("reviews/").Failed()).NotTo(BeEmpty(), "one under way, one that waits, and no more")
	s.Expect(len(apps["v1"].Requests()) - before).To(BeNumerically("<", 8))
	s.policy("reviews", `{connectionPool: {http: {http2MaxRequests: 2}}}`)
	s.Expect(s.ledger.overload("reviews/").Failed()).NotTo(BeEmpty())
}

func TestRequestsPerConnection(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.connectionPool.http.maxRequestsPerConnection")
	apps := s.serve("reviews", "v1")
	s.policy("reviews", `{connectionPool: {http: {maxRequestsPerConnection: 1}}}`)
	for range 10 {
		s.Expect(s.front.get("reviews/").Status).To(Equal(200))
	}
	s.Expect(connections(apps["v1"])).To(Equal(10))
}

func TestIdleConnections(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.connectionPool.http.idleTimeout",
		"DestinationRule spec.trafficPolicy.connectionPool.tcp.idleTimeout",
		"DestinationRule spec.trafficPolicy.connectionPool.tcp.maxConnectionDuration")
	s.serve("reviews", "v1")
	for _, policy := range []string{`{http: {idleTimeout: 20ms}}`, `{tcp: {idleTimeout: 20ms}}`, `{tcp: {maxConnectionDuration: 20ms}}`} {
		s.policy("reviews", `{connectionPool: `+policy+`}`)
		first := s.front.get("reviews/").Seen.Connection
		s.Eventually(func() string { return s.front.get("reviews/").Seen.Connection }).WithPolling(100*time.Millisecond).ShouldNot(Equal(first), policy)
	}
	for _, policy := range []string{`{tcp: {idleTimeout: 50ms}}`, `{tcp: {maxConnectionDuration: 50ms}}`} {
		s.policy("reviews", `{connectionPool: `+policy+`}`)
		connection := s.mobile.dial("reviews", 9000)
		s.Expect(connection.SetReadDeadline(time.Now().Add(echo.Patience))).To(Succeed())
		var err error
		for buffer := make([]byte, 64); err == nil; {
			_, err = connection.Read(buffer)
		}
		s.Expect(err).To(MatchError("EOF"), "bytes: %s", policy)
	}
}

func TestUpgradeToHTTP2(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.connectionPool.http.h2UpgradePolicy",
		"DestinationRule spec.trafficPolicy.connectionPool.http.maxConcurrentStreams",
		"DestinationRule spec.trafficPolicy.connectionPool.http.http2KeepAlive",
		"DestinationRule spec.trafficPolicy.connectionPool.http.useClientProtocol")
	s.serve("reviews", "v1")
	protocols := func(client *http.Client) string {
		reply, err := echo.Send(client, http.MethodGet, s.front.url("reviews/"), "")
		s.Expect(err).NotTo(HaveOccurred())
		return reply.Seen.Protocol
	}
	http2 := echo.NewHTTP2Client(s.front.at(15001))
	s.Cleanup(http2.CloseIdleConnections)
	s.Expect(protocols(http2)).To(Equal("HTTP/1.1"))
	s.policy("reviews", `{connectionPool: {http: {h2UpgradePolicy: UPGRADE, maxConcurrentStreams: 1, http2KeepAlive: {interval: 1s, timeout: 1s}}}}`)
	for _, caller := range s.callers() {
		s.Expect(caller.get("reviews/").Seen.Protocol).To(Equal("HTTP/2.0"))
	}
	connections := map[string]bool{}
	for range 20 {
		s.Expect(s.ledger.overload("reviews/").Failed()).To(BeEmpty())
		if connections[s.ledger.get("reviews/").Seen.Connection] = true; len(connections) > 1 {
			break
		}
	}
	s.policy("reviews", `{connectionPool: {http: {useClientProtocol: true}}}`)
	s.Expect(protocols(http2)).To(Equal("HTTP/2.0"))
	s.Expect(s.front.get("reviews/").Seen.Protocol).To(Equal("HTTP/1.1"))
}

func TestPolicyOfPort(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.portLevelSettings[].port.number",
		"DestinationRule spec.trafficPolicy.portLevelSettings[].connectionPool.http.h2UpgradePolicy")
	s.serve("reviews", "v1")
	s.policy("reviews", `{connectionPool: {http: {h2UpgradePolicy: UPGRADE}}, portLevelSettings: [{port: {number: 8081}, connectionPool: {http: {h2UpgradePolicy: DO_NOT_UPGRADE}}}]}`)
	for _, caller := range s.callers() {
		s.Expect(caller.get("reviews/").Seen.Protocol).To(Equal("HTTP/2.0"))
		s.Expect(caller.get("reviews:8081/").Seen.Protocol).To(Equal("HTTP/1.1"))
	}
}

func TestPolicyOfSubset(t *testing.T) {
	s := newScene(t, "DestinationRule spec.subsets[].trafficPolicy.connectionPool.http.h2UpgradePolicy")
	s.serve("reviews", "v1", "v2")
	s.apply(strings.Replace(subsets, "labels: {version: v2}", "labels: {version: v2}, trafficPolicy: {connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}", 1))
	s.route("reviews", `
- match: [{uri: {prefix: /v2}}]
  route: [{destination: {host: reviews, subset: v2}}]
- route: [{destination: {host: reviews, subset: v1}}]
`)
	for _, caller := range s.callers() {
		s.Expect(caller.get("reviews/v2").Seen.Protocol).To(Equal("HTTP/2.0"))
		s.Expect(caller.get("reviews/").Seen.Protocol).To(Equal("HTTP/1.1"))
	}
}

func TestPolicyForSomeCallers(t *testing.T) {
	s := newScene(t, "DestinationRule spec.workloadSelector")
	s.serve("reviews", "v1")
	s.write(`
apiVersion: mesh.fairlead.dev/v1alpha1
kind: DestinationRule
metadata: {name: NAMESPACE-front, namespace: default}
spec:
  host: reviews.NAMESPACE.svc.cluster.local
  workloadSelector: {matchLabels: {app: front}}
  trafficPolicy: {connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}
`)
	s.settle()
	s.Expect(s.front.get("reviews/").Seen.Protocol).To(Equal("HTTP/2.0"))
	s.Expect(s.mobile.get("reviews/").Seen.Protocol).To(Equal("HTTP/1.1"), "another workload of the namespace")
	s.Expect(s.ledger.get("reviews/").Seen.Protocol).To(Equal("HTTP/1.1"), "another namespace")
}

func TestProxyProtocol(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.proxyProtocol.version")
	s.serve("reviews", "v1")
	s.policy("reviews", `{proxyProtocol: {version: V1}}`)
	_, answer := s.mobile.converse("reviews", 9000, "hello")
	s.Expect(answer).To(HavePrefix("v1: PROXY TCP4 127."), "the header is the first line")
	s.policy("reviews", `{proxyProtocol: {version: V2}}`)
	_, answer = s.mobile.converse("reviews", 9000, "hello")
	s.Expect(strings.TrimSpace(answer)).To(Equal("v1:"), "as bytes, which begin with the end of a line")
}
