package translate

import (
	"net/netip"
	"slices"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// tables returns the route tables of a host that the caller's namespace sees: first the one
// in force, after it those that lost the host to it.
func (b *build) tables(host string) []*mesh.RouteTable {
	return mesh.Winners(b.view.Routes(host), host, b.unit.Namespace)
}

// policy returns the policy that the caller has for a host, nil for none.
func (b *build) policy(host string) *mesh.Policy {
	return mesh.PolicyFor(b.view, host, b.unit.Namespace, b.labels)
}

// service returns the service that the caller's namespace gets for a host, nil for none.
func (b *build) service(host string) *mesh.Service {
	return mesh.ServiceFor(b.view.Claims(host), b.unit.Namespace)
}

// holds reports whether an address and port lead the caller to a service: Kubernetes' own
// has its addresses alone, of others the oldest that the caller sees.
func (b *build) holds(service *mesh.Service, address netip.Addr, port uint16) bool {
	if service.Name != "" {
		return true
	}
	for _, other := range b.view.Addressed(address) {
		if _, has := other.Port(port); has && mesh.Visible(other.ExportTo, b.unit.Namespace) {
			return other == service
		}
	}
	return false
}

// findTaken tells ServiceEntries that have a host, or an address of it, in vain.
func (b *build) findTaken(service *mesh.Service) {
	claims := b.view.Claims(b.unit.Host)
	for i, claim := range claims {
		id := claim.Origin.ObjectID
		if claim.Name != "" {
			continue
		}
		if i > 0 && mesh.Eclipses(claims[0].ExportTo, claim.ExportTo) && claims[0].Namespace == claim.Namespace || i > 0 && claims[0].Name != "" {
			b.find(message.HostTaken(id, "spec.hosts", claim.Host, claims[0].Origin.ObjectID))
		} else if other := shortName(b.view, claim.Host); other != nil {
			b.find(message.HostTaken(id, "spec.hosts", claim.Host, other.Origin.ObjectID))
		}
	}
	if service == nil || service.Name != "" {
		return
	}
	for _, address := range service.Addresses {
		for _, port := range service.Ports {
			if first := b.view.Addressed(address)[0]; !b.holds(service, address, port.Number) && mesh.Visible(first.ExportTo, b.unit.Namespace) {
				b.find(message.HostTaken(service.Origin.ObjectID, "spec.addresses", addressKey(address, port.Number), first.Origin.ObjectID))
			}
		}
	}
}

// sees reports whether workloads of a namespace are told of a service.
func sees(view mesh.View, namespace string, service *mesh.Service) bool {
	scope := mesh.Sees(view, namespace)
	return len(scope) == 0 || slices.Contains(scope, service.Namespace)
}

// exported returns the namespaces whose callers may get something of their own of a host,
// besides those that no object names.
func exported(view mesh.View, host string) []string {
	var all []string
	add := func(from string, exportTo []string) {
		all = append(append(all, from), exportTo...)
	}
	for _, service := range view.Claims(host) {
		add(service.Namespace, service.ExportTo)
	}
	for _, table := range view.Routes(host) {
		add(table.Origin.Namespace, table.ExportTo)
	}
	for _, policy := range view.Policies(host) {
		add(policy.Origin.Namespace, policy.ExportTo)
	}
	return all
}
