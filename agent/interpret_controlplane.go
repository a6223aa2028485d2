package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"fairlead.dev/fairlead/agent/bootstrap"
	"fairlead.dev/fairlead/agent/flags"
)

func (s *settings) interpretControlPlane(found *flags.Problems) {
	var err error
	switch {
	case s.xdsSocket == "" && s.xdsAddress == "":
		found.Add("xds-socket", "is missing: give the path of the manager's Unix socket, or set %s; or give the manager's --xds-address", s.EnvOf["xds-socket"])
	case s.xdsSocket != "" && s.xdsAddress != "":
		found.Add("xds-socket", "and --xds-address are both given: leave one of them, since there is one manager to talk to")
	case s.xdsSocket != "":
		if s.xdsSocket, err = socketPath(s.xdsSocket, "give the path on which the manager listens"); err != nil {
			found.Add("xds-socket", "%w", err)
		}
	default:
		if err := checkXDSAddress(s.xdsAddress); err != nil {
			found.Add("xds-address", "%w", err)
		}
	}
	if s.xdsServerName != "" && s.xdsAddress == "" {
		found.Add("xds-server-name", "is %q, but a Unix socket has no certificate: leave it, or give --xds-address", s.xdsServerName)
	} else if err := checkServerName(s.xdsServerName); err != nil {
		found.Add("xds-server-name", "%w", err)
	}
	if !slices.Contains(bootstrap.Protocols, bootstrap.Protocol(s.xdsProtocol)) {
		found.Add("xds-protocol", "is %q: use one of %v", s.xdsProtocol, bootstrap.Protocols)
	}
	families := []bootstrap.DNSFamily{bootstrap.DNSAuto, bootstrap.DNSv4, bootstrap.DNSv6, bootstrap.DNSAll}
	if !slices.Contains(families, bootstrap.DNSFamily(s.dnsFamily)) {
		found.Add("dns-family", "is %q: use auto, v4, v6 or all", s.dnsFamily)
	}
	b := &s.bootstrap
	b.XDSSocket, b.XDSAddress, b.XDSServerName = s.xdsSocket, s.xdsAddress, s.xdsServerName
	b.Protocol, b.InitialFetchTimeout, b.DNSFamily = bootstrap.Protocol(s.xdsProtocol), s.initialFetchTimeout, bootstrap.DNSFamily(s.dnsFamily)
	b.ChecksHealth = s.checksHealth && b.Protocol != bootstrap.REST
}

func checkXDSAddress(text string) error {
	const form = "write HOST:PORT, such as fairlead-manager.fairlead-system.svc:15012 or [2001:db8::1]:15012"
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return fmt.Errorf("is %q: %s", text, form)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("is %q: %q is not a port from 1 to 65535: %s", text, port, form)
	}
	if address, err := netip.ParseAddr(host); err == nil {
		if address.IsUnspecified() || address.Zone() != "" {
			return fmt.Errorf("is %q: %s is not where a manager can be reached: %s", text, host, form)
		}
		return nil
	}
	if !isHostName(host) {
		return fmt.Errorf("is %q: %q is neither a host's name nor an address: %s", text, host, form)
	}
	return nil
}

// isHostName lets a name end with the root's dot, with which search domains are not tried.
func isHostName(text string) bool {
	text = strings.TrimSuffix(strings.ToLower(text), ".")
	return len(text) <= 253 && dnsName.MatchString(text)
}

func checkServerName(text string) error {
	if text == "" {
		return nil
	}
	problem := errors.New("write a DNS name, an address, or an identity such as spiffe://cluster.local/ns/fairlead-system/sa/fairlead-manager")
	if strings.Contains(text, "://") {
		if u, err := url.Parse(text); err != nil || u.Scheme != "spiffe" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			return fmt.Errorf("is %q, which is no identity: %w", text, problem)
		}
		return nil
	}
	if _, err := netip.ParseAddr(text); err != nil && !isHostName(text) {
		return fmt.Errorf("is %q: %w", text, problem)
	}
	return nil
}
