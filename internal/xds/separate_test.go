package xds_test

import (
	"testing"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/xds"
)

// Envoy has a stream for the endpoints of each cluster, and ends it with the cluster.
func TestAStreamThatEndsWhileOthersGoOnIsASubscriptionThatEnds(t *testing.T) {
	b := newBench(t)
	b.separate = true
	b.publish(map[mesh.ObjectID]int64{reviews: 1}, nil)
	p := b.settledProxy(true, reviews)
	b.publish(nil, []*xds.Resource{b.cluster("c2", ""), b.endpoints("c2", "", ratings), b.scope("s"), b.route("s", "", []string{"c2"})})
	p.take(xds.ClusterType, "c2")
	p.take(xds.ScopeType, "s")
	second := b.over(p.dialed, p.node, true)
	second.subscribe(xds.EndpointType, "c2")
	second.take(xds.EndpointType, "c2")
	third := b.over(p.dialed, p.node, true)
	third.subscribe(xds.RouteType, "s")
	third.take(xds.RouteType, "s")
	b.g.Eventually(b.counts(reviews)).Should(Equal([]int{1, 1, 0, 0}), "it is one proxy")

	b.publish(nil, nil, xds.Key{TypeURL: xds.ClusterType, Name: "c2"}, xds.Key{TypeURL: xds.EndpointType, Name: "c2"},
		xds.Key{TypeURL: xds.ScopeType, Name: "s"}, xds.Key{TypeURL: xds.RouteType, Name: "s"})
	p.take(xds.ScopeType, "-s")
	p.nothing(xds.ClusterType)
	third.disconnect()
	b.g.Eventually(func() bool { b.clock.Step(xds.StreamsEnd); return p.has(xds.ClusterType) }).
		Should(BeTrue(), "no route needs the cluster any more")
	p.take(xds.ClusterType, "-c2")
	second.disconnect()
	b.publish(nil, []*xds.Resource{b.endpoints("c1", "zone-a")})
	p.take(xds.EndpointType, "c1")
}

func TestAStreamIsForItsTypeOnly(t *testing.T) {
	b := newBench(t)
	b.separate = true
	b.publish(nil, []*xds.Resource{b.cluster("c1", "")})
	p := b.connect("default/front", true)
	p.stream(xds.ClusterType)
	p.streams[xds.ListenerType] = p.stream(xds.ClusterType)
	p.subscribe(xds.ListenerType)
	<-p.done
	b.g.Expect(p.ended).To(MatchError(ContainSubstring("the stream is for " + xds.ClusterType)))
}
