package mesh

import (
	"cmp"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
)

// Entry is the hosts that one object adds to those that Kubernetes' own Services have.
type Entry struct {
	Origin   Origin
	Services []*Service
}

// SetEntry adds or replaces what an object adds.
func (s *Store) SetEntry(entry *Entry) {
	s.say(entry.Origin.ObjectID, entry.Origin.Generation, func(id ObjectID) { s.replaceEntry(id, entry.Services) })
}

// DeleteEntry removes what an object adds.
func (s *Store) DeleteEntry(id ObjectID) {
	s.say(id, DeletedGeneration, func(id ObjectID) { s.replaceEntry(id, nil) })
}

func (s *Store) replaceEntry(id ObjectID, services []*Service) {
	still := map[string]struct{}{}
	for _, service := range services {
		still[service.Key()] = struct{}{}
	}
	for _, before := range s.entries[id] {
		if _, stays := still[before.Key()]; !stays {
			s.replaceService(before, nil)
		}
	}
	for _, service := range services {
		s.replaceService(s.byKey[service.Key()], service)
	}
	if s.entries[id] = services; len(services) == 0 {
		delete(s.entries, id)
	}
}

// SetService adds or replaces the service of a host.
func (s *Store) SetService(service *Service) {
	s.mu.Lock()
	defer s.release()
	s.replaceService(s.byKey[service.Key()], service)
}

// DeleteService removes the Kubernetes Service of a host.
func (s *Store) DeleteService(host string) {
	s.mu.Lock()
	defer s.release()
	s.replaceService(s.byKey[host], nil)
}

// replaceService puts a service, or nothing, in the place of the one with its key.
func (s *Store) replaceService(before, after *Service) {
	if before == nil && after == nil || reflect.DeepEqual(before, after) {
		return
	}
	host, key := cmp.Or(after, before).Host, cmp.Or(after, before).Key()
	claims := slices.DeleteFunc(slices.Clone(s.claims[host]), func(c *Service) bool { return c == before })
	delete(s.byKey, key)
	if after != nil {
		s.byKey[key] = after
		claims = append(claims, after)
		slices.SortFunc(claims, compareClaims)
	}
	if s.claims[host] = claims; len(claims) == 0 {
		delete(s.claims, host)
	}
	s.nameService(before, after)
	s.addressService(before, after)
	s.mark(KindService, host)
	s.mark(KindServices, "")
	s.refreshNarrow(host)
	s.refreshLooks(host)
	s.refreshPorts(host, before, after)
	s.declareEndpoints(key, before, after)
	for _, endpoints := range s.slices[key] {
		for i := range endpoints {
			s.refreshServing(endpoints[i].Workload)
		}
	}
}

// compareClaims orders the services that have one host: Kubernetes' own first, then the oldest.
func compareClaims(a, b *Service) int {
	switch {
	case a.Name != "" && b.Name == "":
		return -1
	case a.Name == "" && b.Name != "":
		return 1
	}
	return precedence(a.Origin, b.Origin)
}

// nameService keeps the index by namespace and name, which Kubernetes' Services have.
func (s *Store) nameService(before, after *Service) {
	for _, service := range []*Service{before, after} {
		if service == nil || service.Name == "" {
			continue
		}
		name := NamespacedName{service.Namespace, service.Name}
		if delete(s.named, name); service == after {
			s.named[name] = after
		}
		s.mark(KindServiceName, name.String())
	}
}

// addressService keeps the index by address.
func (s *Store) addressService(before, after *Service) {
	for _, service := range []*Service{before, after} {
		if service == nil {
			continue
		}
		for _, address := range service.Addresses {
			services := slices.DeleteFunc(slices.Clone(s.addressed[address]), func(c *Service) bool { return c == service })
			if service == after {
				services = append(services, after)
				slices.SortFunc(services, compareClaims)
			}
			if s.addressed[address] = services; len(services) == 0 {
				delete(s.addressed, address)
			}
			s.mark(KindAddress, address.String())
		}
	}
}

// refreshPorts keeps the index of those services that are called by port, since they have no
// address of their own.
func (s *Store) refreshPorts(host string, before, after *Service) {
	concerned := map[uint16]struct{}{}
	for _, service := range []*Service{before, after} {
		if service != nil {
			for _, port := range service.Ports {
				concerned[port.Number] = struct{}{}
			}
		}
	}
	for number := range concerned {
		in := slices.ContainsFunc(s.claims[host], func(c *Service) bool { return c.CalledByPort(number) })
		hosts := s.ports[number]
		if hosts.set(host, in) {
			s.mark(KindPortHosts, strconv.Itoa(int(number)))
		}
		if _, had := s.ports[number]; had != (len(hosts.hosts) > 0) {
			s.mark(KindPorts, "")
		}
		if s.ports[number] = hosts; len(hosts.hosts) == 0 {
			delete(s.ports, number)
		}
	}
}

// CalledByPort reports whether clients reach a port of the service by addresses that do not
// tell whom they mean. Other ports than HTTP of a Service without an address of its own are
// known by addresses of its endpoints, or not at all.
func (s *Service) CalledByPort(number uint16) bool {
	port, found := s.Port(number)
	switch {
	case !found:
		return false
	case len(s.Ranges) > 0:
		return true
	}
	return len(s.Addresses) == 0 && (s.Name == "" || port.Protocol.IsHTTP())
}

// The slices that endpoints are in which no EndpointSlice names.
const (
	declaredSlice = "declared"
	selectedSlice = "selected/"
)

// declareEndpoints stores the endpoints that a service itself names or selects.
func (s *Store) declareEndpoints(key string, before, after *Service) {
	if before != nil {
		delete(s.selecting[before.Namespace], key)
	}
	var declared []Endpoint
	if after != nil && !after.ByName() {
		declared = after.Endpoints
	}
	s.setEndpoints(key, declaredSlice, declared)
	if after != nil && after.Selector != nil {
		if s.selecting[after.Namespace] == nil {
			s.selecting[after.Namespace] = map[string]*Service{}
		}
		s.selecting[after.Namespace][key] = after
	}
	if before == nil || before.Selector == nil {
		before = after
	}
	if before == nil || before.Selector == nil && (after == nil || after.Selector == nil) {
		return
	}
	for name, workload := range s.workloads {
		if name.Namespace == before.Namespace {
			s.setEndpoints(key, selectedSlice+name.Name, after.endpointsOf(workload))
		}
	}
}

// selectWorkload stores the endpoints that a workload is of services that select it.
func (s *Store) selectWorkload(key NamespacedName, workload *Workload) {
	for service, selecting := range s.selecting[key.Namespace] {
		s.setEndpoints(service, selectedSlice+key.Name, selecting.endpointsOf(workload))
	}
}

// endpointsOf returns the endpoints that a workload is of a service that selects by labels.
func (s *Service) endpointsOf(workload *Workload) []Endpoint {
	if s == nil || s.Selector == nil || workload == nil || !Selects(s.Selector, workload.Labels) {
		return nil
	}
	var endpoints []Endpoint
	for _, port := range s.Ports {
		endpoints = append(endpoints, Endpoint{
			Address: workload.Address, PortName: port.Name, Port: cmp.Or(port.TargetPort, port.Number),
			Ready: workload.Ready, Serving: workload.Ready, Workload: workload.Key(),
		})
	}
	return endpoints
}

// refreshHostnames recomputes which endpoints of a host have names.
func (s *Store) refreshHostnames(key string) {
	var names []string
	for _, endpoints := range s.slices[key] {
		for i := range endpoints {
			if name := endpoints[i].Hostname; name != "" {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if slices.Equal(names, s.hostnames[key]) {
		return
	}
	if s.hostnames[key] = names; len(names) == 0 {
		delete(s.hostnames, key)
	}
	s.mark(KindHostnames, key)
}

// ServiceFor returns, of the services that have one host, the one that a namespace gets: its
// own, or else the first that it sees.
func ServiceFor(claims []*Service, namespace string) *Service {
	var first *Service
	for _, service := range claims {
		switch {
		case !Visible(service.ExportTo, namespace):
		case service.Namespace == namespace:
			return service
		case first == nil:
			first = service
		}
	}
	return first
}

// Service implements View.
func (s *Store) Service(host string) *Service {
	if claims := s.Claims(host); len(claims) > 0 {
		return claims[0]
	}
	return nil
}

// Claims implements View.
func (s *Store) Claims(host string) []*Service {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.claims[host]
}

// Services implements View.
func (s *Store) Services() []*Service {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*Service, 0, len(s.claims))
	for _, claims := range s.claims {
		all = append(all, claims[0])
	}
	slices.SortFunc(all, func(a, b *Service) int { return cmp.Compare(a.Host, b.Host) })
	return all
}

// Addressed implements View.
func (s *Store) Addressed(address netip.Addr) []*Service {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.addressed[address]
}

// Ports implements View.
func (s *Store) Ports() []uint16 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.ports))
}

// PortHosts implements View.
func (s *Store) PortHosts(port uint16) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	hosts := s.ports[port]
	return hosts.sorted()
}

// Hostnames implements View.
func (s *Store) Hostnames(key string) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.hostnames[key]
}

// Hostnames implements View.
func (r *Recorder) Hostnames(key string) []string {
	r.note(KindHostnames, key)
	return r.View.Hostnames(key)
}

// Claims implements View.
func (r *Recorder) Claims(host string) []*Service {
	r.note(KindService, host)
	return r.View.Claims(host)
}

// Addressed implements View.
func (r *Recorder) Addressed(address netip.Addr) []*Service {
	r.note(KindAddress, address.String())
	return r.View.Addressed(address)
}

// Ports implements View.
func (r *Recorder) Ports() []uint16 {
	r.note(KindPorts, "")
	return r.View.Ports()
}

// PortHosts implements View.
func (r *Recorder) PortHosts(port uint16) []string {
	r.note(KindPortHosts, strconv.Itoa(int(port)))
	return r.View.PortHosts(port)
}
