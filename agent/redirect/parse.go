package redirect

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"fairlead.dev/fairlead/agent/flags"
)

// split returns the members of lists that are separated by commas.
func split(lists []string) []string {
	var members []string
	for _, list := range lists {
		for member := range strings.SplitSeq(list, ",") {
			if member = strings.TrimSpace(member); member != "" {
				members = append(members, member)
			}
		}
	}
	return members
}

// each parses every member of a flag's lists.
func each[T any](found *flags.Problems, flag string, lists []string, parse func(string) (T, error)) []T {
	var values []T
	for _, member := range split(lists) {
		value, err := parse(member)
		if err != nil {
			found.Add(flag, "%w", err)
			continue
		}
		values = append(values, value)
	}
	return values
}

// words parses lists of some of the words that are allowed, at least one.
func words(found *flags.Problems, flag string, lists []string, allowed ...string) []string {
	if len(split(lists)) == 0 {
		found.Add(flag, "is empty: give one or more of %s", strings.Join(allowed, ", "))
	}
	return each(found, flag, lists, func(word string) (string, error) {
		if !slices.Contains(allowed, word) {
			return "", fmt.Errorf("%q is none of %s", word, strings.Join(allowed, ", "))
		}
		return word, nil
	})
}

func parsePorts(text string) (Ports, error) {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	from, err := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(last, 10, 16)
	if err != nil || err2 != nil || from == 0 || to < from {
		return Ports{}, fmt.Errorf("%q is no port from 1 to 65535, nor a range of ports such as 9000-9100", text)
	}
	return Ports{First: uint16(from), Last: uint16(to)}, nil
}

// parsePrefix takes an address as well, and refuses a prefix of which some bits would
// not count: it may be a slip.
func parsePrefix(text string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(text); err == nil && address.Zone() == "" {
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a range of them such as 10.0.0.0/8 or fd00::/8", text)
	case prefix.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%q is a range of IPv4 addresses written as IPv6: write it as IPv4", text)
	case prefix != prefix.Masked():
		return netip.Prefix{}, fmt.Errorf("%q has bits beyond its length: write %s or %s", text, prefix.Masked(), prefix.Addr())
	}
	return prefix, nil
}

// parseID parses a user or group. The highest number means "none" to the kernel.
func parseID(text string) (uint32, error) {
	id, err := strconv.ParseUint(text, 10, 32)
	if err != nil || id == 1<<32-1 {
		return 0, fmt.Errorf("%q is no number of a user or group: names are not looked up", text)
	}
	return uint32(id), nil
}

// parseInterface checks a name as Linux does (dev_valid_name), whose longest has 15 bytes.
func parseInterface(text string) (string, error) {
	name := strings.TrimSuffix(text, "*")
	if name == "" || len(text) > 15 || name == "." || name == ".." || strings.ContainsAny(name, "/:*\"\\ \t\n") {
		return "", fmt.Errorf("%q is no name of an interface, nor the beginning of one followed by *", text)
	}
	return text, nil
}
