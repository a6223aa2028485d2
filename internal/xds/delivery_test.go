package xds_test

import (
	"strconv"
	"testing"

	. "github.com/onsi/gomega"
	"go.uber.org/goleak"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/xds"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	reviews = mesh.ObjectID{Kind: "VirtualService", Namespace: "default", Name: "reviews"}
	ratings = mesh.ObjectID{Kind: "VirtualService", Namespace: "default", Name: "ratings"}
	rule    = mesh.ObjectID{Kind: "DestinationRule", Namespace: "default", Name: "reviews"}
)

// both runs a test in each variant of the protocol, by one stream for everything and by
// a stream for each type.
func both(t *testing.T, test func(*bench, bool)) {
	aggregated(t, test)
	for name, delta := range map[string]bool{"delta, separate streams": true, "state of the world, separate streams": false} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.separate = true
			test(b, delta)
		})
	}
}

func aggregated(t *testing.T, test func(*bench, bool)) {
	for name, delta := range map[string]bool{"delta": true, "state of the world": false} {
		t.Run(name, func(t *testing.T) { test(newBench(t), delta) })
	}
}

// settledProxy is a proxy that runs one cluster with its route.
func (b *bench) settledProxy(delta bool, owners ...mesh.ObjectID) *proxy {
	b.publish(nil, []*xds.Resource{
		b.cluster("c1", ""), b.endpoints("c1", ""), b.listener("outbound", ""), b.scope("r"), b.route("r", "1", []string{"c1"}, owners...),
	})
	p := b.connect("default/front", delta)
	p.subscribe(xds.ClusterType)
	p.take(xds.ClusterType, "c1")
	p.subscribe(xds.EndpointType, "c1")
	p.take(xds.EndpointType, "c1")
	p.subscribe(xds.ListenerType)
	p.take(xds.ListenerType, "outbound")
	p.subscribe(xds.ScopeType)
	p.take(xds.ScopeType, "r")
	p.subscribe(xds.RouteType, "r")
	p.take(xds.RouteType, "r")
	return p
}

func TestAProxyIsServedAndItsAcknowledgementsAreCounted(t *testing.T) {
	both(t, func(b *bench, delta bool) {
		b.publish(map[mesh.ObjectID]int64{reviews: 1}, nil)
		p := b.settledProxy(delta, reviews)
		b.g.Eventually(b.counts(reviews)).Should(Equal([]int{1, 1, 0, 0}))

		b.publish(map[mesh.ObjectID]int64{reviews: 2}, []*xds.Resource{b.route("r", "2", []string{"c1"}, reviews)})
		g := p.expect(xds.RouteType, "r")
		b.g.Expect(b.counts(reviews)()).To(Equal([]int{1, 0, 0, 0}), "sent is not acknowledged")
		b.g.Expect(b.report(reviews).Generation).To(Equal(int64(2)))
		p.send(xds.RouteType, g.nonce, "", nil, nil, nil)
		b.g.Eventually(b.counts(reviews)).Should(Equal([]int{1, 1, 0, 0}))
	})
}

func TestAProxyWithNothingToServeIsAnsweredAllTheSame(t *testing.T) {
	both(t, func(b *bench, delta bool) {
		p := b.connect("default/front", delta)
		p.subscribe(xds.ClusterType)
		p.nothing(xds.ClusterType)
		b.publish(nil, nil)
		p.take(xds.ClusterType)
	})
}

func TestAChangeOfAnotherObjectIsNotAwaited(t *testing.T) {
	both(t, func(b *bench, delta bool) {
		p := b.settledProxy(delta, reviews)
		b.publish(map[mesh.ObjectID]int64{reviews: 1, ratings: 1}, nil)
		b.g.Eventually(b.counts(reviews)).Should(Equal([]int{1, 1, 0, 0}), "equal bytes are acknowledged already")

		b.publish(map[mesh.ObjectID]int64{ratings: 2}, []*xds.Resource{b.cluster("c1", "changed", ratings)})
		g := p.expect(xds.ClusterType, "c1")
		b.g.Expect(b.counts(reviews)()).To(Equal([]int{1, 1, 0, 0}))
		b.g.Expect(b.counts(ratings)()).To(Equal([]int{1, 0, 0, 0}))
		p.send(xds.ClusterType, g.nonce, "", nil, nil, nil)
		b.g.Eventually(b.counts(ratings)).Should(Equal([]int{1, 1, 0, 0}))
	})
}

func TestALaterChangeByOthersDoesNotTakeAnAcknowledgementBack(t *testing.T) {
	both(t, func(b *bench, delta bool) {
		p := b.settledProxy(delta)
		b.publish(map[mesh.ObjectID]int64{rule: 1}, []*xds.Resource{b.endpoints("c1", "zone-a", rule)})
		p.take(xds.EndpointType, "c1")
		b.g.Eventually(b.counts(rule)).Should(Equal([]int{1, 1, 0, 0}))
		// Endpoints come and go without the rule having changed.
		b.publish(nil, []*xds.Resource{b.endpoints("c1", "zone-b", rule)})
		p.expect(xds.EndpointType, "c1")
		b.g.Expect(b.counts(rule)()).To(Equal([]int{1, 1, 0, 0}))
	})
}

func TestWhatAGenerationTookItsHandsOffIsAwaited(t *testing.T) {
	both(t, func(b *bench, delta bool) {
		b.publish(map[mesh.ObjectID]int64{reviews: 1}, nil)
		p := b.settledProxy(delta, reviews)
		b.g.Eventually(b.counts(reviews)).Should(Equal([]int{1, 1, 0, 0}))
		// The object routes another host now: its old route falls back to the default.
		b.publish(map[mesh.ObjectID]int64{reviews: 2}, []*xds.Resource{b.route("r", "default", []string{"c1"})})
		g := p.expect(xds.RouteType, "r")
		b.g.Expect(b.counts(reviews)()).To(Equal([]int{1, 0, 0, 0}))
		p.send(xds.RouteType, g.nonce, "", nil, nil, nil)
		b.g.Eventually(b.counts(reviews)).Should(Equal([]int{1, 1, 0, 0}))
	})
}

func TestAnObjectThatTakesAHostOverAwaitsItsOwnRoutes(t *testing.T) {
	both(t, func(b *bench, delta bool) {
		b.publish(map[mesh.ObjectID]int64{reviews: 1}, nil)
		p := b.settledProxy(delta, reviews)
		// ratings has the same host, and is the younger one.
		b.publish(map[mesh.ObjectID]int64{ratings: 1}, nil)
		b.g.Expect(b.counts(ratings)()).To(Equal([]int{0, 0, 0, 0}))
		b.cache.Publish(xds.Publication{
			Updates:  []xds.Update{{Class: "default", Set: []*xds.Resource{b.route("r", "of ratings", []string{"c1"}, ratings)}}},
			Objects:  map[mesh.ObjectID]int64{reviews: mesh.DeletedGeneration},
			Accepted: []mesh.ObjectID{ratings, reviews},
		})
		b.g.Expect(b.counts(ratings)()).To(Equal([]int{1, 0, 0, 0}), "what the proxy runs is the route of reviews")
		p.take(xds.RouteType, "r")
		b.g.Eventually(b.counts(ratings)).Should(Equal([]int{1, 1, 0, 0}))
	})
}

func TestAnObjectOfTheSameNameIsDeliveredAnew(t *testing.T) {
	both(t, func(b *bench, delta bool) {
		b.publish(map[mesh.ObjectID]int64{reviews: 1}, nil)
		p := b.settledProxy(delta, reviews)
		b.g.Eventually(b.counts(reviews)).Should(Equal([]int{1, 1, 0, 0}))
		// Deleted and created again, which came as one change, and of generation 1 again.
		b.publish(map[mesh.ObjectID]int64{reviews: 1}, []*xds.Resource{b.route("r", "another", []string{"c1"}, reviews)})
		b.g.Expect(b.counts(reviews)()).To(Equal([]int{1, 0, 0, 0}))
		p.take(xds.RouteType, "r")
		b.g.Eventually(b.counts(reviews)).Should(Equal([]int{1, 1, 0, 0}))

		// Even if it says the same, it is told: those who listen do not know it yet.
		b.mu.Lock()
		delete(b.reports, reviews)
		b.mu.Unlock()
		b.publish(map[mesh.ObjectID]int64{reviews: 1}, nil)
		b.g.Expect(b.counts(reviews)()).To(Equal([]int{1, 1, 0, 0}))
	})
}

func TestRoutesWaitForTheirClustersAndEndpoints(t *testing.T) {
	both(t, func(b *bench, delta bool) {
		p := b.settledProxy(delta)
		b.publish(nil, []*xds.Resource{b.cluster("c2", ""), b.endpoints("c2", ""), b.route("r", "2", []string{"c2"})}, xds.Key{TypeURL: xds.ClusterType, Name: "c1"}, xds.Key{TypeURL: xds.EndpointType, Name: "c1"})

		// The new cluster comes, the old one stays.
		if delta {
			p.take(xds.ClusterType, "c2")
		} else {
			p.take(xds.ClusterType, "c1", "c2")
		}
		p.nothing(xds.RouteType)
		p.subscribe(xds.EndpointType, "c2")
		g := p.expect(xds.EndpointType, "c2")
		p.nothing(xds.RouteType)
		p.send(xds.EndpointType, g.nonce, "", nil, nil, nil)

		g = p.expect(xds.RouteType, "r")
		p.nothing(xds.ClusterType)
		p.send(xds.RouteType, g.nonce, "", nil, nil, nil)
		// Nothing needs the old cluster any more.
		if delta {
			p.take(xds.ClusterType, "-c1")
		} else {
			p.take(xds.ClusterType, "c2")
		}
		p.nothing(xds.EndpointType)
	})
}

// A proxy that connects while its view comes into being must not be told that there is
// nothing: in state of the world that deletes all that it runs, in the other variant it is
// ready too early.
func TestTheFirstResponseIsNeverTheOneBeforeTheView(t *testing.T) {
	both(t, func(b *bench, delta bool) {
		p := b.connect("default/front", delta)
		p.subscribe(xds.ClusterType)
		p.nothing(xds.ClusterType)
		// Requests go on while so many objects are judged.
		objects := map[mesh.ObjectID]int64{}
		for i := range 20_000 {
			objects[mesh.ObjectID{Kind: "VirtualService", Namespace: "default", Name: strconv.Itoa(i)}] = 1
		}
		published := make(chan struct{})
		go func() {
			defer close(published)
			b.publish(objects, []*xds.Resource{b.cluster("c1", ""), b.listener("outbound", "")})
		}()
		for more, i := true, 0; more; i++ {
			p.subscribe(xds.EndpointType, strconv.Itoa(i))
			select {
			case <-published:
				more = false
			default:
			}
		}
		p.subscribe(xds.ListenerType)
		p.take(xds.ClusterType, "c1")
		p.take(xds.ListenerType, "outbound")
	})
}

// The bytes of a route stay the same when a destination ceases to exist: it keeps its name.
func TestAClusterGoesOnceARouteOfTheSameBytesDoesNotRequireIt(t *testing.T) {
	both(t, func(b *bench, delta bool) {
		p := b.settledProxy(delta)
		b.publish(nil, []*xds.Resource{b.route("r", "1", nil)}, xds.Key{TypeURL: xds.ClusterType, Name: "c1"}, xds.Key{TypeURL: xds.EndpointType, Name: "c1"})
		if delta {
			p.take(xds.ClusterType, "-c1")
		} else {
			p.take(xds.ClusterType)
		}
		p.nothing(xds.RouteType)

		b.publish(nil, []*xds.Resource{b.cluster("c1", ""), b.endpoints("c1", ""), b.route("r", "1", []string{"c1"})})
		p.take(xds.ClusterType, "c1")
		p.nothing(xds.RouteType)
	})
}

// A proxy that starts is not ready before its first listeners: they come once those that
// waited have what they require, or have waited long enough.
func TestTheFirstResponseComesOnceNothingInItWaitsAnyMore(t *testing.T) {
	both(t, func(b *bench, delta bool) {
		for node, acknowledges := range map[string]bool{"default/front": true, "default/slow": false} {
			b.publish(nil, []*xds.Resource{
				b.cluster("c1", ""), b.endpoints("c1", ""), b.listener("outbound", ""), b.listener("tcp", "", "c1"),
			})
			p := b.connect(node, delta)
			p.subscribe(xds.ClusterType)
			g := p.expect(xds.ClusterType, "c1")
			p.subscribe(xds.ListenerType)
			p.nothing(xds.ListenerType)
			if acknowledges {
				p.send(xds.ClusterType, g.nonce, "", nil, nil, nil)
				p.subscribe(xds.EndpointType, "c1")
				p.take(xds.EndpointType, "c1")
			} else {
				b.clock.Step(xds.DefaultGateTimeout)
			}
			p.take(xds.ListenerType, "outbound", "tcp")
		}
	})
}

func TestARouteIsSentInTheEndIfItsClusterIsNotAcknowledged(t *testing.T) {
	both(t, func(b *bench, delta bool) {
		p := b.settledProxy(delta)
		b.publish(nil, []*xds.Resource{b.cluster("c2", ""), b.endpoints("c2", ""), b.route("r", "2", []string{"c2"})})
		p.next(xds.ClusterType)
		p.nothing(xds.RouteType)
		b.clock.Step(xds.DefaultGateTimeout)
		p.take(xds.RouteType, "r")
	})
}

// Envoy acknowledges a cluster that it replaces only once it has its endpoints, and does not ask for those.
func TestEndpointsAreSentAgainForAClusterThatIsReplaced(t *testing.T) {
	both(t, func(b *bench, delta bool) {
		p := b.settledProxy(delta)
		b.publish(nil, []*xds.Resource{b.cluster("c1", "changed")})
		cluster := p.expect(xds.ClusterType, "c1")
		p.take(xds.EndpointType, "c1")
		p.send(xds.ClusterType, cluster.nonce, "", nil, nil, nil)
		p.nothing(xds.EndpointType)
		p.nothing(xds.RouteType)

		// What is under way was sent before the cluster.
		b.publish(nil, []*xds.Resource{b.endpoints("c1", "zone-a")})
		endpoints := p.expect(xds.EndpointType, "c1")
		b.publish(nil, []*xds.Resource{b.cluster("c1", "once more")})
		p.expect(xds.ClusterType, "c1")
		p.send(xds.EndpointType, endpoints.nonce, "", nil, nil, nil)
		p.take(xds.EndpointType, "c1")
	})
}

// The change of the cluster may be what lets it believe the identity of a new endpoint.
func TestEndpointsWaitForTheChangeOfTheirCluster(t *testing.T) {
	both(t, func(b *bench, delta bool) {
		p := b.settledProxy(delta)
		b.publish(nil, []*xds.Resource{b.endpoints("c1", "zone-a")})
		endpoints := p.expect(xds.EndpointType, "c1")
		b.publish(nil, []*xds.Resource{b.cluster("c1", "once more")})
		first := p.expect(xds.ClusterType, "c1")
		b.publish(nil, []*xds.Resource{b.cluster("c1", "and again"), b.endpoints("c1", "of another account")})
		p.send(xds.EndpointType, endpoints.nonce, "", nil, nil, nil)
		p.take(xds.EndpointType, "c1") // those that the first change waits for
		p.nothing(xds.EndpointType)
		p.send(xds.ClusterType, first.nonce, "", nil, nil, nil)
		p.expect(xds.ClusterType, "c1")
		p.take(xds.EndpointType, "c1")
	})
}

func TestAClientThatAsksForClustersByNameIsServedItsRouteFirst(t *testing.T) {
	both(t, func(b *bench, delta bool) {
		b.publish(map[mesh.ObjectID]int64{reviews: 1, ratings: 1}, []*xds.Resource{
			b.cluster("c1", ""), b.endpoints("c1", ""), b.route("r", "1", []string{"c1"}, reviews), b.route("other", "1", []string{"c1"}, ratings),
		})
		p := b.connect("default/grpc", delta)
		p.subscribe(xds.RouteType, "r")
		p.take(xds.RouteType, "r")
		p.subscribe(xds.ClusterType, "c1")
		p.take(xds.ClusterType, "c1")
		b.g.Eventually(b.counts(reviews)).Should(Equal([]int{1, 1, 0, 0}))
		b.g.Expect(b.counts(ratings)()).To(Equal([]int{0, 0, 0, 0}), "only what it asked for concerns it")
	})
}

func TestARequestForNothingIsNotARequestForEverything(t *testing.T) {
	both(t, func(b *bench, delta bool) {
		b.publish(nil, []*xds.Resource{b.endpoints("c1", ""), b.route("r", "1", nil)})
		p := b.connect("default/front", delta)
		p.subscribe(xds.EndpointType)
		p.subscribe(xds.RouteType)
		p.subscribe(xds.ClusterType)
		p.take(xds.ClusterType)
		p.nothing(xds.EndpointType)
		p.nothing(xds.RouteType)
	})
}
