package convert

import (
	"fmt"
	"net/netip"
	"strings"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/validate"
)

// gateways completes the names of gateways; the word for all sidecars stays.
func (c names) gateways(from []string) []string {
	var to []string
	for _, gateway := range from {
		namespace, name, both := strings.Cut(gateway, "/")
		switch {
		case gateway == mesh.MeshGateway:
		case !both:
			gateway = c.namespace + "/" + gateway
		case namespace == ".":
			gateway = c.namespace + "/" + name
		}
		to = append(to, gateway)
	}
	return to
}

func (c names) tlsRoute(path string, from *v1alpha1.TLSRoute) mesh.ConnectionRoute {
	route := mesh.ConnectionRoute{Path: path, Destinations: c.connectionDestinations(path, from.Route)}
	for i := range from.Match {
		match := c.connectionMatch(fmt.Sprintf("%s.match[%d]", path, i), &v1alpha1.L4MatchAttributes{
			DestinationSubnets: from.Match[i].DestinationSubnets, Port: from.Match[i].Port, Gateways: from.Match[i].Gateways,
			SourceLabels: from.Match[i].SourceLabels, SourceNamespace: from.Match[i].SourceNamespace,
		})
		for _, name := range from.Match[i].SNIHosts {
			match.SNI = append(match.SNI, strings.ToLower(name))
		}
		route.Matches = append(route.Matches, match)
	}
	return route
}

func (c names) tcpRoute(path string, from *v1alpha1.TCPRoute) mesh.ConnectionRoute {
	route := mesh.ConnectionRoute{Path: path, Destinations: c.connectionDestinations(path, from.Route)}
	for i := range from.Match {
		route.Matches = append(route.Matches, c.connectionMatch(fmt.Sprintf("%s.match[%d]", path, i), &from.Match[i]))
	}
	return route
}

func (c names) connectionMatch(path string, from *v1alpha1.L4MatchAttributes) mesh.ConnectionMatch {
	return mesh.ConnectionMatch{
		Path:            path,
		Port:            uint16(from.Port),
		Destinations:    subnets(from.DestinationSubnets...),
		Sources:         subnets(from.SourceSubnet),
		SourceLabels:    from.SourceLabels,
		SourceNamespace: from.SourceNamespace,
		Gateways:        c.gateways(from.Gateways),
	}
}

func (c names) connectionDestinations(path string, from []v1alpha1.RouteDestination) []mesh.Destination {
	to := make([]mesh.Destination, len(from))
	for i := range from {
		to[i] = c.destination(fmt.Sprintf("%s.route[%d].destination", path, i), &from[i].Destination)
		to[i].Weight = weight(from[i].Weight, len(from))
	}
	return to
}

// subnets reads ranges of addresses that were found valid.
func subnets(from ...string) []netip.Prefix {
	var to []netip.Prefix
	for _, text := range from {
		if prefix, err := validate.Subnet(text); err == nil {
			to = append(to, prefix)
		}
	}
	return to
}
