package xds_test

import (
	"slices"
	"testing"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/internal/delivery"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/xds"
)

func TestTheResourceThatAProxyRefusesIsFoundAndWithheld(t *testing.T) {
	both(t, func(b *bench, delta bool) {
		names := []string{"a", "b", "c", "d"}
		var first, second []*xds.Resource
		for _, name := range names {
			first = append(first, b.scope(name), b.route(name, "1", nil))
		}
		b.publish(nil, first)
		p := b.connect("default/front", delta)
		p.subscribe(xds.ScopeType)
		p.take(xds.ScopeType, names...)
		p.subscribe(xds.RouteType, names...)
		p.take(xds.RouteType, names...)

		for _, name := range names {
			owner := ratings
			if name == "c" {
				owner = reviews
			}
			second = append(second, b.route(name, "2", nil, owner))
		}
		b.publish(map[mesh.ObjectID]int64{reviews: 7, ratings: 1}, second)
		p.refuse(xds.RouteType, "something is wrong", names...)
		for _, name := range names {
			if name == "c" {
				p.refuse(xds.RouteType, "c is wrong", name)
			} else {
				p.take(xds.RouteType, name)
			}
		}
		b.g.Eventually(b.counts(ratings)).Should(Equal([]int{1, 1, 0, 0}))
		b.g.Eventually(b.counts(reviews)).Should(Equal([]int{1, 0, 1, 0}))
		b.g.Expect(b.report(reviews).Rejections).To(Equal([]delivery.Rejection{
			{Node: "default/front", Resource: "route c", Message: "c is wrong", Suspects: []delivery.Version{{Object: reviews, Generation: 7}}},
		}))
		p.nothing(xds.RouteType)

		// It is withheld until it changes, and all else goes on.
		b.publish(nil, []*xds.Resource{b.route("a", "3", nil)})
		p.take(xds.RouteType, "a")
		b.publish(map[mesh.ObjectID]int64{reviews: 8}, []*xds.Resource{b.route("c", "mended", nil, reviews)})
		p.take(xds.RouteType, "c")
		b.g.Eventually(b.counts(reviews)).Should(Equal([]int{1, 1, 0, 0}))
		b.g.Expect(b.report(reviews).Rejections).To(BeEmpty())
	})
}

// One that joins would otherwise refuse its first routes in one piece, and be ready without.
func TestAProxyThatJoinsIsSentAloneWhatOthersRefused(t *testing.T) {
	both(t, func(b *bench, delta bool) {
		b.publish(nil, []*xds.Resource{
			b.listener("l1", ""), b.listener("l2", ""), b.scope("a"), b.scope("b"), b.route("a", "wrong", nil), b.route("b", "", nil),
		})
		first := b.connect("default/front", delta)
		first.subscribe(xds.RouteType, "a")
		first.refuse(xds.RouteType, "a is wrong", "a")
		first.subscribe(xds.RouteType, "b")
		first.take(xds.RouteType, "b")

		joins := b.connect("default/joins", delta)
		joins.subscribe(xds.RouteType, "a", "b")
		joins.take(xds.RouteType, "b")
		joins.refuse(xds.RouteType, "a is wrong", "a")
		joins.nothing(xds.RouteType)

		// What is mended is no suspect.
		b.publish(nil, []*xds.Resource{b.route("a", "mended", nil), b.route("b", "2", nil)})
		first.take(xds.RouteType, "a", "b")
		joins.take(xds.RouteType, "a", "b")
	})
}

func TestAListenerThatOthersRefusedComesAfterTheFirstResponse(t *testing.T) {
	both(t, func(b *bench, delta bool) {
		b.publish(nil, []*xds.Resource{b.cluster("c1", ""), b.endpoints("c1", ""), b.listener("good", "")})
		first := b.connect("default/front", delta)
		first.subscribe(xds.ListenerType)
		first.take(xds.ListenerType, "good")
		b.publish(nil, []*xds.Resource{b.listener("wrong", "", "c1")})
		if delta {
			first.refuse(xds.ListenerType, "no", "wrong")
		} else {
			first.refuse(xds.ListenerType, "no", "good", "wrong")
		}

		// It waited at the gate, too: that does not keep the others from coming.
		joins := b.connect("default/joins", delta)
		joins.subscribe(xds.ClusterType)
		g := joins.expect(xds.ClusterType, "c1")
		joins.subscribe(xds.ListenerType)
		joins.nothing(xds.ListenerType)
		joins.send(xds.ClusterType, g.nonce, "", nil, nil, nil)
		joins.subscribe(xds.EndpointType, "c1")
		joins.take(xds.EndpointType, "c1")
		joins.take(xds.ListenerType, "good")
		if delta {
			joins.refuse(xds.ListenerType, "no", "wrong")
		} else {
			joins.refuse(xds.ListenerType, "no", "good", "wrong")
		}
		joins.nothing(xds.ListenerType)
	})
}

// In state of the world, what a response leaves out is deleted: the suspects are held back
// at what the proxy runs.
func TestListenersThatWereNotRefusedStayWhileTheCulpritIsSought(t *testing.T) {
	b := newBench(t)
	names := []string{"a", "b", "c", "d", "e"}
	var set []*xds.Resource
	for _, name := range names {
		set = append(set, b.listener(name, "1"))
	}
	b.publish(nil, set)
	p := b.connect("default/front", false)
	p.subscribe(xds.ListenerType)
	p.take(xds.ListenerType, names...)

	b.publish(nil, []*xds.Resource{
		b.listener("b", "2"), b.listener("d", "bad"), b.listener("new", "1"), b.listener("worse", "bad"),
	})
	all := slices.Concat(names, []string{"new", "worse"})
	p.refuse(xds.ListenerType, "bad", all...)
	// Suspects are b, d, new, worse; the halves are (b, d) and (new, worse).
	p.refuse(xds.ListenerType, "bad", names...)
	p.take(xds.ListenerType, names...)          // b alone
	p.refuse(xds.ListenerType, "bad", names...) // d alone
	p.refuse(xds.ListenerType, "bad", all...)   // new and worse
	p.take(xds.ListenerType, slices.Concat(names, []string{"new"})...)
	p.refuse(xds.ListenerType, "bad", all...) // worse alone
	p.nothing(xds.ListenerType)

	b.publish(nil, []*xds.Resource{b.listener("d", "3")})
	p.take(xds.ListenerType, slices.Concat(names, []string{"new"})...)
}

func TestARouteKeepsItsOldClusterIfTheNewOneIsRefused(t *testing.T) {
	both(t, func(b *bench, delta bool) {
		p := b.settledProxy(delta)
		b.publish(map[mesh.ObjectID]int64{rule: 1}, []*xds.Resource{
			b.cluster("c2", "bad", rule), b.endpoints("c2", ""), b.route("r", "2", []string{"c2"}),
		}, xds.Key{TypeURL: xds.ClusterType, Name: "c1"})
		if delta {
			p.refuse(xds.ClusterType, "c2 is wrong", "c2")
		} else {
			p.refuse(xds.ClusterType, "c2 is wrong", "c1", "c2")
		}
		b.g.Eventually(b.counts(rule)).Should(Equal([]int{1, 0, 1, 0}))
		b.clock.Step(2 * xds.DefaultGateTimeout)
		p.nothing(xds.RouteType)
		p.nothing(xds.ClusterType)
	})
}

func TestManyAtOnceWithOneBad(t *testing.T) {
	b := newBench(t)
	b.publish(nil, nil)
	p := b.connect("default/front", true)
	p.subscribe(xds.ClusterType)
	p.take(xds.ClusterType)
	b.publish(nil, []*xds.Resource{b.cluster("a", ""), b.cluster("bad", ""), b.cluster("c", "")}, xds.Key{TypeURL: xds.ClusterType, Name: "never"})
	p.refuse(xds.ClusterType, "bad", "a", "bad", "c")
	p.take(xds.ClusterType, "a")
	// A change that comes meanwhile waits until the culprit is found.
	b.publish(nil, []*xds.Resource{b.cluster("later", "")})
	p.refuse(xds.ClusterType, "bad", "bad")
	p.take(xds.ClusterType, "c")
	p.take(xds.ClusterType, "later")
}
