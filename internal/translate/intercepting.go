package translate

import (
	"net/netip"
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	originaldstv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	earlymutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"fairlead.dev/fairlead/internal/mesh"
)

// The ports to which redirect rules lead a workload's traffic; Istio's, which existing
// network policies know.
const (
	interceptOutboundPort = 15001
	interceptInboundPort  = 15006
)

// Clusters that forward to the address that was called.
const (
	outboundPassthrough = "outbound-passthrough"
	inboundPassthrough  = "inbound-passthrough"
	// outboundBlackhole leads nowhere: connections are closed.
	outboundBlackhole = "outbound-blackhole"
)

// destinationHeader carries the address that was called to where the scope of a request
// is looked up. A client that sends it is overruled, and it is never forwarded.
const destinationHeader = "x-mesh-dst"

// interceptingListeners builds the two listeners of a proxy to which all traffic of its
// workload is redirected, and the clusters that pass on what the mesh does not know.
//
// The outbound one hands a connection on to the listener of the address that was called,
// if there is one (see addresses). What is left and goes to a service is HTTP, and finds
// its route by that address too. So nothing waits for what a client says, and the listener
// does not change while services come and go, as long as the ranges of their addresses are
// known; without, it lists the addresses. Headless and external hosts have no address of
// their own and are passed through.
func (b *build) interceptingListeners() {
	b.add(Resource{TypeURL: ClusterType, Name: outboundPassthrough, Message: passthrough(outboundPassthrough)})
	inbound := passthrough(inboundPassthrough)
	// From these addresses the redirect rules let connections to the workload itself pass.
	inbound.UpstreamBindConfig = &corev3.BindConfig{SourceAddress: anyPortOf("127.0.0.6")}
	if b.unit.IPv6 {
		inbound.UpstreamBindConfig.ExtraSourceAddresses = []*corev3.ExtraSourceAddress{{Address: anyPortOf("::1")}}
	}
	b.add(Resource{TypeURL: ClusterType, Name: inboundPassthrough, Message: inbound})

	outbound := b.interceptor("outbound", interceptOutboundPort, corev3.TrafficDirection_OUTBOUND)
	outbound.UseOriginalDst = wrapperspb.Bool(true)
	// A match without ranges would take every address.
	if ranges := b.serviceRanges(); len(ranges) > 0 {
		outbound.FilterChains = []*listenerv3.FilterChain{{
			Name:             "http",
			FilterChainMatch: &listenerv3.FilterChainMatch{PrefixRanges: ranges},
			Filters:          httpChain(b.addressManager()),
		}}
	}
	outbound.DefaultFilterChain = &listenerv3.FilterChain{
		Name: "passthrough", Filters: tcpChain("outbound_passthrough", b.unknown()),
	}
	if b.unknown() == outboundBlackhole {
		b.add(Resource{TypeURL: ClusterType, Name: outboundBlackhole, Message: blackhole()})
	}
	b.add(Resource{TypeURL: ListenerType, Name: "outbound", Message: outbound, Requires: []string{b.unknown()}})

	served := b.interceptor("inbound", interceptInboundPort, corev3.TrafficDirection_INBOUND)
	ports := parseInbound(b.unit.Inbound)
	for _, port := range ports {
		served.FilterChains = append(served.FilterChains, b.inboundChains(port)...)
	}
	// Ports that nobody declared.
	other := &listenerv3.FilterChain{Name: "passthrough", Filters: tcpChain("inbound_passthrough", inboundPassthrough)}
	if b.unit.MTLS == mesh.MTLSStrict {
		served.FilterChains = append(served.FilterChains, b.mutual(other))
	} else {
		served.DefaultFilterChain = other
	}
	b.lookForInboundTLS(served, ports)
	b.add(Resource{TypeURL: ListenerType, Name: "inbound", Message: served, Requires: []string{inboundPassthrough}})
}

// lookForInboundTLS has the listener look for TLS where it understands any. Which ports there
// are is no part of that, so that one more ends no connections; but where mutual TLS is
// disabled, on ports of TCP nobody is to wait for it.
func (b *build) lookForInboundTLS(listener *listenerv3.Listener, ports []inboundPort) {
	switch b.unit.MTLS {
	case mesh.MTLSStrict, mesh.MTLSPermissive:
		lookForTLS(listener, nil)
	case mesh.MTLSDisable:
		var understand []uint16
		for _, port := range ports {
			if port.understandsTLS(b.unit.MTLS) {
				understand = append(understand, port.Number)
			}
		}
		if len(understand) > 0 {
			lookForTLS(listener, understand)
		}
	}
}

// serviceRanges returns where the mesh's services are: the ranges that they get their
// addresses from or, where those are not known, each address.
func (b *build) serviceRanges() []*corev3.CidrRange {
	prefixes := b.view.ServiceRanges()
	if len(prefixes) == 0 {
		for _, service := range b.view.Services() {
			if service.Name == "" {
				continue // its addresses have listeners of their own
			}
			for _, address := range service.Addresses {
				prefixes = append(prefixes, netip.PrefixFrom(address, address.BitLen()))
			}
		}
		slices.SortFunc(prefixes, netip.Prefix.Compare)
		prefixes = slices.Compact(prefixes)
	}
	var ranges []*corev3.CidrRange
	for _, prefix := range prefixes {
		if prefix.Addr().Is6() && !b.unit.IPv6 {
			continue
		}
		ranges = append(ranges, cidrRange(prefix))
	}
	return ranges
}

func cidrRange(prefix netip.Prefix) *corev3.CidrRange {
	return &corev3.CidrRange{AddressPrefix: prefix.Addr().String(), PrefixLen: wrapperspb.UInt32(uint32(prefix.Bits()))}
}

// unknown is the cluster to which connections go that are for nobody whom the mesh knows.
func (b *build) unknown() string {
	if b.view.Settings().RegistryOnly {
		return outboundBlackhole
	}
	return outboundPassthrough
}

func blackhole() *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                 outboundBlackhole,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout:       durationpb.New(connectTimeout),
	}
}

// interceptor takes what redirect rules lead to its port. IPv4 is always there, if only
// on the loopback interface. IPv6 is not: on a kernel without it (ipv6.disable=1) Envoy
// refuses whatever has an IPv6 address in it, the whole listener. So only a workload that
// has such an address gets any; no other calls IPv6 addresses, nor is called by one.
func (b *build) interceptor(name string, port uint16, direction corev3.TrafficDirection) *listenerv3.Listener {
	listener := listenerOf(name, netip.IPv4Unspecified(), port, direction)
	if b.unit.IPv6 {
		listener.AdditionalAddresses = []*listenerv3.AdditionalAddress{{Address: socketAddress(netip.IPv6Unspecified(), port)}}
	}
	listener.ListenerFilters = []*listenerv3.ListenerFilter{
		listenerFilter("envoy.filters.listener.original_dst", &originaldstv3.OriginalDst{}),
	}
	return listener
}

// addressManager routes requests by the address that was called.
func (b *build) addressManager() *hcmv3.HttpConnectionManager {
	manager := b.connectionManager("outbound")
	manager.EarlyHeaderMutationExtensions = []*corev3.TypedExtensionConfig{{
		Name: "envoy.http.early_header_mutation.header_mutation",
		TypedConfig: packed(&earlymutationv3.HeaderMutation{Mutations: []*mutationv3.HeaderMutation{{
			Action: &mutationv3.HeaderMutation_Append{Append: &corev3.HeaderValueOption{
				Header:       &corev3.HeaderValue{Key: destinationHeader, Value: "%DOWNSTREAM_LOCAL_ADDRESS%"},
				AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
			}},
		}}}),
	}}
	manager.RouteSpecifier = b.scopedRoutes(destinationHeader)
	manager.HttpFilters = append([]*hcmv3.HttpFilter{
		httpFilter("envoy.filters.http.header_mutation", &headermutationv3.HeaderMutation{
			Mutations: &headermutationv3.Mutations{RequestMutations: []*mutationv3.HeaderMutation{{
				Action: &mutationv3.HeaderMutation_Remove{Remove: destinationHeader},
			}}},
		}),
	}, routeFilters...)
	return manager
}

func anyPortOf(address string) *corev3.SocketAddress {
	return &corev3.SocketAddress{Address: address, PortSpecifier: &corev3.SocketAddress_PortValue{}}
}

func passthrough(name string) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_ORIGINAL_DST},
		LbPolicy:             clusterv3.Cluster_CLUSTER_PROVIDED,
		ConnectTimeout:       durationpb.New(connectTimeout),
		CircuitBreakers:      circuitBreakers(mesh.Traffic{}),
	}
}
