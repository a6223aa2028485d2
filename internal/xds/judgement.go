package xds

import (
	"slices"

	"fairlead.dev/fairlead/internal/delivery"
)

// What a session tells the tracker: which objects concern its proxy, and whether the proxy
// runs their newest generation.

// interested reports whether the proxy is subscribed to a resource, or will be since
// what refers to it is subscribed to as a whole.
func (s *session) interested(key Key) bool {
	if sub := s.of(key.TypeURL, key.Name); sub != nil && sub.covers(key.Name) {
		return true
	}
	return s.referred(key.TypeURL)
}

// referred reports whether what refers to a type is subscribed to as a whole.
func (s *session) referred(typeURL string) bool {
	switch typeURL {
	case RouteType:
		// A gateway's listeners name routes themselves.
		return s.whole(ScopeType) != nil || s.whole(ListenerType) != nil && !s.class.has(ScopeType)
	case SecretType:
		return s.whole(ListenerType) != nil
	case EndpointType:
		return s.whole(ClusterType) != nil
	}
	return false
}

// judge tells the tracker what the proxy did with an object. The session is not locked.
func (s *session) judge(object objectID, w wanted) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.judgeLocked(object, w)
}

func (s *session) judgeLocked(object objectID, w wanted) {
	var state proxyState
	state.acknowledged = true
	for _, key := range slices.Concat(s.class.owned(object), w.former) {
		if !s.interested(key) {
			continue
		}
		state.concerned = true
		e, found := s.class.get(key.TypeURL, key.Name)
		if !found {
			continue
		}
		sub := s.of(key.TypeURL, key.Name)
		if sub == nil {
			state.acknowledged = false
			continue
		}
		if r, refused := sub.refused[key.Name]; refused && r.hash == e.Hash {
			rejection := delivery.Rejection{Node: s.Node, Resource: key.String(), Message: r.message}
			if state.rejection == nil || rejection.Resource < state.rejection.Resource {
				rejection.Suspects = s.suspects(sub, e)
				state.rejection = &rejection
			}
		}
		if !runs(sub, e, w.since) {
			state.acknowledged = false
		}
	}
	state.acknowledged = state.acknowledged && state.concerned
	s.cache.tracker.set(object, s, w.since, state)
}

// suspects returns the objects behind what changed of a resource since the proxy acknowledged
// it. One that contributes no more is behind the change, too.
func (s *session) suspects(sub *subscription, refused entry) []delivery.Version {
	acked := sub.acked[refused.Name]
	owners := map[objectID]struct{}{}
	collectOwners(owners, acked.Resource)
	collectOwners(owners, refused.Resource)
	return s.cache.tracker.suspects(owners, acked.since, refused.since)
}

// runs reports whether the proxy runs what an entry held in a publication, or something
// newer of the same name.
func runs(sub *subscription, e entry, publication uint64) bool {
	acked, has := sub.acked[e.Name]
	switch {
	case !has:
		return false
	case acked.Hash == e.Hash, acked.since >= publication:
		return true
	}
	// The content changed after the publication; what the publication had is the one before.
	return e.since > publication && e.before > 0 && e.before <= publication && acked.since >= e.before
}

func (s *session) judgeThese(objects map[objectID]struct{}) {
	for object := range objects {
		if w, tracked := s.cache.tracker.want(object); tracked {
			s.judgeLocked(object, w)
		}
	}
}

func (s *session) judgeAll() {
	for _, object := range s.cache.tracker.all() {
		if w, tracked := s.cache.tracker.want(object); tracked {
			s.judgeLocked(object, w)
		}
	}
}

func collectOwners(into map[objectID]struct{}, resource *Resource) {
	if resource != nil {
		for _, owner := range resource.Owners {
			into[owner] = struct{}{}
		}
	}
}
