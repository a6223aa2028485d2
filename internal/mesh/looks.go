package mesh

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Of a caller policies look at labels, and at more that is written as labels: where it runs,
// which service it is of, whether it is a gateway or calls its proxy by address.
const (
	LabelRegion  = "topology.kubernetes.io/region"
	LabelZone    = "topology.kubernetes.io/zone"
	LabelSubzone = "topology.istio.io/subzone"
	LabelNode    = "kubernetes.io/hostname"
	LabelService = "mesh.fairlead.dev/service"
	LabelMode    = "mesh.fairlead.dev/mode"

	ModeExplicit = "explicit"
	ModeGateway  = "gateway"
)

// placeLabels are those of a locality.
var placeLabels = []string{LabelRegion, LabelZone, LabelSubzone}

// Looks is what is looked at of the callers of a host, as keys of labels.
type Looks struct {
	// Choosing are keys by which callers get other policies, or others of their settings.
	Choosing []string
	// Ordering are keys by which endpoints are preferred to each other.
	Ordering []string
}

// LooksAt returns what is looked at of the callers of a host, by all that covers it.
func LooksAt(all map[string]Looks, host string) Looks {
	var looks Looks
	if len(all) == 0 {
		return looks
	}
	for written := range Covering(host) {
		looks.Choosing = append(looks.Choosing, all[written].Choosing...)
		looks.Ordering = append(looks.Ordering, all[written].Ordering...)
	}
	return looks
}

// Preference returns which of its endpoints are nearer to callers of a service, by what a
// policy says or else the service itself; nil if all are alike. Failover needs something that
// finds out who has failed.
func Preference(service *Service, t Traffic) *LocalityPreference {
	detects := t.Outliers != nil || t.HealthCheck != nil
	var said *LocalityPreference
	if t.LoadBalancer != nil {
		said = t.LoadBalancer.Locality
	}
	switch {
	case said != nil && said.Off:
		return nil
	case said.Weighs(), said != nil && detects:
		return said
	case said == nil && service != nil && len(service.Prefer) > 0:
		return &LocalityPreference{Priority: service.Prefer}
	case said == nil && detects:
		return &LocalityPreference{}
	}
	return nil
}

// ByPlace reports whether localities themselves count, and not only labels.
func (l *LocalityPreference) ByPlace() bool {
	return len(l.Priority) == 0 || len(l.Failover) > 0 || l.ZoneAware > 0
}

// keys returns what is looked at of a caller.
func (l *LocalityPreference) keys() []string {
	if l == nil {
		return nil
	}
	var keys []string
	for _, label := range l.Priority {
		if key, _, hasValue := strings.Cut(label, "="); !hasValue {
			keys = append(keys, key)
		}
	}
	if l.ByPlace() {
		keys = append(keys, placeLabels...)
	}
	if l.ZoneAware > 0 {
		keys = append(keys, LabelService)
	}
	return keys
}

// refreshLooks looks again at what is looked at of a host's callers.
func (s *Store) refreshLooks(host string) {
	var service *Service
	if claims := s.claims[host]; len(claims) > 0 {
		service = claims[0]
	}
	ordering := Preference(service, Traffic{}).keys()
	var choosing []string
	for _, policy := range s.policyOf[host] {
		choosing = slices.AppendSeq(choosing, maps.Keys(policy.Selector))
		choosing, ordering = policy.looks(choosing, ordering)
	}
	looks := Looks{Choosing: sortedKeys(choosing), Ordering: sortedKeys(ordering)}
	if reflect.DeepEqual(s.looks[host], looks) {
		return
	}
	s.looks = maps.Clone(s.looks) // readers have the one before
	s.looks[host] = looks
	if len(choosing)+len(ordering) == 0 {
		delete(s.looks, host)
	}
	s.mark(KindLooks, "")
}

// looks adds what a policy looks at. What it says at one place may come together with what it
// says at another.
func (p *Policy) looks(choosing, ordering []string) ([]string, []string) {
	all := p.All()
	detects := slices.ContainsFunc(all, func(t Traffic) bool { return t.Outliers != nil || t.HealthCheck != nil })
	if detects {
		ordering = append(ordering, placeLabels...)
	}
	for _, traffic := range all {
		balancer := traffic.LoadBalancer
		if traffic.TLS != nil && traffic.TLS.Credential != "" {
			choosing = append(choosing, LabelMode)
		}
		if balancer == nil {
			continue
		}
		if said := balancer.Locality; said.Weighs() || detects && said != nil && !said.Off {
			ordering = append(ordering, said.keys()...)
		}
		if balancer.Algorithm == Passthrough {
			choosing = append(choosing, LabelMode)
		}
	}
	return choosing, ordering
}

func sortedKeys(keys []string) []string {
	slices.Sort(keys)
	return slices.Compact(keys)
}

// Looks implements View.
func (s *Store) Looks() map[string]Looks {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.looks
}

// Looks implements View.
func (r *Recorder) Looks() map[string]Looks {
	r.note(KindLooks, "")
	return r.View.Looks()
}
