package xds

import (
	"slices"
	"time"
)

// variant is the part of a subscription that depends on the protocol: how a response is put
// together (response_delta.go, response_sotw.go).
type variant interface {
	// respond sends what is due, if anything is. The session is locked, the subscription has an
	// open watch and nothing under way.
	respond(s *session, sub *subscription)
}

// subscription is the state of one type on one stream.
type subscription struct {
	typeURL  string
	variant  variant
	wildcard bool
	names    map[string]struct{}
	// greeted is false until the first response, which is due even if it is empty: a
	// proxy is not ready before it knows that it needs nothing.
	greeted bool
	// acked is what the proxy runs, as far as it told.
	acked map[string]entry
	// dirty are the names of which the proxy may not run what the view says.
	dirty map[string]struct{}
	// again are those of them that are sent even if they are equal.
	again map[string]struct{}
	// blocked notes since when a name has waited at the gate.
	blocked map[string]time.Time
	// owed are endpoints for which a cluster warms that the proxy was sent, as they were then.
	owed map[string]entry
	// refused is what the proxy did not take: it is not sent again until it changes.
	refused map[string]refusal
	// probes are groups of names to be sent alone after a refusal, the next one first.
	probes [][]string
	// flight is the response that waits for its answer.
	flight *flight
	// send delivers a response to the stream; nil while no watch is open.
	send func(response any)
	// request is the one that opened the watch.
	request any
}

// flight is a response under way.
type flight struct {
	// nonce is empty until the response was really sent.
	nonce string
	// entries are the changes in it; a removal has no Resource.
	entries map[string]entry
	// full marks a state-of-the-world response whose omissions are removals.
	full bool
}

// refusal is a proxy's no to a content.
type refusal struct {
	hash    string
	message string
}

func (sub *subscription) covers(name string) bool {
	if sub.wildcard {
		return true
	}
	_, named := sub.names[name]
	return named
}

// due reports whether a response with these changes is to be sent. The first one of a type
// as a whole makes the proxy ready: it is due even if it is empty, and waits until nothing
// is missing from it.
func (sub *subscription) due(changes map[string]entry) bool {
	if sub.wildcard && !sub.greeted {
		return !sub.waiting(changes)
	}
	return len(changes) > 0
}

// subscribe adds a subscription to a type.
func (s *session) subscribe(typeURL string, v variant) *subscription {
	sub := &subscription{
		typeURL: typeURL, variant: v,
		names: map[string]struct{}{}, acked: map[string]entry{}, dirty: map[string]struct{}{}, again: map[string]struct{}{},
		blocked: map[string]time.Time{}, owed: map[string]entry{}, refused: map[string]refusal{},
	}
	s.types[typeURL] = slices.Insert(s.types[typeURL], 0, sub)
	return sub
}

// unsubscribe ends a subscription: what its client had by it, the client forgets by itself.
func (s *session) unsubscribe(sub *subscription) {
	if sub.flight != nil {
		s.use(sub, sub.flight.entries, -1)
	}
	for _, e := range sub.acked {
		s.count(sub, e, -1)
	}
	s.types[sub.typeURL] = slices.DeleteFunc(s.types[sub.typeURL], func(other *subscription) bool { return other == sub })
}

// of returns the newest subscription to a type that has a name or, if none has, one of the
// others; nil if there is none.
func (s *session) of(typeURL, name string) *subscription {
	subs := s.types[typeURL]
	for _, sub := range subs {
		if sub.covers(name) {
			return sub
		}
	}
	if len(subs) > 0 {
		return subs[0]
	}
	return nil
}

// whole returns the subscription to all of a type; nil if there is none.
func (s *session) whole(typeURL string) *subscription {
	for _, sub := range s.types[typeURL] {
		if sub.wildcard {
			return sub
		}
	}
	return nil
}
