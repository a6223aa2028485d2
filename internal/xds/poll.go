package xds

import (
	"slices"
	"strings"
	"sync"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
)

const (
	// pollerLifetime is how long something counts as wanted that was asked for once.
	pollerLifetime = time.Minute
	// missedPolls is how many times as long as from one question to the next it counts as wanted
	// that is not asked for any more.
	missedPolls = 3
	// pollSweep is how often it is looked for that.
	pollSweep = time.Second
)

// pollers are the clients that ask again and again, and have no stream. One acknowledges what it
// was answered by asking with that version; with an older one it says that the answer did not
// come or was no good, and is answered again.
type pollers struct {
	mu  sync.Mutex
	all map[Client]*poller
}

// poller is one of these clients. Envoy asks for the endpoints of each cluster, and for each route
// configuration, in a request of its own: each is a subscription, by its type and names.
type poller struct {
	*session
	asked map[string]*polled
}

type polled struct {
	*subscription
	// version is the newest that the client acknowledged.
	version string
	// at is when it was asked for last, and interval how long that was after the time before.
	at       time.Time
	interval time.Duration
}

// wanted reports whether it is still to be expected that it is asked for.
func (p *polled) wanted(now time.Time) bool {
	lifetime := pollerLifetime
	if p.interval > 0 {
		lifetime = missedPolls * max(p.interval, pollSweep)
	}
	return now.Sub(p.at) < lifetime
}

// poll answers a request; nil says that there is nothing new.
func (s *Server) poll(client Client, class string, request *discovery.DiscoveryRequest) *discovery.DiscoveryResponse {
	s.pollers.mu.Lock()
	defer s.pollers.mu.Unlock()
	p := s.pollers.all[client]
	if p == nil {
		p = &poller{session: newSession(s.cache), asked: map[string]*polled{}}
		s.pollers.all[client] = p
		s.cache.join(p.session, client, class)
		s.cache.options.Clock.AfterFunc(pollSweep, func() { s.forgetPolls(client, p) })
	} else if !p.in(class) {
		s.cache.Move(client, class)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answer(request)
}

// answer takes in what a request acknowledges, and returns what is due.
func (p *poller) answer(request *discovery.DiscoveryRequest) *discovery.DiscoveryResponse {
	names := slices.Sorted(slices.Values(request.GetResourceNames()))
	key := request.GetTypeUrl() + "|" + strings.Join(names, "|")
	sub := p.asked[key]
	if sub == nil {
		sub = &polled{subscription: p.subscribe(request.GetTypeUrl(), sotwVariant{polled: true})}
		p.asked[key] = sub
		wanted := map[string]struct{}{}
		for _, name := range names {
			wanted[name] = struct{}{}
		}
		p.setNames(sub.subscription, wanted)
		p.setWildcard(sub.subscription, len(names) == 0 && !slices.Contains(namedOnly, sub.typeURL))
	}
	now := p.cache.options.Clock.Now()
	if !sub.at.IsZero() {
		sub.interval = now.Sub(sub.at)
	}
	sub.at = now
	version := request.GetVersionInfo()
	if f := sub.flight; f != nil {
		if f.nonce == version {
			sub.version = version
			p.answered(sub.subscription, version, "", false)
		} else {
			f.nonce = ""
			p.unsent(sub.subscription)
		}
	}
	if version != sub.version {
		// It has started anew.
		sub.version, sub.greeted = "", false
		for name := range sub.acked {
			p.setAcked(sub.subscription, name, entry{}, false)
			sub.dirty[name] = struct{}{}
		}
	}
	var due *discovery.DiscoveryResponse
	p.openWatch(sub.subscription, request, func(response any) {
		due, _ = response.(cache.Response).GetDiscoveryResponse()
	})
	sub.send, sub.request = nil, nil
	if due != nil {
		sub.flight.nonce = due.GetVersionInfo()
	}
	return due
}

// forgetPolls drops what is not asked for any more, and the client if nothing is left.
func (s *Server) forgetPolls(client Client, p *poller) {
	s.pollers.mu.Lock()
	defer s.pollers.mu.Unlock()
	now := s.cache.options.Clock.Now()
	p.mu.Lock()
	for key, sub := range p.asked {
		if !sub.wanted(now) {
			p.unsubscribe(sub.subscription)
			delete(p.asked, key)
		}
	}
	left := len(p.asked)
	p.mu.Unlock()
	if left == 0 {
		delete(s.pollers.all, client)
		s.cache.leave(p.session)
		return
	}
	s.cache.options.Clock.AfterFunc(pollSweep, func() { s.forgetPolls(client, p) })
}

// polledType returns the type that a path asks for, as Envoy writes it: /v3/discovery:clusters.
func polledType(path string) (string, bool) {
	what, found := strings.CutPrefix(path, "/v3/discovery:")
	for _, service := range services {
		if found && what == service.path {
			return service.typeURL, true
		}
	}
	return "", false
}
