package translate

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"fairlead.dev/fairlead/internal/mesh"
)

// preference is how one caller prefers the endpoints of a target to each other. It is part of
// the endpoints alone, so that callers share everything else. Nil prefers none.
type preference struct {
	*mesh.LocalityPreference
	// caller is its labels, with those of where it runs.
	caller map[string]string
	place  mesh.Locality
	// own counts the endpoints of the caller's own service by zone, of all in its region.
	own map[mesh.Locality]float64
}

// preferenceOf returns what holds for a target.
func (b *build) preferenceOf(service *mesh.Service, t target) *preference {
	said := mesh.Preference(service, t.Traffic)
	if said == nil {
		return nil
	}
	p := &preference{LocalityPreference: said, caller: b.labels, place: mesh.Locality{
		Region: b.labels[mesh.LabelRegion], Zone: b.labels[mesh.LabelZone], Subzone: b.labels[mesh.LabelSubzone],
	}}
	if own := b.labels[mesh.LabelService]; p.ZoneAware > 0 && own != "" {
		p.own = map[mesh.Locality]float64{}
		for _, e := range b.view.Endpoints(own) {
			if e.Ready && e.Locality.Region == p.place.Region {
				p.own[zoneOf(e.Locality)]++
			}
		}
	}
	return p
}

// group is the endpoints of a locality that are preferred alike.
type group struct {
	priority  int
	locality  mesh.Locality
	endpoints []mesh.Endpoint
	weight    uint32
}

// groups puts endpoints together, the nearest first. A group's weight is the sum of those of
// its endpoints where nothing else is said.
func (p *preference) groups(endpoints []mesh.Endpoint) []*group {
	type key struct {
		priority int
		locality mesh.Locality
	}
	byKey := map[key]*group{}
	for i := range endpoints {
		k := key{p.priority(&endpoints[i]), endpoints[i].Locality}
		if byKey[k] == nil {
			byKey[k] = &group{priority: k.priority, locality: k.locality}
		}
		byKey[k].endpoints = append(byKey[k].endpoints, endpoints[i])
		byKey[k].weight += max(endpoints[i].Weight, 1)
	}
	all := slices.SortedFunc(maps.Values(byKey), func(a, b *group) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), compareLocalities(a.locality, b.locality))
	})
	next, last := -1, -1
	for _, g := range all { // Envoy takes priorities without gaps
		if g.priority != last {
			next, last = next+1, g.priority
		}
		g.priority = next
	}
	if p != nil && p.ZoneAware > 0 {
		p.keepToZone(all)
	}
	if p != nil {
		return p.distribute(all)
	}
	return all
}

// The distances of places, as Istio has them. Each step of failoverPriority counts more than
// all of them.
const (
	samePlace = iota
	sameZone
	sameRegion
	elsewhere
	beyond // where a region has another one that stands in for it
	distances
)

// priority is the higher, the farther an endpoint is from the caller.
func (p *preference) priority(e *mesh.Endpoint) int {
	if p == nil || len(p.Distribute) > 0 {
		return 0
	}
	priority := len(p.Priority)
	for _, label := range p.Priority {
		key, value, hasValue := strings.Cut(label, "=")
		if !hasValue {
			value = p.caller[key]
		}
		if value != endpointLabel(e, key) {
			break
		}
		priority--
	}
	priority *= distances
	if p.ByPlace() && p.place != (mesh.Locality{}) {
		priority += p.distance(e.Locality)
	}
	return priority
}

func (p *preference) distance(to mesh.Locality) int {
	switch {
	case to.Region != p.place.Region:
		for _, pair := range p.Failover {
			if pair.From == p.place.Region && pair.To != to.Region {
				return beyond
			}
		}
		return elsewhere
	case p.ZoneAware > 0:
		return samePlace // zones are weighed
	case to.Zone != p.place.Zone:
		return sameRegion
	case to.Subzone != p.place.Subzone:
		return sameZone
	}
	return samePlace
}

func endpointLabel(e *mesh.Endpoint, key string) string {
	switch key {
	case mesh.LabelRegion:
		return e.Locality.Region
	case mesh.LabelZone:
		return e.Locality.Zone
	case mesh.LabelSubzone:
		return e.Locality.Subzone
	case mesh.LabelNode:
		return e.Node
	}
	return e.Labels[key]
}

// shareScale is what a percent of the traffic weighs: enough to divide it among localities.
const shareScale = 1000

// distribute gives localities the shares that are said of callers of this place. What no
// share is for gets nothing.
func (p *preference) distribute(all []*group) []*group {
	i := slices.IndexFunc(p.Distribute, func(d mesh.Distribution) bool { return placeMatches(d.From, p.place) })
	if i < 0 {
		return all
	}
	shares := p.Distribute[i].To
	// The narrowest pattern has a locality.
	patterns := slices.SortedFunc(maps.Keys(shares), func(a, b string) int {
		exactness := func(pattern string) int { return strings.Count(strings.TrimSuffix(pattern, "*"), "/") }
		return cmp.Or(cmp.Compare(exactness(b), exactness(a)), cmp.Compare(strings.Count(a, "*"), strings.Count(b, "*")), cmp.Compare(a, b))
	})
	pattern := func(g *group) string {
		if i := slices.IndexFunc(patterns, func(pattern string) bool { return placeMatches(pattern, g.locality) }); i >= 0 {
			return patterns[i]
		}
		return ""
	}
	endpoints := map[string]int{}
	for _, g := range all {
		endpoints[pattern(g)] += len(g.endpoints)
	}
	var kept []*group
	for _, g := range all {
		if share := shares[pattern(g)]; share > 0 {
			g.weight = max(1, share*shareScale*uint32(len(g.endpoints))/uint32(endpoints[pattern(g)]))
			kept = append(kept, g)
		}
	}
	return kept
}

// placeMatches compares a place with "region/zone/subzone", which may end early or in "*".
func placeMatches(pattern string, place mesh.Locality) bool {
	parts := strings.Split(pattern, "/")
	for i, is := range []string{place.Region, place.Zone, place.Subzone} {
		if i == len(parts) || parts[i] == "*" {
			return true
		}
		if parts[i] != is {
			return false
		}
	}
	return true
}

func zoneOf(place mesh.Locality) mesh.Locality {
	place.Subzone = ""
	return place
}

// keepToZone weighs the nearest endpoints so that a caller calls its own zone as far as that
// has capacity: each zone has as much of it as it has endpoints, and callers come from where
// their service has endpoints. Envoy reckons in the same way for its zone-aware routing, but
// asks each proxy to know its own service for that.
func (p *preference) keepToZone(all []*group) {
	capacity, total, callers := map[mesh.Locality]float64{}, 0.0, 0.0
	for _, g := range all {
		if g.priority == 0 {
			capacity[zoneOf(g.locality)] += float64(len(g.endpoints))
			total += float64(len(g.endpoints))
		}
	}
	for _, count := range p.own {
		callers += count
	}
	here := zoneOf(p.place)
	if total < float64(p.ZoneAware) || callers == 0 || p.own[here] == 0 || capacity[here] == 0 || len(capacity) == 1 {
		return
	}
	// What is left in each zone once the callers there are served, and how much of what comes
	// from here can be served here.
	kept := min(1, capacity[here]/total/(p.own[here]/callers))
	left, sum := map[mesh.Locality]float64{}, 0.0
	for zone, count := range capacity {
		left[zone] = max(0, count/total-p.own[zone]/callers)
		sum += left[zone]
	}
	for _, g := range all {
		if g.priority > 0 {
			continue
		}
		zone := zoneOf(g.locality)
		share := kept
		if zone != here {
			share = 0
			if sum > 0 {
				share = (1 - kept) * left[zone] / sum
			}
		}
		// A zone without a share stays known, for when the others fail: Envoy leaves out what
		// weighs nothing.
		g.weight = uint32(max(1, share*100*shareScale*shareScale*float64(len(g.endpoints))/capacity[zone]))
	}
}
