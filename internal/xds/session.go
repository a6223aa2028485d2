package xds

import (
	"log/slog"
	"sync"
	"time"
)

// session is one stream of one proxy: what the proxy asked for, what it is known to
// run, and what is under way to it. Its two variants, delta and state of the world,
// differ in how a response is put together (response_delta.go, response_sotw.go).
type session struct {
	cache   *Cache
	variant variant

	mu sync.Mutex
	Client
	class *class
	types map[string]*subscription
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
	// alarmed is true while a timer is set to look at the gate again.
	alarmed bool
}

// variant is the part of a session that depends on the protocol.
type variant interface {
	// respond sends what is due of one type, if anything is. The session is locked, the
	// subscription has an open watch and nothing under way.
	respond(s *session, sub *subscription)
}

// subscription is the state of one type on one stream.
type subscription struct {
	typeURL  string
	wildcard bool
	names    map[string]struct{}
	// greeted is false until the first response, which is due even if it is empty: a
	// proxy is not ready before it knows that it needs nothing.
	greeted bool
	// acked is what the proxy runs, as far as it told.
	acked map[string]entry
	// dirty are the names of which the proxy may not run what the view says.
	dirty map[string]struct{}
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

func newSession(cache *Cache, v variant) *session {
	return &session{cache: cache, variant: v, types: map[string]*subscription{}, uses: map[string]int{}}
}

func (s *session) enter(client Client, class *class) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Client, s.class = client, class
}

// move changes the class. Every name of both views may differ now.
func (s *session) move(class *class) {
	s.mu.Lock()
	before := s.class
	s.class = class
	for _, sub := range s.types {
		mark := func(name string) {
			if sub.covers(name) {
				sub.dirty[name] = struct{}{}
			}
		}
		before.names(sub.typeURL, mark)
		class.names(sub.typeURL, mark)
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
		if sub := s.types[key.TypeURL]; sub != nil && sub.covers(key.Name) {
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

func (sub *subscription) covers(name string) bool {
	if sub.wildcard {
		return true
	}
	_, named := sub.names[name]
	return named
}

// subscribe returns the state of a type, made at its first request.
func (s *session) subscribe(typeURL string) (sub *subscription, first bool) {
	if sub := s.types[typeURL]; sub != nil {
		return sub, false
	}
	sub = &subscription{
		typeURL: typeURL,
		names:   map[string]struct{}{}, acked: map[string]entry{}, dirty: map[string]struct{}{},
		blocked: map[string]time.Time{}, owed: map[string]entry{}, refused: map[string]refusal{},
	}
	s.types[typeURL] = sub
	return sub, true
}

// arrive tells the tracker once it is known what concerns the proxy: the view is there, and
// Envoy has subscribed to these three as a whole, from which follows what else it asks for.
func (s *session) arrive() {
	if s.arrived {
		return
	}
	for _, typeURL := range []string{ClusterType, ListenerType, ScopeType} {
		if sub := s.types[typeURL]; sub == nil || !sub.wildcard {
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

// drop unsubscribes from a name: the proxy forgets it by itself.
func (s *session) drop(sub *subscription, name string) {
	delete(sub.names, name)
	if sub.wildcard {
		return
	}
	s.setAcked(sub, name, entry{}, false)
	delete(sub.dirty, name)
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
	sub := s.types[EndpointType]
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
	if s.class == nil || !s.class.isReady() {
		return
	}
	s.arrive()
	for _, typeURL := range sendOrder {
		sub := s.types[typeURL]
		if sub == nil || sub.send == nil || sub.flight != nil {
			continue
		}
		if sub.wildcard && !sub.greeted {
			// The view may have come into being after the request, and the publication not
			// have told us yet.
			s.class.names(typeURL, func(name string) { sub.dirty[name] = struct{}{} })
		}
		s.variant.respond(s, sub)
	}
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
		if _, has := sub.acked[name]; has && sub.typeURL == ClusterType && e.Resource != nil {
			s.resend(name)
		}
	}
	s.cache.options.Metrics.responses.WithLabelValues(shortType(sub.typeURL)).Inc()
	s.cache.options.Metrics.resources.WithLabelValues(shortType(sub.typeURL)).Add(float64(len(entries)))
}

// sent notes the nonce under which the stream really sent the response of a type.
func (s *session) sent(typeURL, nonce string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub := s.types[typeURL]; sub != nil && sub.flight != nil {
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
	for _, sub := range s.types {
		state.Withheld += len(sub.refused)
		for name := range sub.dirty {
			if _, refused := sub.refused[name]; !refused {
				state.Waiting++
			}
		}
	}
	return state
}

func (s *session) log() *slog.Logger {
	return s.cache.options.Log.With("node", s.Node)
}
