package conformance

import (
	"fmt"
	"testing"

	. "github.com/onsi/gomega"
)

// ofReviews is a VirtualService of reviews with routes of connections, as YAML.
func ofReviews(spec string) string {
	return `
apiVersion: mesh.fairlead.dev/v1alpha1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews, "*.secure.example"]` + spec
}

func TestTCPRoute(t *testing.T) {
	s := newScene(t, "VirtualService spec.tcp[].match[].port", "VirtualService spec.tcp[].match[].destinationSubnets[]",
		"VirtualService spec.tcp[].match[].gateways[]", "VirtualService spec.tcp[].route[].destination.labels")
	s.serve("reviews", "v1", "v2")
	lead := func(match string) {
		s.Helper()
		s.apply(ofReviews(fmt.Sprintf(`
  tcp:
  - match: [%s]
    route: [{destination: {host: reviews, labels: {version: v2}}}]
  - route: [{destination: {host: reviews, labels: {version: v1}}}]
`, match)))
	}
	reaches := func(version string) {
		s.Helper()
		for _, caller := range s.callers() {
			for range 3 {
				greeting, _ := caller.converse("reviews", linesPort, "hello")
				s.Expect(greeting).To(Equal("this is "+version+"\n"), caller.name)
			}
		}
	}
	for match, version := range map[string]string{
		"{port: 9000}":                         "v2",
		"{port: 9001}":                         "v1",
		"{destinationSubnets: [10.96.0.0/12]}": "v2",
		"{destinationSubnets: [10.95.0.0/16]}": "v1",
		"{gateways: [mesh]}":                   "v2",
		"{gateways: [other]}":                  "v1",
	} {
		lead(match)
		reaches(version)
	}

}

func TestTCPRouteByCaller(t *testing.T) {
	s := newScene(t, "VirtualService spec.tcp[].match[].sourceLabels", "VirtualService spec.tcp[].match[].sourceNamespace")
	s.serve("reviews", "v1", "v2")
	s.apply(ofReviews(`
  tcp:
  - match: [{sourceLabels: {team: shop}}, {sourceNamespace: bank}]
    route: [{destination: {host: reviews, labels: {version: v2}}}]
  - route: [{destination: {host: reviews, labels: {version: v1}}}]
`))
	for _, c := range s.callers() {
		greeting, _ := c.converse("reviews", linesPort, "hello")
		version := map[string]string{"front": "v2", "ledger": "v2", "mobile": "v1"}[c.name]
		s.Expect(greeting).To(Equal("this is "+version+"\n"), c.name)
	}
}

func TestTCPRouteWeights(t *testing.T) {
	s := newScene(t, "VirtualService spec.tcp[].route[].weight", "VirtualService spec.tcp[].route[].destination.host",
		"VirtualService spec.tcp[].route[].destination.subset", "VirtualService spec.tcp[].route[].destination.port.number")
	s.serve("reviews", "v1", "v2")
	s.serve("ratings", "v3")
	s.apply(subsets + "\n---" + ofReviews(`
  tcp:
  - route:
    - {destination: {host: reviews, subset: v1}, weight: 50}
    - {destination: {host: ratings, port: {number: 9000}}, weight: 50}
    - {destination: {host: reviews, subset: v2}, weight: 0}
`))
	for _, caller := range []caller{s.front, s.mobile} {
		shares := map[string]int{}
		for range 40 {
			greeting, _ := caller.converse("reviews", linesPort, "hello")
			shares[greeting]++
		}
		s.Expect(shares).To(And(HaveKey("this is v1\n"), HaveKey("this is v3\n"), HaveLen(2)), caller.name)
	}
}

func TestTLSRoute(t *testing.T) {
	s := newScene(t, "VirtualService spec.tls[].match[].sniHosts[]", "VirtualService spec.tls[].match[].port",
		"VirtualService spec.tls[].match[].destinationSubnets[]", "VirtualService spec.tls[].match[].sourceLabels",
		"VirtualService spec.tls[].match[].sourceNamespace", "VirtualService spec.tls[].route[].destination.labels",
		"VirtualService spec.tls[].match[].gateways[]")
	s.serve("reviews", "v1", "v2", "v3")
	s.apply(ofReviews(`
  tls:
  - match: [{sniHosts: ["*.secure.example"]}]
    route: [{destination: {host: reviews, labels: {version: v1}}}]
  - match: [{sniHosts: [no.secure.example], port: 444}, {sniHosts: [no.secure.example], gateways: [other]}, {sniHosts: [no.secure.example], destinationSubnets: [10.95.0.0/16]}]
    route: [{destination: {host: reviews, labels: {version: v3}}}]
  - match: [{sniHosts: [two.secure.example], port: 443, destinationSubnets: [10.96.0.0/12], gateways: [mesh]}]
    route: [{destination: {host: reviews, labels: {version: v2}}}]
  - match: [{sniHosts: [mine.secure.example], sourceLabels: {team: shop}}, {sniHosts: [mine.secure.example], sourceNamespace: bank}]
    route: [{destination: {host: reviews, labels: {version: v3}}}]
`))
	for _, c := range s.callers() {
		mine := map[string]string{"front": "v3", "ledger": "v3", "mobile": "v1"}[c.name]
		for name, version := range map[string]string{"one": "v1", "two": "v2", "no": "v1", "mine": mine} {
			for range 3 {
				s.Expect(c.getTLS("reviews", 443, name+".secure.example").Version).To(Equal(version), "%s asks for %s", c.name, name)
			}
		}
	}
}

func TestTLSRouteWeights(t *testing.T) {
	s := newScene(t, "VirtualService spec.tls[].route[].weight", "VirtualService spec.tls[].route[].destination.host",
		"VirtualService spec.tls[].route[].destination.port.number", "VirtualService spec.tls[].route[].destination.subset")
	s.serve("reviews", "v1", "v2")
	s.serve("ratings", "v3")
	s.apply(subsets + "\n---" + ofReviews(`
  tls:
  - match: [{sniHosts: ["*.secure.example"]}]
    route:
    - {destination: {host: reviews, subset: v1}, weight: 50}
    - {destination: {host: ratings, port: {number: 443}}, weight: 50}
`))
	for _, caller := range []caller{s.front, s.mobile} {
		shares := map[string]int{}
		for range 40 {
			shares[caller.getTLS("reviews", 443, "shop.secure.example").Version]++
		}
		s.Expect(shares).To(And(HaveKey("v1"), HaveKey("v3"), HaveLen(2)), caller.name)
	}
}
