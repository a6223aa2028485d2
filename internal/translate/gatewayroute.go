package translate

import (
	"maps"
	"net/http"
	"slices"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"fairlead.dev/fairlead/internal/mesh"
)

// gatewayHost is a host of one route configuration, with what is bound to it.
type gatewayHost struct {
	redirect bool
	routes   []boundTable
}

// boundTable is a table with the Gateways by which it is bound here.
type boundTable struct {
	table    *mesh.RouteTable
	gateways []string
}

// gatewayRoutes builds one route configuration of a gateway: one virtual host for each host, with
// the routes of every table for it, those of the oldest first.
func (b *build) gatewayRoutes() {
	for _, listener := range b.gatewayListeners() {
		if slices.Contains(listener.routeNames(), b.unit.Host) {
			b.gatewayConfiguration(listener)
		}
	}
}

func (b *build) gatewayConfiguration(listener *gatewayListener) {
	configuration := &routev3.RouteConfiguration{
		Name: b.unit.Host,
		// A client may name the port, whichever led it here.
		IgnorePortInHostMatching: true,
		ValidateClusters:         wrapperspb.Bool(false),
	}
	resource := Resource{TypeURL: RouteType, Name: b.unit.Host, Message: configuration}
	hosts := map[string]*gatewayHost{}
	byTLS := false
	port := uint16(0)
	for _, s := range listener.servers {
		if !slices.Contains(listener.routeName(s), b.unit.Host) {
			continue
		}
		port, byTLS = s.Port, s.TLS != nil
		resource.Owners = append(resource.Owners, s.gateway.Origin.ObjectID)
		b.bind(hosts, s)
	}
	largest := 0
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		host := &routev3.VirtualHost{Name: name, Domains: []string{name}, RetryPolicy: defaultRetries}
		if hosts[name].redirect {
			host.RequireTls = routev3.VirtualHost_ALL
		}
		for _, bound := range hosts[name].routes {
			p := b.portRoutes(name, port, bound)
			for i := range bound.table.HTTP {
				p.addRoute(&bound.table.HTTP[i])
			}
			host.Routes = append(host.Routes, p.built...)
			resource.Owners = append(append(resource.Owners, p.owners...), bound.table.Origin.ObjectID)
			resource.Requires = append(resource.Requires, p.requires...)
			largest = max(largest, p.largestBody)
		}
		configuration.VirtualHosts = append(configuration.VirtualHosts, host)
	}
	if byTLS && hosts["*"] == nil {
		configuration.VirtualHosts = append(configuration.VirtualHosts, misdirected)
	}
	if largest > envoyBodyLimit {
		configuration.MaxDirectResponseBodySizeBytes = wrapperspb.UInt32(uint32(largest))
	}
	b.add(resource)
}

// bind notes which tables are bound to which host by a server.
func (b *build) bind(hosts map[string]*gatewayHost, s gatewayServer) {
	at := func(name string) *gatewayHost {
		if hosts[name] == nil {
			hosts[name] = &gatewayHost{redirect: s.HTTPSRedirect}
		}
		return hosts[name]
	}
	if s.HTTPSRedirect {
		for _, host := range s.Hosts {
			at(host.Name)
		}
	}
	for _, table := range b.tablesOf(s) {
		if len(table.HTTP) == 0 {
			continue
		}
		for _, name := range s.served(table) {
			host := at(name)
			i := slices.IndexFunc(host.routes, func(bound boundTable) bool { return bound.table == table })
			if i < 0 {
				host.routes = append(host.routes, boundTable{table, []string{s.gateway.Key()}})
			} else if !slices.Contains(host.routes[i].gateways, s.gateway.Key()) {
				host.routes[i].gateways = append(host.routes[i].gateways, s.gateway.Key())
			}
			slices.SortStableFunc(host.routes, func(x, y boundTable) int {
				switch {
				case x.table.Origin.Older(y.table.Origin):
					return -1
				case y.table.Origin.Older(x.table.Origin):
					return 1
				}
				return 0
			})
		}
	}
}

// portRoutes makes what builds the routes of one table for a host at a gateway.
func (b *build) portRoutes(host string, port uint16, bound boundTable) *portRoutes {
	return &portRoutes{
		hostRoutes: &hostRoutes{view: b.view, host: host, table: bound.table, gateways: bound.gateways, policy: b.policy, serviceOf: b.service, find: b.find},
		port:       port,
	}
}

// misdirected answers a request for a host that the server named in the TLS handshake has not.
// Clients share a connection among the hosts of its certificate, and ask again by another one
// on 421 (RFC 9110, section 15.5.20).
var misdirected = &routev3.VirtualHost{
	Name: "misdirected", Domains: []string{"*"},
	Routes: []*routev3.Route{{
		Name:   "misdirected",
		Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
		Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: http.StatusMisdirectedRequest}},
	}},
}
