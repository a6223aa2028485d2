package redirect

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables"
)

// Tables of the inet family that belong to this package.
const (
	InboundTable  = "fairlead-inbound"
	OutboundTable = "fairlead-outbound"
)

var tableNames = []string{InboundTable, OutboundTable}

// dnsPort is that of DNS over TCP: names are looked up as if there were no proxy. DNS
// over UDP is not taken because nothing but TCP is.
const dnsPort = 53

// Addresses of a machine to itself. Envoy's calls from one of them are for the
// application, not for another hop through Envoy.
var (
	loopbackIPv4 = netip.MustParsePrefix("127.0.0.0/8")
	loopbackIPv6 = netip.MustParsePrefix("::1/128")
)

type table struct {
	name   string
	chains []chain
}

// A chain is entered where its hook is, or by a rule of another chain if it has none.
type chain struct {
	name  string
	hook  *hook
	rules []rule
}

type hook struct {
	name     string
	kind     nftables.ChainType
	number   *nftables.ChainHook
	priority *nftables.ChainPriority
}

var (
	prerouting = &hook{"prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest}
	output     = &hook{"output", nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest}
	input      = &hook{"input", nftables.ChainTypeFilter, nftables.ChainHookInput, nftables.ChainPriorityFilter}
)

// tables returns what a configuration comes to.
func (c Config) tables() []table {
	var all []table
	if c.Inbound != nil {
		all = append(all, c.inbound())
	}
	if c.Outbound != nil {
		all = append(all, c.outbound())
	}
	return all
}

func (c Config) inbound() table {
	const take = "take"
	arriving := []rule{{inputInterface("lo"), leave}}
	for _, name := range sorted(c.ExcludedInterfaces, strings.Compare) {
		arriving = append(arriving, rule{inputInterface(name), leave})
	}
	arriving = append(arriving, rule{isTCP, goTo(take)})

	// A Pod that calls a service which it is itself an endpoint of: Envoy calls the Pod's
	// own address, and is to be answered by Envoy as it would be by that of another Pod.
	own := func(loopback netip.Prefix) rule {
		return rule{
			outputInterface("lo"), socketUser(c.EnvoyUID),
			sourceNotIn(loopback), destinationNotIn(loopback), goTo(take),
		}
	}

	taken := append([]rule{{notFirst, leave}}, c.otherFamily()...)
	for _, ports := range sorted(c.Inbound.ExcludedPorts, comparePorts) {
		taken = append(taken, rule{destinationPort(ports), leave})
	}
	for _, ports := range sorted(c.Inbound.Ports, comparePorts) {
		taken = append(taken, rule{destinationPort(ports), count, redirectTo(c.Inbound.To)})
	}
	if len(c.Inbound.Ports) == 0 {
		taken = append(taken, rule{isTCP, count, redirectTo(c.Inbound.To)})
	}
	return table{InboundTable, []chain{
		{take, nil, taken},
		{"prerouting", prerouting, arriving},
		{"output", output, []rule{own(loopbackIPv4), own(loopbackIPv6)}},
		guard(c.Inbound.To),
	}}
}

func (c Config) outbound() table {
	rules := []rule{{outputInterface("lo"), leave}, {socketUser(c.EnvoyUID), leave}, {notFirst, leave}}
	rules = append(rules, c.otherFamily()...)
	for _, name := range sorted(c.ExcludedInterfaces, strings.Compare) {
		rules = append(rules, rule{outputInterface(name), leave})
	}
	for _, uid := range sorted(c.Outbound.ExcludedUIDs, cmp.Compare[uint32]) {
		rules = append(rules, rule{socketUser(uid), leave})
	}
	for _, gid := range sorted(c.Outbound.ExcludedGIDs, cmp.Compare[uint32]) {
		rules = append(rules, rule{socketGroup(gid), leave})
	}
	excluded := append([]Ports{{dnsPort, dnsPort}}, c.Outbound.ExcludedPorts...)
	for _, ports := range sorted(excluded, comparePorts) {
		rules = append(rules, rule{destinationPort(ports), leave})
	}
	for _, prefix := range sorted(c.Outbound.ExcludedCIDRs, netip.Prefix.Compare) {
		rules = append(rules, rule{destinationIn(prefix), leave})
	}
	rules = append(rules, rule{isTCP, count, redirectTo(c.Outbound.To)})
	return table{OutboundTable, []chain{{"output", output, rules}, guard(c.Outbound.To)}}
}

// otherFamily leaves connections of a family alone that is not to be taken.
func (c Config) otherFamily() []rule {
	var rules []rule
	if !c.IPv4 {
		rules = append(rules, rule{isIPv4, leave})
	}
	if !c.IPv6 {
		rules = append(rules, rule{isIPv6, leave})
	}
	return rules
}

// guard refuses connections that were made to Envoy's port itself. Their original
// destination is that port: Envoy would pass them on to itself, again and again.
func guard(port uint16) chain {
	return chain{"input", input, []rule{{destinationPort(Ports{port, port}), notRedirected, refuse}}}
}

// Text returns the transaction that Apply makes in the language of nft(8): `nft -f`
// would do the same.
func (c Config) Text() string {
	var b strings.Builder
	b.WriteString(RemovalText())
	for _, table := range c.tables() {
		fmt.Fprintf(&b, "table inet %s {\n", table.name)
		for i, chain := range table.chains {
			if i > 0 {
				b.WriteString("\n")
			}
			fmt.Fprintf(&b, "\tchain %s {\n", chain.name)
			if hook := chain.hook; hook != nil {
				fmt.Fprintf(&b, "\t\ttype %s hook %s priority %d; policy accept;\n", hook.kind, hook.name, *hook.priority)
			}
			for _, rule := range chain.rules {
				fmt.Fprintf(&b, "\t\t%s\n", rule)
			}
			b.WriteString("\t}\n")
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// RemovalText returns the transaction that Remove makes in the language of nft(8).
func RemovalText() string {
	var b strings.Builder
	for _, name := range tableNames {
		// Before Linux 6.3 only a table that is there can be deleted.
		fmt.Fprintf(&b, "table inet %s\ndelete table inet %s\n", name, name)
	}
	return b.String()
}
