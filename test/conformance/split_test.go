package conformance

import (
	"testing"

	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"

	"fairlead.dev/fairlead/test/echo"
)

// beShareOf matches a count out of n requests, each of which had the chance.
func beShareOf(n int, chance float64) gomegatypes.GomegaMatcher {
	return BeNumerically("~", float64(n)*chance, echo.Deviation(n, chance))
}

// subsets are those of a service that are named like its versions.
const subsets = `
apiVersion: mesh.fairlead.dev/v1alpha1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
`

func TestWeights(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].route[].weight", "VirtualService spec.http[].route[].destination.subset",
		"DestinationRule spec.subsets[].name", "DestinationRule spec.subsets[].labels", "DestinationRule spec.host")
	s.serve("reviews", "v1", "v2")
	s.apply(subsets)
	s.route("reviews", `
- route:
  - {destination: {host: reviews, subset: v1}, weight: 90}
  - {destination: {host: reviews, subset: v2}, weight: 10}
`)
	const n = 10_000
	counts := s.front.many(n, "reviews/")
	s.Expect(counts.Failed()).To(BeEmpty())
	s.Expect(counts["v2"]).To(beShareOf(n, 0.1), "%v", counts)
}

func TestWeightZero(t *testing.T) {
	s := newScene(t)
	s.serve("reviews", "v1", "v2")
	s.apply(subsets)
	s.route("reviews", `
- route:
  - {destination: {host: reviews, subset: v1}, weight: 0}
  - {destination: {host: reviews, subset: v2}, weight: 1}
`)
	for _, caller := range s.callers() {
		s.Expect(caller.many(50, "reviews/")).To(Equal(echo.Tally{"v2": 50}))
	}
}

func TestDestinationLabels(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].route[].destination.labels")
	s.serve("reviews", "v1", "v2")
	for _, version := range []string{"v1", "v2"} {
		s.route("reviews", `
- route: [{destination: {host: reviews, labels: {version: `+version+`, app: reviews}}}]
`)
		for _, caller := range s.callers() {
			s.Expect(caller.many(20, "reviews/")).To(Equal(echo.Tally{version: 20}))
		}
	}
}

func TestDestinationHostAndPort(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].route[].destination.host", "VirtualService spec.http[].route[].destination.port.number")
	s.serve("reviews", "v1")
	s.serve("ratings", "v2")
	s.route("reviews", `
- match: [{uri: {prefix: /grpc}}]
  route: [{destination: {host: ratings.NAMESPACE.svc.cluster.local, port: {number: 9090}}}]
- route: [{destination: {host: reviews}}]
`)
	for _, caller := range s.callers() {
		s.Expect(caller.get("reviews/").Version).To(Equal("v1"))
		s.Expect(caller.get("reviews/grpc").Seen).To(And(HaveField("Version", "v2"), HaveField("Protocol", "HTTP/2.0")))
	}
}
