package conformance

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/agent/bootstrap"
	"fairlead.dev/fairlead/test/echo"
)

// TestTransports shows that a proxy is served alike by whatever way it asks: routes, endpoints
// and TCP services, and a change of each, of which no request notices anything.
func TestTransports(t *testing.T) {
	// One that polls takes its seconds for each step.
	for protocol, rounds := range map[bootstrap.Protocol]int{bootstrap.DeltaStreams: 3, bootstrap.StateOfTheWorldStreams: 3, bootstrap.REST: 1} {
		t.Run(string(protocol), func(t *testing.T) {
			s := newScene(t)
			own, err := startStage([]*proxy{{
				name: "front", namespace: "default", node: "a", labels: map[string]string{"app": "front"}, protocol: protocol,
			}})
			s.Expect(err).NotTo(HaveOccurred())
			s.stage = own
			s.front = caller{s, own.proxies[0]}
			t.Cleanup(func() { s.Expect(own.stop()).To(Succeed()) })

			s.serve("reviews", "v1", "v2")
			s.route("reviews", `
- match: [{headers: {team: {exact: shop}}}]
  route: [{destination: {host: reviews, labels: {version: v2}}}]
- route: [{destination: {host: reviews, labels: {version: v1}}}]
`)
			s.Expect(s.front.get("reviews/").Version).To(Equal("v1"))
			s.Expect(s.front.get("reviews/", "team", "shop").Version).To(Equal("v2"))
			greeting, answer := s.front.converse("reviews", linesPort, "hello")
			s.Expect(greeting + answer).NotTo(BeEmpty())

			load := echo.StartLoad(5*time.Millisecond, s.front.url("reviews/"), nil, s.front.http)
			for range rounds {
				s.serve("ratings", "v1", "v2")
				s.route("reviews", "\n- route: [{destination: {host: ratings, labels: {version: v2}}}]\n")
				s.delete("VirtualService", "reviews")
				s.delete("Service", "ratings")
			}
			s.Expect(load.Stop().Failed()).To(BeEmpty())
		})
	}
}
