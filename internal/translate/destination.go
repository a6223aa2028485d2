package translate

import (
	"slices"
	"strconv"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// resolve returns the name of a destination's cluster. One that does not exist is told
// and keeps its name, which Envoy answers 503; it is not among the clusters to wait for.
func (p *portRoutes) resolve(d *mesh.Destination) string {
	subset := d.Subset
	if subset == "" && len(d.Labels) > 0 {
		subset = mesh.LabelText(d.Labels)
	}
	port, problem := p.destinationPort(d)
	name := ClusterName(d.Host, port, subset)
	switch {
	case problem != nil:
		p.find(*problem)
	case d.Subset == "" || p.hasSubset(d):
		p.requires = append(p.requires, name)
	}
	return name
}

// destinationPort chooses the port as Istio does: the one named, the only one, or else
// the one that was called.
func (p *portRoutes) destinationPort(d *mesh.Destination) (uint16, *message.Finding) {
	wanted := d.Port
	if wanted == 0 {
		wanted = p.port
	}
	service := p.serviceOf(d.Host)
	if service == nil {
		finding := message.HostNotFound(p.object, p.field(d, ".host"), d.Host)
		return wanted, &finding
	}
	if d.Port == 0 {
		p.owners = append(p.owners, service.Origin.ObjectID)
		if len(service.Ports) == 1 {
			return service.Ports[0].Number, nil
		}
	}
	if _, found := service.Port(wanted); !found {
		finding := message.PortNotFound(p.object, p.field(d, ".port"), d.Host, d.Port, portNumbers(service))
		return wanted, &finding
	}
	return wanted, nil
}

// hasSubset reports whether the caller has a policy with the destination's subset. That
// other callers have, is their own matter; that nobody has, is told.
func (p *portRoutes) hasSubset(d *mesh.Destination) bool {
	policy := p.policy(d.Host)
	if _, found := policy.Subset(d.Subset); found {
		return true
	}
	for _, other := range p.view.Policies(d.Host) {
		if _, found := other.Subset(d.Subset); found {
			return false
		}
	}
	p.find(message.SubsetNotFound(p.object, p.field(d, ".subset"), d.Host, d.Subset, subsetNames(policy)))
	return false
}

// field is where a destination says something; one of a RouteRule has other fields.
func (p *portRoutes) field(d *mesh.Destination, name string) string {
	if p.table.Rule {
		return d.Path
	}
	return d.Path + name
}

func portNumbers(service *mesh.Service) []string {
	numbers := make([]string, len(service.Ports))
	for i, port := range service.Ports {
		numbers[i] = strconv.Itoa(int(port.Number))
	}
	return numbers
}

func subsetNames(policy *mesh.Policy) []string {
	if policy == nil {
		return nil
	}
	names := make([]string, len(policy.Subsets))
	for i, subset := range policy.Subsets {
		names[i] = subset.Name
	}
	slices.Sort(names)
	return names
}

// share is a destination with its part of the requests and its own header operations.
func share(cluster string, d *mesh.Destination) *routev3.WeightedCluster_ClusterWeight {
	built := &routev3.WeightedCluster_ClusterWeight{
		Name:                    cluster,
		Weight:                  wrapperspb.UInt32(max(d.Weight, 1)),
		RequestHeadersToAdd:     headersToAdd(d.Headers.Request),
		RequestHeadersToRemove:  d.Headers.Request.Remove,
		ResponseHeadersToAdd:    headersToAdd(d.Headers.Response),
		ResponseHeadersToRemove: d.Headers.Response.Remove,
	}
	if d.Headers.Authority != "" {
		built.HostRewriteSpecifier = &routev3.WeightedCluster_ClusterWeight_HostRewriteLiteral{HostRewriteLiteral: d.Headers.Authority}
	}
	return built
}

func changesHeaders(s *routev3.WeightedCluster_ClusterWeight) bool {
	return s.HostRewriteSpecifier != nil || len(s.RequestHeadersToAdd)+len(s.RequestHeadersToRemove)+
		len(s.ResponseHeadersToAdd)+len(s.ResponseHeadersToRemove) > 0
}
