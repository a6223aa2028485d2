package translate

import (
	"net/netip"
	"slices"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"

	"fairlead.dev/fairlead/internal/mesh"
)

// outboundChains returns the chains by which a caller's connections to a service's port are routed,
// none where no route is for them, and notes what they need. The addresses are those of the service
// that they may go to.
func (b *build) outboundChains(service *mesh.Service, port mesh.ServicePort, callerLabels map[string]string, addresses []netip.Addr, resource *Resource) []chain {
	tables := b.tables(service.Host)
	if len(tables) == 0 || len(tables[0].TLS)+len(tables[0].TCP) == 0 {
		return nil
	}
	r := b.hostRoutes(service.Host, tables)
	r.callerNamespace, r.callerLabels = b.unit.Namespace, callerLabels
	p := &portRoutes{port: port.Number, hostRoutes: r}
	stat := statName("outbound", port.Number)
	chains := p.connectionChains(stat, "tls", called(tables[0].TLS, port, addresses), nil)
	chains = append(chains, p.connectionChains(stat, "tcp", called(tables[0].TCP, port, addresses), nil)...)
	if len(chains) > 0 {
		resource.Owners = append(append(resource.Owners, tables[0].Origin.ObjectID), p.owners...)
		resource.Requires = append(resource.Requires, p.requires...)
	}
	return chains
}

// called returns the routes with the matches that a connection to one of the addresses can meet,
// of which nothing is left to say of addresses. To look for a server name makes a client wait whose
// server speaks first: that is for ports that are said to speak TLS, or that a match names.
func called(routes []mesh.ConnectionRoute, port mesh.ServicePort, addresses []netip.Addr) []mesh.ConnectionRoute {
	var reached []mesh.ConnectionRoute
	for _, route := range routes {
		var matches []mesh.ConnectionMatch
		for _, match := range route.Matches {
			goes := len(match.Destinations) == 0 || slices.ContainsFunc(addresses, func(address netip.Addr) bool {
				return takes(match.Destinations, netip.PrefixFrom(address, address.BitLen()))
			})
			if len(match.SNI) > 0 && port.Protocol != mesh.TLS && match.Port == 0 || !goes {
				continue
			}
			match.Destinations = nil
			matches = append(matches, match)
		}
		if len(matches) > 0 || len(route.Matches) == 0 {
			route.Matches = matches
			reached = append(reached, route)
		}
	}
	return reached
}

// lookForNames has a listener look for the name in a TLS handshake, if any chain goes by it.
func lookForNames(listener *listenerv3.Listener) {
	byName := func(c *listenerv3.FilterChain) bool { return len(c.FilterChainMatch.GetServerNames()) > 0 }
	if slices.ContainsFunc(listener.FilterChains, byName) {
		listener.ListenerFilters = append(listener.ListenerFilters, listenerFilter("envoy.filters.listener.tls_inspector", &tlsinspectorv3.TlsInspector{}))
	}
}
