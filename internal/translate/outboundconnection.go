package translate

import (
	"net/netip"
	"slices"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"

	"fairlead.dev/fairlead/internal/mesh"
)

// reach says of ranges that a match wants to be called which of them connections to a listener
// can be for, as far as that is not certain of all of them, and whether any can be.
type reach func(wanted []netip.Prefix) (left []netip.Prefix, some bool)

// at is the reach of a listener to which only connections to the addresses come.
func at(addresses ...netip.Addr) reach {
	return func(wanted []netip.Prefix) ([]netip.Prefix, bool) {
		return nil, len(wanted) == 0 || slices.ContainsFunc(addresses, func(address netip.Addr) bool {
			return takes(wanted, netip.PrefixFrom(address, address.BitLen()))
		})
	}
}

// outboundChains returns the chains by which a caller's connections to a service's port are routed,
// none where no route is for them, and notes what they need. Only connections with one of the
// names come, if there are any.
func (b *build) outboundChains(service *mesh.Service, port mesh.ServicePort, callerLabels map[string]string, comes reach, names []string, resource *Resource) []chain {
	tables := b.tables(service.Host)
	if len(tables) == 0 || len(tables[0].TLS)+len(tables[0].TCP) == 0 {
		return nil
	}
	r := b.hostRoutes(service.Host, tables)
	r.callerNamespace, r.callerLabels = b.unit.Namespace, callerLabels
	p := &portRoutes{port: port.Number, hostRoutes: r}
	stat := statName("outbound", port.Number)
	chains := p.connectionChains(stat, "tls", called(tables[0].TLS, port, comes), names)
	chains = append(chains, p.connectionChains(stat, "tcp", called(tables[0].TCP, port, comes), names)...)
	if len(chains) > 0 {
		resource.Owners = append(append(resource.Owners, tables[0].Origin.ObjectID), p.owners...)
		resource.Requires = append(resource.Requires, p.requires...)
	}
	return chains
}

// called returns the routes with the matches that a connection can meet, of whose addresses only
// that is left which is to be told still. To look for a server name makes a client wait whose
// server speaks first: that is for ports that are said to speak TLS, or that a match names.
func called(routes []mesh.ConnectionRoute, port mesh.ServicePort, comes reach) []mesh.ConnectionRoute {
	var reached []mesh.ConnectionRoute
	for _, route := range routes {
		if len(route.Matches) == 0 {
			route.Matches = []mesh.ConnectionMatch{{Path: route.Path}}
		}
		var matches []mesh.ConnectionMatch
		for _, match := range route.Matches {
			left, reaches := comes(match.Destinations)
			if len(match.SNI) > 0 && port.Protocol != mesh.TLS && match.Port == 0 || !reaches {
				continue
			}
			match.Destinations = left
			matches = append(matches, match)
		}
		if route.Matches = matches; len(matches) > 0 {
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
