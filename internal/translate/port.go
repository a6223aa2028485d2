package translate

import (
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// calledPort is what an intercepting proxy knows of one port by which hosts are called that
// have no address of their own: by what they say of whom they want, Host header or server
// name, requests and connections to all addresses that no other listener is for are led.
type calledPort struct {
	*build
	number           uint16
	http, names, raw []*mesh.Service
	// claims has the ranges of addresses whose connections are for one service, nil for those of
	// which the address tells whom.
	claims   map[netip.Prefix]*mesh.Service
	listener Resource
}

// port builds the listener of the unit's port, and its route table if any host speaks HTTP.
func (b *build) port() {
	number, err := strconv.ParseUint(b.unit.Host, 10, 16)
	if err != nil {
		return
	}
	p := &calledPort{build: b, number: uint16(number), claims: map[netip.Prefix]*mesh.Service{}}
	for _, host := range b.view.PortHosts(p.number) {
		service := b.service(host)
		if service == nil || !service.CalledByPort(p.number) || !sees(b.view, b.unit.Namespace, b.view.Service(host)) {
			continue
		}
		p.listener.Owners = append(p.listener.Owners, service.Origin.ObjectID)
		switch port, _ := service.Port(p.number); {
		case port.Protocol.IsHTTP():
			p.http = append(p.http, service)
		case port.Protocol == mesh.TLS:
			p.names = append(p.names, service)
		default:
			p.raw = append(p.raw, service)
		}
	}
	// A name that both have is the Service's.
	slices.SortStableFunc(p.http, func(a, b *mesh.Service) int { return compareBool(a.Name == "", b.Name == "") })
	if len(p.listener.Owners) > 0 {
		p.add(p.listen())
	}
}

// listen returns the listener. What goes to the ranges of services is theirs, as on any port.
func (p *calledPort) listen() Resource {
	name := "outbound|" + p.unit.Host
	listener := listenerOf(name, netip.IPv4Unspecified(), p.number, corev3.TrafficDirection_OUTBOUND)
	listener.BindToPort = wrapperspb.Bool(false)
	if p.unit.IPv6 {
		listener.AdditionalAddresses = []*listenerv3.AdditionalAddress{{Address: socketAddress(netip.IPv6Unspecified(), p.number)}}
	}
	if ranges := p.serviceRanges(); len(ranges) > 0 {
		listener.FilterChains = append(listener.FilterChains, &listenerv3.FilterChain{
			Name: "services", FilterChainMatch: &listenerv3.FilterChainMatch{PrefixRanges: ranges}, Filters: httpChain(p.addressManager()),
		})
		for _, prefix := range ranges {
			p.claims[netip.PrefixFrom(netip.MustParseAddr(prefix.AddressPrefix), int(prefix.GetPrefixLen().GetValue()))] = nil
		}
	}
	p.rangeChains(listener)
	chains, other := p.nameChains(), p.otherwise()
	listener.DefaultFilterChain = &listenerv3.FilterChain{Name: "other", Filters: other}
	switch {
	case len(p.http)+len(p.names) == 0:
		chains = p.routed(p.holder(), nil)
	case len(p.http) == 0:
	case len(p.names) == 0:
		listener.DefaultFilterChain = &listenerv3.FilterChain{Name: "http", Filters: p.httpFilters()}
	default:
		p.unencrypted(listener, chains)
	}
	listener.FilterChains = append(listener.FilterChains, filterChains(chains)...)
	if lookForNames(listener); len(listener.ListenerFilters) > 0 {
		listener.ListenerFiltersTimeout = durationpb.New(hesitation)
		listener.ContinueOnListenerFiltersTimeout = true
	}
	p.listener.TypeURL, p.listener.Name, p.listener.Message = ListenerType, name, listener
	return p.listener
}

// unencrypted adds the chains of HTTP beside those of names: Envoy, which has found an address in any
// of these, does not look elsewhere.
func (p *calledPort) unencrypted(listener *listenerv3.Listener, chains []chain) {
	var destinations []*corev3.CidrRange
	for _, prefix := range destinationsOf(chains) {
		destinations = append(destinations, cidrRange(prefix))
	}
	filters := p.httpFilters()
	add := func(name string, to []*corev3.CidrRange) {
		listener.FilterChains = append(listener.FilterChains, &listenerv3.FilterChain{
			Name: name, FilterChainMatch: &listenerv3.FilterChainMatch{PrefixRanges: to, TransportProtocol: "raw_buffer"}, Filters: filters,
		})
	}
	if add("http", nil); len(destinations) > 0 {
		add("http|addresses", destinations)
	}
}

// rangeChains adds the chains of ports that are told by ranges of addresses. No two chains may
// be for one range: Envoy would refuse the listener.
func (p *calledPort) rangeChains(listener *listenerv3.Listener) {
	rest := p.raw[:0:0]
	var told []*mesh.Service
	for _, service := range p.raw {
		if len(service.Ranges) == 0 {
			rest = append(rest, service)
			continue
		}
		for _, prefix := range service.Ranges {
			if other, taken := p.claims[prefix]; taken {
				holder := mesh.ObjectID{Kind: "ServiceCIDR", Name: prefix.String()}
				if other != nil {
					holder = other.Origin.ObjectID
				}
				p.find(message.HostTaken(service.Origin.ObjectID, "spec.addresses", prefix.String(), holder))
			} else {
				p.claims[prefix] = service
			}
		}
		told = append(told, service)
	}
	p.raw = rest
	for _, service := range told {
		ranges := p.claimed(service)
		if len(ranges) == 0 {
			continue
		}
		chains := append(p.routed(service, nil), chain{
			name: service.Host, destinations: ranges, filters: p.carried(service), hidden: func(string) {},
		})
		listener.FilterChains = append(listener.FilterChains, filterChains(chains)...)
	}
}

// claimed returns the ranges that are a service's.
func (p *calledPort) claimed(service *mesh.Service) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(service.Ranges), func(prefix netip.Prefix) bool {
		return p.claims[prefix] != service || !p.usable(prefix)
	})
}

// usable reports whether the caller can have addresses of a range.
func (p *calledPort) usable(prefix netip.Prefix) bool { return prefix.Addr().Is4() || p.unit.IPv6 }

// claimant returns whose a range is, that of the smallest claimed one around it; false for nobody's.
func (p *calledPort) claimant(wanted netip.Prefix) (*mesh.Service, bool) {
	for bits := wanted.Bits(); bits >= 0; bits-- {
		if service, found := p.claims[netip.PrefixFrom(wanted.Addr(), bits).Masked()]; found {
			return service, true
		}
	}
	return nil, false
}

// routed returns the chains of the routes that connections to a service have, if they say one of
// the names or, without any, whatever they say.
func (p *calledPort) routed(service *mesh.Service, names []string) []chain {
	if service == nil {
		return nil
	}
	port, _ := service.Port(p.number)
	own := p.claimed(service)
	chains := p.outboundChains(service, port, p.labels, func(wanted []netip.Prefix) ([]netip.Prefix, bool) {
		if len(wanted) == 0 {
			return own, true
		}
		var left []netip.Prefix
		for _, prefix := range wanted {
			holder, claimed := p.claimant(prefix)
			if p.usable(prefix) && claimed == (len(own) > 0) && (!claimed || holder == service) {
				left = append(left, prefix)
			}
			for _, inner := range own {
				if prefix.Bits() < inner.Bits() && prefix.Contains(inner.Addr()) {
					left = append(left, inner)
				}
			}
		}
		return left, len(left) > 0
	}, names, &p.listener)
	for i := range chains {
		// A VirtualService may be for several hosts; no two chains have one name.
		prefix, hidden := service.Host+"|", chains[i].hidden
		chains[i].name = prefix + chains[i].name
		chains[i].hidden = func(by string) { hidden(strings.TrimPrefix(by, prefix)) }
	}
	return chains
}

// nameChains returns the chains of ports that speak TLS, by the name that clients say. A name is
// that host's which has most of it.
func (p *calledPort) nameChains() []chain {
	var chains []chain
	for _, service := range p.names {
		for _, c := range p.routed(service, []string{service.Host}) {
			c.names = slices.DeleteFunc(c.names, func(name string) bool {
				return slices.ContainsFunc(p.names, func(other *mesh.Service) bool {
					exacter := other.Host == name || len(other.Host) > len(service.Host)
					return other != service && exacter && mesh.Covers(other.Host, name)
				})
			})
			if len(c.names) > 0 {
				chains = append(chains, c)
			}
		}
		chains = append(chains, chain{
			name: service.Host, names: []string{service.Host}, filters: p.carried(service), hidden: func(string) {},
		})
	}
	return chains
}

// carried carries connections to a service.
func (p *calledPort) carried(service *mesh.Service) []*listenerv3.Filter {
	filters, owners := p.tcpTo(service.Host, p.number)
	p.listener.Requires = append(p.listener.Requires, ClusterName(service.Host, p.number, ""))
	p.listener.Owners = append(p.listener.Owners, owners...)
	return filters
}

// holder returns the service that has the port for itself, nil for none.
func (p *calledPort) holder() *mesh.Service {
	if len(p.http)+len(p.names) > 0 || len(p.raw) == 0 {
		return nil
	}
	return p.raw[0]
}

// otherwise carries what nothing tells whom it is for: to the host that has the port for
// itself, or on as the mesh's policy is.
func (p *calledPort) otherwise() []*listenerv3.Filter {
	holder := p.holder()
	for _, service := range p.raw {
		switch id := service.Origin.ObjectID; {
		case holder == nil:
			p.find(message.NotTold(id, "spec.addresses", service.Host, p.number, "those of HTTP or TLS"))
		case holder != service:
			p.find(message.NotTold(id, "spec.addresses", service.Host, p.number, holder.Host))
		}
	}
	if holder != nil {
		return p.carried(holder)
	}
	return tcpChain("outbound_passthrough", p.unknown())
}

// httpFilters route by the Host header, and let the rest go as the mesh's policy is.
func (p *calledPort) httpFilters() []*listenerv3.Filter {
	manager := p.connectionManager("outbound")
	manager.StripTrailingHostDot = true
	name := "port|" + p.unit.Host
	manager.RouteSpecifier = &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{ConfigSource: p.configSource(), RouteConfigName: name}}
	p.add(p.routeTable(name))
	return httpChain(manager)
}

func (p *calledPort) routeTable(name string) Resource {
	table := &routev3.RouteConfiguration{
		Name: name, IgnorePortInHostMatching: true, ValidateClusters: wrapperspb.Bool(false),
	}
	resource := Resource{TypeURL: RouteType, Name: name, Message: table, Requires: []string{p.unknown()}}
	taken := map[string]bool{}
	add := func(host string, names []string, r *hostRoutes, port mesh.ServicePort) {
		var domains []string
		for _, name := range names {
			if !taken[name] {
				taken[name] = true
				domains = append(domains, name)
			}
		}
		if len(domains) == 0 {
			return
		}
		configuration, requires, owners := r.configuration(port)
		virtual := configuration.VirtualHosts[0]
		virtual.Name, virtual.Domains = host, domains
		table.VirtualHosts = append(table.VirtualHosts, virtual)
		if most := configuration.MaxDirectResponseBodySizeBytes; most.GetValue() > table.MaxDirectResponseBodySizeBytes.GetValue() {
			table.MaxDirectResponseBodySizeBytes = most
		}
		resource.Requires, resource.Owners = append(resource.Requires, requires...), append(resource.Owners, owners...)
	}
	for _, service := range p.http {
		r := p.hostRoutes(service.Host, p.tables(service.Host))
		port, _ := service.Port(p.number)
		add(service.Host, namesIn(service, p.unit.Namespace), r, port)
		for _, pod := range p.view.Hostnames(service.Key()) {
			add(podHost(pod, service), podNames(pod, service, p.unit.Namespace), r.ofPod(pod), port)
		}
	}
	table.VirtualHosts = append(table.VirtualHosts, &routev3.VirtualHost{
		Name: "other", Domains: []string{"*"}, Routes: []*routev3.Route{p.toOthers()},
	})
	return resource
}

// toOthers is the route of requests for hosts that the mesh does not know.
func (p *calledPort) toOthers() *routev3.Route {
	route := &routev3.Route{Name: "other", Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}}
	if p.view.Settings().RegistryOnly {
		// As Istio answers.
		route.Action = &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: http.StatusBadGateway}}
	} else {
		route.Action = &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: outboundPassthrough}, Timeout: noTimeout,
		}}
	}
	return route
}
