// Package hds has proxies check endpoints for all callers, by Envoy's health discovery service:
// what the mesh wants checked goes in by Check, proxies that are willing to come by streams, and
// what most of an endpoint's checkers found goes to the store, from which callers are told.
//
// Each replica of the manager has checkers of its own, those proxies that are connected with it,
// so that replicas need not tell each other. A checker's verdicts count as long as its stream.
package hds

import (
	"cmp"
	"context"
	"hash/fnv"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	healthv3 "github.com/envoyproxy/go-control-plane/envoy/service/health/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/translate"
	"fairlead.dev/fairlead/internal/xds"
)

const (
	// checkers is how many check an endpoint: the fewest of which most can be right.
	checkers = 3
	// calm is the least time between two assignments, so that a thousand proxies that come at
	// once are one change.
	calm = 100 * time.Millisecond
	// reports is how often checkers report, in a check's interval.
	reports = 4
	// idle is how often a checker reports that has nothing to check any more.
	idle = time.Hour
)

// Options are what a Server needs. All are required.
type Options struct {
	Store *mesh.Store
	// Admit returns nil if there is a Pod with a node id, for which the caller may speak.
	Admit func(node string, caller *xds.Caller) error
	Clock clock.Clock
	Log   *slog.Logger
}

// Server is the health discovery service.
type Server struct {
	healthv3.UnimplementedHealthDiscoveryServiceServer
	options Options
	stale   chan struct{} // receives when what is asked of whom is to be looked at again

	mu     sync.Mutex
	joined int // streams so far
	wanted map[translate.Unit][]*healthv3.ClusterHealthCheck
	all    map[*checker]struct{}
	told   map[string]struct{} // checks of which something is in the store
}

// NewServer returns a server that wants nothing to be checked.
func NewServer(options Options) *Server {
	return &Server{
		options: options, stale: make(chan struct{}, 1), all: map[*checker]struct{}{}, told: map[string]struct{}{},
		wanted: map[translate.Unit][]*healthv3.ClusterHealthCheck{},
	}
}

// NeedLeaderElection says that followers serve too.
func (s *Server) NeedLeaderElection() bool { return false }

// Start asks checkers until the context ends.
func (s *Server) Start(ctx context.Context) error {
	for {
		select {
		case <-s.stale:
		case <-ctx.Done():
			return nil
		}
		s.assign()
		timer := s.options.Clock.NewTimer(calm)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// Check replaces what is to be checked for a unit of translation.
func (s *Server) Check(unit translate.Unit, checks []*healthv3.ClusterHealthCheck) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wanted[unit] = checks; len(checks) == 0 {
		delete(s.wanted, unit)
	}
	s.again()
}

func (s *Server) again() {
	select {
	case s.stale <- struct{}{}:
	default:
	}
}

// assign divides what is to be checked among the checkers.
func (s *Server) assign() {
	s.mu.Lock()
	defer s.mu.Unlock()
	checks := s.merged()
	asked := map[*checker]*healthv3.HealthCheckSpecifier{}
	for _, check := range checks {
		able := slices.DeleteFunc(slices.Collect(maps.Keys(s.all)), func(c *checker) bool {
			return !c.certified && strings.HasSuffix(check.ClusterName, translate.MutualCheck)
		})
		shares := map[*checker][]*endpointv3.Endpoint{}
		for _, endpoint := range check.GetLocalityEndpoints()[0].GetEndpoints() {
			for _, c := range nearest(able, translate.AddressText(endpoint.GetAddress())) {
				shares[c] = append(shares[c], endpoint)
			}
		}
		for c, share := range shares {
			if asked[c] == nil {
				asked[c] = &healthv3.HealthCheckSpecifier{Interval: durationpb.New(idle)}
			}
			asked[c].Interval = durationpb.New(min(asked[c].GetInterval().AsDuration(), check.GetHealthChecks()[0].GetInterval().AsDuration()/reports))
			asked[c].ClusterHealthChecks = append(asked[c].ClusterHealthChecks, &healthv3.ClusterHealthCheck{
				ClusterName: check.GetClusterName(), HealthChecks: check.GetHealthChecks(), TransportSocketMatches: check.GetTransportSocketMatches(),
				LocalityEndpoints: []*healthv3.LocalityEndpoints{{Endpoints: share}},
			})
		}
	}
	for c := range s.all {
		c.ask(asked[c], s.options.Clock.Now())
	}
	for _, check := range checks {
		s.conclude(check.GetClusterName())
	}
	for name := range s.told { // those that are not wanted any more, too
		s.conclude(name)
	}
}

// merged returns the checks of all units, by name: those of one name differ in nothing but the
// endpoints, which are by address then.
func (s *Server) merged() []*healthv3.ClusterHealthCheck {
	byName := map[string]*healthv3.ClusterHealthCheck{}
	for _, checks := range s.wanted {
		for _, check := range checks {
			if merged := byName[check.GetClusterName()]; merged == nil {
				byName[check.GetClusterName()] = proto.CloneOf(check)
			} else {
				group := merged.GetLocalityEndpoints()[0]
				group.Endpoints = append(group.Endpoints, check.GetLocalityEndpoints()[0].GetEndpoints()...)
			}
		}
	}
	byAddress := func(a, b *endpointv3.Endpoint) int {
		return cmp.Compare(translate.AddressText(a.GetAddress()), translate.AddressText(b.GetAddress()))
	}
	for _, check := range byName {
		group := check.GetLocalityEndpoints()[0]
		slices.SortFunc(group.Endpoints, byAddress)
		group.Endpoints = slices.CompactFunc(group.Endpoints, func(a, b *endpointv3.Endpoint) bool { return byAddress(a, b) == 0 })
	}
	return slices.SortedFunc(maps.Values(byName), func(a, b *healthv3.ClusterHealthCheck) int {
		return cmp.Compare(a.GetClusterName(), b.GetClusterName())
	})
}

// nearest chooses an endpoint's checkers by hashes, so that those who come and go change as
// little as possible.
func nearest(able []*checker, address string) []*checker {
	type ranked struct {
		*checker
		hash uint64
	}
	var best []ranked
	for _, c := range able {
		hash := fnv.New64a()
		_, _ = hash.Write([]byte(address + " " + c.node))
		best = append(best, ranked{c, hash.Sum64()})
		slices.SortFunc(best, func(a, b ranked) int { return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.number, b.number)) })
		best = best[:min(len(best), checkers)]
	}
	chosen := make([]*checker, len(best))
	for i, c := range best {
		chosen[i] = c.checker
	}
	return chosen
}

// conclude tells the store what most of those think who check an endpoint. Where they are as
// many, it is used.
func (s *Server) conclude(name string) {
	votes := map[string]verdict{}
	for c := range s.all {
		for address, vote := range c.verdicts[name] {
			votes[address] += vote
		}
	}
	var unhealthy []string
	for address, vote := range votes {
		if vote >= ill {
			unhealthy = append(unhealthy, address)
		}
	}
	slices.Sort(unhealthy)
	s.options.Store.SetHealth(name, unhealthy)
	if s.told[name] = struct{}{}; len(unhealthy) == 0 {
		delete(s.told, name)
	}
}
