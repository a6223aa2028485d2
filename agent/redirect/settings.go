package redirect

import (
	"errors"
	"slices"

	"github.com/spf13/pflag"

	"fairlead.dev/fairlead/agent/flags"
)

// everything is what --inbound-ports may say in place of a list.
const everything = "all"

// Settings are the flags of "fairlead-agent redirect" as they were given, and what they
// mean once Parse has returned without an error.
type Settings struct {
	flags.Set

	// Remove asks for Remove in place of Apply, DryRun to print what either would do.
	Remove, DryRun bool
	// Config is what the flags mean.
	Config Config

	directions, families, interfaces []string
	inboundPort, outboundPort        uint16
	inboundPorts, excludedInbound    []string
	excludedOutbound, excludedCIDRs  []string
	envoyUID                         uint32
	excludedUIDs, excludedGIDs       []string
}

// NewSettings returns the flags with their defaults.
func NewSettings() *Settings {
	s := &Settings{Set: flags.New("redirect")}
	s.AddWithoutEnv("What to do", func(f *pflag.FlagSet) {
		f.BoolVar(&s.Remove, "remove", false, "take away the rules of both directions, whatever the other flags say")
		f.BoolVar(&s.DryRun, "dry-run", false, "print the rules in the language of nft(8), and change nothing")
	})
	s.Group("Both directions", func(f *pflag.FlagSet) {
		f.StringArrayVar(&s.directions, "directions", []string{"inbound", "outbound"}, "`which` connections to take; a direction left out loses the rules that it had")
		f.StringArrayVar(&s.families, "families", []string{"ipv4", "ipv6"}, "`which` addresses to take connections of. Envoy must listen for each")
		f.Uint32Var(&s.envoyUID, "envoy-uid", 1337, "`user` that Envoy runs as, and no application: its connections are not taken")
		f.StringArrayVar(&s.interfaces, "exclude-interfaces", nil, "`names` of interfaces whose traffic is left alone; docker* are all that begin so")
	})
	s.Group("Inbound", func(f *pflag.FlagSet) {
		f.Uint16Var(&s.inboundPort, "inbound-port", 15006, "`port` on which Envoy listens for inbound connections")
		f.StringArrayVar(&s.inboundPorts, "inbound-ports", []string{everything}, "`ports` to take, such as 80,9000-9100")
		f.StringArrayVar(&s.excludedInbound, "exclude-inbound-ports", []string{"15020", "15021", "15090"}, "`ports` to leave alone, even of those to take; the sidecar's own for status and metrics")
	})
	s.Group("Outbound", func(f *pflag.FlagSet) {
		f.Uint16Var(&s.outboundPort, "outbound-port", 15001, "`port` on which Envoy listens for outbound connections")
		f.StringArrayVar(&s.excludedOutbound, "exclude-outbound-ports", nil, "`ports` to leave alone; 53 always is")
		f.StringArrayVar(&s.excludedCIDRs, "exclude-outbound-cidrs", nil, "`addresses` to leave alone, such as 169.254.169.254 or 10.0.0.0/8")
		f.StringArrayVar(&s.excludedUIDs, "exclude-uids", nil, "`users`, as numbers, whose connections are left alone")
		f.StringArrayVar(&s.excludedGIDs, "exclude-gids", nil, "`groups`, as numbers, whose connections are left alone")
	})
	return s
}

// Help says what the command does and lists its flags.
func (s *Settings) Help() string {
	return `Writes nftables rules into the network namespace that it runs in: TCP connections of the
workload go to Envoy, which learns whom they were for. It needs the capability NET_ADMIN,
and no other program. Run again, it replaces its rules in one step.

Loopback, Envoy's own connections, DNS and everything but TCP are left alone.

Usage:
  fairlead-agent redirect [flags]
` + s.Usages() + `Lists are separated by commas; a flag that takes one may be repeated.

Exit status: 0 if the rules are as asked for, 1 if the kernel refused, 2 if the flags are wrong.
`
}

// Parse reads flags and environment. It returns every problem that it finds.
func (s *Settings) Parse(args []string, lookupEnv func(string) (string, bool)) error {
	refused, err := s.Read(args, lookupEnv)
	if err != nil {
		return err
	}
	return errors.Join(append(refused, s.interpret()...)...)
}

func (s *Settings) interpret() []error {
	var found flags.Problems
	directions := words(&found, "directions", s.directions, "inbound", "outbound")
	families := words(&found, "families", s.families, "ipv4", "ipv6")
	s.Config = Config{
		EnvoyUID: s.envoyUID,
		IPv4:     slices.Contains(families, "ipv4"), IPv6: slices.Contains(families, "ipv6"),
		ExcludedInterfaces: each(&found, "exclude-interfaces", s.interfaces, parseInterface),
	}
	inbound := Inbound{
		To:            s.inboundPort,
		ExcludedPorts: each(&found, "exclude-inbound-ports", s.excludedInbound, parsePorts),
	}
	if ports := split(s.inboundPorts); !slices.Equal(ports, []string{everything}) {
		if len(ports) == 0 {
			found.Add("inbound-ports", "names no port: give some, or %q, or leave inbound out of --directions", everything)
		}
		inbound.Ports = each(&found, "inbound-ports", s.inboundPorts, parsePorts)
	}
	outbound := Outbound{
		To:            s.outboundPort,
		ExcludedPorts: each(&found, "exclude-outbound-ports", s.excludedOutbound, parsePorts),
		ExcludedCIDRs: each(&found, "exclude-outbound-cidrs", s.excludedCIDRs, parsePrefix),
		ExcludedUIDs:  each(&found, "exclude-uids", s.excludedUIDs, parseID),
		ExcludedGIDs:  each(&found, "exclude-gids", s.excludedGIDs, parseID),
	}
	if s.inboundPort == 0 {
		found.Add("inbound-port", "is 0: give the port of Envoy's listener, 15006 as a rule")
	}
	if s.outboundPort == 0 {
		found.Add("outbound-port", "is 0: give the port of Envoy's listener, 15001 as a rule")
	}
	if s.inboundPort == s.outboundPort && s.inboundPort != 0 {
		found.Add("inbound-port", "and --outbound-port are both %d: Envoy needs a listener for each", s.inboundPort)
	}
	if slices.Contains(directions, "inbound") {
		s.Config.Inbound = &inbound
	}
	if slices.Contains(directions, "outbound") {
		s.Config.Outbound = &outbound
	}
	return found
}
