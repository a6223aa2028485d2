package xds_test

import (
	"testing"

	. "github.com/onsi/gomega"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/xds"
)

func TestALostProxyCountsUntilItsGracePasses(t *testing.T) {
	both(t, func(b *bench, delta bool) {
		b.publish(map[mesh.ObjectID]int64{reviews: 1}, nil)
		p := b.settledProxy(delta, reviews)
		b.g.Eventually(b.counts(reviews)).Should(Equal([]int{1, 1, 0, 0}))
		p.disconnect()
		b.g.Eventually(b.counts(reviews)).Should(Equal([]int{1, 1, 0, 1}), "it runs what it acknowledged")
		b.publish(map[mesh.ObjectID]int64{reviews: 2}, []*xds.Resource{b.route("r", "2", []string{"c1"}, reviews)})
		b.g.Expect(b.counts(reviews)()).To(Equal([]int{1, 0, 0, 1}))
		b.clock.Step(grace)
		b.g.Eventually(b.counts(reviews)).Should(Equal([]int{0, 0, 0, 0}))
	})
}

func TestAProxyWhosePodIsGoneIsNotAwaited(t *testing.T) {
	both(t, func(b *bench, delta bool) {
		b.publish(map[mesh.ObjectID]int64{reviews: 1}, nil)
		p := b.settledProxy(delta, reviews)
		b.g.Eventually(b.counts(reviews)).Should(Equal([]int{1, 1, 0, 0}))
		p.disconnect()
		b.g.Eventually(b.counts(reviews)).Should(Equal([]int{1, 1, 0, 1}))
		b.cache.Gone("default/front")
		b.g.Expect(b.counts(reviews)()).To(Equal([]int{0, 0, 0, 0}))
	})
}

func TestAReconnectedProxyIsSentOnlyWhatItDoesNotHave(t *testing.T) {
	b := newBench(t)
	c1, c2 := b.cluster("c1", ""), b.cluster("c2", "old")
	b.publish(map[mesh.ObjectID]int64{reviews: 1}, []*xds.Resource{c1, c2, b.cluster("c3", "", reviews)})
	versions := map[string]string{"c1": c1.Hash, "c2": c2.Hash, "gone": "0123456789"}
	b.publish(nil, []*xds.Resource{b.cluster("c2", "new")})

	p := b.connect("default/front", true)
	p.send(xds.ClusterType, "", "", []string{"*"}, nil, versions)
	p.take(xds.ClusterType, "c2", "c3")
	b.g.Eventually(b.counts(reviews)).Should(Equal([]int{1, 1, 0, 0}))
	p.nothing(xds.ClusterType)
	// It might still tell of a route that needs the third.
	b.clock.Step(xds.DefaultGateTimeout)
	p.take(xds.ClusterType, "-gone")
	p.nothing(xds.ClusterType)
}

// Envoy tells of its types in an order of its own. What comes last and needs no answer counts, too.
func TestAReconnectedProxyThatTellsLastOfItsRoutesRunsThem(t *testing.T) {
	b := newBench(t)
	r := b.route("r", "1", nil, reviews)
	b.publish(map[mesh.ObjectID]int64{reviews: 1}, []*xds.Resource{b.scope("r"), r})
	p := b.connect("default/front", true)
	for _, typeURL := range []string{xds.ClusterType, xds.ListenerType, xds.ScopeType} {
		p.subscribe(typeURL)
	}
	b.g.Eventually(b.counts(reviews)).Should(Equal([]int{1, 0, 0, 0}))
	p.send(xds.RouteType, "", "", []string{"r"}, nil, map[string]string{"r": r.Hash})
	b.g.Eventually(b.counts(reviews)).Should(Equal([]int{1, 1, 0, 0}))
	p.nothing(xds.RouteType)
}

func TestAClusterStaysWhileARouteFromBeforeTheStreamMayNeedIt(t *testing.T) {
	b := newBench(t)
	b.publish(nil, []*xds.Resource{b.cluster("c2", ""), b.endpoints("c2", ""), b.scope("r"), b.route("r", "2", []string{"c2"})})
	p := b.connect("default/front", true)
	// Envoy opens with all its subscriptions when it reconnects, clusters first.
	p.send(xds.ClusterType, "", "", []string{"*"}, nil, map[string]string{"c1": "old"})
	p.take(xds.ClusterType, "c2")
	p.send(xds.EndpointType, "", "", []string{"c1"}, nil, map[string]string{"c1": "old"})
	p.send(xds.ListenerType, "", "", []string{"*"}, nil, nil)
	p.take(xds.ListenerType)
	p.send(xds.ScopeType, "", "", []string{"*"}, nil, nil)
	p.nothing(xds.ClusterType)
	p.send(xds.RouteType, "", "", []string{"r"}, nil, map[string]string{"r": "old"})
	p.send(xds.EndpointType, "", "", []string{"c2"}, nil, nil)
	p.take(xds.EndpointType, "c2")
	g := p.expect(xds.RouteType, "r")
	p.nothing(xds.ClusterType)
	p.send(xds.RouteType, g.nonce, "", nil, nil, nil)
	p.take(xds.ClusterType, "-c1")
}

func TestNoProxyMeansNothingUntilTheGraceAfterTheStartIsOver(t *testing.T) {
	b := newBench(t)
	b.publish(map[mesh.ObjectID]int64{reviews: 1}, nil)
	b.g.Expect(b.report(reviews).Settled).To(BeFalse())
	b.clock.Step(grace)
	b.g.Eventually(func() bool { return b.report(reviews).Settled }).Should(BeTrue())
	b.publish(map[mesh.ObjectID]int64{ratings: 1}, nil)
	b.g.Expect(b.report(ratings).Settled).To(BeTrue())
}

func TestTheFirstProxyThatReconnectsDoesNotSpeakForTheOthers(t *testing.T) {
	b := newBench(t)
	b.publish(map[mesh.ObjectID]int64{reviews: 1}, nil)
	b.cache.Await([]string{"default/front", "default/other", "default/gone", "default/never"})
	b.g.Eventually(b.counts(reviews)).Should(Equal([]int{4, 0, 0, 4}))
	b.settledProxy(true, reviews)
	b.g.Eventually(b.counts(reviews)).Should(Equal([]int{4, 1, 0, 3}))

	// It is known what concerns a proxy once it has said what it is subscribed to.
	other := b.connect("default/other", true)
	other.subscribe(xds.ClusterType)
	other.take(xds.ClusterType, "c1")
	other.subscribe(xds.ListenerType)
	other.take(xds.ListenerType, "outbound")
	b.g.Expect(b.counts(reviews)()).To(Equal([]int{4, 1, 0, 3}))
	other.subscribe(xds.ScopeType)
	b.g.Eventually(b.counts(reviews)).Should(Equal([]int{4, 1, 0, 2}))

	b.cache.Gone("default/gone")
	b.g.Eventually(b.counts(reviews)).Should(Equal([]int{3, 1, 0, 1}))
	b.clock.Step(grace)
	b.g.Eventually(b.counts(reviews)).Should(Equal([]int{2, 1, 0, 0}))
}

func TestAProxyWhoseViewIsNotThereYetIsStillAwaited(t *testing.T) {
	b := newBench(t)
	b.publish(map[mesh.ObjectID]int64{reviews: 1}, nil)
	b.cache.Await([]string{"default/front", "late/other"})
	b.settledProxy(true, reviews)
	other := b.connect("late/other", true)
	for _, typeURL := range []string{xds.ClusterType, xds.ListenerType, xds.ScopeType} {
		other.subscribe(typeURL)
	}
	other.nothing(xds.ClusterType)
	b.g.Expect(b.counts(reviews)()).To(Equal([]int{2, 1, 0, 1}))
	b.cache.Publish(xds.Publication{Updates: []xds.Update{{Class: "late", Set: []*xds.Resource{b.scope("r"), b.route("r", "1", nil, reviews)}}}})
	b.g.Eventually(b.counts(reviews)).Should(Equal([]int{2, 1, 0, 0}))
}

func TestTwoStreamsOfOneProxyDuringAHotRestart(t *testing.T) {
	both(t, func(b *bench, delta bool) {
		b.publish(map[mesh.ObjectID]int64{reviews: 1}, nil)
		older := b.settledProxy(delta, reviews)
		newer := b.settledProxy(delta, reviews)
		b.g.Eventually(b.counts(reviews)).Should(Equal([]int{2, 2, 0, 0}))
		older.disconnect()
		b.g.Eventually(b.counts(reviews)).Should(Equal([]int{1, 1, 0, 0}), "the successor speaks for the proxy")
		newer.disconnect()
		b.g.Eventually(b.counts(reviews)).Should(Equal([]int{1, 1, 0, 1}))
	})
}

func TestAProxyThatMovesToAnotherClassKeepsWhatIsEqual(t *testing.T) {
	b := newBench(t)
	p := b.settledProxy(true)
	b.cache.Publish(xds.Publication{Updates: []xds.Update{{Class: "other", Set: []*xds.Resource{
		b.cluster("c1", ""), b.endpoints("c1", ""), b.listener("outbound", ""), b.scope("r"), b.scope("s"), b.route("r", "other", []string{"c1"}),
	}}}})
	b.cache.Move(xds.Client{Node: "default/front"}, "other")
	p.take(xds.ScopeType, "s")
	p.take(xds.RouteType, "r")
	p.nothing(xds.ClusterType)
	p.nothing(xds.ListenerType)
	b.g.Expect(b.cache.Classes()).To(Equal([]string{"other"}))
	b.g.Expect(b.cache.Forget("other")).To(BeFalse())
	b.g.Expect(b.cache.Forget("default")).To(BeTrue())
}

func TestWhoAProxyIsCannotChange(t *testing.T) {
	aggregated(t, func(b *bench, delta bool) {
		for _, example := range []struct {
			node string
			code codes.Code
		}{{"", codes.InvalidArgument}, {"default/stranger", codes.PermissionDenied}} {
			p := b.connect(example.node, delta)
			p.subscribe(xds.ClusterType)
			<-p.done
			b.g.Expect(status.Code(p.ended)).To(Equal(example.code))
		}
		p := b.connect("default/front", delta)
		p.subscribe(xds.ClusterType)
		p.node, p.stream(xds.ClusterType).named = "default/other", false
		p.subscribe(xds.ListenerType)
		<-p.done
		b.g.Expect(status.Code(p.ended)).To(Equal(codes.PermissionDenied))
	})
}
