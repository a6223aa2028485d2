package translate

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	healthv3 "github.com/envoyproxy/go-control-plane/envoy/service/health/v3"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// UnitKind says what a unit builds.
type UnitKind int

// The kinds of units.
const (
	// UnitListeners is the listeners of a class.
	UnitListeners UnitKind = iota
	// UnitRoutes is the scopes and route configurations of one host.
	UnitRoutes
	// UnitClusters is the clusters of one host.
	UnitClusters
	// UnitEndpoints is the load assignments of one host's clusters.
	UnitEndpoints
	// UnitAddresses is the listeners by which an intercepting proxy reaches one host's
	// ports that are not HTTP, one for each address.
	UnitAddresses
	// UnitPort is the listener, and the routes, by which an intercepting proxy reaches the hosts
	// of one port that have no address of their own; its number is the unit's host.
	UnitPort
	// UnitGateway is the listeners and certificates of a class of gateways.
	UnitGateway
	// UnitGatewayRoutes is one route configuration of such a class; its name is the unit's host.
	UnitGatewayRoutes
	// UnitGatewayFindings is what is to be said of one Gateway, whose name is the unit's host.
	UnitGatewayFindings
)

// Unit names the smallest piece that is translated again when something that it read
// changes. Only the fields that its kind reads are set, so that equal units of different
// classes need building once.
type Unit struct {
	Kind UnitKind
	// Host is set for all kinds but UnitListeners.
	Host string
	// Namespace is the caller's. Routes have it where it is the service's own, whose short
	// name works there, or where routes look at callers; routes, clusters and endpoints have
	// it where what a caller gets depends on it (mesh.View.NarrowHosts).
	Namespace string
	// Explicit is set for listeners and routes, and for clusters of headless services and of
	// hosts that no Kubernetes Service has.
	Explicit bool
	// Workload names the workload of explicit listeners.
	Workload string
	// IPv6 is the class's, for intercepting listeners and addresses.
	IPv6 bool
	// Inbound is the class's, for intercepting listeners.
	Inbound string
	// MTLS is the class's, for listeners.
	MTLS mesh.MTLSMode
	// Certified is whether the class has certificates, for clusters.
	Certified bool
	// SourceLabels are those of the class that the host's routes and policies look at, each
	// unit those that matter for it.
	SourceLabels string
	// Gateways is the class's, for units of gateways.
	Gateways string
	// ByName is set for clusters that a gateway finds by the name in a TLS handshake.
	ByName bool
	// Transport is the class's, for what names where more configuration comes from.
	Transport mesh.Transport
}

// Compare orders units by kind, host and then the other fields.
func (u Unit) Compare(other Unit) int {
	return cmp.Or(
		cmp.Compare(u.Kind, other.Kind),
		cmp.Compare(u.Host, other.Host),
		cmp.Compare(u.Namespace, other.Namespace),
		compareBool(u.Explicit, other.Explicit),
		cmp.Compare(u.Workload, other.Workload),
		compareBool(u.IPv6, other.IPv6),
		cmp.Compare(u.Inbound, other.Inbound),
		cmp.Compare(u.MTLS, other.MTLS),
		compareBool(u.Certified, other.Certified),
		cmp.Compare(u.SourceLabels, other.SourceLabels),
		cmp.Compare(u.Gateways, other.Gateways),
		compareBool(u.ByName, other.ByName),
		cmp.Compare(u.Transport, other.Transport),
	)
}

// compareBool has false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// Units returns everything that a class is served, sorted. A host that only a route
// table or a policy names has units too, for what is to be said about it.
func Units(view mesh.View, class Class) []Unit {
	l := lister{view: view, class: class, narrow: view.NarrowHosts(), sources: view.SourceHosts(), looks: view.Looks()}
	services, known := l.services()
	if class.Gateway {
		l.addGateway(services)
		return l.units
	}
	hosts := slices.Sorted(maps.Keys(known))
	// Names that no service has are routed, too.
	routed := slices.DeleteFunc(union(hosts, view.RoutedHosts()), func(host string) bool {
		return services[host] != nil && known[host] == nil
	})
	called := union(hosts, l.led(routed)) // and those that their routes lead to

	l.units = make([]Unit, 0, 4*len(services)+1)
	if class.Everybody {
		for _, name := range view.GatewayNames() {
			l.units = append(l.units, Unit{Kind: UnitGatewayFindings, Host: name})
		}
	}
	listeners := Unit{Kind: UnitListeners, Explicit: class.Explicit, IPv6: class.IPv6, Inbound: class.Inbound, MTLS: class.MTLS, Transport: class.Transport}
	if class.Explicit {
		listeners = Unit{Kind: UnitListeners, Namespace: class.Namespace, Explicit: true, Workload: class.Workload, MTLS: class.MTLS, Transport: class.Transport}
	}
	if class.Transport != mesh.TransportGRPC {
		l.units = append(l.units, listeners)
	}
	for _, host := range routed {
		home := ""
		if service := services[host]; class.Explicit && service != nil {
			home = service.Namespace
		}
		l.addRouted(Unit{Kind: UnitRoutes, Host: host, Explicit: class.Explicit, Transport: l.special()}, home)
	}
	for _, host := range union(called, view.PolicyHosts()) {
		if service := services[host]; service == nil || known[host] != nil || slices.Contains(called, host) {
			l.addClusters(Unit{Host: host, Certified: class.MTLS != ""}, service)
		}
	}
	for _, host := range called {
		if services[host] != nil {
			l.addEndpoints(host)
		}
	}
	if !class.Explicit {
		for _, host := range hosts {
			certified := known[host].Headless && class.MTLS != ""
			l.addRouted(Unit{Kind: UnitAddresses, Host: host, IPv6: class.IPv6, Transport: class.Transport, Certified: certified}, "")
		}
		l.addPorts(known)
	}
	return l.units
}

// lister collects the units of a class.
type lister struct {
	view            mesh.View
	class           Class
	narrow, sources []string
	looks           map[string]mesh.Looks
	// scope is the namespaces whose services the class is told of; none: all.
	scope []string
	units []Unit
}

// services returns one service of each host, and of these those that the class is told of.
func (l *lister) services() (all, known map[string]*mesh.Service) {
	list := l.view.Services()
	all = make(map[string]*mesh.Service, len(list))
	for _, service := range list {
		all[service.Host] = service
	}
	l.scope = mesh.Sees(l.view, l.class.Namespace)
	if len(l.scope) == 0 {
		return all, all
	}
	known = map[string]*mesh.Service{}
	for host, service := range all {
		if slices.Contains(l.scope, service.Namespace) {
			known[host] = service
		}
	}
	return all, known
}

// led returns the hosts that the routes of some lead to, as far as that matters.
func (l *lister) led(hosts []string) []string {
	if len(l.scope) == 0 {
		return nil // they are all known
	}
	var led []string
	for _, host := range hosts {
		led = append(led, l.view.Destinations(host)...)
	}
	return sortedSet(led, cmp.Compare[string])
}

// clusterKeys returns the keys of labels by which callers get other clusters of a host: where
// a cluster has its endpoints in itself, those by which they are ordered, too.
func (l *lister) clusterKeys(service *mesh.Service, host string) []string {
	looks := mesh.LooksAt(l.looks, host)
	if service != nil && service.ByName() {
		return slices.Concat(looks.Choosing, looks.Ordering)
	}
	return looks.Choosing
}

// addPorts adds the units of ports by which alone some hosts are called. The names of a
// Service, and what a caller sees, depend on its namespace.
func (l *lister) addPorts(known map[string]*mesh.Service) {
	for _, number := range l.view.Ports() {
		unit := Unit{Kind: UnitPort, Host: strconv.Itoa(int(number)), IPv6: l.class.IPv6, Transport: l.class.Transport}
		depends := len(l.scope) > 0
		var keys []string
		for _, host := range l.view.PortHosts(number) {
			service := known[host]
			depends = depends || service != nil && service.Name != "" || l.dependsOnNamespace(host)
			keys = append(keys, l.choosing(host)...)
			if mesh.CoveredBy(l.sources, host) {
				depends = true
				keys = append(keys, sourceLabelKeys(l.view, host, l.class.Namespace)...)
			}
		}
		if unit.SourceLabels = l.labels(keys); depends {
			unit.Namespace = l.class.Namespace
		}
		l.units = append(l.units, unit)
	}
	slices.SortFunc(l.units, Unit.Compare)
}

// dependsOnNamespace reports whether a host's routes are other ones for other namespaces.
func (l *lister) dependsOnNamespace(host string) bool {
	return l.isNarrow(host) || len(l.narrow) > 0 && slices.ContainsFunc(l.view.Destinations(host), l.isNarrow)
}

// isNarrow reports whether what a caller gets of a host depends on its namespace.
func (l *lister) isNarrow(host string) bool { return mesh.CoveredBy(l.narrow, host) }

// labels cuts the class's down to some.
func (l *lister) labels(keys []string) string {
	if len(keys) == 0 {
		return "" // as nearly always
	}
	return labelsOf(l.class.SourceLabels, keys)
}

// add adds a unit, one for every namespace concerned in a class that stands for all.
func (l *lister) add(unit Unit, narrow bool) {
	if !narrow {
		l.units = append(l.units, unit)
		return
	}
	namespaces := []string{l.class.Namespace}
	if l.class.Everybody {
		namespaces = sortedSet(append(exported(l.view, unit.Host), ""), cmp.Compare[string])
	}
	for _, namespace := range namespaces {
		unit.Namespace = namespace
		l.units = append(l.units, unit)
	}
}

// special is the transport of what differs for one transport only.
func (l *lister) special() mesh.Transport {
	if l.class.Transport == mesh.TransportGRPC {
		return mesh.TransportGRPC
	}
	return mesh.TransportADS
}

func (l *lister) addClusters(unit Unit, service *mesh.Service) {
	declared := service != nil && (service.Name == "" || service.Headless)
	unit.Kind, unit.Transport, unit.Explicit = UnitClusters, l.class.Transport, l.class.Explicit && declared
	unit.SourceLabels = l.labels(l.clusterKeys(service, unit.Host))
	l.add(unit, l.isNarrow(unit.Host))
}

func (l *lister) addEndpoints(host string) {
	looks := mesh.LooksAt(l.looks, host)
	l.add(Unit{Kind: UnitEndpoints, Host: host, Transport: l.special(), SourceLabels: l.labels(slices.Concat(looks.Choosing, looks.Ordering))}, l.isNarrow(host))
}

// addRouted adds a unit in which a host's routes are, and so what a destination gets. Its home is the
// namespace whose callers have names of their own for the host; empty for none.
func (l *lister) addRouted(unit Unit, home string) {
	host := unit.Host
	keys := l.choosing(host)
	if mesh.CoveredBy(l.sources, host) {
		unit.Namespace = l.class.Namespace
		keys = append(keys, sourceLabelKeys(l.view, host, l.class.Namespace)...)
	} else if home != "" && home == l.class.Namespace {
		unit.Namespace = home
	}
	unit.SourceLabels = l.labels(keys)
	l.add(unit, l.dependsOnNamespace(host))
}

// choosing returns the keys of labels by which callers get other policies of a host, or of
// those that its routes lead to.
func (l *lister) choosing(host string) []string {
	if len(l.looks) == 0 {
		return nil
	}
	keys := mesh.LooksAt(l.looks, host).Choosing
	for _, destination := range l.view.Destinations(host) {
		keys = append(keys, mesh.LooksAt(l.looks, destination).Choosing...)
	}
	return keys
}

// union merges two sorted lists without repetitions.
func union(a, b []string) []string {
	merged := make([]string, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch order := cmp.Compare(a[0], b[0]); {
		case order < 0:
			merged, a = append(merged, a[0]), a[1:]
		case order > 0:
			merged, b = append(merged, b[0]), b[1:]
		default:
			merged, a, b = append(merged, a[0]), a[1:], b[1:]
		}
	}
	return append(append(merged, a...), b...)
}

// Translate builds one unit.
func Translate(view mesh.View, unit Unit) Result {
	b := &build{view: view, unit: unit, labels: mesh.ParseLabelText(unit.SourceLabels)}
	switch unit.Kind {
	case UnitListeners:
		if unit.Explicit {
			b.explicitListeners()
		} else {
			b.interceptingListeners()
		}
	case UnitRoutes:
		b.routes()
	case UnitClusters:
		b.clusters()
	case UnitEndpoints:
		b.endpoints()
	case UnitAddresses:
		b.addresses()
	case UnitPort:
		b.port()
	case UnitGateway:
		b.gateway()
	case UnitGatewayRoutes:
		b.gatewayRoutes()
	case UnitGatewayFindings:
		b.gatewayFindings()
	}
	return b.result()
}

// build is a unit in the making.
type build struct {
	view mesh.View
	unit Unit
	// labels are the caller's, as far as they are looked at.
	labels    map[string]string
	resources []Resource
	findings  []message.Finding
	checks    []*healthv3.ClusterHealthCheck
}

func (b *build) add(resource Resource) {
	resource.Owners = sortedSet(resource.Owners, mesh.ObjectID.Compare)
	resource.Requires = sortedSet(resource.Requires, cmp.Compare[string])
	b.resources = append(b.resources, resource)
}

func (b *build) find(finding message.Finding) { b.findings = append(b.findings, finding) }

func (b *build) result() Result {
	slices.SortFunc(b.resources, func(x, y Resource) int {
		return cmp.Or(cmp.Compare(x.TypeURL, y.TypeURL), cmp.Compare(x.Name, y.Name))
	})
	return Result{Resources: b.resources, Findings: message.Sort(b.findings), Checks: b.checks}
}

// sortedSet returns a sorted copy without repetitions.
func sortedSet[T comparable](list []T, compare func(a, b T) int) []T {
	sorted := slices.Clone(list)
	slices.SortFunc(sorted, compare)
	return slices.Compact(sorted)
}
