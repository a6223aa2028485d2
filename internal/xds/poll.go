package xds

import (
	"slices"
	"strings"
	"sync"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
)

// pollerLifetime is how long a client that polls counts as connected after it was last heard
// of, and something that it asked for as wanted.
const pollerLifetime = 30 * time.Second

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
	at      time.Time
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
		s.cache.options.Clock.AfterFunc(pollerLifetime, func() { s.forgetPolls(client, p) })
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
	sub.at = p.cache.options.Clock.Now()
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

// forgetPolls drops what was not asked for lately, and the client if nothing is left.
func (s *Server) forgetPolls(client Client, p *poller) {
	s.pollers.mu.Lock()
	defer s.pollers.mu.Unlock()
	now := s.cache.options.Clock.Now()
	p.mu.Lock()
	for key, sub := range p.asked {
		if now.Sub(sub.at) >= pollerLifetime {
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
	s.cache.options.Clock.AfterFunc(pollerLifetime, func() { s.forgetPolls(client, p) })
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
