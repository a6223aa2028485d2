package translate

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// chain is a filter chain to come, with the connections that it takes: those to one of the names
// (none: any), to and from the ranges of addresses (none: any).
type chain struct {
	name         string
	names        []string
	destinations []netip.Prefix
	sources      []netip.Prefix
	filters      []*listenerv3.Filter
	socket       *corev3.TransportSocket
	// hidden tells what takes all of the chain's connections before it.
	hidden func(by string)
}

// filterChains arranges chains, of which the first that takes a connection is to have it; but one
// with a more exact name goes before. Envoy goes by address, name and caller in this order and
// does not go back. So for every combination of these that any chain speaks of, the one that
// has it is told.
func filterChains(chains []chain) []*listenerv3.FilterChain {
	all := netip.Prefix{}
	names, destinations, sources := []string{""}, []netip.Prefix{all}, []netip.Prefix{all}
	for i := range chains {
		if len(chains[i].names) == 0 {
			chains[i].names = []string{""}
		}
		names = append(names, chains[i].names...)
		destinations = append(destinations, chains[i].destinations...)
		sources = append(sources, chains[i].sources...)
	}
	names = sortedSet(names, cmp.Compare[string])
	var built []*listenerv3.FilterChain
	used := make([]int, len(chains))
	add := func(i int, names []string, destination, source netip.Prefix) {
		name := chains[i].name
		if used[i]++; used[i] > 1 {
			name = fmt.Sprintf("%s|%d", name, used[i])
		}
		built = append(built, &listenerv3.FilterChain{
			Name:             name,
			FilterChainMatch: &listenerv3.FilterChainMatch{ServerNames: names, PrefixRanges: cidr(destination), SourcePrefixRanges: cidr(source)},
			Filters:          chains[i].filters,
			TransportSocket:  chains[i].socket,
		})
	}
	for _, destination := range sortedSet(destinations, netip.Prefix.Compare) {
		for _, source := range sortedSet(sources, netip.Prefix.Compare) {
			taken := make([][]string, len(chains))
			for _, name := range names {
				switch i := winner(chains, name, destination, source); {
				case i < 0:
				case name == "":
					add(i, nil, destination, source)
				default:
					taken[i] = append(taken[i], name)
				}
			}
			for i, names := range taken {
				if len(names) > 0 {
					add(i, names, destination, source)
				}
			}
		}
	}
	for i, c := range chains {
		if used[i] == 0 {
			c.hidden(chains[winner(chains, c.names[0], first(c.destinations), first(c.sources))].name)
		}
	}
	return built
}

// destinationsOf returns the ranges that any chain speaks of.
func destinationsOf(chains []chain) []netip.Prefix {
	var destinations []netip.Prefix
	for _, c := range chains {
		destinations = append(destinations, c.destinations...)
	}
	return sortedSet(destinations, netip.Prefix.Compare)
}

func first(prefixes []netip.Prefix) netip.Prefix {
	if len(prefixes) == 0 {
		return netip.Prefix{}
	}
	return prefixes[0]
}

// winner returns which of the chains has a combination, -1 for none.
func winner(chains []chain, name string, destination, source netip.Prefix) int {
	best, exactness := -1, -1
	for i, c := range chains {
		if !takes(c.destinations, destination) || !takes(c.sources, source) {
			continue
		}
		for _, own := range c.names {
			exact := len(own)
			switch {
			case own == name:
				exact++ // before a wildcard of the same length, which there is none of
			case own != "" && !mesh.Covers(own, name):
				continue
			}
			if exact > exactness {
				best, exactness = i, exact
			}
		}
	}
	return best
}

// takes reports whether all addresses of a range are among some; none are all.
func takes(prefixes []netip.Prefix, wanted netip.Prefix) bool {
	return len(prefixes) == 0 || wanted.IsValid() && slices.ContainsFunc(prefixes, func(p netip.Prefix) bool {
		return p.Bits() <= wanted.Bits() && p.Contains(wanted.Addr())
	})
}

func cidr(prefix netip.Prefix) []*corev3.CidrRange {
	if !prefix.IsValid() {
		return nil
	}
	return []*corev3.CidrRange{{AddressPrefix: prefix.Addr().String(), PrefixLen: wrapperspb.UInt32(uint32(prefix.Bits()))}}
}

// serverNames writes names as chains have them, where all of them is the empty one.
func serverNames(names []string) []string {
	to := slices.Clone(names)
	for i, name := range to {
		if name == "*" {
			to[i] = ""
		}
	}
	return sortedSet(to, cmp.Compare[string])
}

// connectionChains turns routes into chains, one for each match that can be met here. The
// names within which a match's have to lie are those of a server, none at a sidecar.
func (p *portRoutes) connectionChains(statPrefix, kind string, routes []mesh.ConnectionRoute, within []string) []chain {
	p.object = p.table.Origin.ObjectID
	var chains []chain
	for i := range routes {
		route := &routes[i]
		matches := route.Matches
		if len(matches) == 0 {
			matches = []mesh.ConnectionMatch{{Path: route.Path}}
		}
		before := *p
		filters := p.connectionFilters(statPrefix, route)
		met := false
		for j := range matches {
			match := &matches[j]
			names := within
			if len(match.SNI) > 0 {
				names = meet(match.SNI, within)
			}
			if !p.meets(match) || len(names) == 0 && len(within)+len(match.SNI) > 0 {
				continue
			}
			met = true
			owner := p.object
			chains = append(chains, chain{
				name:  fmt.Sprintf("%s/%s/%s[%d].match[%d]", owner.Namespace, owner.Name, kind, i, j),
				names: serverNames(names), destinations: match.Destinations, sources: match.Sources, filters: filters,
				hidden: func(by string) {
					if match.Port != 0 { // else it may be met on another port
						p.find(message.Unreachable(owner, match.Path, by))
					}
				},
			})
		}
		if !met {
			*p = before // see addRoute
		}
	}
	return chains
}

// meet returns the names that two lists have in common; an empty second one is all.
func meet(names, within []string) []string {
	if len(within) == 0 {
		return names
	}
	var both []string
	for _, name := range names {
		for _, wide := range within {
			if common, meet := mesh.Meet(name, wide); meet {
				both = append(both, common)
			}
		}
	}
	return both
}

// meets reports whether a match can be met on this port by this caller. Who calls a gateway is
// not known to be a workload.
func (p *portRoutes) meets(match *mesh.ConnectionMatch) bool {
	return p.concerns(&mesh.HTTPMatch{
		Port: match.Port, SourceLabels: match.SourceLabels, SourceNamespace: match.SourceNamespace, Gateways: match.Gateways,
	})
}

// connectionFilters share connections out among the destinations that have a weight. How long
// connections may last and the like is for the policy of the first.
func (p *portRoutes) connectionFilters(statPrefix string, route *mesh.ConnectionRoute) []*listenerv3.Filter {
	proxy := &tcpproxyv3.TcpProxy{StatPrefix: statPrefix, IdleTimeout: noTimeout}
	var shares []*tcpproxyv3.TcpProxy_WeightedCluster_ClusterWeight
	for i := range route.Destinations {
		destination := &route.Destinations[i]
		cluster := p.resolve(destination)
		if destination.Weight == 0 && len(route.Destinations) > 1 {
			continue
		}
		shares = append(shares, &tcpproxyv3.TcpProxy_WeightedCluster_ClusterWeight{Name: cluster, Weight: max(destination.Weight, 1)})
		if len(shares) == 1 {
			port, _ := p.destinationPort(destination)
			policy := p.policy(destination.Host)
			if traffic := policy.For(destination.Subset, port); !traffic.IsZero() {
				applyTCP(proxy, traffic)
				p.owners = append(p.owners, policy.Origin.ObjectID)
			}
		}
	}
	if len(shares) == 1 {
		proxy.ClusterSpecifier = &tcpproxyv3.TcpProxy_Cluster{Cluster: shares[0].Name}
	} else {
		proxy.ClusterSpecifier = &tcpproxyv3.TcpProxy_WeightedClusters{WeightedClusters: &tcpproxyv3.TcpProxy_WeightedCluster{Clusters: shares}}
	}
	return []*listenerv3.Filter{networkFilter("envoy.filters.network.tcp_proxy", proxy)}
}
