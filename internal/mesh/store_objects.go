package mesh

import (
	"maps"
	"slices"
)

// replaceTable puts a route table, or nothing, in the place of what stood there
// before. What is derived from route tables depends on which of them wins a host, so
// that every table that shares a host with it is looked at again; no other is.
func (s *Store) replaceTable(id ObjectID, table *RouteTable) {
	before := s.tables[id]
	s.bindTable(before, table)
	hosts := map[string]struct{}{}
	for _, t := range []*RouteTable{before, table} {
		if t != nil {
			for _, host := range t.Hosts {
				hosts[host] = struct{}{}
			}
		}
	}
	neighbours := map[ObjectID]struct{}{id: {}}
	for host := range hosts {
		for _, t := range s.byHost[host] {
			neighbours[t.place()] = struct{}{}
		}
	}

	delete(s.tables, id)
	if table != nil {
		s.tables[id] = table
	}
	for host := range hosts {
		s.replaceTableOf(host, before, table)
	}
	for neighbour := range neighbours {
		for host := range s.labelled.set(neighbour, s.selectionsOf(neighbour)) {
			s.mark(KindLabelSubsets, host)
		}
	}
}

func (s *Store) replaceTableOf(host string, before, after *RouteTable) {
	tables := slices.Clone(s.byHost[host])
	if before != nil {
		tables = slices.DeleteFunc(tables, func(t *RouteTable) bool { return t == before })
	}
	if after != nil && slices.Contains(after.Hosts, host) && AppliesTo(after.Gateways, MeshGateway) {
		tables = append(tables, after)
		slices.SortFunc(tables, compareTables)
	}
	if len(tables) == 0 {
		delete(s.byHost, host)
	} else {
		s.byHost[host] = tables
	}
	s.markCovered(KindRoutes, host)
	if s.routed.set(host, len(tables) > 0) {
		s.mark(KindRoutedHosts, "")
	}
	if s.sources.set(host, slices.ContainsFunc(inForce(tables), (*RouteTable).looksAtCallers)) {
		s.mark(KindSourceHosts, "")
	}
	s.refreshNarrow(host)
	if !maps.Equal(before.destinations(), after.destinations()) {
		s.markCovered(KindDestinations, host)
	}
}

// compareTables orders the tables of a host: the oldest VirtualService wins it, and the
// RouteRules have it where there is none.
func compareTables(a, b *RouteTable) int {
	switch {
	case a.Rule != b.Rule && b.Rule:
		return -1
	case a.Rule != b.Rule:
		return 1
	}
	return precedence(a.Origin, b.Origin)
}

// inForce returns those of a host's tables, by age, that are in force for some caller: up to
// the first that everybody sees.
func inForce(tables []*RouteTable) []*RouteTable {
	if i := slices.IndexFunc(tables, func(t *RouteTable) bool { return len(t.ExportTo) == 0 }); i >= 0 {
		return tables[:i+1]
	}
	return tables
}

// selectionsOf returns the label sets that an object's destinations select, if it is in
// force for any of its hosts: otherwise nothing is routed by it.
func (s *Store) selectionsOf(id ObjectID) []selection {
	table := s.tables[id]
	wins := func(host string) bool { return slices.Contains(inForce(s.byHost[host]), table) }
	if table == nil || !table.atGateways() && !slices.ContainsFunc(table.Hosts, wins) {
		return nil
	}
	var selections []selection
	table.EachDestination(func(destination *Destination, origin Origin) {
		if len(destination.Labels) > 0 {
			selections = append(selections, selection{destination.Host, destination.Labels, origin.ObjectID})
		}
	})
	return selections
}

// EachDestination visits everything that a table leads to, with the object that says so.
func (t *RouteTable) EachDestination(visit func(*Destination, Origin)) {
	for i := range t.HTTP {
		route := &t.HTTP[i]
		for j := range route.Destinations {
			visit(&route.Destinations[j], t.OriginOf(route))
		}
		for j := range route.Mirrors {
			visit(&route.Mirrors[j].Destination, t.OriginOf(route))
		}
	}
	for _, routes := range [][]ConnectionRoute{t.TLS, t.TCP} {
		for i := range routes {
			for j := range routes[i].Destinations {
				visit(&routes[i].Destinations[j], t.Origin)
			}
		}
	}
}

// SetPolicy adds or replaces what an object says about the traffic to a host.
func (s *Store) SetPolicy(policy *Policy) {
	s.say(policy.Origin.ObjectID, policy.Origin.Generation, func(id ObjectID) { s.replacePolicy(id, policy) })
}

// DeletePolicy removes what an object says about the traffic to a host.
func (s *Store) DeletePolicy(id ObjectID) {
	s.say(id, DeletedGeneration, func(id ObjectID) { s.replacePolicy(id, nil) })
}

func (s *Store) replacePolicy(id ObjectID, policy *Policy) {
	before := s.policies[id]
	delete(s.policies, id)
	if policy != nil {
		s.policies[id] = policy
	}
	if before != nil && (policy == nil || policy.Host != before.Host) {
		s.replacePolicyOf(before.Host, before, nil)
		before = nil
	}
	if policy != nil {
		s.replacePolicyOf(policy.Host, before, policy)
	}
}

func (s *Store) replacePolicyOf(host string, before, after *Policy) {
	policies := slices.DeleteFunc(slices.Clone(s.policyOf[host]), func(p *Policy) bool { return p == before })
	if after != nil {
		policies = append(policies, after)
		slices.SortFunc(policies, comparePolicies)
	}
	if len(policies) == 0 {
		delete(s.policyOf, host)
	} else {
		s.policyOf[host] = policies
	}
	s.markCovered(KindPolicies, host)
	s.refreshNarrow(host)
	s.refreshLooks(host)
	if s.policyHosts.set(host, len(policies) > 0) {
		s.mark(KindPolicyHosts, "")
	}
}

// comparePolicies has those for some callers before those for all.
func comparePolicies(a, b *Policy) int {
	if forAll := len(a.Selector) == 0; forAll != (len(b.Selector) == 0) {
		if forAll {
			return 1
		}
		return -1
	}
	return precedence(a.Origin, b.Origin)
}

// hostSet is a set of hosts that is read sorted far more often than it changes. What
// sorted returned is never changed afterwards.
type hostSet struct {
	hosts []string
}

// set puts the host in or out, and reports whether that changed the set.
func (h *hostSet) set(host string, in bool) bool {
	at, found := slices.BinarySearch(h.hosts, host)
	switch {
	case in && !found:
		h.hosts = slices.Insert(slices.Clone(h.hosts), at, host)
	case !in && found:
		h.hosts = slices.Delete(slices.Clone(h.hosts), at, at+1)
	}
	return in != found
}

func (h *hostSet) sorted() []string { return h.hosts }

func precedence(a, b Origin) int {
	switch {
	case a.Older(b):
		return -1
	case b.Older(a):
		return 1
	}
	return 0
}
