package conformance

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/test/echo"
)

// front and mobile are on Node a (eu/eu-1), ledger is on c (us/us-1).

func TestLocalityFailover(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.loadBalancer.localityLbSetting.enabled")
	apps := s.serve("reviews", "v1@a", "v2@b", "v3@c")
	const fast = `outlierDetection: {consecutive5xxErrors: 1, interval: 10ms, baseEjectionTime: 1h, maxEjectionPercent: 100}`
	s.policy("reviews", `{`+fast+`}`)
	s.Expect(s.front.many(20, "reviews/")).To(Equal(echo.Tally{"v1": 20}))
	s.Expect(s.mobile.many(20, "reviews/")).To(Equal(echo.Tally{"v1": 20}))
	s.Expect(s.ledger.many(20, "reviews/")).To(Equal(echo.Tally{"v3": 20}))

	apps["v1"].Close()
	s.Eventually(func() echo.Tally { return s.front.many(10, "reviews/") }).Should(Equal(echo.Tally{"v2": 10}), "the next zone stands in")
	s.policy("reviews", `{`+fast+`, loadBalancer: {localityLbSetting: {enabled: false}}}`)
	s.Expect(s.ledger.many(60, "reviews/")).To(HaveKey("v2"))
}

func TestLocalityFailoverRegions(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.loadBalancer.localityLbSetting.failover")
	s.serve("reviews", "v2@b", "v3@c")
	s.policy("reviews", `{outlierDetection: {}, loadBalancer: {localityLbSetting: {failover: [{from: us, to: eu}]}}}`)
	s.Expect(s.ledger.many(10, "reviews/")).To(Equal(echo.Tally{"v3": 10}))
	s.delete("EndpointSlice", "reviews-v3")
	s.Expect(s.ledger.many(10, "reviews/")).To(Equal(echo.Tally{"v2": 10}))
}

func TestLocalityFailoverPriority(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.loadBalancer.localityLbSetting.failoverPriority")
	s.serve("reviews", "v1@a", "v2@b", "v3@c")
	s.policy("reviews", `{outlierDetection: {}, loadBalancer: {localityLbSetting: {failoverPriority: ["version=v3", "topology.kubernetes.io/zone"]}}}`)
	for _, caller := range s.callers() {
		s.Expect(caller.many(10, "reviews/")).To(Equal(echo.Tally{"v3": 10}))
	}
	s.policy("reviews", `{outlierDetection: {}, loadBalancer: {localityLbSetting: {failoverPriority: [topology.kubernetes.io/zone]}}}`)
	s.Expect(s.front.many(10, "reviews/")).To(Equal(echo.Tally{"v1": 10}))
	s.Expect(s.ledger.many(10, "reviews/")).To(Equal(echo.Tally{"v3": 10}))
}

func TestLocalityDistribution(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.loadBalancer.localityLbSetting.distribute")
	s.serve("reviews", "v1@a", "v2@b", "v3@c")
	s.policy("reviews", `{loadBalancer: {localityLbSetting: {distribute: [{from: eu/eu-1, to: {eu/eu-1: 70, eu/*: 30}}]}}}`)
	const n = 10_000
	counts := s.front.many(n, "reviews/")
	s.Expect(counts["v1"]).To(beShareOf(n, 0.7), "%v", counts)
	s.Expect(counts["v2"]).To(beShareOf(n, 0.3), "%v", counts)
	s.Expect(s.ledger.many(60, "reviews/")).To(HaveLen(3), "nothing is said of its place")
}

func TestZoneAware(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.loadBalancer.zoneAwareLbSetting.enabled",
		"DestinationRule spec.trafficPolicy.loadBalancer.zoneAwareLbSetting.minClusterSize")
	s.serve("reviews", "v1@a", "v2@b", "v3@b", "v4@c")
	// The service of the caller has one endpoint in each zone of eu, so that half of the calls
	// come from each; this zone can take a third of all.
	s.apply(s.service("storefront") + `
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: storefront, labels: {kubernetes.io/service-name: storefront}}
addressType: IPv4
endpoints:
- {addresses: [` + s.front.address.String() + `], targetRef: {kind: Pod, name: front, namespace: default}}
- {addresses: [198.18.0.1], targetRef: {kind: Pod, name: reviews-v2}}
ports: [{name: http, port: 9080}]
`)
	s.policy("reviews", `{loadBalancer: {simple: RANDOM, zoneAwareLbSetting: {enabled: true, minClusterSize: 3}}}`)
	const n = 10_000
	counts := s.front.many(n, "reviews/")
	s.Expect(counts["v1"]).To(beShareOf(n, 2./3), "%v", counts)
	s.Expect(counts).NotTo(HaveKey("v4"), "another region")
	s.policy("reviews", `{loadBalancer: {simple: RANDOM, zoneAwareLbSetting: {enabled: true, minClusterSize: 4}}}`)
	s.Expect(s.front.many(n, "reviews/")["v1"]).To(beShareOf(n, 1./3), "the region has too few")
}

func TestTrafficDistribution(t *testing.T) {
	s := newScene(t)
	s.serve("reviews", "v1@a", "v2@b", "v3@c")
	service := s.service("reviews")
	for distribution, versions := range map[string][2]string{"PreferClose": {"v1", "v3"}, "PreferSameZone": {"v1", "v3"}, "PreferSameNode": {"v1", "v3"}} {
		s.apply(strings.Replace(service, "spec:\n", "spec:\n  trafficDistribution: "+distribution+"\n", 1))
		s.Expect(s.front.many(20, "reviews/")).To(Equal(echo.Tally{versions[0]: 20}), distribution)
		s.Expect(s.ledger.many(20, "reviews/")).To(Equal(echo.Tally{versions[1]: 20}), distribution)
	}
	s.delete("EndpointSlice", "reviews-v1")
	s.Expect(s.front.many(20, "reviews/")).To(Equal(echo.Tally{"v2": 20}), "the same region is next")
}
