package translate_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"fairlead.dev/fairlead/internal/mesh"
)

// randomMesh is a mesh to which random things happen.
type randomMesh struct {
	random *rand.Rand
	store  *mesh.Store

	services  map[string]*mesh.Service
	slices    map[string][]mesh.Endpoint
	workloads map[mesh.NamespacedName]*mesh.Workload
	tables    map[mesh.ObjectID]*mesh.RouteTable
	policies  map[mesh.ObjectID]*mesh.Policy
	entries   map[mesh.ObjectID]*mesh.Entry
	ranges    []netip.Prefix

	namespaces map[string]*mesh.Namespace
	settings   mesh.Settings
}

func (m *randomMesh) forget() {
	m.services, m.slices = map[string]*mesh.Service{}, map[string][]mesh.Endpoint{}
	m.workloads, m.namespaces = map[mesh.NamespacedName]*mesh.Workload{}, map[string]*mesh.Namespace{}
	m.tables, m.policies = map[mesh.ObjectID]*mesh.RouteTable{}, map[mesh.ObjectID]*mesh.Policy{}
	m.entries = map[mesh.ObjectID]*mesh.Entry{}
}

// rebuilt returns a store with the same values, set in another order.
func (m *randomMesh) rebuilt() *mesh.Store {
	store := mesh.NewStore()
	var steps []func()
	add := func(step func()) { steps = append(steps, step) }
	for _, table := range m.tables {
		add(func() { store.SetRouteTable(table) })
	}
	for _, policy := range m.policies {
		add(func() { store.SetPolicy(policy) })
	}
	for _, entry := range m.entries {
		add(func() { store.SetEntry(entry) })
	}
	for _, service := range m.services {
		add(func() { store.SetService(service) })
	}
	for host, endpoints := range m.slices {
		add(func() { store.SetEndpoints(host, "slice", endpoints) })
	}
	for _, workload := range m.workloads {
		add(func() { store.SetWorkload(workload) })
	}
	for _, namespace := range m.namespaces {
		add(func() { store.SetNamespace(namespace) })
	}
	add(func() { store.SetServiceRanges(m.ranges) })
	add(func() { store.SetSettings(m.settings) })
	m.random.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
	for _, step := range steps {
		step()
	}
	return store
}

var (
	someNames      = []string{"reviews", "ratings", "store"}
	someNamespaces = []string{"default", "prod"}
	someLabels     = []map[string]string{{"version": "v1"}, {"version": "v2"}, {"app": "front", "version": "v1"}, {"app": "back"}}
	someModes      = []mesh.MTLSMode{"", mesh.MTLSStrict, mesh.MTLSPermissive, mesh.MTLSDisable}
	someExports    = [][]string{nil, nil, {"default"}, {"prod"}, {mesh.Nowhere}}
	someProtocols  = []mesh.Protocol{mesh.HTTP, mesh.GRPC, mesh.TCP, mesh.Unknown}
)

func pick[T any](m *randomMesh, list []T) T { return list[m.random.IntN(len(list))] }

func (m *randomMesh) host() string {
	return mesh.ServiceHost(pick(m, someNames), pick(m, someNamespaces), "")
}

// routedHost is a service's, or one that only routes name, which may be a short name.
func (m *randomMesh) routedHost() string {
	return pick(m, []string{m.host(), m.host(), m.host(), "shop.example", "reviews.default", "store.prod.svc", "*.prod.svc.cluster.local", "*"})
}

// change lets one thing happen, and says what.
func (m *randomMesh) change() string {
	switch m.random.IntN(16) {
	case 0, 1:
		return m.changeService()
	case 2, 3:
		return m.changeEndpoints()
	case 4, 5:
		return m.changeWorkload()
	case 6, 7, 8:
		return m.changeTable()
	case 9, 10:
		return m.changePolicy()
	case 11:
		namespace := &mesh.Namespace{Name: pick(m, someNamespaces), MTLS: pick(m, someModes), Sees: pick(m, [][]string{nil, nil, {"."}, {"prod"}})}
		m.namespaces[namespace.Name] = namespace
		m.store.SetNamespace(namespace)
		return fmt.Sprintf("namespace %+v", namespace)
	case 14, 15:
		return m.changeEntry()
	case 12:
		m.settings = mesh.Settings{
			RootNamespace: pick(m, []string{"", "prod"}), RegistryOnly: m.random.IntN(2) == 0, TrustDomain: pick(m, []string{"", "other"}), MTLS: pick(m, someModes), MaxConnectionAge: pick(m, []time.Duration{0, time.Minute}),
		}
		m.store.SetSettings(m.settings)
		return fmt.Sprintf("settings %+v", m.settings)
	}
	m.ranges = nil
	if m.random.IntN(2) == 0 {
		m.ranges = []netip.Prefix{netip.MustParsePrefix(pick(m, []string{"10.96.0.0/16", "10.0.0.0/8"}))}
	}
	m.store.SetServiceRanges(m.ranges)
	return fmt.Sprintf("service ranges %v", m.ranges)
}

func (m *randomMesh) changeService() string {
	name, namespace := pick(m, someNames), pick(m, someNamespaces)
	host := mesh.ServiceHost(name, namespace, "")
	if m.random.IntN(4) == 0 {
		delete(m.services, host)
		m.store.DeleteService(host)
		return "no service " + host
	}
	service := &mesh.Service{
		Origin: mesh.Origin{ObjectID: mesh.ObjectID{Kind: "Service", Namespace: namespace, Name: name}},
		Host:   host, Name: name, Namespace: namespace, Prefer: pick(m, [][]string{nil, nil, {mesh.LabelRegion, mesh.LabelZone}}),
		ExportTo: pick(m, someExports),
	}
	if m.random.IntN(4) != 0 {
		// No two services have one address at a time.
		part := byte(slices.Index(someNames, name)*2 + slices.Index(someNamespaces, namespace))
		service.Addresses = []netip.Addr{netip.AddrFrom4([4]byte{10, 96, part, byte(m.random.IntN(250))})}
	} else {
		service.Headless = true
	}
	for i := range 1 + m.random.IntN(3) {
		service.Ports = append(service.Ports, mesh.ServicePort{
			Name: fmt.Sprint("port-", i), Number: pick(m, []uint16{80, 8080, 9080}) + uint16(i), Protocol: pick(m, someProtocols),
		})
	}
	m.services[host] = service
	m.store.SetService(service)
	return fmt.Sprintf("service %+v", service)
}

func (m *randomMesh) changeEntry() string {
	entry := &mesh.Entry{Origin: m.origin("ServiceEntry")}
	if m.random.IntN(4) == 0 {
		delete(m.entries, entry.Origin.ObjectID)
		m.store.DeleteEntry(entry.Origin.ObjectID)
		return "no " + entry.Origin.String()
	}
	service := &mesh.Service{
		Origin: entry.Origin, Namespace: entry.Origin.Namespace, ExportTo: pick(m, someExports), External: m.random.IntN(2) == 0,
		Host:       pick(m, []string{"shop.example", "*.example", "reviews.default", m.host()}),
		Resolution: pick(m, []mesh.Resolution{mesh.ByAddress, mesh.ByDNS, mesh.AsCalled}),
	}
	for i := range 1 + m.random.IntN(2) {
		service.Ports = append(service.Ports, mesh.ServicePort{
			Name: fmt.Sprint("port-", i), Number: 80 + uint16(i), Protocol: pick(m, []mesh.Protocol{mesh.HTTP, mesh.TCP, mesh.TLS}),
		})
	}
	switch m.random.IntN(4) {
	case 0:
		service.Addresses = []netip.Addr{netip.MustParseAddr(pick(m, []string{"192.0.2.1", "192.0.2.2"}))}
	case 1:
		service.Ranges = []netip.Prefix{netip.MustParsePrefix(pick(m, []string{"198.51.100.0/24", "10.96.0.0/16", "10.0.0.0/8"}))}
	}
	if service.Resolution == mesh.ByAddress && m.random.IntN(2) == 0 {
		service.Selector = pick(m, someLabels)
	} else {
		service.Endpoints = []mesh.Endpoint{{Name: "a.example", PortName: "port-0", Port: 80, Ready: true, Serving: true}}
	}
	entry.Services = []*mesh.Service{service}
	m.entries[entry.Origin.ObjectID] = entry
	m.store.SetEntry(entry)
	return fmt.Sprintf("entry %+v", service)
}

func (m *randomMesh) changeEndpoints() string {
	host := m.host()
	var endpoints []mesh.Endpoint
	for i := range m.random.IntN(4) {
		endpoint := mesh.Endpoint{
			Address: netip.AddrFrom4([4]byte{198, 18, 0, byte(m.random.IntN(250))}), Port: 9080, PortName: fmt.Sprint("port-", i%2),
			Hostname: pick(m, []string{"", "", "one"}), Ready: m.random.IntN(3) != 0, Serving: true, Terminating: m.random.IntN(2) == 0, Labels: pick(m, someLabels),
		}
		if m.random.IntN(2) == 0 {
			endpoint.Workload = m.workloadName()
		}
		endpoints = append(endpoints, endpoint)
	}
	delete(m.slices, host)
	if len(endpoints) > 0 {
		m.slices[host] = endpoints
	}
	m.store.SetEndpoints(host, "slice", endpoints)
	return fmt.Sprintf("endpoints of %s: %+v", host, endpoints)
}

func (m *randomMesh) workloadName() mesh.NamespacedName {
	return mesh.NamespacedName{Namespace: pick(m, someNamespaces), Name: pick(m, []string{"one", "two"})}
}

func (m *randomMesh) changeWorkload() string {
	name := m.workloadName()
	if m.random.IntN(5) == 0 {
		delete(m.workloads, name)
		m.store.DeleteWorkload(name)
		return "no workload " + name.String()
	}
	workload := &mesh.Workload{
		Namespace: name.Namespace, Name: name.Name, Labels: pick(m, someLabels), Explicit: name.Name == "one",
		Address:  netip.AddrFrom4([4]byte{198, 18, 1, byte(m.random.IntN(250))}),
		HasIPv6:  m.random.IntN(2) == 0,
		Locality: mesh.Locality{Region: "eu", Zone: pick(m, []string{"a", "b"})}, Node: pick(m, []string{"", "n1", "n2"}),
		Ports: []mesh.WorkloadPort{{Number: 9080, Protocol: pick(m, someProtocols)}},

		HasCertificates: m.random.IntN(2) == 0, MTLS: pick(m, someModes), ServiceAccount: pick(m, someNames),
	}
	if m.random.IntN(2) == 0 {
		workload.OutboundTCP = []mesh.OutboundTCP{{Host: m.host(), Port: 80, ListenPort: 3306}}
	}
	m.workloads[name] = workload
	m.store.SetWorkload(workload)
	return fmt.Sprintf("workload %+v", workload)
}

func (m *randomMesh) origin(kind string) mesh.Origin {
	name := pick(m, []string{"a", "b", "c"})
	return mesh.Origin{
		ObjectID: mesh.ObjectID{Kind: kind, Namespace: pick(m, someNamespaces), Name: name},
		Created:  time.Unix(int64(name[0]), 0),
	}
}

func (m *randomMesh) changeTable() string {
	rule := m.random.IntN(3) == 0
	table := &mesh.RouteTable{Origin: m.origin(map[bool]string{true: "RouteRule", false: "VirtualService"}[rule])}
	if m.random.IntN(4) == 0 {
		delete(m.tables, table.Origin.ObjectID)
		m.store.DeleteRouteTable(table.Origin.ObjectID)
		return "no " + table.Origin.String()
	}
	table.Hosts, table.ExportTo = []string{m.routedHost(), m.routedHost()}, pick(m, someExports)
	routes := m.random.IntN(3)
	switch {
	case rule:
		table.Hosts, table.ExportTo, table.Rule, table.Precedence, routes = table.Hosts[:1], nil, true, m.random.Int32N(2), 1
	case m.random.IntN(4) == 0:
		table.Hosts = nil // a delegate
	}
	for i := range routes {
		route := mesh.HTTPRoute{Path: fmt.Sprintf("spec.http[%d]", i)}
		if rule {
			route.Origin = table.Origin
		} else if len(table.Hosts) > 0 && m.random.IntN(4) == 0 {
			delegate := m.origin("VirtualService")
			route.Delegate = &mesh.NamespacedName{Namespace: delegate.Namespace, Name: delegate.Name}
			table.HTTP = append(table.HTTP, route)
			continue
		}
		if m.random.IntN(2) == 0 {
			match := mesh.HTTPMatch{Port: pick(m, []uint16{0, 80, 8080})}
			if m.random.IntN(2) == 0 {
				match.SourceLabels = pick(m, append(someLabels, map[string]string{mesh.SourceService(m.host()): ""}))
			}
			if m.random.IntN(3) == 0 {
				match.SourceNamespace = pick(m, someNamespaces)
			}
			route.Matches = []mesh.HTTPMatch{match}
		}
		for range 1 + m.random.IntN(2) {
			destination := mesh.Destination{
				Path: route.Path + ".route", Host: m.routedHost(), Port: pick(m, []uint16{0, 0, 80, 8080}), Weight: m.random.Uint32N(3),
			}
			switch m.random.IntN(3) {
			case 0:
				destination.Subset = pick(m, []string{"v1", "v2"})
			case 1:
				destination.Labels = pick(m, someLabels)
			}
			route.Destinations = append(route.Destinations, destination)
		}
		table.HTTP = append(table.HTTP, route)
	}
	m.tables[table.Origin.ObjectID] = table
	m.store.SetRouteTable(table)
	return fmt.Sprintf("%+v", table)
}

// traffic says something of some groups, or nothing.
func (m *randomMesh) traffic() mesh.Traffic {
	traffic := mesh.Traffic{}
	if m.random.IntN(2) == 0 {
		traffic.TLS = &mesh.ClientTLS{Path: "spec.tls", Mode: pick(m, []mesh.TLSMode{mesh.TLSDisable, mesh.TLSSimple, mesh.TLSMesh})}
	}
	if m.random.IntN(2) == 0 {
		traffic.Outliers = &mesh.OutlierDetection{}
	}
	switch m.random.IntN(6) {
	case 0:
		traffic.LoadBalancer = &mesh.LoadBalancer{Algorithm: mesh.Passthrough}
	case 1:
		traffic.LoadBalancer = &mesh.LoadBalancer{Algorithm: mesh.MaglevHash, Hash: &mesh.Hash{SourceIP: true}}
	case 2:
		traffic.LoadBalancer = &mesh.LoadBalancer{Locality: &mesh.LocalityPreference{Priority: []string{"app", mesh.LabelNode}}}
	case 3:
		traffic.LoadBalancer = &mesh.LoadBalancer{Locality: &mesh.LocalityPreference{ZoneAware: 1}}
	case 4:
		traffic.LoadBalancer = &mesh.LoadBalancer{Locality: &mesh.LocalityPreference{
			Distribute: []mesh.Distribution{{From: "eu/a", To: map[string]uint32{"eu/*": 60, "eu/a": 40}}},
		}}
	}
	return traffic
}

func (m *randomMesh) changePolicy() string {
	policy := &mesh.Policy{Origin: m.origin("DestinationRule"), Host: m.routedHost(), ExportTo: pick(m, someExports)}
	if m.random.IntN(4) == 0 {
		delete(m.policies, policy.Origin.ObjectID)
		m.store.DeletePolicy(policy.Origin.ObjectID)
		return "no " + policy.Origin.String()
	}
	for _, name := range []string{"v1", "v2"} {
		if m.random.IntN(2) == 0 {
			policy.Subsets = append(policy.Subsets, mesh.Subset{Name: name, Labels: pick(m, someLabels)})
		}
	}
	if m.random.IntN(2) == 0 {
		policy.Traffic = m.traffic()
		policy.Traffic.Ports = []mesh.PortTraffic{{Port: pick(m, []uint16{80, 8080}), Traffic: m.traffic()}}
	}
	if m.random.IntN(4) == 0 {
		policy.Selector, policy.ExportTo = pick(m, someLabels), []string{policy.Origin.Namespace}
	}
	m.policies[policy.Origin.ObjectID] = policy
	m.store.SetPolicy(policy)
	return fmt.Sprintf("%+v", policy)
}
