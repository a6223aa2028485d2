package validate

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
)

// tlsRoute checks a route that goes by server names, which have to lie within the hosts.
func (c *checker) tlsRoute(path *field.Path, route *v1alpha1.TLSRoute, hosts []string) {
	if len(route.Match) == 0 {
		c.invalid(path.Child("match"), "there is no match", "give at least one, with sniHosts")
	}
	for i := range route.Match {
		match, at := &route.Match[i], path.Child("match").Index(i)
		if len(match.SNIHosts) == 0 {
			c.invalid(at.Child("sniHosts"), "there is no name", "give at least one")
		}
		for j, name := range match.SNIHosts {
			at := at.Child("sniHosts").Index(j)
			c.namePattern(at, name)
			within := func(host string) bool {
				both, meet := mesh.Meet(strings.ToLower(name), c.qualified(host))
				return meet && both == strings.ToLower(name)
			}
			if !slices.ContainsFunc(hosts, within) {
				c.conflict(at, fmt.Sprintf("%q is none of spec.hosts", name), "add it there, or take a name that lies within one of them")
			}
		}
		c.connectionMatch(at, &v1alpha1.L4MatchAttributes{
			DestinationSubnets: match.DestinationSubnets, Port: match.Port,
			SourceLabels: match.SourceLabels, SourceNamespace: match.SourceNamespace, Gateways: match.Gateways,
		})
	}
	c.shares(path.Child("route"), route.Route)
}

func (c *checker) tcpRoute(path *field.Path, route *v1alpha1.TCPRoute) {
	for i := range route.Match {
		c.connectionMatch(path.Child("match").Index(i), &route.Match[i])
	}
	c.shares(path.Child("route"), route.Route)
}

func (c *checker) connectionMatch(path *field.Path, match *v1alpha1.L4MatchAttributes) {
	for i, subnet := range match.DestinationSubnets {
		c.subnet(path.Child("destinationSubnets").Index(i), subnet)
	}
	if match.SourceSubnet != "" {
		c.subnet(path.Child("sourceSubnet"), match.SourceSubnet)
	}
	if match.Port != 0 {
		c.port(path.Child("port"), match.Port)
	}
	c.labels(path.Child("sourceLabels"), match.SourceLabels)
	if problems := validation.IsDNS1123Label(match.SourceNamespace); match.SourceNamespace != "" && len(problems) > 0 {
		c.invalid(path.Child("sourceNamespace"), fmt.Sprintf("%q is not a namespace's name", match.SourceNamespace), "name one namespace, without wildcards")
	}
	c.gateways(path.Child("gateways"), match.Gateways)
}

func (c *checker) subnet(path *field.Path, text string) {
	if _, err := Subnet(text); err != nil {
		c.invalid(path, fmt.Sprintf("%q is not an address or a range of addresses", text), "write 10.1.2.3 or 10.1.0.0/16, or the same of IPv6")
	}
}

// Subnet reads an address with or without the length of its prefix.
func Subnet(text string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(address.Unmap(), address.Unmap().BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	return prefix.Masked(), err
}

// shares checks destinations of connections, as those of requests.
func (c *checker) shares(path *field.Path, routes []v1alpha1.RouteDestination) {
	if len(routes) == 0 {
		c.invalid(path, "there is no destination", "give at least one")
	}
	destinations := make([]v1alpha1.HTTPRouteDestination, len(routes))
	for i := range routes {
		destinations[i] = v1alpha1.HTTPRouteDestination{Destination: routes[i].Destination, Weight: routes[i].Weight}
	}
	c.destinations(path, destinations)
}
