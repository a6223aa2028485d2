package translate

import (
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
)

// listenerOf returns what all listeners have in common: what the agent relies on to count
// connections and to end them.
func listenerOf(name string, address netip.Addr, port uint16, direction corev3.TrafficDirection) *listenerv3.Listener {
	listener := &listenerv3.Listener{
		Name:    name,
		Address: socketAddress(address, port),
		// What /drain_listeners?inboundonly goes by.
		TrafficDirection: direction,
		// One for all listeners of a direction, so that listener.inbound.downstream_cx_active
		// is how many connections a drain has to wait for; TCP has no such figure elsewhere.
		StatPrefix: "inbound",
	}
	if direction == corev3.TrafficDirection_OUTBOUND {
		listener.StatPrefix = "outbound"
		// An application that ends still calls others: a proxy that has been told to fail
		// health checks (/healthcheck/fail) asks callers to go, and not the application.
		listener.DrainType = listenerv3.Listener_MODIFY_ONLY
	}
	return listener
}
