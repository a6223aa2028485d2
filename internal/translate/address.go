package translate

import (
	"net/netip"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	httpinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/http_inspector/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"fairlead.dev/fairlead/internal/mesh"
)

// silence is how long a client may say nothing before a connection to a port of unknown
// protocol is taken for one where the server speaks first. A client that speaks HTTP later
// than that is carried as TCP, to the same endpoints. Istio waits as long.
const silence = 100 * time.Millisecond

// addresses builds the listeners to which the outbound intercepting listener hands
// connections to a host's ports that are not HTTP, one for each address. They are no part
// of that listener because a change of its listener filters, and of the filter chain that
// a connection is in, ends connections: what comes and goes here touches nobody else's.
//
// They take the place of kube-proxy's rules for these addresses: nothing is bound.
func (b *build) addresses() {
	service := b.service(b.unit.Host)
	if service == nil {
		return
	}
	for _, port := range service.Ports {
		if service.Headless && !port.Protocol.IsHTTP() {
			b.endpointListeners(service, port)
		}
		if port.Protocol.IsHTTP() && service.Name != "" {
			continue // found by the ranges of services
		}
		for _, address := range service.Addresses {
			if address.Is6() && !b.unit.IPv6 || !b.holds(service, address, port.Number) {
				continue
			}
			// Named by the address, since there can be only one of each.
			name := "outbound|" + addressKey(address, port.Number)
			filters, owners := b.tcpTo(service.Host, port.Number)
			resource := Resource{
				TypeURL: ListenerType, Name: name,
				Requires: []string{ClusterName(service.Host, port.Number, "")}, Owners: append(owners, service.Origin.ObjectID),
			}
			var chains []chain
			if !port.Protocol.IsHTTP() {
				chains = b.outboundChains(service, port, b.labels, at(address), nil, &resource)
			}
			resource.Message = b.addressListener(name, address, port, filters, chains)
			b.add(resource)
		}
	}
}

func (b *build) addressListener(name string, address netip.Addr, port mesh.ServicePort, filters []*listenerv3.Filter, chains []chain) *listenerv3.Listener {
	listener := listenerOf(name, address, port.Number, corev3.TrafficDirection_OUTBOUND)
	listener.BindToPort = wrapperspb.Bool(false)
	if port.Protocol.IsHTTP() {
		listener.DefaultFilterChain = &listenerv3.FilterChain{Name: "http", Filters: httpChain(b.addressManager())}
		return listener
	}
	listener.DefaultFilterChain = &listenerv3.FilterChain{Name: "tcp", Filters: filters}
	if port.Protocol == mesh.Unknown {
		listener.ListenerFilters = []*listenerv3.ListenerFilter{
			listenerFilter("envoy.filters.listener.http_inspector", &httpinspectorv3.HttpInspector{}),
		}
		listener.ListenerFiltersTimeout = durationpb.New(silence)
		listener.ContinueOnListenerFiltersTimeout = true
		listener.FilterChains = []*listenerv3.FilterChain{{
			Name:             "http",
			FilterChainMatch: &listenerv3.FilterChainMatch{ApplicationProtocols: []string{"http/1.0", "http/1.1", "h2c"}},
			Filters:          httpChain(b.addressManager()),
		}}
	}
	listener.FilterChains = append(listener.FilterChains, filterChains(chains)...)
	lookForNames(listener)
	return listener
}

func listenerFilter(name string, config proto.Message) *listenerv3.ListenerFilter {
	return &listenerv3.ListenerFilter{
		Name:       name,
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: packed(config)},
	}
}
