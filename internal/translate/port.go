package translate

import (
	"net/http"
	"net/netip"
	"slices"
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
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
	listener         Resource
}

// port builds the listener of the unit's port, and its route table if any host speaks HTTP.
func (b *build) port() {
	number, err := strconv.ParseUint(b.unit.Host, 10, 16)
	if err != nil {
		return
	}
	p := &calledPort{build: b, number: uint16(number)}
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
	}
	p.rangeChains(listener)
	p.nameChains(listener)
	switch other := p.otherwise(); {
	case len(p.http) == 0:
		listener.DefaultFilterChain = &listenerv3.FilterChain{Name: "other", Filters: other}
	case len(p.names) == 0:
		listener.DefaultFilterChain = &listenerv3.FilterChain{Name: "http", Filters: p.httpFilters()}
	default:
		listener.FilterChains = append(listener.FilterChains, &listenerv3.FilterChain{
			Name: "http", FilterChainMatch: &listenerv3.FilterChainMatch{TransportProtocol: "raw_buffer"}, Filters: p.httpFilters(),
		})
		listener.DefaultFilterChain = &listenerv3.FilterChain{Name: "other", Filters: other}
	}
	p.listener.TypeURL, p.listener.Name, p.listener.Message = ListenerType, name, listener
	return p.listener
}

// rangeChains adds the chains of ports that are told by ranges of addresses. No two chains may
// be for one range: Envoy would refuse the listener.
func (p *calledPort) rangeChains(listener *listenerv3.Listener) {
	rest := p.raw[:0:0]
	taken := map[netip.Prefix]mesh.ObjectID{}
	for _, prefix := range p.view.ServiceRanges() {
		taken[prefix] = mesh.ObjectID{Kind: "ServiceCIDR", Name: prefix.String()}
	}
	for _, service := range p.raw {
		if len(service.Ranges) == 0 {
			rest = append(rest, service)
			continue
		}
		var ranges []*corev3.CidrRange
		for _, prefix := range service.Ranges {
			if other, found := taken[prefix]; found {
				p.find(message.HostTaken(service.Origin.ObjectID, "spec.addresses", prefix.String(), other))
				continue
			}
			taken[prefix] = service.Origin.ObjectID
			if prefix.Addr().Is4() || p.unit.IPv6 {
				ranges = append(ranges, cidrRange(prefix))
			}
		}
		if len(ranges) > 0 {
			listener.FilterChains = append(listener.FilterChains, &listenerv3.FilterChain{
				Name: service.Host, FilterChainMatch: &listenerv3.FilterChainMatch{PrefixRanges: ranges}, Filters: p.carried(service),
			})
		}
	}
	p.raw = rest
}

// nameChains adds the chains of ports that speak TLS, by the name that clients say.
func (p *calledPort) nameChains(listener *listenerv3.Listener) {
	if len(p.names) == 0 {
		return
	}
	listener.ListenerFilters = append(listener.ListenerFilters, listenerFilter("envoy.filters.listener.tls_inspector", &tlsinspectorv3.TlsInspector{}))
	listener.ListenerFiltersTimeout = durationpb.New(hesitation)
	listener.ContinueOnListenerFiltersTimeout = true
	for _, service := range p.names {
		names := []string{service.Host}
		if service.Name != "" {
			names = service.AliasesIn(p.unit.Namespace)
		}
		listener.FilterChains = append(listener.FilterChains, &listenerv3.FilterChain{
			Name: service.Host, FilterChainMatch: &listenerv3.FilterChainMatch{ServerNames: names}, Filters: p.carried(service),
		})
	}
}

// carried carries connections to a service.
func (p *calledPort) carried(service *mesh.Service) []*listenerv3.Filter {
	filters, owners := p.tcpTo(service.Host, p.number)
	p.listener.Requires = append(p.listener.Requires, ClusterName(service.Host, p.number, ""))
	p.listener.Owners = append(p.listener.Owners, owners...)
	return filters
}

// otherwise carries what nothing tells whom it is for: to the host that has the port for
// itself, or on as the mesh's policy is.
func (p *calledPort) otherwise() []*listenerv3.Filter {
	var holder *mesh.Service
	for _, service := range p.raw {
		switch id := service.Origin.ObjectID; {
		case len(p.http)+len(p.names) > 0:
			p.find(message.NotTold(id, "spec.addresses", service.Host, p.number, "those of HTTP or TLS"))
		case holder == nil:
			holder = service
		default:
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
