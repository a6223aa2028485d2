package mesh_test

import (
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/internal/mesh"
)

func id(kind, name string) mesh.ObjectID {
	return mesh.ObjectID{Kind: kind, Namespace: "default", Name: name}
}

func origin(kind, name string, created int64) mesh.Origin {
	return mesh.Origin{ObjectID: id(kind, name), Generation: created, Created: time.Unix(created, 0)}
}

func service(name string, ports ...uint16) *mesh.Service {
	s := &mesh.Service{Origin: origin("Service", name, 1), Host: host(name), Name: name, Namespace: "default",
		Addresses: []netip.Addr{netip.MustParseAddr("10.96.0.1")}}
	for _, port := range ports {
		s.Ports = append(s.Ports, mesh.ServicePort{Name: "http", Number: port, Protocol: mesh.HTTP})
	}
	return s
}

func host(name string) string { return mesh.ServiceHost(name, "default", "") }

func endpoint(address, pod string) mesh.Endpoint {
	e := mesh.Endpoint{Address: netip.MustParseAddr(address), Port: 9080, PortName: "http", Ready: true, Serving: true}
	if pod != "" {
		e.Workload = mesh.NamespacedName{Namespace: "default", Name: pod}
	}
	return e
}

// taken returns what changed since the last call, in words.
func taken(store *mesh.Store) []mesh.Key {
	return slices.SortedFunc(maps.Keys(store.Take().Keys), func(a, b mesh.Key) int {
		if a.Kind != b.Kind {
			return int(a.Kind) - int(b.Kind)
		}
		return slices.Compare([]byte(a.Name), []byte(b.Name))
	})
}

func TestServiceChanges(t *testing.T) {
	t.Parallel()
	g, store := NewWithT(t), mesh.NewStore()
	all := []mesh.Key{
		{Kind: mesh.KindService, Name: host("reviews")}, {Kind: mesh.KindServices}, {Kind: mesh.KindServiceName, Name: "default/reviews"},
		{Kind: mesh.KindAddress, Name: "10.96.0.1"},
	}
	store.SetService(service("reviews", 9080))
	g.Expect(taken(store)).To(Equal(all))
	g.Expect(store.Service(host("reviews")).Ports).To(HaveLen(1))
	g.Expect(store.ServiceNamed(mesh.NamespacedName{Namespace: "default", Name: "reviews"}).Host).To(Equal(host("reviews")))

	store.SetService(service("reviews", 9080))
	g.Expect(taken(store)).To(BeEmpty(), "an equal value is no change")
	store.SetService(service("reviews", 9080, 9081))
	g.Expect(taken(store)).To(Equal(all))

	store.DeleteService(host("reviews"))
	g.Expect(taken(store)).To(Equal(all))
	g.Expect(store.Service(host("reviews"))).To(BeNil())
	g.Expect(store.ServiceNamed(mesh.NamespacedName{Namespace: "default", Name: "reviews"})).To(BeNil())
	store.DeleteService(host("reviews"))
	g.Expect(taken(store)).To(BeEmpty())
}

func TestEndpointsHaveTheLabelsAndTheLocalityOfTheirWorkload(t *testing.T) {
	t.Parallel()
	g, store := NewWithT(t), mesh.NewStore()
	store.SetEndpoints(host("reviews"), "b", []mesh.Endpoint{endpoint("10.0.0.2", "two"), endpoint("10.0.0.1", "one")})
	store.SetEndpoints(host("reviews"), "a", []mesh.Endpoint{endpoint("10.0.0.2", "two"), endpoint("10.0.0.3", "")})
	store.Take()
	addresses := func() []string {
		var list []string
		for _, e := range store.Endpoints(host("reviews")) {
			list = append(list, e.Address.String())
		}
		return list
	}
	g.Expect(addresses()).To(Equal([]string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}), "sorted, and one that is in two slices once")

	changed := []mesh.Key{
		{Kind: mesh.KindEndpoints, Name: host("reviews")}, {Kind: mesh.KindWorkload, Name: "default/two"},
	}
	two := mesh.Workload{Namespace: "default", Name: "two", Labels: map[string]string{"version": "v2"}, Locality: mesh.Locality{Zone: "a"}}
	store.SetWorkload(&two)
	g.Expect(taken(store)).To(Equal(changed))
	g.Expect(store.Endpoints(host("reviews"))[1].Labels).To(Equal(two.Labels))
	g.Expect(store.Endpoints(host("reviews"))[1].Locality).To(Equal(two.Locality))

	ready := two
	ready.Ready = true
	store.SetWorkload(&ready)
	g.Expect(taken(store)).To(Equal(changed[1:]), "readiness of a Pod is told by its slices")
	store.DeleteWorkload(two.Key())
	g.Expect(taken(store)).To(Equal(changed))
	g.Expect(store.Endpoints(host("reviews"))[1].Labels).To(BeEmpty())

	store.SetEndpoints(host("reviews"), "a", nil)
	store.SetEndpoints(host("reviews"), "b", nil)
	g.Expect(store.Endpoints(host("reviews"))).To(BeEmpty())
	store.Take()
	store.SetWorkload(&two)
	g.Expect(taken(store)).To(Equal(changed[1:]), "a workload that serves nothing concerns no host")
}

func TestServing(t *testing.T) {
	t.Parallel()
	g, store := NewWithT(t), mesh.NewStore()
	one := mesh.NamespacedName{Namespace: "default", Name: "one"}
	store.SetEndpoints(host("reviews"), "a", []mesh.Endpoint{endpoint("10.0.0.1", "one")})
	g.Expect(store.Serving(one)).To(BeEmpty(), "the service is not known yet")
	store.Take()

	store.SetService(service("reviews", 80))
	g.Expect(taken(store)).To(ContainElement(mesh.Key{Kind: mesh.KindServing, Name: "default/one"}))
	g.Expect(store.Serving(one)).To(Equal([]mesh.ServingPort{{
		Host: host("reviews"), Port: mesh.ServicePort{Name: "http", Number: 80, Protocol: mesh.HTTP}, TargetPort: 9080,
	}}))
	store.SetEndpoints(host("reviews"), "a", nil)
	g.Expect(taken(store)).To(ContainElement(mesh.Key{Kind: mesh.KindServing, Name: "default/one"}))
	g.Expect(store.Serving(one)).To(BeEmpty())
}

func table(name string, created int64, hosts []string, routes ...mesh.HTTPRoute) *mesh.RouteTable {
	return &mesh.RouteTable{Origin: origin("VirtualService", name, created), Hosts: hosts, HTTP: routes}
}

func TestTheOldestRouteTableWins(t *testing.T) {
	t.Parallel()
	g, store := NewWithT(t), mesh.NewStore()
	names := func() []string {
		var list []string
		for _, t := range store.Routes(host("reviews")) {
			list = append(list, t.Origin.Name)
		}
		return list
	}
	store.SetRouteTable(table("newer", 2, []string{host("reviews")}))
	store.SetRouteTable(table("b-same", 1, []string{host("reviews")}))
	store.SetRouteTable(table("a-same", 1, []string{host("reviews"), host("reviews")}))
	g.Expect(names()).To(Equal([]string{"a-same", "b-same", "newer"}), "and a host that is named twice counts once")
	changes := store.Take()
	g.Expect(changes.Objects).To(HaveKeyWithValue(id("VirtualService", "newer"), int64(2)))
	g.Expect(changes.Keys).To(HaveKey(mesh.Key{Kind: mesh.KindRoutedHosts}))

	store.DeleteRouteTable(id("VirtualService", "a-same"))
	changes = store.Take()
	g.Expect(changes.Objects).To(HaveKeyWithValue(id("VirtualService", "a-same"), mesh.DeletedGeneration))
	g.Expect(changes.Keys).To(Equal(map[mesh.Key]struct{}{{Kind: mesh.KindRoutes, Name: host("reviews")}: {}}), "the set of routed hosts is the same")
	g.Expect(names()).To(Equal([]string{"b-same", "newer"}))

	store.SetRouteTable(table("b-same", 1, []string{host("ratings")}))
	g.Expect(names()).To(Equal([]string{"newer"}))
	g.Expect(store.RoutedHosts()).To(Equal([]string{host("ratings"), host("reviews")}))
	store.DeleteRouteTable(id("VirtualService", "newer"))
	g.Expect(store.RoutedHosts()).To(Equal([]string{host("ratings")}))
}

func TestWhoSelectsByWhichLabels(t *testing.T) {
	t.Parallel()
	g, store := NewWithT(t), mesh.NewStore()
	to := func(labels ...map[string]string) mesh.HTTPRoute {
		route := mesh.HTTPRoute{}
		for _, l := range labels {
			route.Destinations = append(route.Destinations, mesh.Destination{Host: host("reviews"), Labels: l})
		}
		return route
	}
	v1, v2 := map[string]string{"version": "v1"}, map[string]string{"version": "v2"}
	subsets := mesh.Key{Kind: mesh.KindLabelSubsets, Name: host("reviews")}

	store.SetRouteTable(table("a", 1, []string{host("reviews")}, to(v2, v1, v1)))
	g.Expect(taken(store)).To(ContainElement(subsets))
	store.SetRouteTable(table("b", 2, []string{host("ratings")}, to(v1)))
	g.Expect(taken(store)).To(ContainElement(subsets))
	a, b := id("VirtualService", "a"), id("VirtualService", "b")
	g.Expect(store.LabelSubsets(host("reviews"))).To(Equal([]mesh.LabelSubset{
		{Labels: v1, Selectors: []mesh.ObjectID{a, b}}, {Labels: v2, Selectors: []mesh.ObjectID{a}},
	}))

	store.SetRouteTable(table("b", 2, []string{host("ratings")}, to(v1), mesh.HTTPRoute{Name: "more"}))
	g.Expect(taken(store)).NotTo(ContainElement(subsets), "nothing else is selected")

	// An older object takes the only host of b away: nothing is routed by b any more.
	store.SetRouteTable(table("older", 0, []string{host("ratings")}))
	g.Expect(taken(store)).To(ContainElement(subsets))
	g.Expect(store.LabelSubsets(host("reviews"))[0].Selectors).To(Equal([]mesh.ObjectID{a}))
	store.DeleteRouteTable(id("VirtualService", "older"))
	g.Expect(taken(store)).To(ContainElement(subsets))
	g.Expect(store.LabelSubsets(host("reviews"))[0].Selectors).To(Equal([]mesh.ObjectID{a, b}))

	store.DeleteRouteTable(a)
	store.DeleteRouteTable(b)
	g.Expect(taken(store)).To(ContainElement(subsets))
	g.Expect(store.LabelSubsets(host("reviews"))).To(BeEmpty())
}

// routesOf names the routes that a host has, each with the object that it stands in.
func routesOf(store *mesh.Store, host string) []string {
	var names []string
	for _, table := range store.Routes(host) {
		for i := range table.HTTP {
			names = append(names, table.OriginOf(&table.HTTP[i]).Name+"/"+table.HTTP[i].Name)
		}
	}
	return names
}

func rule(name string, precedence int32, created int64, labels map[string]string, hosts ...string) *mesh.RouteTable {
	from := origin("RouteRule", name, created)
	to := []mesh.Destination{{Host: hosts[0], Labels: labels}}
	return &mesh.RouteTable{Origin: from, Hosts: hosts, Rule: true, Precedence: precedence, HTTP: []mesh.HTTPRoute{{Origin: from, Destinations: to}}}
}

func TestRulesOfAHostMakeUpOneTable(t *testing.T) {
	t.Parallel()
	g, store := NewWithT(t), mesh.NewStore()
	v1 := map[string]string{"version": "v1"}
	store.SetRouteTable(rule("low", 1, 1, nil, host("reviews")))
	store.SetRouteTable(rule("newer", 2, 3, v1, host("reviews")))
	store.SetRouteTable(rule("older", 2, 2, v1, host("reviews")))
	g.Expect(routesOf(store, host("reviews"))).To(Equal([]string{"older/", "newer/", "low/"}), "by precedence, then by age")
	g.Expect(store.Routes(host("reviews"))).To(HaveLen(1))
	g.Expect(store.LabelSubsets(host("reviews"))).To(Equal([]mesh.LabelSubset{
		{Labels: v1, Selectors: []mesh.ObjectID{id("RouteRule", "newer"), id("RouteRule", "older")}},
	}))
	store.Take()

	store.SetRouteTable(rule("older", 0, 2, nil, host("ratings")))
	g.Expect(store.Take().Objects).To(Equal(map[mesh.ObjectID]int64{id("RouteRule", "older"): 2}))
	g.Expect(routesOf(store, host("reviews"))).To(Equal([]string{"newer/", "low/"}))
	g.Expect(routesOf(store, host("ratings"))).To(Equal([]string{"older/"}))

	// A VirtualService wins, however young, and nothing is selected by the rules then.
	store.SetRouteTable(table("claims", 9, []string{host("reviews")}, mesh.HTTPRoute{Name: "a"}))
	g.Expect(routesOf(store, host("reviews"))).To(Equal([]string{"claims/a", "newer/", "low/"}))
	g.Expect(store.LabelSubsets(host("reviews"))).To(BeEmpty())
	store.DeleteRouteTable(id("VirtualService", "claims"))
	g.Expect(store.LabelSubsets(host("reviews"))).To(HaveLen(1))
	store.DeleteRouteTable(id("RouteRule", "newer"))
	store.DeleteRouteTable(id("RouteRule", "low"))
	g.Expect(store.Routes(host("reviews"))).To(BeEmpty())
	g.Expect(store.RoutedHosts()).To(Equal([]string{host("ratings")}))
}

func TestDelegatesAreIncluded(t *testing.T) {
	t.Parallel()
	g, store := NewWithT(t), mesh.NewStore()
	root := table("root", 1, []string{host("reviews")}, mesh.HTTPRoute{Name: "before"},
		mesh.HTTPRoute{Name: "left", Delegate: &mesh.NamespacedName{Namespace: "default", Name: "shared"}}, mesh.HTTPRoute{Name: "after"})
	store.SetRouteTable(root)
	g.Expect(store.Routes(host("reviews"))[0].HTTP[1].Problem).To(Equal(mesh.DelegateMissing))
	store.Take()

	v1 := map[string]string{"version": "v1"}
	shared := table("shared", 2, nil, mesh.HTTPRoute{Name: "one"}, mesh.HTTPRoute{Name: "two", Destinations: []mesh.Destination{{Host: host("reviews"), Labels: v1}}})
	store.SetRouteTable(shared)
	g.Expect(routesOf(store, host("reviews"))).To(Equal([]string{"root/before", "shared/left-one", "shared/left-two", "root/after"}))
	g.Expect(store.LabelSubsets(host("reviews"))).To(Equal([]mesh.LabelSubset{{Labels: v1, Selectors: []mesh.ObjectID{id("VirtualService", "shared")}}}))
	changes := store.Take()
	g.Expect(changes.Objects).To(HaveLen(1), "the object that names it did not change")
	g.Expect(changes.Keys).To(HaveKey(mesh.Key{Kind: mesh.KindRoutes, Name: host("reviews")}))

	hidden := *shared
	hidden.ExportTo = []string{"prod"}
	store.SetRouteTable(&hidden)
	g.Expect(store.Routes(host("reviews"))[0].HTTP[1].Problem).To(Equal(mesh.DelegateMissing), "it is not exported here")
	withHosts := *shared
	withHosts.Hosts = []string{host("ratings")}
	store.SetRouteTable(&withHosts)
	g.Expect(store.Routes(host("reviews"))[0].HTTP[1].Problem).To(Equal(mesh.DelegateMissing), "what has hosts is no delegate")
	g.Expect(routesOf(store, host("ratings"))).To(Equal([]string{"shared/one", "shared/two"}))

	store.DeleteRouteTable(id("VirtualService", "root"))
	store.Take()
	store.SetRouteTable(shared)
	g.Expect(store.Take().Keys).NotTo(HaveKey(mesh.Key{Kind: mesh.KindRoutes, Name: host("reviews")}), "nobody includes it any more")
	g.Expect(store.Routes(host("reviews"))).To(BeEmpty())
}

func TestHostsWhoseRoutesLookAtCallers(t *testing.T) {
	t.Parallel()
	g, store := NewWithT(t), mesh.NewStore()
	looks := mesh.HTTPRoute{Matches: []mesh.HTTPMatch{{SourceLabels: map[string]string{"app": "front"}}}}
	key := mesh.Key{Kind: mesh.KindSourceHosts}
	store.SetRouteTable(table("b", 2, []string{host("reviews")}, looks))
	g.Expect(taken(store)).To(ContainElement(key))
	g.Expect(store.SourceHosts()).To(Equal([]string{host("reviews")}))
	store.SetRouteTable(table("a", 1, []string{host("reviews")}))
	g.Expect(taken(store)).To(ContainElement(key), "the older one, which does not look, wins")
	g.Expect(store.SourceHosts()).To(BeEmpty())
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	g, store := NewWithT(t), mesh.NewStore()
	policy := func(name string, created int64, host string) *mesh.Policy {
		return &mesh.Policy{Origin: origin("DestinationRule", name, created), Host: host}
	}
	store.SetPolicy(policy("b", 2, host("reviews")))
	g.Expect(taken(store)).To(Equal([]mesh.Key{{Kind: mesh.KindPolicies, Name: host("reviews")}, {Kind: mesh.KindPolicyHosts}}))
	store.SetPolicy(policy("a", 1, host("reviews")))
	g.Expect(taken(store)).To(Equal([]mesh.Key{{Kind: mesh.KindPolicies, Name: host("reviews")}}))
	g.Expect(store.Policies(host("reviews"))[0].Origin.Name).To(Equal("a"))

	store.SetPolicy(policy("a", 1, host("ratings")))
	g.Expect(taken(store)).To(Equal([]mesh.Key{
		{Kind: mesh.KindPolicies, Name: host("ratings")}, {Kind: mesh.KindPolicies, Name: host("reviews")}, {Kind: mesh.KindPolicyHosts},
	}))
	store.DeletePolicy(id("DestinationRule", "a"))
	store.DeletePolicy(id("DestinationRule", "b"))
	g.Expect(store.PolicyHosts()).To(BeEmpty())
	g.Expect(store.Policies(host("reviews"))).To(BeEmpty())
}

func TestNamespacesAndRanges(t *testing.T) {
	t.Parallel()
	g, store := NewWithT(t), mesh.NewStore()
	store.SetNamespace(&mesh.Namespace{Name: "prod", Meshed: true})
	store.SetNamespace(&mesh.Namespace{Name: "prod", Meshed: true})
	g.Expect(taken(store)).To(Equal([]mesh.Key{{Kind: mesh.KindNamespace, Name: "prod"}}))
	g.Expect(store.Namespace("prod").Meshed).To(BeTrue())
	store.DeleteNamespace("prod")
	g.Expect(store.Namespace("prod")).To(BeNil())
	store.Take()

	low, high := netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("10.96.0.0/16")
	store.SetServiceRanges([]netip.Prefix{high, low, high})
	g.Expect(taken(store)).To(Equal([]mesh.Key{{Kind: mesh.KindServiceRanges}}))
	g.Expect(store.ServiceRanges()).To(Equal([]netip.Prefix{low, high}))
	store.SetServiceRanges([]netip.Prefix{low, high})
	g.Expect(taken(store)).To(BeEmpty())
}

func TestAliases(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	reviews := service("reviews")
	g.Expect(reviews.AliasesIn("default")).To(Equal([]string{
		"reviews.default.svc.cluster.local", "reviews.default.svc", "reviews.default", "reviews",
	}))
	g.Expect(reviews.AliasesIn("prod")).NotTo(ContainElement("reviews"))
}

func TestLoopbackAddress(t *testing.T) {
	t.Parallel()
	for from, want := range map[string]string{
		"198.18.0.7":        "127.18.0.7",
		"198.19.255.254":    "127.19.255.254",
		"::ffff:198.18.0.7": "127.18.0.7",
		"198.20.0.1":        "198.20.0.1",
		"10.0.0.1":          "10.0.0.1",
		"2001:db8::1":       "2001:db8::1",
	} {
		if got := mesh.LoopbackAddress(netip.MustParseAddr(from)); got.String() != want {
			t.Errorf("%s became %s, want %s", from, got, want)
		}
	}
}

func TestLabelText(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	labels := map[string]string{"version": "v1", "app.kubernetes.io/name": "reviews", "empty": ""}
	text := mesh.LabelText(labels)
	g.Expect(text).To(Equal("app.kubernetes.io/name=reviews,empty=,version=v1"))
	g.Expect(mesh.ParseLabelText(text)).To(Equal(labels))
	g.Expect(mesh.ParseLabelText("")).To(BeEmpty())
	g.Expect(mesh.Selects(map[string]string{"empty": ""}, labels)).To(BeTrue())
	g.Expect(mesh.Selects(map[string]string{"gone": ""}, labels)).To(BeFalse())
	g.Expect(mesh.Selects(nil, nil)).To(BeTrue())
}
