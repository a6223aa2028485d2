package conformance

import (
	"testing"

	. "github.com/onsi/gomega"
)

// matches has what matches sent to v2 and all else to v1, and tries requests, each written as
// "METHOD /path Name: value; Name: value".
func (s *scene) matches(match string, matched, others []string) {
	s.Helper()
	s.serve("reviews", "v1", "v2")
	s.apply(subsets)
	s.route("reviews", `
- match: [`+match+`]
  route: [{destination: {host: reviews, subset: v2}}]
- route: [{destination: {host: reviews, subset: v1}}]
`)
	for version, requests := range map[string][]string{"v2": matched, "v1": others} {
		for _, text := range requests {
			for _, caller := range s.callers() {
				s.Expect(caller.request("reviews", text).Version).To(Equal(version), "%s from %s", text, caller.name)
			}
		}
	}
}

func TestMatchURIExact(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].match[].uri.exact")
	s.matches(`{uri: {exact: /items}}`,
		[]string{"GET /items", "GET /items?page=2"},
		[]string{"GET /items/7", "GET /Items", "GET /"})
}

func TestMatchURIPrefix(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].match[].uri.prefix")
	s.matches(`{uri: {prefix: /items}}`,
		[]string{"GET /items", "GET /items/7"},
		[]string{"GET /", "GET /ITEMS/7", "GET /new/items"})
}

func TestMatchURIRegex(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].match[].uri.regex")
	s.matches(`{uri: {regex: '/items/\d+'}}`,
		[]string{"GET /items/42", "GET /items/42?page=2"},
		[]string{"GET /items/42a", "GET /items/", "GET /new/items/42"})
}

func TestMatchIgnoreURICase(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].match[].ignoreUriCase")
	s.matches(`{uri: {prefix: /items}, ignoreUriCase: true}`,
		[]string{"GET /items", "GET /ITEMS/7"},
		[]string{"GET /other"})
}

func TestMatchMethod(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].match[].method")
	s.matches(`{method: {exact: DELETE}}, {method: {prefix: PU}}, {method: {regex: 'PA.*'}}`,
		[]string{"DELETE /", "PUT /", "PATCH /"},
		[]string{"GET /", "POST /"})
}

func TestMatchHeaders(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].match[].headers")
	s.matches(`{headers: {end-user: {prefix: an}, agent: {regex: '.*fox.*'}, tier: {exact: gold}, any: {}}}`,
		[]string{"GET / end-user: anna; agent: firefox; tier: gold; any: x", "GET / End-User: an; Agent: fox; Tier: gold; any: "},
		[]string{"GET / end-user: anna; agent: firefox; tier: gold", "GET / end-user: anna; agent: lynx; tier: gold; any: x",
			"GET / end-user: bob; agent: firefox; tier: gold; any: x", "GET / end-user: anna; agent: firefox; tier: Gold; any: x", "GET /"})
}

func TestMatchWithoutHeaders(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].match[].withoutHeaders")
	s.matches(`{withoutHeaders: {end-user: {exact: ann}, agent: {prefix: fire}, tier: {regex: 'g.*'}, any: {}}}`,
		[]string{"GET /", "GET / end-user: bob", "GET / tier: silver; agent: lynx"},
		[]string{"GET / end-user: ann", "GET / agent: firefox", "GET / tier: gold", "GET / any: x"})
}

func TestMatchQueryParams(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].match[].queryParams")
	s.matches(`{queryParams: {page: {exact: "2"}, sort: {regex: 'a.*'}, by: {prefix: na}, any: {}}}`,
		[]string{"GET /?page=2&sort=age&by=name&any=", "GET /?any=1&sort=a&by=na&page=2&x=y"},
		[]string{"GET /?page=2&sort=age&by=name", "GET /?page=22&sort=age&by=name&any=", "GET /?page=2&sort=b&by=name&any=", "GET /"})
}

func TestMatchAnyOfSeveral(t *testing.T) {
	s := newScene(t)
	s.matches(`{uri: {exact: /a}}, {uri: {exact: /b}, headers: {end-user: {exact: ann}}}`,
		[]string{"GET /a", "GET /b end-user: ann"},
		[]string{"GET /b", "GET /c"})
}

func TestMatchSourceLabels(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].match[].sourceLabels")
	s.serve("reviews", "v1", "v2")
	s.apply(subsets)
	s.route("reviews", `
- match: [{sourceLabels: {team: bank}}]
  route: [{destination: {host: reviews, subset: v2}}]
- route: [{destination: {host: reviews, subset: v1}}]
`)
	s.Expect(s.front.get("reviews/").Version).To(Equal("v1"))
	s.Expect(s.ledger.get("reviews/").Version).To(Equal("v2"))
	s.Expect(s.mobile.get("reviews/").Version).To(Equal("v1"))
}

func TestMatchSourceNamespace(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].match[].sourceNamespace")
	s.serve("reviews", "v1", "v2")
	s.apply(subsets)
	s.route("reviews", `
- match: [{sourceNamespace: bank}]
  route: [{destination: {host: reviews, subset: v2}}]
- route: [{destination: {host: reviews, subset: v1}}]
`)
	s.Expect(s.front.get("reviews/").Version).To(Equal("v1"))
	s.Expect(s.ledger.get("reviews/").Version).To(Equal("v2"))
	s.Expect(s.mobile.get("reviews/").Version).To(Equal("v1"))
}

func TestMatchPort(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].match[].port")
	s.serve("reviews", "v1", "v2")
	s.apply(subsets)
	s.route("reviews", `
- match: [{port: 8081}]
  route: [{destination: {host: reviews, subset: v2}}]
- route: [{destination: {host: reviews, subset: v1}}]
`)
	for _, caller := range s.callers() {
		s.Expect(caller.get("reviews/").Version).To(Equal("v1"))
		s.Expect(caller.get("reviews:8081/").Version).To(Equal("v2"))
	}
}

func TestMatchNothing(t *testing.T) {
	s := newScene(t)
	s.serve("reviews", "v1")
	s.route("reviews", `
- match: [{uri: {exact: /only}}]
  route: [{destination: {host: reviews}}]
`)
	for _, caller := range s.callers() {
		s.Expect(caller.get("reviews/only").Status).To(Equal(200))
		s.Expect(caller.get("reviews/").Status).To(Equal(404))
	}
}

func TestMatchAuthority(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].match[].authority")
	s.serve("reviews", "v1", "v2")
	s.apply(subsets + `
---
apiVersion: mesh.fairlead.dev/v1alpha1
kind: VirtualService
metadata: {name: several}
spec:
  hosts: [exact.NAMESPACE.example, prefix.NAMESPACE.example, regex.NAMESPACE.example, other.NAMESPACE.example]
  http:
  - match: [{authority: {exact: exact.NAMESPACE.example}}, {authority: {prefix: prefix.}}, {authority: {regex: 'regex\..*'}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - route: [{destination: {host: reviews, subset: v1}}]
`)
	for _, caller := range []caller{s.front, s.ledger} {
		for host, version := range map[string]string{"exact": "v2", "prefix": "v2", "regex": "v2", "other": "v1"} {
			s.Expect(caller.get(host+".NAMESPACE.example/").Version).To(Equal(version), host)
		}
	}
}

func TestMatchScheme(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].match[].scheme")
	s.matches(`{scheme: {exact: http}, uri: {prefix: /exact}}, {scheme: {prefix: ht}, uri: {prefix: /prefix}}, {scheme: {regex: '.ttp'}, uri: {prefix: /regex}},
    {scheme: {exact: https}, uri: {prefix: /other}}`,
		[]string{"GET /exact", "GET /prefix", "GET /regex"},
		[]string{"GET /other"})
}

func TestMatchStatPrefix(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].match[].statPrefix")
	s.serve("reviews", "v1")
	s.route("reviews", `
- match: [{uri: {prefix: /items}, statPrefix: items}]
  route: [{destination: {host: reviews}}]
- route: [{destination: {host: reviews}}]
`)
	for range 3 {
		s.front.get("reviews/items/7")
		s.front.get("reviews/")
	}
	s.Eventually(func() (string, error) {
		return s.front.envoy.Get(s.Context(), s.text("/stats?filter=^vhost.reviews.NAMESPACE.*route.items.upstream_rq_total"))
	}).Should(ContainSubstring(":80.route.items.upstream_rq_total: 3\n"), "what the match takes is counted")
}
