package xds_test

import (
	"maps"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/internal/xds"
)

// Two replicas serve the same mesh, and one of them is not as far as the other.
func TestAProxyThatMovesToAnotherReplicaGetsNothingItHasAndNothingOlder(t *testing.T) {
	first, second := newBench(t), newBench(t)
	old := func(b *bench) []*xds.Resource {
		return []*xds.Resource{b.cluster("c1", ""), b.cluster("c2", "old"), b.cluster("leaves", "")}
	}
	for _, b := range []*bench{first, second} {
		b.position.Store(1000)
		b.publish(nil, old(b))
	}
	p := first.connect("default/front", true)
	p.subscribe(xds.ClusterType)
	g := p.expect(xds.ClusterType, "c1", "c2", "leaves")
	runs := maps.Clone(g.versions)
	p.send(xds.ClusterType, g.nonce, "", nil, nil, nil)
	first.position.Store(1100)
	first.publish(nil, []*xds.Resource{first.cluster("c2", "new")}, xds.Key{TypeURL: xds.ClusterType, Name: "leaves"})
	g = p.expect(xds.ClusterType, "c2", "-leaves")
	maps.Copy(runs, g.versions)
	delete(runs, "leaves")
	p.disconnect()

	// The second has heard of another change since, but not of that.
	second.position.Store(1050)
	second.publish(nil, []*xds.Resource{second.cluster("c3", "")})
	p = second.connect("default/front", true)
	p.send(xds.ClusterType, "", "", []string{"*"}, nil, runs)
	p.nothing(xds.ClusterType)

	second.position.Store(1100)
	second.publish(nil, []*xds.Resource{second.cluster("c2", "new")}, xds.Key{TypeURL: xds.ClusterType, Name: "leaves"})
	second.g.Eventually(func() bool { second.clock.Step(100 * time.Millisecond); return p.has(xds.ClusterType) }).
		Should(BeTrue(), "the replica is as far as the other")
	p.take(xds.ClusterType, "c3")
	p.nothing(xds.ClusterType)

	// From one that is as far, it may move at any time.
	p.disconnect()
	p = first.connect("default/front", true)
	p.send(xds.ClusterType, "", "", []string{"*"}, nil, runs)
	p.take(xds.ClusterType)
}

func TestAProxyDoesNotWaitForEverForAReplicaToGetAsFar(t *testing.T) {
	b := newBench(t)
	b.position.Store(7)
	b.publish(nil, []*xds.Resource{b.cluster("c1", "")})
	p := b.connect("default/front", true)
	p.send(xds.ClusterType, "", "", []string{"*"}, nil, map[string]string{"c1": "0123.zz"})
	p.nothing(xds.ClusterType)
	b.g.Eventually(func() bool { b.clock.Step(10 * time.Second); return p.has(xds.ClusterType) }).Should(BeTrue())
	p.take(xds.ClusterType, "c1")
}
