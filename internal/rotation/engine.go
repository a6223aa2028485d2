package rotation

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/internal/agents"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/pki/renewal"
)

// Options are what the engine works with.
type Options struct {
	Clock clock.WithTicker
	Log   *slog.Logger
	Store Store
	// Source holds the authority; the engine puts what it wrote into it.
	Source *pki.Source
	// Issue has a certificate issued by an issuer's name, which is that of Terms; empty: by
	// whoever signs for the mesh.
	Issue func(ctx context.Context, name string, request pki.Request, csr []byte) (chain, roots []byte, err error)
	// Proxies are the agents on the stream.
	Proxies Proxies
	// Sources gives generations of the root that come from outside.
	Sources Sources
	// Pods are the nodes of all Pods that run, and whether each is ready and has a proxy with
	// certificates, be its agent on the stream or not.
	Pods func() map[string]bool
	// Notify is told of events; it must not wait.
	Notify func(Event)
	// Settle is how long proxies have after Start to come back before anything is renewed that
	// can wait: until then, what they have not proven is not known.
	Settle time.Duration
	// Changed is told whose certificates have changed, for their status; it must not wait.
	Changed func(Object)
}

// Engine is the rotation engine. Its inputs may be called from everywhere, before Start too.
// It is a collector of its metrics.
type Engine struct {
	Options
	counters

	mu      sync.Mutex
	holders map[Key]*holder
	// scopes are the Secrets' keys by the namespace that Subjects were given for.
	scopes map[string]map[Key]struct{}
	// served are the subjects whose terms proxies of an identity go by.
	served map[pki.Identity]*Subject
	// retermed are the identities whose proxies may go by other terms than before.
	retermed map[pki.Identity]struct{}
	// defaults are the terms of proxies whose identity has no subject.
	defaults *Terms
	groups   map[string]*group
	// mounting are the proxies on the stream that mount the Secret of an identity.
	mounting map[pki.Identity][]*agents.Agent
	// traffic is what is known of the load of each namespace, kept what was kept of it, last at
	// keptAt.
	traffic map[string]*traffic
	kept    map[string]string
	keptAt  time.Time
	health  renewal.Watch
	root    root
	// dirty are holders of which something has changed since the last step.
	dirty map[Key]struct{}
	// settled is when Settle has passed since the first step; zero before that.
	settled time.Time
	// next is when some holder matters next, at the latest.
	next time.Time
	// news: proxies have reported something; seen is when they were last looked at, seeAt when
	// they are next if they report nothing new.
	news        bool
	seen, seeAt time.Time
	// poke holds a token when something has changed.
	poke chan struct{}
}

// holder is what the engine knows of one that keeps a certificate.
type holder struct {
	key     Key
	id      string
	subject *Subject
	held    *Held
	proxy   *agents.Agent
	// conflict: a Secret of this name is not ours.
	conflict bool

	// asked is the serial number of the certificate that a proxy had when it was told to renew.
	asked   string
	askedAt time.Time
	// answered is the order that a proxy was last told to renew for.
	answered string

	// busy: a worker has it.
	busy     bool
	failures int
	failure  string
	retryAt  time.Time
	// missing is the issuer that there is not, pending what is being asked of one.
	missing string
	pending *pki.Pending
	// group is the one that it is a member of, nil for none, and slot what that has given it.
	group *group
	slot  renewal.Slot
	// wake is when it has to be looked at again.
	wake time.Time
}

// New returns an engine that knows nothing yet.
func New(options Options) *Engine {
	return &Engine{
		Options: options, counters: newCounters(),
		holders: map[Key]*holder{}, scopes: map[string]map[Key]struct{}{}, served: map[pki.Identity]*Subject{},
		retermed: map[pki.Identity]struct{}{},
		defaults: &Terms{}, groups: map[string]*group{}, traffic: map[string]*traffic{},
		dirty: map[Key]struct{}{}, poke: make(chan struct{}, 1),
	}
}

// SetDefaults says what the terms are of proxies whose identity has no subject.
func (e *Engine) SetDefaults(terms *Terms) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.defaults = terms
	for _, h := range e.holders {
		if h.key.Kind == Pod {
			e.touch(h)
		}
	}
}

// SetSubjects replaces the certificates that there are to be in a namespace's Secrets.
func (e *Engine) SetSubjects(namespace string, subjects []Subject) {
	e.mu.Lock()
	defer e.mu.Unlock()
	before, now := e.scopes[namespace], make(map[Key]struct{}, len(subjects))
	for i := range subjects {
		s := &subjects[i]
		now[s.Key] = struct{}{}
		h := e.holder(s.Key)
		if h.subject != nil && *h.subject == *s {
			continue
		}
		if h.subject != nil {
			e.unserve(h.subject)
			e.told(h.subject)
		}
		h.subject = s
		if s.Served {
			e.served[s.Identity] = s
			e.retermed[s.Identity] = struct{}{}
		}
		e.touch(h)
	}
	for key := range before {
		if _, still := now[key]; still {
			continue
		}
		h := e.holder(key)
		e.unserve(h.subject)
		e.told(h.subject)
		h.subject, h.conflict, h.retryAt = nil, false, time.Time{}
		e.touch(h)
	}
	e.scopes[namespace] = now
	if len(now) == 0 {
		delete(e.scopes, namespace)
	}
}

func (e *Engine) unserve(s *Subject) {
	if e.served[s.Identity] == s {
		delete(e.served, s.Identity)
		e.retermed[s.Identity] = struct{}{}
	}
}

// SetHeld says what a Secret holds; nil: there is no such Secret of ours. What is older than
// what is known already is passed over: a watch lags behind the engine's own writes.
func (e *Engine) SetHeld(key Key, held *Held) {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := e.holder(key)
	if held != nil && h.held != nil && held.UID == h.held.UID && held.Number <= h.held.Number {
		return
	}
	h.held, h.conflict = held, false
	e.touch(h)
}

// Poke has the engine look at facts that it reads by itself: the authority, the proxies.
func (e *Engine) Poke() {
	select {
	case e.poke <- struct{}{}:
	default:
	}
}

// Reconsider has the root looked at again: its sources give something else now.
func (e *Engine) Reconsider() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.root.changed = true
	e.Poke()
}

func (e *Engine) holder(key Key) *holder {
	h := e.holders[key]
	if h == nil {
		h = &holder{key: key, id: key.String()}
		e.holders[key] = h
	}
	return h
}

// touch has a holder looked at in the next step.
func (e *Engine) touch(h *holder) {
	e.dirty[h.key] = struct{}{}
	e.Poke()
}

// told has the object's status looked at again.
func (e *Engine) told(s *Subject) {
	if s != nil {
		e.changedFor(s.Object)
	}
}

// Lifetime is how long a certificate that a proxy of an identity asks for is valid, on a
// replica that knows; otherwise it is the usual time.
func (e *Engine) Lifetime(identity pki.Identity, usual time.Duration) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.served[identity]; s != nil {
		return s.Lifetime
	}
	return usual
}

// terms are what holds for a holder; nil: nothing, since it is not wanted.
func (e *Engine) terms(h *holder) *Terms {
	switch {
	case h.subject != nil:
		return h.subject.Terms
	case h.proxy == nil || h.proxy.Connected.IsZero() || !h.proxy.WantsCertificates:
		return nil
	}
	if s := e.served[h.proxy.Identity]; s != nil {
		return s.Terms
	}
	return e.defaults
}
