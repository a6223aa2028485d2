package xds

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
)

// sotwVariant puts together state-of-the-world responses. Listeners, clusters and scopes
// that a response leaves out are deleted by the proxy, so these are always sent in full;
// routes and endpoints are sent as far as they changed, and their removal cannot be said.
// Clients that poll are always answered in full.
type sotwVariant struct{ polled bool }

func (v sotwVariant) respond(s *session, sub *subscription) {
	full := v.polled || !slices.Contains(namedOnly, sub.typeURL)
	changes := s.next(sub, 0)
	if !full {
		for name, e := range changes {
			if e.Resource == nil {
				s.commit(sub, name, e)
				delete(changes, name)
			}
		}
	}
	if !sub.due(changes) {
		return
	}
	shown := map[string]*Resource{}
	if full {
		for name, e := range sub.acked {
			shown[name] = e.Resource
		}
	}
	for name, e := range changes {
		if e.Resource == nil {
			delete(shown, name)
			continue
		}
		shown[name] = e.Resource
	}
	response := &discovery.DiscoveryResponse{TypeUrl: sub.typeURL}
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(shown)) {
		sum.Write([]byte(shown[name].Hash))
		response.Resources = append(response.Resources, shown[name].body)
	}
	response.VersionInfo = hex.EncodeToString(sum.Sum(nil)[:16])
	send, request := sub.send, sub.request.(*discovery.DiscoveryRequest)
	s.launched(sub, changes, full)
	send(&sotwResponse{request: request, response: response})
}

// CreateWatch implements cache.ConfigWatcher for one stream: each request comes here,
// except those with a nonce that is out of date, which the server drops.
func (s *stream) CreateWatch(request *cache.Request, asked cache.Subscription, responses chan cache.Response) (func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub, _, err := s.subscription(request.GetTypeUrl(), sotwVariant{})
	if err != nil {
		return nil, err
	}
	s.unsent(sub)
	s.answered(sub, request.GetResponseNonce(), request.GetErrorDetail().GetMessage(), request.GetErrorDetail() != nil)
	s.setNames(sub, asked.SubscribedResources())
	s.setWildcard(sub, asked.IsWildcard())
	return s.openWatch(sub, request, func(response any) { responses <- response.(cache.Response) }), nil
}

// sotwResponse is a response on its way through go-control-plane's server.
type sotwResponse struct {
	request  *discovery.DiscoveryRequest
	response *discovery.DiscoveryResponse
}

func (r *sotwResponse) GetDiscoveryResponse() (*discovery.DiscoveryResponse, error) {
	return r.response, nil
}
func (r *sotwResponse) GetRequest() *discovery.DiscoveryRequest { return r.request }
func (r *sotwResponse) GetVersion() (string, error)             { return r.response.GetVersionInfo(), nil }
func (r *sotwResponse) GetResponseVersion() string              { return r.response.GetVersionInfo() }
func (r *sotwResponse) GetReturnedResources() map[string]string { return map[string]string{} }
func (r *sotwResponse) GetContext() context.Context             { return context.Background() }
