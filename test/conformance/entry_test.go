package conformance

import (
	"fmt"
	"net/netip"
	"testing"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/test/echo"
)

// entry is a ServiceEntry of a host outside, as a manifest.
func entry(host, spec string) string {
	return fmt.Sprintf(`
---
apiVersion: mesh.fairlead.dev/v1alpha1
kind: ServiceEntry
metadata: {name: outside}
spec:
  hosts: [%q]
%s`, host, spec)
}

// reached is the address of this machine on which a Pod's address is served.
func reached(s *scene, address string) string {
	s.Helper()
	parsed, err := netip.ParseAddr(address)
	s.Expect(err).NotTo(HaveOccurred())
	return mesh.LoopbackAddress(parsed).String()
}

func TestEntryStatic(t *testing.T) {
	s := newScene(t, "ServiceEntry spec.hosts", "ServiceEntry spec.resolution", "ServiceEntry spec.endpoints[].address",
		"ServiceEntry spec.endpoints[].weight", "ServiceEntry spec.endpoints[].ports", "ServiceEntry spec.ports[].number",
		"ServiceEntry spec.ports[].name", "ServiceEntry spec.ports[].protocol")
	_, one := s.application("v1")
	_, three := s.application("v2")
	s.apply(entry("static.NAMESPACE.example", fmt.Sprintf(`
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: %s, ports: {http: %d}}, {address: %s, ports: {http: %d}, weight: 3}]
`, one, httpPort, three, httpPort)) + `
---
apiVersion: mesh.fairlead.dev/v1alpha1
kind: DestinationRule
metadata: {name: outside}
spec: {host: static.NAMESPACE.example, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}
`)
	const n = 2000
	counts := s.front.many(n, s.text("static.NAMESPACE.example/"))
	s.Expect(counts.Failed()).To(BeEmpty())
	s.Expect(counts["v2"]).To(beShareOf(n, 0.75), "%v", counts)
}

func TestEntryByDNS(t *testing.T) {
	s := newScene(t, "ServiceEntry spec.resolution", "ServiceEntry spec.ports[].targetPort")
	_, address := s.application("v1")
	s.apply(entry("dns.NAMESPACE.example", fmt.Sprintf(`
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: %d}]
  endpoints: [{address: %s}]
`, httpPort, reached(s, address))))
	s.Expect(s.front.get("dns.NAMESPACE.example/").Version).To(Equal("v1"))
	s.Expect(s.ledger.get("dns.NAMESPACE.example/").Version).To(Equal("v1"))
}

func TestEntrySelectsPods(t *testing.T) {
	s := newScene(t, "ServiceEntry spec.workloadSelector.labels")
	s.serve("reviews", "v1", "v2")
	s.apply(entry("pods.NAMESPACE.example", fmt.Sprintf(`
  resolution: STATIC
  location: MESH_INTERNAL
  workloadSelector: {labels: {version: v2}}
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: %d}]
`, httpPort)))
	s.Expect(s.front.many(50, s.text("pods.NAMESPACE.example/"))).To(Equal(echo.Tally{"v2": 50}))
}

func TestEntryExportTo(t *testing.T) {
	s := newScene(t, "ServiceEntry spec.exportTo")
	_, address := s.application("v1")
	s.apply(entry("bank.NAMESPACE.example", fmt.Sprintf(`
  resolution: STATIC
  exportTo: [bank]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: %d}]
  endpoints: [{address: %s}]
`, httpPort, address)))
	s.Expect(s.ledger.get("bank.NAMESPACE.example/").Status).To(Equal(200))
	s.Expect(s.front.get("bank.NAMESPACE.example/").Status).To(Equal(404), "it does not see the host")
}

func TestRouteOfAnEntry(t *testing.T) {
	s := newScene(t)
	s.serve("reviews", "v1")
	_, address := s.application("outside")
	s.apply(entry("routed.NAMESPACE.example", fmt.Sprintf(`
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: %d}]
  endpoints: [{address: %s}]
`, httpPort, address)))
	s.route("reviews", `
- match: [{uri: {prefix: /out}}]
  route: [{destination: {host: routed.NAMESPACE.example}}]
- route: [{destination: {host: reviews}}]
`)
	for _, caller := range s.callers() {
		s.Expect(caller.get("reviews/out").Version).To(Equal("outside"))
		s.Expect(caller.get("reviews/").Version).To(Equal("v1"))
	}
}

// No endpoint is ready: the answer is 503, not a hang.
func TestServiceWithoutEndpoints(t *testing.T) {
	s := newScene(t)
	s.apply(s.service("reviews"))
	for _, caller := range s.callers() {
		s.Expect(caller.get("reviews/").Status).To(Equal(503))
	}
}

func TestRouteTableExportTo(t *testing.T) {
	s := newScene(t, "VirtualService spec.exportTo", "DestinationRule spec.exportTo")
	s.serve("reviews", "v1", "v2")
	s.apply(subsets + "  exportTo: [bank]\n" + `
---
apiVersion: mesh.fairlead.dev/v1alpha1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  exportTo: [bank]
  http: [{route: [{destination: {host: reviews, subset: v2}}]}]
`)
	s.Expect(s.ledger.many(50, s.text("reviews.NAMESPACE.svc.cluster.local/"))).To(Equal(echo.Tally{"v2": 50}))
	s.Expect(s.front.many(50, s.text("reviews.NAMESPACE.svc.cluster.local/"))).To(HaveKey("v1"), "nothing of it is for its namespace")
}
