package translate

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"fairlead.dev/fairlead/internal/mesh"
)

// explicitListeners builds the listeners of a workload that calls its proxy by address:
// one for outbound HTTP, which routes by the authority (in a request for a proxy too,
// whose target is a whole URL), one for each TCP service port that it asked for, and one
// for each port that it serves.
func (b *build) explicitListeners() {
	workload := b.view.Workload(mesh.NamespacedName{Namespace: b.unit.Namespace, Name: b.unit.Workload})
	if workload == nil || !workload.Address.IsValid() {
		return
	}
	b.labels = workload.Labels
	address := mesh.LoopbackAddress(workload.Address)
	// Envoy refuses a listener whose address another one has: the first in this order
	// stays, so that outbound HTTP always works.
	taken := map[uint16]bool{}
	names := map[string]bool{}
	add := func(name string, port uint16, with Resource, chains ...*listenerv3.FilterChain) {
		if !taken[port] && !names[name] {
			taken[port], names[name] = true, true
			b.addListener(name, address, port, with, chains)
		}
	}

	outbound := b.connectionManager("outbound")
	// A client may write the dot at the end of a fully qualified name.
	outbound.StripTrailingHostDot = true
	outbound.RouteSpecifier = b.scopedRoutes(":authority")
	add("outbound", mesh.ExplicitOutboundPort, Resource{}, &listenerv3.FilterChain{Filters: httpChain(outbound)})

	for _, wanted := range workload.OutboundTCP {
		name, cluster := ClusterName(wanted.Host, wanted.Port, ""), Resource{}
		service := b.service(wanted.Host)
		var chains []chain
		if service != nil {
			cluster.Owners = append(cluster.Owners, service.Origin.ObjectID)
			if port, found := service.Port(wanted.Port); found && sees(b.view, b.unit.Namespace, b.view.Service(wanted.Host)) {
				cluster.Requires = append(cluster.Requires, name)
				chains = b.outboundChains(service, port, workload.Labels, at(service.Addresses...), nil, &cluster)
			}
		}
		listener := fmt.Sprintf("outbound|%d|%s", wanted.Port, wanted.Host)
		rest, owners := b.tcpTo(wanted.Host, wanted.Port)
		cluster.Owners = append(cluster.Owners, owners...)
		built := []*listenerv3.FilterChain{{Filters: rest}}
		if len(chains) > 0 {
			built = filterChains(append(chains, chain{name: "rest", filters: rest, hidden: func(string) {}}))
		}
		add(listener, wanted.ListenPort, cluster, built...)
	}
	for _, port := range inboundPorts(b.view, workload) {
		listener := fmt.Sprintf("inbound|%d", port.Number)
		add(listener, port.Number, Resource{Owners: port.Owners}, b.inboundChains(port)...)
	}
}

// addListener adds a listener on an address. Other proxies of the machine have the same
// ports on other addresses; SO_REUSEPORT would hide that two had the same address.
func (b *build) addListener(name string, address netip.Addr, port uint16, with Resource, chains []*listenerv3.FilterChain) {
	direction := corev3.TrafficDirection_OUTBOUND
	if strings.HasPrefix(name, "inbound") {
		direction = corev3.TrafficDirection_INBOUND
	}
	listener := listenerOf(name, address, port, direction)
	listener.EnableReusePort = wrapperspb.Bool(false)
	listener.FilterChains = chains
	if slices.ContainsFunc(chains, func(chain *listenerv3.FilterChain) bool { return chain.TransportSocket != nil }) {
		lookForTLS(listener, nil)
	}
	lookForNames(listener)
	with.TypeURL, with.Name, with.Message = ListenerType, name, listener
	b.add(with)
}

// inboundFilters lead what comes in on a port to the application.
func (b *build) inboundFilters(port inboundPort) []*listenerv3.Filter {
	name, cluster := statName("inbound", port.Number), fmt.Sprintf("app|%d", port.Number)
	if port.HTTP {
		return httpChain(b.applicationManager(name, cluster))
	}
	return tcpChain(name, cluster)
}

func statName(direction string, port uint16) string { return fmt.Sprintf("%s_%d", direction, port) }
