package mesh

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// SetRouteTable adds or replaces what an object says about routing.
func (s *Store) SetRouteTable(table *RouteTable) {
	s.mu.Lock()
	defer s.release()
	id := table.Origin.ObjectID
	defer s.watchRoutedHosts(s.hostsOfTable(id), table.Hosts)()
	s.dropTable(id)
	s.tables[id] = table
	for _, host := range table.Hosts {
		s.byHost[host] = append(s.byHost[host], table)
		slices.SortFunc(s.byHost[host], func(a, b *RouteTable) int { return precedence(a.Origin, b.Origin) })
		s.mark(KindRoutes, host)
	}
	s.touched[id] = table.Origin.Generation
	s.refreshDerived()
}

// DeleteRouteTable removes what an object says about routing.
func (s *Store) DeleteRouteTable(id ObjectID) {
	s.mu.Lock()
	defer s.release()
	defer s.watchRoutedHosts(s.hostsOfTable(id))()
	s.dropTable(id)
	s.touched[id] = DeletedGeneration
	s.refreshDerived()
}

func (s *Store) hostsOfTable(id ObjectID) []string {
	if table := s.tables[id]; table != nil {
		return table.Hosts
	}
	return nil
}

// watchRoutedHosts notes which of the hosts are routed now; what it returns marks the set
// if that has become another one.
func (s *Store) watchRoutedHosts(hosts ...[]string) func() {
	before := map[string]bool{}
	for _, host := range slices.Concat(hosts...) {
		before[host] = len(s.byHost[host]) > 0
	}
	return func() {
		for host, was := range before {
			if was != (len(s.byHost[host]) > 0) {
				s.mark(KindRoutedHosts, "")
				return
			}
		}
	}
}

func (s *Store) dropTable(id ObjectID) {
	before, found := s.tables[id]
	if !found {
		return
	}
	delete(s.tables, id)
	for _, host := range before.Hosts {
		s.byHost[host] = slices.DeleteFunc(slices.Clone(s.byHost[host]), func(t *RouteTable) bool { return t == before })
		if len(s.byHost[host]) == 0 {
			delete(s.byHost, host)
		}
		s.mark(KindRoutes, host)
	}
}

// SetPolicy adds or replaces what an object says about the traffic to a host.
func (s *Store) SetPolicy(policy *Policy) {
	s.mu.Lock()
	defer s.release()
	id := policy.Origin.ObjectID
	s.dropPolicy(id)
	s.policies[id] = policy
	s.policyOf[policy.Host] = append(slices.Clone(s.policyOf[policy.Host]), policy)
	slices.SortFunc(s.policyOf[policy.Host], func(a, b *Policy) int { return precedence(a.Origin, b.Origin) })
	s.mark(KindPolicies, policy.Host)
	s.touched[id] = policy.Origin.Generation
}

// DeletePolicy removes what an object says about the traffic to a host.
func (s *Store) DeletePolicy(id ObjectID) {
	s.mu.Lock()
	defer s.release()
	s.dropPolicy(id)
	s.touched[id] = DeletedGeneration
}

func (s *Store) dropPolicy(id ObjectID) {
	before, found := s.policies[id]
	if !found {
		return
	}
	delete(s.policies, id)
	host := before.Host
	s.policyOf[host] = slices.DeleteFunc(slices.Clone(s.policyOf[host]), func(p *Policy) bool { return p == before })
	if len(s.policyOf[host]) == 0 {
		delete(s.policyOf, host)
	}
	s.mark(KindPolicies, host)
}

// refreshDerived recomputes what is derived from all route tables, and marks what
// changed by it. Only writes of route tables call it; it costs one pass over them.
func (s *Store) refreshDerived() {
	subsets := map[string]map[string]map[string]string{}
	sources := map[string]struct{}{}
	for _, table := range s.tables {
		for _, route := range table.HTTP {
			for _, destination := range route.Destinations {
				if len(destination.Labels) == 0 {
					continue
				}
				if subsets[destination.Host] == nil {
					subsets[destination.Host] = map[string]map[string]string{}
				}
				subsets[destination.Host][LabelText(destination.Labels)] = destination.Labels
			}
			for _, match := range route.Matches {
				if len(match.SourceLabels) > 0 || match.SourceNamespace != "" {
					for _, host := range table.Hosts {
						sources[host] = struct{}{}
					}
				}
			}
		}
	}
	derived := map[string][]map[string]string{}
	for host, byText := range subsets {
		for _, text := range slices.Sorted(maps.Keys(byText)) {
			derived[host] = append(derived[host], byText[text])
		}
	}
	sameLabels := func(a, b []map[string]string) bool {
		return slices.EqualFunc(a, b, func(x, y map[string]string) bool { return maps.Equal(x, y) })
	}
	for host := range mapUnion(derived, s.labelSubsets) {
		if !sameLabels(derived[host], s.labelSubsets[host]) {
			s.mark(KindLabelSubsets, host)
		}
	}
	s.labelSubsets = derived
	if hosts := slices.Sorted(maps.Keys(sources)); !slices.Equal(hosts, s.sourceHosts) {
		s.sourceHosts = hosts
		s.mark(KindSourceHosts, "")
	}
}

func mapUnion[V any](a, b map[string]V) map[string]struct{} {
	union := make(map[string]struct{}, len(a)+len(b))
	for k := range a {
		union[k] = struct{}{}
	}
	for k := range b {
		union[k] = struct{}{}
	}
	return union
}

// LabelText writes labels as "k=v,k=v", sorted by key.
func LabelText(labels map[string]string) string {
	var text strings.Builder
	for i, key := range slices.Sorted(maps.Keys(labels)) {
		if i > 0 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, "%s=%s", key, labels[key])
	}
	return text.String()
}

func precedence(a, b Origin) int {
	switch {
	case a.Older(b):
		return -1
	case b.Older(a):
		return 1
	}
	return 0
}
