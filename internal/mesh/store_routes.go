package mesh

import (
	"cmp"
	"slices"
)

// Routes of one table may come from several objects: a VirtualService leaves requests to
// delegates, and all RouteRules of a host make up one table. The store keeps what each
// object says, and puts tables together anew whenever one of their objects changes, so
// that nobody who reads them has to.

// SetRouteTable adds or replaces what an object says about routing.
func (s *Store) SetRouteTable(table *RouteTable) {
	s.say(table.Origin.ObjectID, table.Origin.Generation, func(id ObjectID) { s.replaceSaid(id, table) })
}

// DeleteRouteTable removes what an object says about routing.
func (s *Store) DeleteRouteTable(id ObjectID) {
	s.say(id, DeletedGeneration, func(id ObjectID) { s.replaceSaid(id, nil) })
}

// replaceSaid replaces what an object says, and every table that has routes of it.
func (s *Store) replaceSaid(id ObjectID, after *RouteTable) {
	before := s.said[id]
	delete(s.said, id)
	if after != nil {
		s.said[id] = after
	}
	places := map[ObjectID]struct{}{}
	for _, said := range []*RouteTable{before, after} {
		if said == nil {
			continue
		}
		for _, host := range said.Hosts {
			if said.Rule {
				s.placeRule(host, before, after)
				places[rulesOf(host)] = struct{}{}
			}
		}
		if !said.Rule {
			places[id] = struct{}{}
		}
		for _, delegate := range said.delegates() {
			including := s.including[delegate]
			if including == nil {
				including = map[ObjectID]struct{}{}
				s.including[delegate] = including
			}
			if said == after {
				including[id] = struct{}{}
			} else if delete(including, id); len(including) == 0 {
				delete(s.including, delegate)
			}
		}
		for root := range s.including[NamespacedName{id.Namespace, id.Name}] {
			if !said.Rule {
				places[root] = struct{}{}
			}
		}
	}
	for place := range places {
		s.replaceTable(place, s.assembled(place))
	}
}

// placeRule keeps the rules of a host by precedence and then by age.
func (s *Store) placeRule(host string, before, after *RouteTable) {
	rules := slices.DeleteFunc(slices.Clone(s.rules[host]), func(rule *RouteTable) bool { return rule == before || rule == after })
	if after != nil && slices.Contains(after.Hosts, host) {
		rules = append(rules, after)
		slices.SortFunc(rules, func(a, b *RouteTable) int {
			if a.Precedence != b.Precedence {
				return cmp.Compare(b.Precedence, a.Precedence)
			}
			return precedence(a.Origin, b.Origin)
		})
	}
	if len(rules) == 0 {
		delete(s.rules, host)
	} else {
		s.rules[host] = rules
	}
}

// assembled returns the table that is to stand at a place, nil for none.
func (s *Store) assembled(place ObjectID) *RouteTable {
	if host, isRules := place.isRules(); isRules {
		if len(s.rules[host]) == 0 {
			return nil
		}
		table := &RouteTable{Hosts: []string{host}, Rule: true}
		for _, rule := range s.rules[host] {
			table.HTTP = append(table.HTTP, rule.HTTP...)
		}
		return table
	}
	said := s.said[place]
	switch {
	case said == nil || len(said.Hosts) == 0:
		return nil
	case len(said.delegates()) == 0:
		return said
	}
	return withDelegates(said, func(name NamespacedName) *RouteTable {
		delegate := s.said[ObjectID{place.Kind, name.Namespace, name.Name}]
		if delegate == nil || len(delegate.Hosts) > 0 || !Visible(delegate.ExportTo, place.Namespace) {
			return nil
		}
		return delegate
	})
}

// delegates returns those that a table includes.
func (t *RouteTable) delegates() []NamespacedName {
	var names []NamespacedName
	for i := range t.HTTP {
		if delegate := t.HTTP[i].Delegate; delegate != nil {
			names = append(names, *delegate)
		}
	}
	return names
}

// place is where a table stands among the others: under its object, or under the host of
// its rules.
func (t *RouteTable) place() ObjectID {
	if t.Rule {
		return rulesOf(t.Hosts[0])
	}
	return t.Origin.ObjectID
}

// rulesOf is the place of the table of a host's rules, which is no object's name.
func rulesOf(host string) ObjectID { return ObjectID{Kind: "rules of", Name: host} }

func (o ObjectID) isRules() (host string, found bool) { return o.Name, o == rulesOf(o.Name) }
