package xds_test

import (
	"testing"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/xds"
)

func TestEverythingIsSentAgainThoughNothingDiffers(t *testing.T) {
	both(t, func(b *bench, delta bool) {
		b.publish(map[mesh.ObjectID]int64{reviews: 1}, nil)
		p := b.settledProxy(delta, reviews)
		b.publish(nil, []*xds.Resource{b.route("r", "2", []string{"c1"}, reviews)})
		p.refuse(xds.RouteType, "no", "r")
		b.g.Eventually(b.counts(reviews)).Should(Equal([]int{1, 1, 1, 0}))
		for range 2 {
			b.cache.Refresh()
			p.take(xds.ClusterType, "c1")
			p.take(xds.EndpointType, "c1")
			p.take(xds.ListenerType, "outbound")
			p.take(xds.ScopeType, "r")
			for _, typeURL := range []string{xds.ClusterType, xds.EndpointType, xds.RouteType} {
				p.nothing(typeURL)
			}
			b.g.Expect(b.counts(reviews)()).To(Equal([]int{1, 1, 1, 0}))
		}
	})
}
