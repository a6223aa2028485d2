package translate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// defaultHTTPPort is the port of a host that no service describes.
const defaultHTTPPort = 80

// RouteName returns the name of a route configuration.
func RouteName(host string, port uint16) string {
	return host + ":" + strconv.Itoa(int(port))
}

// hostRoutes is the routing of one host as one kind of caller sees it.
type hostRoutes struct {
	view    mesh.View
	host    string
	service *mesh.Service
	// table is the route table that wins the host; nil for none.
	table *mesh.RouteTable
	// callerNamespace and callerLabels are set where the table looks at callers.
	callerNamespace string
	callerLabels    map[string]string
	// gateways are those by which the table is bound here; none at a sidecar.
	gateways []string

	// policy and serviceOf are build's.
	policy    func(host string) *mesh.Policy
	serviceOf func(host string) *mesh.Service
	find      func(message.Finding)
}

// routes builds the scopes and route configurations of the unit's host, one of each for
// every port that it is called by.
func (b *build) routes() {
	tables := b.tables(b.unit.Host)
	r := b.hostRoutes(b.unit.Host, tables)
	if r.table != nil {
		b.findUnreachable(r.table)
	}
	b.findConflicts(tables)
	b.findTaken(r.service)
	r.findUnrouted()

	for _, port := range b.calledPorts(r) {
		keys := b.scopeKeys(r, port)
		configuration, requires, owners := r.configuration(port)
		if len(keys) == 0 {
			continue
		}
		name := RouteName(r.host, port.Number)
		leads := func(key string) Resource { return Resource{TypeURL: ScopedRouteType, Message: scope(key, name)} }
		if b.forGRPC() {
			routesForGRPC(configuration)
			leads = func(key string) Resource { return Resource{TypeURL: ListenerType, Message: b.apiListener(key, name)} }
		}
		b.add(Resource{TypeURL: RouteType, Name: name, Message: configuration, Requires: requires, Owners: owners})
		for _, key := range keys {
			lead := leads(key)
			lead.Name, lead.Owners = key, r.origin()
			b.add(lead)
		}
	}
	b.podScopes(r)
}

// hostRoutes returns the routing of a host, by the first of its tables.
func (b *build) hostRoutes(host string, tables []*mesh.RouteTable) *hostRoutes {
	r := &hostRoutes{
		view:            b.view,
		host:            host,
		service:         b.service(host),
		callerNamespace: b.unit.Namespace,
		callerLabels:    mesh.ParseLabelText(b.unit.SourceLabels),
		policy:          b.policy,
		serviceOf:       b.service,
		find:            b.find,
	}
	if len(tables) > 0 {
		r.table = tables[0]
	}
	return r
}

// calledPorts returns the ports by which a host is called for HTTP. An intercepting
// proxy recognises HTTP where the protocol is unknown, so that requests to such a port
// need a scope there too.
func (b *build) calledPorts(r *hostRoutes) []mesh.ServicePort {
	if r.service == nil && (r.table == nil || r.table.For(r.host) != r.host) {
		return nil // what others see of it is nothing to this caller
	}
	if r.service == nil {
		return []mesh.ServicePort{{Number: defaultHTTPPort, Protocol: mesh.HTTP}}
	}
	return slices.DeleteFunc(slices.Clone(r.service.Ports), func(p mesh.ServicePort) bool {
		return !p.Protocol.IsHTTP() && (b.unit.Explicit || p.Protocol != mesh.Unknown)
	})
}

// findConflicts tells the tables that lost the host to an older one, wherever they are seen.
func (b *build) findConflicts(tables []*mesh.RouteTable) {
	for i, table := range tables {
		if i > 0 && (tables[0].For(b.unit.Host) != b.unit.Host || !mesh.Eclipses(tables[0].ExportTo, table.ExportTo)) {
			continue
		}
		for _, id := range table.Objects() {
			switch {
			case i == 0:
			case table.Rule:
				b.find(message.RuleClaimed(id, hostsPath(table), b.unit.Host, tables[0].Origin.ObjectID))
			default:
				b.find(message.HostConflict(id, hostsPath(table), b.unit.Host, tables[0].Origin.ObjectID))
			}
		}
	}
}

// findUnreachable tells routes that no request comes to, where it takes several objects to
// see that; of one alone package convert tells.
func (b *build) findUnreachable(table *mesh.RouteTable) {
	for _, u := range table.Unreachable() {
		route, by := &table.HTTP[u.Route], &table.HTTP[u.By]
		id, other := table.OriginOf(route).ObjectID, table.OriginOf(by).ObjectID
		if id != other {
			b.find(message.Unreachable(id, route.PathOf(u.Match), other.String()+" "+by.PathOf(u.ByMatch)))
		}
	}
}

// findUnrouted tells a table that wins a host, by naming it, which nobody calls, or not by
// HTTP.
func (r *hostRoutes) findUnrouted() {
	if r.table == nil || r.table.For(r.host) != r.host || mesh.IsWildcard(r.host) {
		return
	}
	path := hostsPath(r.table)
	for _, id := range r.table.Objects() {
		switch {
		case r.service == nil:
			if service := shortName(r.view, r.host); service != nil {
				r.find(message.RoutedHostShort(id, path, r.host, service.Host))
			} else if parts := strings.Split(r.host, "."); len(parts) > 3 && parts[2] == "svc" {
				r.find(message.RoutedHostNotFound(id, path, r.host))
			}
		case len(r.table.HTTP) > 0 && !slices.ContainsFunc(r.service.Ports, func(p mesh.ServicePort) bool { return p.Protocol.IsHTTP() }):
			r.find(message.PortNotHTTP(id, path, r.host))
		}
	}
}

// hostsPath is the field by which the objects of a table name their hosts.
func hostsPath(table *mesh.RouteTable) string {
	if table.Rule {
		return "spec.destination"
	}
	return "spec.hosts"
}

// origin is the object without which the host would not be called at all.
func (r *hostRoutes) origin() []mesh.ObjectID {
	switch {
	case r.service != nil:
		return []mesh.ObjectID{r.service.Origin.ObjectID}
	case r.table != nil:
		return r.table.Objects()
	}
	return nil
}

// configuration builds the route configuration of one port, with the clusters that it
// needs and the objects that it was made from.
func (r *hostRoutes) configuration(port mesh.ServicePort) (*routev3.RouteConfiguration, []string, []mesh.ObjectID) {
	name := RouteName(r.host, port.Number)
	p := &portRoutes{hostRoutes: r, port: port.Number, owners: r.origin()}
	routed := r.table != nil && (len(r.table.HTTP) > 0 || r.service == nil) && port.Protocol.IsHTTP()
	if routed {
		if !r.table.Rule {
			p.owners = append(p.owners, r.table.Origin.ObjectID)
		}
		for i := range r.table.HTTP {
			p.addRoute(&r.table.HTTP[i])
		}
	}
	if r.service != nil && (!routed || r.table.Rule) { // nothing else leads anywhere
		p.addDefault()
	}
	configuration := &routev3.RouteConfiguration{
		Name: name,
		VirtualHosts: []*routev3.VirtualHost{{
			Name:        name,
			Domains:     []string{"*"},
			Routes:      p.built,
			RetryPolicy: defaultRetries,
		}},
		// A destination that does not exist is answered 503; the rest serves.
		ValidateClusters: wrapperspb.Bool(false),
	}
	if p.largestBody > envoyBodyLimit {
		configuration.MaxDirectResponseBodySizeBytes = wrapperspb.UInt32(uint32(p.largestBody))
	}
	return configuration, p.requires, p.owners
}

// envoyBodyLimit is what Envoy takes as the body of a direct response if not told
// otherwise.
const envoyBodyLimit = 4096

// portRoutes collects the routes of one port.
type portRoutes struct {
	*hostRoutes
	port uint16
	// object is the one whose route is being built.
	object      mesh.ObjectID
	built       []*routev3.Route
	requires    []string
	owners      []mesh.ObjectID
	largestBody int
}

// addDefault forwards everything to the service that was called, as if there were no
// mesh.
func (p *portRoutes) addDefault() {
	cluster := ClusterName(p.host, p.port, "")
	if p.service != nil { // nobody waits for what is not to come
		p.requires = append(p.requires, cluster)
	}
	action := &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster},
		Timeout:          noTimeout,
	}
	if p.service != nil && p.service.Host == p.host { // one Pod of it needs no choosing
		p.hash(action, &mesh.Destination{Host: p.host, Port: p.port})
	}
	p.built = append(p.built, &routev3.Route{
		Name:   "default",
		Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
		Action: &routev3.Route_Route{Route: action},
	})
}

// addRoute adds an Envoy route for each match of a route that can be met on this port by
// this caller. What the route says wrongly is found for every caller alike.
func (p *portRoutes) addRoute(route *mesh.HTTPRoute) {
	before := *p
	p.object = p.table.OriginOf(route).ObjectID
	p.owners = append(p.owners, p.object)
	if route.Problem == mesh.DelegateOutside {
		p.find(message.DelegateOutside(p.object, route.Path+".match", p.table.Origin.ObjectID))
		return
	}
	action := p.action(route)
	if len(route.Matches) == 0 {
		p.addMatch(route, &mesh.HTTPMatch{}, -1, action)
	}
	for i := range route.Matches {
		if match := &route.Matches[i]; p.concerns(match) {
			p.addMatch(route, match, i, action)
		}
	}
	if len(p.built) == len(before.built) {
		*p = before // It needs no cluster here and owes nothing to anybody.
	}
}

// concerns reports whether a match can be met on this port by this caller. Who calls a gateway
// is no workload that it knows.
func (p *portRoutes) concerns(match *mesh.HTTPMatch) bool {
	at := p.gateways
	if len(at) == 0 {
		at = []string{mesh.MeshGateway}
	}
	return (match.Port == 0 || match.Port == p.port) &&
		(match.SourceNamespace == "" || match.SourceNamespace == p.callerNamespace) &&
		mesh.Selects(match.SourceLabels, p.callerLabels) &&
		(len(match.Gateways) == 0 || slices.ContainsFunc(match.Gateways, func(name string) bool { return slices.Contains(at, name) }))
}

func (p *portRoutes) addMatch(route *mesh.HTTPRoute, match *mesh.HTTPMatch, index int, action routeAction) {
	built := &routev3.Route{Name: routeName(p.object, route, index), Match: routeMatch(match), StatPrefix: match.StatPrefix}
	action.apply(built, match)
	applyHeaders(built, route.Headers)
	built.TypedPerFilterConfig = filterConfig(route)
	p.built = append(p.built, built)
}

// routeName says in access logs which line of which object a request followed.
func routeName(object mesh.ObjectID, route *mesh.HTTPRoute, match int) string {
	name := object.Namespace + "/" + object.Name
	if route.Name != "" {
		name += "/" + route.Name
	} else if place, found := strings.CutPrefix(route.Path, "spec."); found {
		name += "/" + place
	}
	if match >= 0 {
		switch given := route.Matches[match].Name; {
		case given != "":
			name += "." + given
		case len(route.Matches) > 1:
			name += fmt.Sprintf(".match[%d]", match)
		}
	}
	return name
}
