package xds

// Make before break: Envoy answers 503 for a route to a cluster that it does not have, and
// for a cluster whose endpoints it does not know. So a route or listener is held until
// its proxy acknowledged the clusters that it requires and their endpoints, and the
// removal of a cluster is held until the proxy runs nothing that needs it. Clients that
// do not subscribe to clusters as a whole (gRPC's) ask for a cluster only after they have
// the route: nothing is held from them.
//
// Endpoints are held until their proxy was sent the change of their cluster that came
// with them: it may be what lets the cluster believe a new endpoint's identity. It is not
// acknowledged before its endpoints are there.

// passes reports whether an update to a name may be sent now.
func (s *session) passes(sub *subscription, target entry) bool {
	clusters := s.whole(ClusterType)
	if clusters == nil {
		return true
	}
	_, runsOlder := sub.acked[target.Name]
	waits := sub.typeURL == EndpointType && s.outdated(clusters, target.Name)
	for _, name := range target.Requires {
		cluster, exists := s.class.get(ClusterType, name)
		if !exists {
			continue
		}
		if r, refused := clusters.refused[name]; refused && r.hash == cluster.Hash {
			if _, has := clusters.acked[name]; !has && runsOlder {
				// The cluster will not come: what the proxy runs is better than a route to nowhere.
				return false
			}
			continue
		}
		if !s.warm(clusters, name) {
			waits = true
		}
	}
	if !waits {
		return true
	}
	now := s.cache.options.Clock.Now()
	since, known := sub.blocked[target.Name]
	if !known {
		since = now
		sub.blocked[target.Name] = now
	}
	if now.Sub(since) >= s.cache.options.GateTimeout {
		s.log().Warn("A proxy was sent a resource before it acknowledged the clusters that it requires",
			"resource", target.String(), "waited", now.Sub(since).String())
		return true
	}
	if !s.alarmed {
		s.alarmed = true
		s.cache.options.Clock.AfterFunc(s.cache.options.GateTimeout, s.kick)
	}
	return false
}

// outdated reports whether the proxy has a cluster as it was, and is still to be sent it as it is.
func (s *session) outdated(clusters *subscription, name string) bool {
	acked, has := clusters.acked[name]
	cluster, exists := s.class.get(ClusterType, name)
	if !has || !exists || acked.Hash == cluster.Hash || clusters.refused[name].hash == cluster.Hash {
		return false
	}
	sent := clusters.flight != nil && clusters.flight.entries[name].Resource != nil
	return !sent || clusters.flight.entries[name].Hash != cluster.Hash
}

// waiting reports whether a name waits at the gate that is not among the changes due.
func (sub *subscription) waiting(changes map[string]entry) bool {
	for name := range sub.blocked {
		if _, due := changes[name]; !due {
			return true
		}
	}
	return false
}

// warm reports whether the proxy has a cluster with its endpoints.
func (s *session) warm(clusters *subscription, name string) bool {
	if _, has := clusters.acked[name]; !has {
		return false
	}
	if _, hasEndpoints := s.class.get(EndpointType, name); !hasEndpoints {
		return true
	}
	endpoints := s.of(EndpointType, name)
	if endpoints == nil {
		return false
	}
	_, has := endpoints.acked[name]
	return has
}

// passesRemoval reports whether a name that the view does not have may be taken away.
func (s *session) passesRemoval(sub *subscription, name string) bool {
	switch sub.typeURL {
	case ClusterType:
		// What was acknowledged before this session may need any cluster.
		return s.uses[name] == 0 && s.opaque == 0 && s.told()
	case EndpointType:
		// A proxy that drops the cluster unsubscribes by itself.
		return !s.referred(EndpointType)
	case RouteType, SecretType:
		// Likewise with the scope or listener that leads there.
		return !s.referred(sub.typeURL)
	}
	return true
}

// told reports whether the proxy has told what it runs. One that reconnects does so type
// by type, clusters first; those that it has must not be taken away before it is known
// which of its routes and listeners need them.
func (s *session) told() bool {
	if s.resumed.IsZero() || s.types[ListenerType] != nil && s.types[RouteType] != nil {
		return true
	}
	// It may have no routes.
	return s.cache.options.Clock.Since(s.resumed) >= s.cache.options.GateTimeout
}

// use counts what a response under way needs.
func (s *session) use(sub *subscription, entries map[string]entry, by int) {
	for _, e := range entries {
		if e.Resource != nil {
			s.count(sub, e, by)
		}
	}
}

// count keeps the number of users of each cluster.
func (s *session) count(sub *subscription, e entry, by int) {
	if sub.typeURL != RouteType && sub.typeURL != ListenerType {
		return
	}
	if e.body == nil {
		s.opaque += by
		return
	}
	for _, cluster := range e.Requires {
		s.uses[cluster] += by
		if s.uses[cluster] == 0 {
			delete(s.uses, cluster)
		}
	}
}

// kick looks again at what waits at the gate.
func (s *session) kick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alarmed = false
	s.advance()
}
