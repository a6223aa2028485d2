package xds

import (
	"log/slog"
	"sync"
	"time"
)

// session is one client: what it asked for, what it is known to run, and what is under way
// to it. It has one stream for everything, or a stream for each subscription (separate.go), or
// asks again and again (poll.go).
type session struct {
	cache *Cache

	mu sync.Mutex
	Client
	class *class
	// types are the subscriptions by type: more than one of a type only where each has a stream
	// of its own.
	types map[string][]*subscription
	// uses counts, for each cluster, the routes and listeners that the proxy runs or is
	// being sent and that need it (gate.go).
	uses map[string]int
	// opaque counts what the proxy runs of these from before this session, of which only
	// the hash is known.
	opaque int
	// arrived is set once the tracker knows all that concerns the proxy.
	arrived bool
	// resumed is when the proxy said that it has clusters from an earlier stream; zero if it
	// did not.
	resumed time.Time
	// ahead is how far the replica was that served the proxy before, if this one is not as far;
	// zero if it is.
	ahead uint64
	// alarmed is true while a timer is set to look at the gate again.
	alarmed bool
}

func newSession(cache *Cache) *session {
	return &session{cache: cache, types: map[string][]*subscription{}, uses: map[string]int{}}
}

func (s *session) enter(client Client, class *class) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Client, s.class = client, class
}

// in reports whether the client is in a class.
func (s *session) in(class string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.class.key == class
}

// move changes the class. Every name of both views may differ now.
func (s *session) move(class *class) {
	s.mu.Lock()
	before := s.class
	s.class = class
	for _, subs := range s.types {
		for _, sub := range subs {
			mark := func(name string) {
				if sub.covers(name) {
					sub.dirty[name] = struct{}{}
				}
			}
			before.names(sub.typeURL, mark)
			class.names(sub.typeURL, mark)
		}
	}
	s.advance()
	s.judgeAll()
	s.mu.Unlock()
}

// changed notes that entries of the view have another content, or require other clusters
// with the same content: a destination may cease to exist and keep its name in a route.
func (s *session) changed(keys []Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		for _, sub := range s.types[key.TypeURL] {
			if !sub.covers(key.Name) {
				continue
			}
			sub.dirty[key.Name] = struct{}{}
			delete(sub.blocked, key.Name)
			acked, has := sub.acked[key.Name]
			if current, exists := s.class.get(key.TypeURL, key.Name); has && exists && acked.Hash == current.Hash {
				s.setAcked(sub, key.Name, current, true)
			}
		}
	}
	s.advance()
}

// arrive tells the tracker once it is known what concerns the proxy: the view is there, and
// Envoy has subscribed to these three as a whole, from which follows what else it asks for. A
// gateway has no scopes.
func (s *session) arrive() {
	if s.arrived {
		return
	}
	for _, typeURL := range []string{ClusterType, ListenerType, ScopeType} {
		if s.whole(typeURL) == nil && (typeURL != ScopeType || s.class.has(ScopeType)) {
			return
		}
	}
	s.arrived = true
	// The publication that brought the view may not have come to it yet.
	s.judgeAll()
	s.cache.tracker.arrived(s.Node)
}

// setWildcard changes whether a type is subscribed to as a whole.
func (s *session) setWildcard(sub *subscription, wildcard bool) {
	if sub.wildcard == wildcard {
		return
	}
	sub.wildcard = wildcard
	if wildcard {
		s.class.names(sub.typeURL, func(name string) { sub.dirty[name] = struct{}{} })
		for name := range sub.acked {
			sub.dirty[name] = struct{}{}
		}
	}
	s.judgeAll()
}

// add subscribes to a name. Asking again means that the proxy does not have it any more.
func (s *session) add(sub *subscription, name string, has bool) {
	sub.names[name] = struct{}{}
	if !has {
		s.setAcked(sub, name, entry{}, false)
	}
	delete(sub.refused, name)
	sub.dirty[name] = struct{}{}
}

// setNames subscribes to exactly these names.
func (s *session) setNames(sub *subscription, names map[string]struct{}) {
	for name := range sub.names {
		if _, still := names[name]; !still {
			s.drop(sub, name)
		}
	}
	for name := range names {
		if _, known := sub.names[name]; !known {
			s.add(sub, name, false)
		}
	}
}

// drop unsubscribes from a name: the proxy forgets it by itself.
func (s *session) drop(sub *subscription, name string) {
	delete(sub.names, name)
	if sub.wildcard {
		return
	}
	s.setAcked(sub, name, entry{}, false)
	delete(sub.dirty, name)
	delete(sub.again, name)
	delete(sub.blocked, name)
	delete(sub.owed, name)
	delete(sub.refused, name)
}

// answered takes in the proxy's answer to the response under way, if the nonce is that
// response's. An empty refused message is an acknowledgement.
func (s *session) answered(sub *subscription, nonce, message string, refused bool) {
	f := sub.flight
	if f == nil || f.nonce == "" || f.nonce != nonce {
		return
	}
	sub.flight = nil
	s.use(sub, f.entries, -1)
	if refused {
		s.refuse(sub, f, message)
		return
	}
	touched := map[objectID]struct{}{}
	for name, e := range f.entries {
		before := sub.acked[name]
		s.commit(sub, name, e)
		collectOwners(touched, before.Resource)
		collectOwners(touched, e.Resource)
	}
	s.judgeThese(touched)
}

// commit notes that the proxy runs an entry now.
func (s *session) commit(sub *subscription, name string, e entry) {
	delete(sub.refused, name)
	delete(sub.blocked, name)
	current, exists := s.class.get(sub.typeURL, name)
	switch {
	case e.Resource == nil:
		s.setAcked(sub, name, entry{}, false)
		if !exists {
			delete(sub.dirty, name)
		}
	case exists && current.Hash == e.Hash:
		s.setAcked(sub, name, current, sub.covers(name))
		delete(sub.dirty, name)
	default:
		s.setAcked(sub, name, e, sub.covers(name))
	}
}

// resend has endpoints sent again for a cluster that is being replaced: Envoy warms the new
// one and waits for them, though it has them already, and acknowledges no cluster before.
func (s *session) resend(name string) {
	sub := s.of(EndpointType, name)
	if sub == nil || !sub.covers(name) {
		return
	}
	if sub.flight != nil {
		// These will be there before the new cluster is.
		delete(sub.flight.entries, name)
	}
	s.setAcked(sub, name, entry{}, false)
	sub.dirty[name] = struct{}{}
	if current, exists := s.class.get(EndpointType, name); exists {
		sub.owed[name] = current
	}
}

// setAcked is the only place that changes what the proxy is known to run.
func (s *session) setAcked(sub *subscription, name string, e entry, has bool) {
	before, had := sub.acked[name]
	if had {
		s.count(sub, before, -1)
		delete(sub.acked, name)
	}
	if has {
		sub.acked[name] = e
		s.count(sub, e, 1)
	}
}

// advance sends whatever is due, in the order in which things depend on each other.
func (s *session) advance() {
	if s.class == nil || !s.class.isReady() || s.ahead > 0 {
		return
	}
	s.arrive()
	for _, typeURL := range sendOrder {
		for _, sub := range s.types[typeURL] {
			if sub.send == nil || sub.flight != nil {
				continue
			}
			if sub.wildcard && !sub.greeted {
				// The view may have come into being after the request, and the publication not
				// have told us yet.
				s.class.names(typeURL, func(name string) { sub.dirty[name] = struct{}{} })
			}
			sub.variant.respond(s, sub)
		}
	}
}

// openWatch lets responses out, now that a request was taken in. What it returns closes the
// watch.
func (s *session) openWatch(sub *subscription, request any, send func(any)) func() {
	if !sub.wildcard && !s.referred(sub.typeURL) {
		s.judgeAll()
	}
	sub.request, sub.send = request, send
	s.advance()
	return func() { s.closeWatch(sub, request) }
}

// closeWatch ends the watch that a request opened, unless a later one has already.
func (s *session) closeWatch(sub *subscription, request any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub.request == request {
		sub.send, sub.request = nil, nil
	}
}

// launched notes that a response was handed to the stream.
func (s *session) launched(sub *subscription, entries map[string]entry, full bool) {
	sub.flight = &flight{entries: entries, full: full}
	sub.greeted = true
	sub.send, sub.request = nil, nil
	s.use(sub, entries, 1)
	for name, e := range entries {
		delete(sub.blocked, name)
		delete(sub.owed, name)
		delete(sub.again, name)
		if acked, has := sub.acked[name]; has && sub.typeURL == ClusterType && e.Resource != nil && acked.Hash != e.Hash {
			s.resend(name)
		}
	}
	s.cache.options.Metrics.responses.WithLabelValues(shortType(sub.typeURL)).Inc()
	s.cache.options.Metrics.resources.WithLabelValues(shortType(sub.typeURL)).Add(float64(len(entries)))
}

// sent notes the nonce under which the stream really sent a response.
func (s *session) sent(sub *subscription, nonce string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub.flight != nil {
		sub.flight.nonce = nonce
	}
}

// unsent takes back a response that the stream dropped before sending it.
func (s *session) unsent(sub *subscription) {
	if f := sub.flight; f != nil && f.nonce == "" {
		s.use(sub, f.entries, -1)
		sub.flight = nil
		for name := range f.entries {
			sub.dirty[name] = struct{}{}
		}
	}
}

func (s *session) sync() Sync {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := Sync{Node: s.Node, Class: s.class.key}
	for _, subs := range s.types {
		for _, sub := range subs {
			state.Withheld += len(sub.refused)
			for name := range sub.dirty {
				if _, refused := sub.refused[name]; !refused {
					state.Waiting++
				}
			}
		}
	}
	return state
}

func (s *session) log() *slog.Logger {
	return s.cache.options.Log.With("node", s.Node)
}
