// Package redirect leads a workload's TCP connections to its Envoy, by nftables rules
// in the network namespace that it runs in.
//
// A Config says what is taken and what is not. It becomes two tables of the inet family,
// one for each direction, in which everything is seen: nothing else in the namespace is
// read or changed. The kernel is spoken to by netlink, in one transaction, so that either
// all rules hold or those from before; neither nft nor iptables is needed. Connections
// that were there before stay as they are. Envoy learns the address that was called by
// SO_ORIGINAL_DST.
package redirect

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
)

// Config is what to take, and what to leave alone. A direction that is nil has no rules.
type Config struct {
	Inbound  *Inbound
	Outbound *Outbound

	// EnvoyUID is the user that Envoy runs as: its own connections are not taken.
	EnvoyUID uint32
	// IPv4 and IPv6 say which connections are taken at all.
	IPv4, IPv6 bool
	// ExcludedInterfaces are names; one that ends in "*" stands for all that begin so.
	ExcludedInterfaces []string
}

// Inbound is what comes from outside, and Envoy's own calls to the address of its Pod.
type Inbound struct {
	// To is the port on which Envoy listens for it.
	To uint16
	// Ports are taken; none are all.
	Ports         []Ports
	ExcludedPorts []Ports
}

// Outbound is what leaves by any interface but the loopback.
type Outbound struct {
	// To is the port on which Envoy listens for it.
	To            uint16
	ExcludedPorts []Ports
	ExcludedCIDRs []netip.Prefix
	ExcludedUIDs  []uint32
	ExcludedGIDs  []uint32
}

// Ports is a range of ports, both ends included.
type Ports struct{ First, Last uint16 }

func (p Ports) String() string {
	if p.First == p.Last {
		return strconv.Itoa(int(p.First))
	}
	return fmt.Sprintf("%d-%d", p.First, p.Last)
}

// sorted returns the values in order and once, so that the same settings give the same
// rules however they were written.
func sorted[T any](values []T, compare func(a, b T) int) []T {
	values = slices.SortedFunc(slices.Values(values), compare)
	return slices.CompactFunc(values, func(a, b T) bool { return compare(a, b) == 0 })
}

func comparePorts(a, b Ports) int {
	return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last))
}
