package mesh

import "net/netip"

// ExplicitOutboundPort is the port of a workload's own address on which its proxy
// takes outbound HTTP requests where nothing is intercepted.
const ExplicitOutboundPort = 15001

// podRange is the range that pods of the mode without a cluster get addresses from:
// the API server refuses loopback addresses in EndpointSlices, and this one is set
// aside for benchmarks by RFC 2544, so that it is never somebody's real network.
var podRange = netip.MustParsePrefix("198.18.0.0/15")

// LoopbackAddress maps an address of the mode without a cluster to the loopback
// address that stands for it on this machine: 198.18.y.z to 127.18.y.z and 198.19.y.z
// to 127.19.y.z. Any other address is returned unchanged.
func LoopbackAddress(address netip.Addr) netip.Addr {
	if !podRange.Contains(address.Unmap()) {
		return address
	}
	b := address.Unmap().As4()
	b[0] = 127
	return netip.AddrFrom4(b)
}

// PodRange returns the range that LoopbackAddress maps.
func PodRange() netip.Prefix { return podRange }
