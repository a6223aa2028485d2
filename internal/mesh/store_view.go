package mesh

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
)

var _ View = (*Store)(nil)

// Endpoints implements View.
func (s *Store) Endpoints(host string) []Endpoint {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var all []Endpoint
	for _, endpoints := range s.slices[host] {
		for _, e := range endpoints {
			if workload := s.workloads[e.Workload]; workload != nil {
				e.Labels = workload.Labels
				e.Node = cmp.Or(workload.Node, e.Node)
				e.MTLS = modeOf(workload, s.namespaces[workload.Namespace], s.settings)
				if workload.Gateway && e.MTLS != "" {
					e.MTLS = MTLSDisable // its servers say what they take
				}
				if workload.Locality != (Locality{}) {
					e.Locality = workload.Locality
				}
			}
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b Endpoint) int {
		return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.Port, b.Port), cmp.Compare(a.PortName, b.PortName), cmp.Compare(a.Name, b.Name))
	})
	// Two slices may name one endpoint for a moment, while it moves between them.
	return slices.CompactFunc(all, func(a, b Endpoint) bool {
		return a.Address == b.Address && a.Port == b.Port && a.PortName == b.PortName && a.Name == b.Name
	})
}

// Accounts implements View.
func (s *Store) Accounts(host string) []NamespacedName {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.accounts[host]
}

// Routes implements View.
func (s *Store) Routes(host string) []*RouteTable {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.routesOf(host)
}

// Policies implements View.
func (s *Store) Policies(host string) []*Policy {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return covering(s.policyOf, host)
}

// LabelSubsets implements View.
func (s *Store) LabelSubsets(host string) []LabelSubset {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.labelled.subsets[host]
}

// Workload implements View.
func (s *Store) Workload(key NamespacedName) *Workload {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.workloads[key]
}

// Workloads returns all workloads by namespace and name.
func (s *Store) Workloads() []*Workload {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := slices.Collect(maps.Values(s.workloads))
	slices.SortFunc(all, func(a, b *Workload) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// Serving implements View.
func (s *Store) Serving(key NamespacedName) []ServingPort {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.serving[key]
}

// SourceHosts implements View.
func (s *Store) SourceHosts() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.sources.sorted()
}

// RoutedHosts implements View.
func (s *Store) RoutedHosts() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.routed.sorted()
}

// Namespace implements View.
func (s *Store) Namespace(name string) *Namespace {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.namespaces[name]
}

// ServiceNamed implements View.
func (s *Store) ServiceNamed(name NamespacedName) *Service {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.named[name]
}

// PolicyHosts implements View.
func (s *Store) PolicyHosts() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.policyHosts.sorted()
}

// ServiceRanges implements View.
func (s *Store) ServiceRanges() []netip.Prefix {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.ranges
}

func compareServing(a, b ServingPort) int {
	return cmp.Or(
		cmp.Compare(a.Host, b.Host),
		cmp.Compare(a.Port.Number, b.Port.Number),
		cmp.Compare(a.TargetPort, b.TargetPort),
	)
}
