package hds

import (
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	healthv3 "github.com/envoyproxy/go-control-plane/envoy/service/health/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/translate"
	"fairlead.dev/fairlead/internal/xds"
)

// verdict is what one checker thinks of one endpoint, as a vote on whether it is ill.
type verdict int

const (
	well    verdict = -1
	unknown verdict = 0
	ill     verdict = 1
)

// checker is a proxy that checks, by one stream. Its fields but changed are guarded by the
// server's lock.
type checker struct {
	node      string
	number    int // tells streams of one node apart
	certified bool
	// asked is what it was asked last, nil for nothing ever; changed receives when that is new.
	asked   *healthv3.HealthCheckSpecifier
	changed chan struct{}
	// verdicts are, by check and address, of the endpoints that it is asked to check.
	verdicts map[string]map[string]verdict
	// trusted is, by check, from when on it may find something ill. A first check fails where a
	// proxy has no certificate at hand yet.
	trusted map[string]time.Time
}

// refusal is how long a proxy waits to hear that it is refused.
const refusal = 5 * time.Second

// settling is how long a proxy may need for its certificate.
const settling = time.Second

// StreamHealthCheck implements the health discovery service.
func (s *Server) StreamHealthCheck(stream healthv3.HealthDiscoveryService_StreamHealthCheckServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	node, caller := first.GetHealthCheckRequest().GetNode().GetId(), xds.CallerOf(stream.Context())
	if err := s.options.Admit(node, caller); err != nil {
		s.options.Log.Warn("Refused a proxy that would check endpoints", "node", node, "caller", caller.String(), "error", err)
		// Envoy comes back within a second, however often it is refused, with all that it says
		// of its node.
		timer := s.options.Clock.NewTimer(refusal)
		defer timer.Stop()
		select {
		case <-timer.C():
		case <-stream.Context().Done():
		}
		return status.Error(codes.PermissionDenied, err.Error())
	}
	c := s.join(node)
	defer s.leave(c)
	ended := make(chan error, 1)
	go func() {
		for {
			message, err := stream.Recv()
			if err != nil {
				ended <- err
				return
			}
			s.reported(c, message.GetEndpointHealthResponse())
		}
	}()
	for {
		select {
		case <-c.changed:
			if err := stream.Send(s.askedOf(c)); err != nil {
				return err
			}
		case err := <-ended:
			return err
		}
	}
}

func (s *Server) join(node string) *checker {
	namespace, name, _ := strings.Cut(node, "/")
	workload := s.options.Store.Workload(mesh.NamespacedName{Namespace: namespace, Name: name})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.joined++
	c := &checker{
		node: node, number: s.joined, certified: workload != nil && workload.HasCertificates, changed: make(chan struct{}, 1),
	}
	s.all[c] = struct{}{}
	s.again()
	return c
}

func (s *Server) leave(c *checker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, c)
	for name := range c.verdicts {
		s.conclude(name)
	}
	s.again()
}

func (s *Server) askedOf(c *checker) *healthv3.HealthCheckSpecifier {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.asked
}

// ask changes what a checker is asked; nil for nothing. What it found elsewhere counts no more.
func (c *checker) ask(wanted *healthv3.HealthCheckSpecifier, now time.Time) {
	switch {
	case wanted == nil && c.asked == nil:
		return
	case wanted == nil:
		wanted = &healthv3.HealthCheckSpecifier{Interval: durationpb.New(idle)}
	}
	if proto.Equal(c.asked, wanted) {
		return
	}
	c.asked = wanted
	kept, trusted := map[string]map[string]verdict{}, map[string]time.Time{}
	for _, check := range wanted.GetClusterHealthChecks() {
		name := check.GetClusterName()
		kept[name] = map[string]verdict{}
		if _, known := c.trusted[name]; known {
			trusted[name] = c.trusted[name]
		} else {
			trusted[name] = now.Add(check.GetHealthChecks()[0].GetInterval().AsDuration()*3/2 + settling)
		}
		for _, endpoint := range check.GetLocalityEndpoints()[0].GetEndpoints() {
			address := translate.AddressText(endpoint.GetAddress())
			kept[name][address] = c.verdicts[name][address]
		}
	}
	c.verdicts, c.trusted = kept, trusted
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// reported takes in what a checker found, as far as it was asked.
func (s *Server) reported(c *checker, report *healthv3.EndpointHealthResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, still := s.all[c]; !still {
		return
	}
	for _, cluster := range report.GetClusterEndpointsHealth() {
		name, changed := cluster.GetClusterName(), false
		for _, group := range cluster.GetLocalityEndpointsHealth() {
			for _, endpoint := range group.GetEndpointsHealth() {
				address, found := translate.AddressText(endpoint.GetEndpoint().GetAddress()), verdictOf(endpoint.GetHealthStatus())
				if found == ill && s.options.Clock.Now().Before(c.trusted[name]) {
					continue
				}
				// It may not have heard yet that something is not wanted any more.
				if before, asked := c.verdicts[name][address]; asked && before != found {
					c.verdicts[name][address], changed = found, true
				}
			}
		}
		if changed {
			s.conclude(name)
		}
	}
}

func verdictOf(status corev3.HealthStatus) verdict {
	switch status {
	case corev3.HealthStatus_HEALTHY:
		return well
	case corev3.HealthStatus_UNHEALTHY, corev3.HealthStatus_TIMEOUT:
		return ill
	}
	return unknown
}
