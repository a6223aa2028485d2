package translate

import "fairlead.dev/fairlead/internal/mesh"

// tables returns the route tables of a host that the caller's namespace sees: first the one
// in force, after it those that lost the host to it.
func (b *build) tables(host string) []*mesh.RouteTable {
	return mesh.Winners(b.view.Routes(host), host, b.unit.Namespace)
}

// policy returns the policy that the caller has for a host, nil for none.
func (b *build) policy(host string) *mesh.Policy {
	return mesh.PolicyFor(b.view, host, b.unit.Namespace, b.labels)
}

// exported returns the namespaces whose callers may get something of their own of a host,
// besides those that no object names.
func exported(view mesh.View, host string) []string {
	var all []string
	add := func(from string, exportTo []string) {
		all = append(append(all, from), exportTo...)
	}
	for _, table := range view.Routes(host) {
		add(table.Origin.Namespace, table.ExportTo)
	}
	for _, policy := range view.Policies(host) {
		add(policy.Origin.Namespace, policy.ExportTo)
	}
	return all
}
