package mesh

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"
)

// Nowhere, among the namespaces that something is exported to, is the name of none: it can
// be no namespace's.
const Nowhere = "~"

// Visible reports whether what is exported to some namespaces is seen in a namespace; no
// namespaces stand for all.
func Visible(exportTo []string, namespace string) bool {
	return len(exportTo) == 0 || slices.Contains(exportTo, namespace)
}

// Eclipses reports whether everybody who sees what is exported to the others sees what is
// exported to the first, too.
func Eclipses(exportTo, others []string) bool {
	return len(exportTo) == 0 || len(others) > 0 && !slices.ContainsFunc(others, func(namespace string) bool { return !Visible(exportTo, namespace) })
}

// IsWildcard reports whether a host stands for all names that end in a suffix.
func IsWildcard(host string) bool { return strings.HasPrefix(host, "*") }

// Covers reports whether a host as an object has it, with a wildcard or not, stands for
// another one.
func Covers(written, host string) bool {
	suffix, wild := strings.CutPrefix(written, "*")
	return written == host || wild && len(host) > len(suffix) && strings.HasSuffix(host, suffix)
}

// Covering goes from a host to ever wider wildcards that cover it: a.b.c, *.b.c, *b.c, *.c,
// *c, *. Where a wildcard may begin within a label is Istio's rule.
func Covering(host string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if !yield(host) {
			return
		}
		for i := 1; i <= len(host); i++ {
			if wider := "*" + host[i:]; wider != host && !yield(wider) {
				return
			}
		}
	}
}

// CoveredBy reports whether any host of a sorted list covers a host. Wildcards come first in
// such a list, and there are few.
func CoveredBy(sorted []string, host string) bool {
	if _, found := slices.BinarySearch(sorted, host); found {
		return true
	}
	for _, written := range sorted {
		switch {
		case !IsWildcard(written):
			return false
		case Covers(written, host):
			return true
		}
	}
	return false
}

// For is the host of the table by which it stands for another one: the one itself, or else
// its longest wildcard; nothing if there is none.
func (t *RouteTable) For(host string) string {
	best := ""
	for _, written := range t.Hosts {
		if written == host {
			return written
		}
		if len(written) > len(best) && Covers(written, host) {
			best = written
		}
	}
	return best
}

// Winners returns, of the tables that View.Routes has for a host, those that a namespace
// sees and that no more exact host stands before; the first is in force, and the others
// lost the host to it.
func Winners(tables []*RouteTable, host, namespace string) []*RouteTable {
	var winners []*RouteTable
	var by string
	for _, t := range tables {
		switch {
		case !Visible(t.ExportTo, namespace):
		case len(winners) == 0:
			winners, by = append(winners, t), t.For(host)
		case t.For(host) == by:
			winners = append(winners, t)
		}
	}
	return winners
}

// PolicyFor returns the policy that a caller of a namespace, with labels as far as policies
// look at them, has for a host: one of its namespace, or else of the service's, or else of the
// mesh's root namespace. What callers there say of all is no word of their own, so that they
// have their own last. Nil for none.
func PolicyFor(view View, host, caller string, labels map[string]string) *Policy {
	service := ServiceFor(view.Claims(host), caller)
	if service == nil {
		return nil // there is nothing that it could be for
	}
	policies := view.Policies(host)
	if len(policies) == 0 {
		return nil
	}
	root := view.Settings().RootNamespace
	order := []string{caller, service.Namespace, root}
	if caller == root {
		order = order[1:]
	}
	for _, namespace := range order {
		for _, policy := range policies {
			if policy.Origin.Namespace == namespace && Visible(policy.ExportTo, caller) && Selects(policy.Selector, labels) {
				return policy
			}
		}
	}
	return nil
}

// homeOf is the namespace that a service's host names, or a wildcard for those of one
// namespace; nothing for other hosts.
func homeOf(host string) string {
	if parts := strings.SplitN(host, ".", 4); len(parts) == 4 && parts[2] == "svc" {
		return parts[1]
	}
	return ""
}

// routesOf returns the tables that cover a host: more exact hosts first, then older ones.
func (s *Store) routesOf(host string) []*RouteTable {
	return covering(s.byHost, host)
}

func covering[T comparable](byHost map[string][]T, host string) []T {
	var all []T
	for written := range Covering(host) {
		for _, one := range byHost[written] {
			if !slices.Contains(all, one) {
				all = append(all, one)
			}
		}
	}
	return all
}

// markCovered tells those who read a host that is written in an object, and those who read a
// host that is known and that a wildcard covers.
func (s *Store) markCovered(kind Kind, written string) {
	s.mark(kind, written)
	if !IsWildcard(written) {
		return
	}
	for host := range s.claims {
		if Covers(written, host) {
			s.mark(kind, host)
		}
	}
	for _, set := range [][]string{s.routed.hosts, s.policyHosts.hosts} {
		for _, host := range set {
			if Covers(written, host) {
				s.mark(kind, host)
			}
		}
	}
}

// refreshNarrow looks again whether what a caller gets of a host depends on its namespace.
func (s *Store) refreshNarrow(host string) {
	home := homeOf(host)
	narrow := false
	for _, service := range s.claims[host] {
		home = service.Namespace
		narrow = len(service.ExportTo) > 0 || len(s.claims[host]) > 1
	}
	for _, table := range s.byHost[host] {
		narrow = narrow || len(table.ExportTo) > 0
	}
	for _, policy := range s.policyOf[host] {
		from := policy.Origin.Namespace
		narrow = narrow || len(policy.ExportTo) > 0 || from != home && from != s.settings.RootNamespace || policy.hasCredential()
	}
	if s.narrow.set(host, narrow) {
		s.mark(KindNarrowHosts, "")
	}
}

// NarrowHosts implements View.
func (s *Store) NarrowHosts() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.narrow.sorted()
}

// Destinations implements View.
func (s *Store) Destinations(host string) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := map[string]struct{}{}
	for _, table := range s.routesOf(host) {
		maps.Copy(all, table.destinations())
	}
	return slices.SortedFunc(maps.Keys(all), cmp.Compare[string])
}

// destinations returns the hosts that a table leads to; nil has none.
func (t *RouteTable) destinations() map[string]struct{} {
	hosts := map[string]struct{}{}
	if t == nil {
		return hosts
	}
	t.EachDestination(func(d *Destination, _ Origin) { hosts[d.Host] = struct{}{} })
	return hosts
}

// NarrowHosts implements View.
func (r *Recorder) NarrowHosts() []string {
	r.note(KindNarrowHosts, "")
	return r.View.NarrowHosts()
}

// Destinations implements View.
func (r *Recorder) Destinations(host string) []string {
	r.note(KindDestinations, host)
	return r.View.Destinations(host)
}
