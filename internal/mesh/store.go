package mesh

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"sync"
)

// Store holds the mesh and tells what changed in it. Controllers write; the publisher
// takes the changes and reads through the View methods. It is safe for concurrent use.
type Store struct {
	mu sync.RWMutex

	settings   Settings
	namespaces map[string]*Namespace
	claims     map[string][]*Service // host → the services that have it, the one that wins first
	byKey      map[string]*Service
	entries    map[ObjectID][]*Service
	addressed  map[netip.Addr][]*Service
	selecting  map[string]map[string]*Service // namespace → key → service that selects workloads
	ports      map[uint16]hostSet             // port → hosts that are called by it alone
	named      map[NamespacedName]*Service
	ranges     []netip.Prefix
	slices     map[string]map[string][]Endpoint // service's key → slice name → endpoints as observed
	workloads  map[NamespacedName]*Workload

	said      map[ObjectID]*RouteTable
	rules     map[string][]*RouteTable                 // host → what RouteRules say of it, in order
	including map[NamespacedName]map[ObjectID]struct{} // delegate → tables that include it
	tables    map[ObjectID]*RouteTable
	policies  map[ObjectID]*Policy
	byHost    map[string][]*RouteTable
	policyOf  map[string][]*Policy

	gateways    map[ObjectID]*Gateway
	bound       map[string][]*RouteTable // by gateway
	credentials map[NamespacedName]*Credential

	// Derived, kept so that a change is told only to those that it concerns.
	labelled    labelIndex
	serving     map[NamespacedName][]ServingPort
	accounts    map[string][]NamespacedName            // host → service accounts of its endpoints
	hostnames   map[string][]string                    // host → names of single endpoints
	hostsOf     map[NamespacedName]map[string]struct{} // workload → hosts whose endpoints name it
	sources     hostSet                                // hosts whose routes look at the caller
	routed      hostSet
	policyHosts hostSet
	looks       map[string]Looks
	narrow      hostSet // hosts for which the caller's namespace matters

	gatewayWorkloads map[NamespacedName]struct{}

	unhealthy map[string][]string // by check

	changed map[Key]struct{}
	touched map[ObjectID]int64
	wake    chan struct{}
}

// Changes is what happened in the store since the last Take.
type Changes struct {
	Keys map[Key]struct{}
	// Objects are those that were written, with their generation; DeletedGeneration
	// for those that are gone.
	Objects map[ObjectID]int64
}

// DeletedGeneration stands for the generation of an object that is gone.
const DeletedGeneration int64 = -1

// NewStore returns an empty store.
func NewStore() *Store {
	return &Store{
		namespaces:       map[string]*Namespace{},
		claims:           map[string][]*Service{},
		byKey:            map[string]*Service{},
		entries:          map[ObjectID][]*Service{},
		addressed:        map[netip.Addr][]*Service{},
		selecting:        map[string]map[string]*Service{},
		ports:            map[uint16]hostSet{},
		named:            map[NamespacedName]*Service{},
		slices:           map[string]map[string][]Endpoint{},
		workloads:        map[NamespacedName]*Workload{},
		said:             map[ObjectID]*RouteTable{},
		rules:            map[string][]*RouteTable{},
		including:        map[NamespacedName]map[ObjectID]struct{}{},
		tables:           map[ObjectID]*RouteTable{},
		policies:         map[ObjectID]*Policy{},
		byHost:           map[string][]*RouteTable{},
		policyOf:         map[string][]*Policy{},
		labelled:         newLabelIndex(),
		looks:            map[string]Looks{},
		serving:          map[NamespacedName][]ServingPort{},
		accounts:         map[string][]NamespacedName{},
		hostnames:        map[string][]string{},
		hostsOf:          map[NamespacedName]map[string]struct{}{},
		gateways:         map[ObjectID]*Gateway{},
		bound:            map[string][]*RouteTable{},
		credentials:      map[NamespacedName]*Credential{},
		gatewayWorkloads: map[NamespacedName]struct{}{},
		unhealthy:        map[string][]string{},
		changed:          map[Key]struct{}{},
		touched:          map[ObjectID]int64{},
		wake:             make(chan struct{}, 1),
	}
}

// Wake returns a channel that receives after every change; several changes may be
// told by one receipt.
func (s *Store) Wake() <-chan struct{} { return s.wake }

// Take returns what changed since the last call and forgets it.
func (s *Store) Take() Changes {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := Changes{Keys: s.changed, Objects: s.touched}
	s.changed, s.touched = map[Key]struct{}{}, map[ObjectID]int64{}
	return taken
}

func (s *Store) mark(kind Kind, name string) { s.changed[Key{kind, name}] = struct{}{} }

// say replaces what an object says, and tells of it even where nothing else follows: who holds
// specs waits to hear of each.
func (s *Store) say(id ObjectID, generation int64, replace func(ObjectID)) {
	s.mu.Lock()
	defer s.release()
	replace(id)
	s.touched[id] = generation
}

// release wakes the reader, if anything changed, and unlocks.
func (s *Store) release() {
	pending := len(s.changed) > 0 || len(s.touched) > 0
	s.mu.Unlock()
	if !pending {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// SetNamespace adds or replaces a namespace.
func (s *Store) SetNamespace(namespace *Namespace) {
	s.mu.Lock()
	defer s.release()
	before := s.namespaces[namespace.Name]
	if reflect.DeepEqual(before, namespace) {
		return
	}
	s.namespaces[namespace.Name] = namespace
	s.namespaceChanged(before, namespace)
}

// DeleteNamespace removes a namespace. What lived in it goes by events of its own.
func (s *Store) DeleteNamespace(name string) {
	s.mu.Lock()
	defer s.release()
	if before, found := s.namespaces[name]; found {
		delete(s.namespaces, name)
		s.namespaceChanged(before, &Namespace{Name: name})
	}
}

// namespaceChanged tells the callers of a namespace's workloads, too, if the mode changed.
func (s *Store) namespaceChanged(before, after *Namespace) {
	s.mark(KindNamespace, after.Name)
	if before != nil && before.MTLS == after.MTLS || before == nil && after.MTLS == "" {
		return
	}
	for workload, hosts := range s.hostsOf {
		if workload.Namespace == after.Name {
			for host := range hosts {
				s.mark(KindEndpoints, host)
			}
		}
	}
}

// SetServiceRanges sets the ranges that services get their addresses from.
func (s *Store) SetServiceRanges(ranges []netip.Prefix) {
	s.mu.Lock()
	defer s.release()
	sorted := slices.Clone(ranges)
	slices.SortFunc(sorted, netip.Prefix.Compare)
	sorted = slices.Compact(sorted)
	if !slices.Equal(sorted, s.ranges) {
		s.ranges = sorted
		s.mark(KindServiceRanges, "")
	}
}

// SetEndpoints adds or replaces the endpoints that one slice holds for a host; none
// removes the slice. The labels and the locality of an endpoint that names a workload
// are taken from that workload, as far as it is known.
func (s *Store) SetEndpoints(host, slice string, endpoints []Endpoint) {
	s.mu.Lock()
	defer s.release()
	s.setEndpoints(host, slice, endpoints)
}

func (s *Store) setEndpoints(host, slice string, endpoints []Endpoint) {
	before := s.slices[host][slice]
	if reflect.DeepEqual(before, endpoints) || len(before) == 0 && len(endpoints) == 0 {
		return
	}
	if len(endpoints) == 0 {
		delete(s.slices[host], slice)
		if len(s.slices[host]) == 0 {
			delete(s.slices, host)
		}
	} else {
		if s.slices[host] == nil {
			s.slices[host] = map[string][]Endpoint{}
		}
		s.slices[host][slice] = endpoints
	}
	s.mark(KindEndpoints, host)

	concerned := map[NamespacedName]struct{}{}
	for _, e := range slices.Concat(before, endpoints) {
		if e.Workload != (NamespacedName{}) {
			concerned[e.Workload] = struct{}{}
		}
	}
	for workload := range concerned {
		s.indexHost(workload, host)
		s.refreshServing(workload)
	}
	s.refreshAccounts(host)
	s.refreshHostnames(host)
}

// refreshAccounts recomputes whom a caller of the host may find there. Endpoints that are
// not ready count: the one to come is expected before it is called.
func (s *Store) refreshAccounts(host string) {
	var accounts []NamespacedName
	for _, endpoints := range s.slices[host] {
		for i := range endpoints {
			if w := s.workloads[endpoints[i].Workload]; w != nil && w.HasCertificates {
				accounts = append(accounts, NamespacedName{w.Namespace, w.ServiceAccount})
			}
			if endpoints[i].MTLS != "" {
				accounts = append(accounts, endpoints[i].Account)
			}
		}
	}
	slices.SortFunc(accounts, NamespacedName.Compare)
	accounts = slices.Compact(accounts)
	if slices.Equal(accounts, s.accounts[host]) {
		return
	}
	if len(accounts) == 0 {
		delete(s.accounts, host)
	} else {
		s.accounts[host] = accounts
	}
	s.mark(KindAccounts, host)
}

// indexHost notes whether any endpoint of the host names the workload.
func (s *Store) indexHost(workload NamespacedName, host string) {
	for _, endpoints := range s.slices[host] {
		for i := range endpoints {
			if endpoints[i].Workload == workload {
				if s.hostsOf[workload] == nil {
					s.hostsOf[workload] = map[string]struct{}{}
				}
				s.hostsOf[workload][host] = struct{}{}
				return
			}
		}
	}
	delete(s.hostsOf[workload], host)
	if len(s.hostsOf[workload]) == 0 {
		delete(s.hostsOf, workload)
	}
}

// refreshServing recomputes which service ports a workload serves.
func (s *Store) refreshServing(workload NamespacedName) {
	if workload == (NamespacedName{}) {
		return
	}
	var ports []ServingPort
	for _, host := range slices.Sorted(maps.Keys(s.hostsOf[workload])) {
		service := s.byKey[host]
		if service == nil {
			continue
		}
		for _, endpoints := range s.slices[host] {
			for _, e := range endpoints {
				if e.Workload != workload {
					continue
				}
				for _, port := range service.Ports {
					if port.Name == e.PortName {
						ports = append(ports, ServingPort{Host: service.Host, Port: port, TargetPort: e.Port})
					}
				}
			}
		}
	}
	slices.SortFunc(ports, compareServing)
	ports = slices.Compact(ports)
	if slices.Equal(ports, s.serving[workload]) {
		return
	}
	if len(ports) == 0 {
		delete(s.serving, workload)
	} else {
		s.serving[workload] = ports
	}
	s.mark(KindServing, workload.String())
}

// SetWorkload adds or replaces a workload.
func (s *Store) SetWorkload(workload *Workload) {
	s.mu.Lock()
	defer s.release()
	key := workload.Key()
	before := s.workloads[key]
	if reflect.DeepEqual(before, workload) {
		return
	}
	s.workloads[key] = workload
	s.workloadChanged(key, before, workload)
}

// DeleteWorkload removes a workload.
func (s *Store) DeleteWorkload(key NamespacedName) {
	s.mu.Lock()
	defer s.release()
	if before, found := s.workloads[key]; found {
		delete(s.workloads, key)
		s.workloadChanged(key, before, nil)
	}
}

func (s *Store) workloadChanged(key NamespacedName, before, after *Workload) {
	s.mark(KindWorkload, key.String())
	s.selectWorkload(key, after)
	s.gatewayWorkloadChanged(key, before, after)
	sameEndpoints := before != nil && after != nil && before.Locality == after.Locality && before.Node == after.Node && before.MTLS == after.MTLS &&
		before.HasCertificates == after.HasCertificates && before.Gateway == after.Gateway && before.ServiceAccount == after.ServiceAccount &&
		maps.Equal(before.Labels, after.Labels)
	if sameEndpoints {
		return
	}
	for host := range s.hostsOf[key] {
		s.mark(KindEndpoints, host)
		s.refreshAccounts(host)
	}
}
