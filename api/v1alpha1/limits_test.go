package v1alpha1_test

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	meshv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
)

// The API server bounds what the rules of one request may cost while they run, beside the
// estimate that it makes of a CRD; an object that the limits allow must not meet that bound.
var _ = Describe("A large object", func() {
	meta := metav1.ObjectMeta{Namespace: "default", Name: "large"}

	It("of many hosts, routes, matches and headers is taken", func(ctx SpecContext) {
		service := &meshv1alpha1.VirtualService{ObjectMeta: meta}
		for i := range 256 {
			service.Spec.Hosts = append(service.Spec.Hosts, fmt.Sprintf("a-service-with-quite-a-long-name-%d.prod.svc.cluster.local", i))
		}
		exact := "value"
		for range 512 {
			route := meshv1alpha1.HTTPRoute{
				Timeout: ptr(meshv1alpha1.Duration("1m30s")),
				Route: []meshv1alpha1.HTTPRouteDestination{
					{Destination: meshv1alpha1.Destination{Host: "reviews", Subset: "v1"}, Weight: ptr(int32(1))},
					{Destination: meshv1alpha1.Destination{Host: "reviews", Subset: "v2"}, Weight: ptr(int32(1))},
				},
			}
			for range 4 {
				match := meshv1alpha1.HTTPMatchRequest{
					URI:     &meshv1alpha1.StringMatch{Prefix: "/a/path"},
					Headers: map[string]meshv1alpha1.StringMatch{},
				}
				for i := range 8 {
					match.Headers[fmt.Sprint("x-header-", i)] = meshv1alpha1.StringMatch{Exact: &exact}
				}
				route.Match = append(route.Match, match)
			}
			service.Spec.HTTP = append(service.Spec.HTTP, route)
		}
		Expect(create(ctx, service)).To(Succeed())
		Expect(k8sClient.Delete(ctx, service)).To(Succeed())

		service.ResourceVersion = ""
		service.Spec.HTTP = append(service.Spec.HTTP, service.Spec.HTTP[0])
		Expect(create(ctx, service)).To(MatchError(ContainSubstring("spec.http: Too many: 513: must have at most 512 items")))
	})

	It("of many subsets and ports is taken", func(ctx SpecContext) {
		policy := &meshv1alpha1.TrafficPolicy{}
		for i := range 64 {
			policy.PortLevelSettings = append(policy.PortLevelSettings, meshv1alpha1.PortTrafficPolicy{
				Port: meshv1alpha1.PortSelector{Number: int32(i + 1)},
				ConnectionPool: &meshv1alpha1.ConnectionPoolSettings{
					TCP: &meshv1alpha1.TCPSettings{ConnectTimeout: ptr(meshv1alpha1.Duration("1s"))},
				},
			})
		}
		rule := &meshv1alpha1.DestinationRule{ObjectMeta: meta, Spec: meshv1alpha1.DestinationRuleSpec{
			Host: "reviews", TrafficPolicy: policy,
		}}
		for i := range 32 {
			rule.Spec.Subsets = append(rule.Spec.Subsets, meshv1alpha1.Subset{Name: fmt.Sprint("v", i), TrafficPolicy: policy})
		}
		Expect(create(ctx, rule)).To(Succeed())
		Expect(k8sClient.Delete(ctx, rule)).To(Succeed())
	})
})

func ptr[T any](value T) *T { return &value }
