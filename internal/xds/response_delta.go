package xds

import (
	"context"
	"maps"
	"slices"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
)

// routesPerResponse bounds the memory that Envoy takes for one response: 100 route
// configurations were measured to cost no more CPU than all in one.
const routesPerResponse = 100

// deltaVariant puts together responses that carry only changes.
type deltaVariant struct{}

func (deltaVariant) respond(s *session, sub *subscription) {
	limit := 0
	if sub.typeURL == RouteType {
		limit = routesPerResponse
	}
	changes := s.next(sub, limit)
	if !sub.due(changes) {
		return
	}
	response := &discovery.DeltaDiscoveryResponse{TypeUrl: sub.typeURL}
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		e := changes[name]
		if e.Resource == nil {
			response.RemovedResources = append(response.RemovedResources, name)
			continue
		}
		response.Resources = append(response.Resources, &discovery.Resource{Name: name, Version: e.version(), Resource: e.body})
	}
	send, request := sub.send, sub.request.(*discovery.DeltaDiscoveryRequest)
	s.launched(sub, changes, false)
	send(&deltaResponse{request: request, response: response})
}

// CreateDeltaWatch implements cache.ConfigWatcher for one stream: each request comes here.
func (s *stream) CreateDeltaWatch(request *cache.DeltaRequest, asked cache.Subscription, responses chan cache.DeltaResponse) (func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub, first, err := s.subscription(request.GetTypeUrl(), deltaVariant{})
	if err != nil {
		return nil, err
	}
	s.answered(sub, request.GetResponseNonce(), request.GetErrorDetail().GetMessage(), request.GetErrorDetail() != nil)
	if first {
		if sub.typeURL == ClusterType && len(request.GetInitialResourceVersions()) > 0 {
			s.resumed = s.cache.options.Clock.Now()
			s.cache.options.Clock.AfterFunc(s.cache.options.GateTimeout, s.kick)
		}
		for name, version := range request.GetInitialResourceVersions() {
			s.remember(sub, name, version)
		}
	}
	for _, name := range request.GetResourceNamesUnsubscribe() {
		if name != "*" {
			s.drop(sub, name)
		}
	}
	for _, name := range request.GetResourceNamesSubscribe() {
		if name != "*" {
			_, has := sub.acked[name]
			s.add(sub, name, first && has)
		}
	}
	s.setWildcard(sub, asked.IsWildcard())
	if first && s.arrived {
		// Where the proxy runs all of it, there will be no answer to judge by.
		s.judgeAll()
	}
	return s.openWatch(sub, request, func(response any) { responses <- response.(cache.DeltaResponse) }), nil
}

// remember takes in what a proxy says that it runs from an earlier stream.
func (s *session) remember(sub *subscription, name, version string) {
	hash, position := parseVersion(version)
	s.wait(position)
	if current, found := s.class.get(sub.typeURL, name); found && current.Hash == hash {
		s.setAcked(sub, name, current, true)
		return
	}
	s.setAcked(sub, name, entry{Resource: &Resource{Key: Key{sub.typeURL, name}, Hash: hash}}, true)
	sub.dirty[name] = struct{}{}
}

// deltaResponse is a response on its way through go-control-plane's server.
type deltaResponse struct {
	request  *discovery.DeltaDiscoveryRequest
	response *discovery.DeltaDiscoveryResponse
}

func (r *deltaResponse) GetDeltaDiscoveryResponse() (*discovery.DeltaDiscoveryResponse, error) {
	return r.response, nil
}
func (r *deltaResponse) GetDeltaRequest() *discovery.DeltaDiscoveryRequest { return r.request }
func (r *deltaResponse) GetSystemVersion() (string, error)                 { return "", nil }
func (r *deltaResponse) GetResponseVersion() string                        { return "" }

// The server keeps these for a cache that has no state of its own; it writes to the map.
func (r *deltaResponse) GetNextVersionMap() map[string]string    { return map[string]string{} }
func (r *deltaResponse) GetReturnedResources() map[string]string { return map[string]string{} }
func (r *deltaResponse) GetContext() context.Context             { return context.Background() }
