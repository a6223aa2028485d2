package conformance

import (
	"net/http"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/test/echo"
)

// rule is a RouteRule for reviews, as a manifest.
func rule(name, spec string) string {
	return `
---
apiVersion: mesh.fairlead.dev/v1alpha1
kind: RouteRule
metadata: {name: ` + name + `}
spec:
  destination: {name: reviews}
` + spec
}

func TestRulesByPrecedence(t *testing.T) {
	s := newScene(t, "RouteRule spec.destination.name", "RouteRule spec.precedence", "RouteRule spec.route[].labels",
		"RouteRule spec.match.request.headers")
	s.serve("reviews", "v1", "v2", "v3")
	s.apply(rule("anna", `
  precedence: 2
  match: {request: {headers: {end-user: {exact: anna}, uri: {prefix: /a}, method: {regex: G.T}, scheme: {exact: http}, authority: {prefix: reviews}}}}
  route: [{labels: {version: v2}}]
`) + rule("all", `
  precedence: 1
  match: {request: {headers: {uri: {prefix: /a}}}}
  route: [{labels: {version: v1}}]
`))
	for _, caller := range s.callers() {
		s.Expect(caller.get("reviews/a", "end-user", "anna").Version).To(Equal("v2"))
		s.Expect(caller.send(http.MethodPost, "reviews/a", "", "end-user", "anna").Version).To(Equal("v1"))
		s.Expect(caller.get("reviews/a").Version).To(Equal("v1"))
		s.Expect(caller.many(60, "reviews/")).To(HaveLen(3), "what no rule takes goes to the service")
	}
}

func TestRuleWeights(t *testing.T) {
	s := newScene(t, "RouteRule spec.route[].weight", "RouteRule spec.route[].destination.name", "RouteRule spec.route[].destination.namespace",
		"RouteRule spec.route[].destination.domain", "RouteRule spec.route[].destination.service", "RouteRule spec.destination.namespace", "RouteRule spec.destination.domain")
	s.serve("reviews", "v1")
	s.serve("ratings", "v2")
	s.serve("audit", "v3")
	s.apply(`
apiVersion: mesh.fairlead.dev/v1alpha1
kind: RouteRule
metadata: {name: reviews}
spec:
  destination: {name: reviews, namespace: NAMESPACE, domain: svc.cluster.local}
  route:
  - {weight: 80}
  - {destination: {name: ratings, namespace: NAMESPACE, domain: svc.cluster.local}, weight: 20}
  - {destination: {service: audit}, weight: 0}
`)
	const n = 10_000
	counts := s.front.many(n, "reviews/")
	s.Expect(counts.Failed()).To(BeEmpty())
	s.Expect(counts["v2"]).To(beShareOf(n, 0.2), "%v", counts)
	s.Expect(counts["v3"]).To(BeZero())
}

func TestRuleSource(t *testing.T) {
	s := newScene(t, "RouteRule spec.match.source.labels", "RouteRule spec.match.source.namespace", "RouteRule spec.destination.service")
	s.serve("reviews", "v1", "v2", "v3")
	s.apply(`
apiVersion: mesh.fairlead.dev/v1alpha1
kind: RouteRule
metadata: {name: bank}
spec:
  destination: {service: reviews}
  match: {source: {namespace: bank}}
  route: [{labels: {version: v2}}]
` + rule("shop", `
  match: {source: {labels: {team: shop}}}
  route: [{labels: {version: v1}}]
`) + rule("rest", `
  precedence: -1
  route: [{labels: {version: v3}}]
`))
	s.Expect(s.front.get("reviews/").Version).To(Equal("v1"))
	s.Expect(s.ledger.get("reviews/").Version).To(Equal("v2"))
	s.Expect(s.mobile.get("reviews/").Version).To(Equal("v3"))
}

func TestRuleSourceByService(t *testing.T) {
	s := newScene(t, "RouteRule spec.match.source.name", "RouteRule spec.match.source.domain", "RouteRule spec.match.source.service")
	s.serve("reviews", "v1", "v2", "v3")
	// The callers' Pods are behind services of their own here.
	for name, c := range map[string]caller{"shopfront": s.front, "books": s.ledger} {
		s.apply(`
apiVersion: v1
kind: Service
metadata: {name: ` + name + `, namespace: ` + c.namespace + `}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: ` + name + `, namespace: ` + c.namespace + `, labels: {kubernetes.io/service-name: ` + name + `}}
addressType: IPv4
endpoints: [{addresses: [` + c.address.String() + `], conditions: {ready: true}, targetRef: {kind: Pod, name: ` + c.name + `}}]
ports: [{name: http, port: 1}]
`)
	}
	s.apply(rule("shopfront", `
  match: {source: {name: shopfront, namespace: default, domain: svc.cluster.local}}
  route: [{labels: {version: v1}}]
`) + rule("books", `
  match: {source: {service: books.bank.svc.cluster.local}}
  route: [{labels: {version: v2}}]
`) + rule("rest", `
  precedence: -1
  route: [{labels: {version: v3}}]
`))
	s.Expect(s.front.get("reviews/").Version).To(Equal("v1"))
	s.Expect(s.ledger.get("reviews/").Version).To(Equal("v2"))
	s.Expect(s.mobile.get("reviews/").Version).To(Equal("v3"))
}

func TestRuleActions(t *testing.T) {
	s := newScene(t, "RouteRule spec.redirect", "RouteRule spec.rewrite", "RouteRule spec.appendHeaders", "RouteRule spec.mirror.name",
		"RouteRule spec.mirror.labels", "RouteRule spec.corsPolicy.allowOrigin")
	apps := s.serve("reviews", "v1", "v2")
	s.apply(rule("redirect", `
  match: {request: {headers: {uri: {prefix: /old}}}}
  redirect: {uri: /new, authority: shop.example}
`) + rule("rewrite", `
  match: {request: {headers: {uri: {prefix: /items/}}}}
  rewrite: {uri: /v1/, authority: shop.example}
  appendHeaders: {x-more: by the rule}
  corsPolicy: {allowOrigin: ["*"]}
  mirror: {name: reviews, labels: {version: v2}}
  route: [{labels: {version: v1}}]
`))
	for i, caller := range s.callers() {
		r := caller.get("reviews/old/a")
		s.Expect(r.Status).To(Equal(http.StatusMovedPermanently))
		s.Expect(r.Header.Get("Location")).To(Equal("http://shop.example/new"))
		r = caller.get("reviews/items/7", "x-more", "of the client", "Origin", "https://any.example")
		s.Expect(r.Seen).To(And(HaveField("Version", "v1"), HaveField("Path", "/v1/7"), HaveField("Authority", "shop.example"),
			HaveField("Header", HaveKeyWithValue("X-More", ConsistOf("of the client", "by the rule")))))
		s.Expect(r.Header).To(HaveKeyWithValue("Access-Control-Allow-Origin", []string{"https://any.example"}))
		s.Eventually(apps["v2"].Requests).Should(HaveLen(i+1), "a copy comes")
	}
}

func TestRuleTimeoutAndRetries(t *testing.T) {
	s := newScene(t, "RouteRule spec.httpReqTimeout.simpleTimeout.timeout", "RouteRule spec.httpReqRetries.simpleRetry.attempts",
		"RouteRule spec.httpReqRetries.simpleRetry.perTryTimeout")
	apps := s.serve("reviews", "v1")
	s.apply(rule("timeout", `
  match: {request: {headers: {uri: {prefix: /timeout}}}}
  httpReqTimeout: {simpleTimeout: {timeout: 100ms}}
`) + rule("retries", `
  match: {request: {headers: {uri: {prefix: /retries}}}}
  httpReqTimeout: {simpleTimeout: {timeout: 30s}}
  httpReqRetries: {simpleRetry: {attempts: 2, perTryTimeout: 100ms}}
`))
	s.Expect(s.front.get("reviews/timeout", echo.DelayHeader, "1h").Status).To(Equal(http.StatusGatewayTimeout))
	s.Expect(s.front.get("reviews/retries", echo.DelayHeader, "1h").Status).To(Equal(http.StatusGatewayTimeout))
	s.Expect(apps["v1"].Requests()).NotTo(BeEmpty())
}

func TestRuleFaults(t *testing.T) {
	s := newScene(t, "RouteRule spec.httpFault.delay.fixedDelay", "RouteRule spec.httpFault.delay.percent", "RouteRule spec.httpFault.abort.httpStatus",
		"RouteRule spec.httpFault.abort.percent", "RouteRule spec.httpFault.abort.grpcStatus")
	s.serve("reviews", "v1")
	s.apply(rule("delay", `
  precedence: 3
  match: {request: {headers: {uri: {prefix: /slow}}}}
  httpFault: {delay: {percent: 100, fixedDelay: 200ms}}
`) + rule("grpc", `
  precedence: 2
  match: {request: {headers: {content-type: {prefix: application/grpc}}}}
  httpFault: {abort: {grpcStatus: NOT_FOUND}}
`) + rule("abort", `
  httpFault: {abort: {percent: 20.5, httpStatus: 418}}
`))
	before := time.Now()
	s.Expect(s.front.get("reviews/slow").Status).To(Equal(http.StatusOK))
	s.Expect(time.Since(before)).To(BeNumerically(">=", 190*time.Millisecond))
	r := s.front.send(http.MethodPost, "reviews:9090/grpc.health.v1.Health/Check", "", "content-type", "application/grpc")
	s.Expect(r.Header.Get("Grpc-Status")).To(Equal("5"))
	const n = 10_000
	counts := s.front.many(n, "reviews/")
	s.Expect(n-counts["v1"]).To(beShareOf(n, 0.205), "%v", counts)
}

func TestRuleThrottle(t *testing.T) {
	s := newScene(t, "RouteRule spec.l4Fault.throttle.downstreamLimitBps", "RouteRule spec.l4Fault.throttle.percent")
	s.serve("reviews", "v1")
	s.apply(rule("slow", `
  match: {request: {headers: {uri: {prefix: /slow}}}}
  l4Fault: {throttle: {percent: 100, downstreamLimitBps: 32768}}
`))
	long := make([]byte, 4096)
	for i := range long {
		long[i] = 'x'
	}
	before := time.Now()
	s.Expect(s.front.send(http.MethodPost, "reviews/slow", string(long)).Version).To(Equal("v1"))
	s.Expect(time.Since(before)).To(BeNumerically(">", 500*time.Millisecond), "4 KiB a second, and the answer repeats the body")
	before = time.Now()
	s.Expect(s.front.send(http.MethodPost, "reviews/", string(long)).Version).To(Equal("v1"))
	s.Expect(time.Since(before)).To(BeNumerically("<", 500*time.Millisecond))
}

// A VirtualService that names the host has it, for callers that see it.
func TestRuleClaimed(t *testing.T) {
	s := newScene(t)
	s.serve("reviews", "v1", "v2")
	s.apply(rule("reviews", "  route: [{labels: {version: v1}}]\n"))
	for _, caller := range s.callers() {
		s.Expect(caller.many(10, "reviews/")).To(Equal(echo.Tally{"v1": 10}))
	}
	const claim = `
apiVersion: mesh.fairlead.dev/v1alpha1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http: [{route: [{destination: {host: reviews, labels: {version: v2}}}]}]
`
	s.apply(claim + "  exportTo: [bank]\n")
	s.Expect(s.ledger.many(10, "reviews/")).To(Equal(echo.Tally{"v2": 10}))
	s.Expect(s.front.many(10, "reviews/")).To(Equal(echo.Tally{"v1": 10}))
	s.Expect(s.status("RouteRule", "reviews").Conditions).To(ContainElement(And(HaveField("Type", "Accepted"), HaveField("Status", BeEquivalentTo("True")))))

	s.apply(claim)
	for _, caller := range s.callers() {
		s.Expect(caller.many(10, "reviews/")).To(Equal(echo.Tally{"v2": 10}))
	}
	s.Expect(s.status("RouteRule", "reviews").Conditions).To(ContainElement(And(
		HaveField("Type", "Accepted"), HaveField("Reason", "HostConflict"), HaveField("Message", ContainSubstring("FL0123")))))
	s.delete("VirtualService", "reviews")
	s.Expect(s.front.many(10, "reviews/")).To(Equal(echo.Tally{"v1": 10}))
}
