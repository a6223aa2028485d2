package xds

import (
	"maps"
	"slices"
	"sync"
)

// maxMessage is where a proxy's words are cut: Envoy repeats whole messages in some.
const maxMessage = 4096

// One bad resource makes Envoy refuse the whole response, and what it says names the
// culprit only sometimes. So after a refusal nothing that was in the response counts as
// delivered, and it is sent again in parts: one resource a response where a response may
// be partial (delta, and routes and endpoints in state of the world); elsewhere a response
// always carries everything, so there half of the suspects are held back at what the proxy
// runs, and the halves are halved. Nothing else of the type is sent meanwhile, so that the
// next answer is clear.

// refuse takes in a refusal of a whole response.
func (s *session) refuse(sub *subscription, f *flight, message string) {
	if len(message) > maxMessage {
		message = message[:maxMessage]
	}
	names := slices.Sorted(maps.Keys(f.entries))
	s.cache.options.Metrics.rejections.WithLabelValues(shortType(sub.typeURL)).Inc()
	for _, name := range names {
		sub.dirty[name] = struct{}{}
	}
	var suspects []string
	for _, name := range names {
		if f.entries[name].Resource != nil {
			suspects = append(suspects, name)
			continue
		}
		if len(names) == 1 || f.full {
			// A removal cannot be at fault by itself; trying again would not help.
			s.commit(sub, name, entry{})
		} else {
			suspects = append(suspects, name)
		}
	}
	if len(names) > 1 {
		s.log().Info("A proxy refused a response, which is sent again in parts", "type", shortType(sub.typeURL),
			"resources", len(names), "message", message)
	}
	switch {
	case len(suspects) == 0:
	case len(suspects) == 1 && (len(names) == 1 || f.full):
		s.withhold(sub, suspects[0], f.entries[suspects[0]], message)
	case f.full:
		half := len(suspects) / 2
		sub.probes = slices.Insert(sub.probes, 0, suspects[:half], suspects[half:])
	default:
		groups := make([][]string, len(suspects))
		for i, name := range suspects {
			groups[i] = []string{name}
		}
		sub.probes = slices.Insert(sub.probes, 0, groups...)
	}
}

// withhold keeps a content from the proxy until it changes.
func (s *session) withhold(sub *subscription, name string, e entry, message string) {
	s.log().Warn("A proxy refused a resource, which is withheld until it changes",
		"resource", e.String(), "message", message)
	sub.refused[name] = refusal{hash: e.Hash, message: message}
	s.cache.suspects.note(e)
	if current, found := s.class.get(sub.typeURL, name); found && current.Hash == e.Hash {
		delete(sub.dirty, name)
	}
	owners := map[objectID]struct{}{}
	collectOwners(owners, e.Resource)
	s.judgeThese(owners)
}

// suspects are contents that some proxy refused. Every other proxy is sent them alone and
// after all else: one that joins would refuse its first routes in one piece, and be ready
// without them.
type suspects struct {
	mu     sync.Mutex
	hashes map[Key]string
}

func (s *suspects) note(e entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hashes[e.Key] = e.Hash
}

func (s *suspects) has(e entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.Resource != nil && s.hashes[e.Key] == e.Hash
}

// forget drops what is not served under its name any more.
func (s *suspects) forget(update Update) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range update.Remove {
		delete(s.hashes, key)
	}
	for _, resource := range update.Set {
		if s.hashes[resource.Key] != resource.Hash {
			delete(s.hashes, resource.Key)
		}
	}
}

// apart takes the suspects out of what is due, or leaves one of them if there is nothing
// else. They stay dirty.
func (s *session) apart(sub *subscription, changes map[string]entry) map[string]entry {
	var suspected []string
	for name, e := range changes {
		if s.cache.suspects.has(e) {
			suspected = append(suspected, name)
		}
	}
	slices.Sort(suspected)
	if len(suspected) == len(changes) && len(suspected) > 0 {
		suspected = suspected[1:]
	}
	for _, name := range suspected {
		delete(changes, name)
		delete(sub.blocked, name)
	}
	return changes
}

// next returns the changes for the next response: those of a probe, else of all names that
// may differ. It drops probes in which nothing is left to send.
func (s *session) next(sub *subscription, limit int) map[string]entry {
	for len(sub.probes) > 0 {
		group := sub.probes[0]
		sub.probes = sub.probes[1:]
		if changes := s.due(sub, group, 0); len(changes) > 0 {
			return changes
		}
	}
	return s.apart(sub, s.due(sub, slices.Sorted(maps.Keys(sub.dirty)), limit))
}

// due returns what is to be sent of the names given, at most limit if that is not zero.
// What turns out to need no sending is not dirty any more.
func (s *session) due(sub *subscription, names []string, limit int) map[string]entry {
	changes := map[string]entry{}
	for _, name := range names {
		if limit > 0 && len(changes) == limit {
			break
		}
		target, exists := s.class.get(sub.typeURL, name)
		acked, has := sub.acked[name]
		_, again := sub.again[name]
		switch {
		case !sub.covers(name), !exists && !has:
			delete(sub.dirty, name)
			delete(sub.blocked, name)
		case !exists:
			delete(sub.blocked, name)
			switch {
			case s.passesRemoval(sub, name):
				changes[name] = entry{}
			case s.referred(sub.typeURL):
				delete(sub.dirty, name) // The proxy drops it by itself.
			}
		case has && acked.Hash == target.Hash && !again:
			s.setAcked(sub, name, target, true)
			delete(sub.dirty, name)
			delete(sub.blocked, name)
		case sub.refused[name].hash == target.Hash:
			delete(sub.dirty, name)
			delete(sub.blocked, name)
		case s.passes(sub, target):
			changes[name] = target
		case sub.owed[name].Resource != nil:
			changes[name] = sub.owed[name]
		}
	}
	return changes
}
