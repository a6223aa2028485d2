package mesh_test

import (
	"slices"
	"testing"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/internal/mesh"
)

func TestWildcardsCover(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	g.Expect(slices.Collect(mesh.Covering("ab.c"))).To(Equal([]string{"ab.c", "*b.c", "*.c", "*c", "*"}))
	g.Expect(slices.Collect(mesh.Covering("*.c"))).To(Equal([]string{"*.c", "*c", "*"}))
	for _, covered := range [][2]string{{"*.c", "a.b.c"}, {"*.b.c", "*.b.c"}, {"*.c", "*.b.c"}, {"*", "a"}, {"a", "a"}, {"*-eu.c", "a-eu.c"}} {
		g.Expect(mesh.Covers(covered[0], covered[1])).To(BeTrue(), "%v", covered)
	}
	for _, not := range [][2]string{{"*.c", "c"}, {"*.b.c", "*.c"}, {"a", "b"}, {"*.c", "a.d"}} {
		g.Expect(mesh.Covers(not[0], not[1])).To(BeFalse(), "%v", not)
	}
	sorted := []string{"*-eu.c", "*.b.c", "a.c", "b.c"}
	g.Expect(mesh.CoveredBy(sorted, "x.b.c")).To(BeTrue())
	g.Expect(mesh.CoveredBy(sorted, "b.c")).To(BeTrue())
	g.Expect(mesh.CoveredBy(sorted, "c.c")).To(BeFalse())
}

// names are those of the objects, in order.
func names(tables []*mesh.RouteTable) []string {
	all := []string{}
	for _, t := range tables {
		all = append(all, t.Origin.Name)
	}
	return all
}

func TestWhoSeesWhichRouteTables(t *testing.T) {
	t.Parallel()
	g, store := NewWithT(t), mesh.NewStore()
	reviews := host("reviews")
	add := func(name string, created int64, exportTo []string, hosts ...string) {
		one := table(name, created, hosts)
		one.ExportTo = exportTo
		store.SetRouteTable(one)
	}
	add("everything", 1, nil, "*")
	add("wild", 2, nil, "*.svc.cluster.local")
	winners := func(namespace string) []string { return names(mesh.Winners(store.Routes(reviews), reviews, namespace)) }
	g.Expect(winners("a")).To(Equal([]string{"wild"}), "the longest wildcard")
	store.SetService(service("reviews", 9080))
	taken(store)
	add("own", 4, []string{"a"}, reviews)
	add("all", 5, nil, reviews, "*.svc.cluster.local")
	g.Expect(taken(store)).To(ContainElements(mesh.Key{Kind: mesh.KindRoutes, Name: reviews}, mesh.Key{Kind: mesh.KindNarrowHosts}))
	g.Expect(winners("a")).To(Equal([]string{"own", "all"}))
	g.Expect(winners("b")).To(Equal([]string{"all"}), "what others see does not stand in the way")
	g.Expect(store.NarrowHosts()).To(Equal([]string{reviews}))
	add("wild", 2, []string{"b"}, "*.svc.cluster.local")
	g.Expect(taken(store)).To(ContainElement(mesh.Key{Kind: mesh.KindRoutes, Name: reviews}), "whom a wildcard covers hears of it")
	g.Expect(store.NarrowHosts()).To(Equal([]string{"*.svc.cluster.local", reviews}))
}

func TestWhichPolicyACallerHas(t *testing.T) {
	t.Parallel()
	g, store := NewWithT(t), mesh.NewStore()
	reviews := host("reviews")
	add := func(namespace, host string, exportTo ...string) {
		store.SetPolicy(&mesh.Policy{
			Origin: mesh.Origin{ObjectID: mesh.ObjectID{Kind: "DestinationRule", Namespace: namespace, Name: host}}, Host: host, ExportTo: exportTo,
		})
	}
	of := func(caller string) string {
		policy := mesh.PolicyFor(store, reviews, caller, nil)
		if policy == nil {
			return "none"
		}
		return policy.Origin.Namespace + "/" + policy.Host
	}
	store.SetService(service("reviews", 9080))
	store.SetSettings(mesh.Settings{RootNamespace: "root"})
	g.Expect(of("a")).To(Equal("none"))
	add("root", "*")
	g.Expect([]string{of("a"), of("root")}).To(HaveEach("root/*"))
	add("default", reviews)
	g.Expect([]string{of("a"), of("root"), of("default")}).To(HaveEach("default/"+reviews), "that of the service's namespace")
	g.Expect(store.NarrowHosts()).To(BeEmpty(), "everybody has the same")
	add("a", "*.local")
	g.Expect(of("a")).To(Equal("a/*.local"), "its own before a more exact one")
	g.Expect(store.NarrowHosts()).To(Equal([]string{"*.local"}))
	add("default", reviews, "b")
	g.Expect([]string{of("b"), of("c")}).To(Equal([]string{"default/" + reviews, "root/*"}), "one that it does not see")
	g.Expect(store.NarrowHosts()).To(Equal([]string{"*.local", reviews}))
	store.SetSettings(mesh.Settings{RootNamespace: "a"})
	g.Expect(store.NarrowHosts()).To(Equal([]string{"*", reviews}))
}
