package hds_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	healthv3 "github.com/envoyproxy/go-control-plane/envoy/service/health/v3"
	. "github.com/onsi/gomega"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	clocktesting "k8s.io/utils/clock/testing"

	"fairlead.dev/fairlead/internal/hds"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/translate"
	"fairlead.dev/fairlead/internal/xds"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is the service on a real socket, on a clock that runs whenever somebody waits for it.
type bench struct {
	*testing.T
	*WithT
	store  *mesh.Store
	server *hds.Server
	clock  *clocktesting.FakeClock
	dialed *grpc.ClientConn
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t, WithT: NewWithT(t), store: mesh.NewStore(), clock: clocktesting.NewFakeClock(time.Unix(0, 0))}
	for _, certified := range []bool{true, false} {
		name := map[bool]string{true: "certified", false: "plain"}[certified]
		for i := range 10 {
			b.store.SetWorkload(&mesh.Workload{Namespace: "shop", Name: fmt.Sprint(name, i), HasCertificates: certified})
		}
	}
	b.server = hds.NewServer(hds.Options{
		Store: b.store, Clock: b.clock, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Admit: func(node string, _ *xds.Caller) error {
			if node == "shop/stranger" {
				return errors.New("there is no such Pod")
			}
			return nil
		},
	})
	socket := filepath.Join(t.TempDir(), "hds.sock")
	listener, err := net.Listen("unix", socket)
	b.Expect(err).NotTo(HaveOccurred())
	server := grpc.NewServer()
	healthv3.RegisterHealthDiscoveryServiceServer(server, b.server)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 3)
	go func() { ended <- server.Serve(listener) }()
	go func() { ended <- b.server.Start(ctx) }()
	go func() { // the clock
		for ctx.Err() == nil {
			if b.clock.HasWaiters() {
				b.clock.Step(100 * time.Millisecond)
			}
			select {
			case <-time.After(time.Millisecond):
			case <-ctx.Done():
			}
		}
		ended <- nil
	}()
	b.dialed, err = grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	b.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() {
		b.Expect(b.dialed.Close()).To(Succeed())
		stop()
		server.Stop()
		for range cap(ended) {
			b.Expect(<-ended).To(Succeed())
		}
	})
	return b
}

// want has endpoints checked, each by its address.
func (b *bench) want(unit, name string, addresses ...string) {
	check := &healthv3.ClusterHealthCheck{
		ClusterName: name, HealthChecks: []*corev3.HealthCheck{{Interval: durationpb.New(time.Second)}},
		LocalityEndpoints: []*healthv3.LocalityEndpoints{{Endpoints: endpoints(addresses)}},
	}
	b.server.Check(translate.Unit{Host: unit}, []*healthv3.ClusterHealthCheck{check})
}

func endpoints(addresses []string) []*endpointv3.Endpoint {
	all := make([]*endpointv3.Endpoint, len(addresses))
	for i, address := range addresses {
		all[i] = &endpointv3.Endpoint{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: address, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 80},
		}}}}
	}
	return all
}

func (b *bench) unhealthy(name string) func() []string {
	return func() []string { return b.store.Unhealthy(name) }
}

// checker is a proxy that checks.
type checker struct {
	*bench
	stream healthv3.HealthDiscoveryService_StreamHealthCheckClient
	end    context.CancelFunc
	asked  chan *healthv3.HealthCheckSpecifier
	ended  chan error
}

func (b *bench) connect(node string) *checker {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	stream, err := healthv3.NewHealthDiscoveryServiceClient(b.dialed).StreamHealthCheck(ctx)
	b.Expect(err).NotTo(HaveOccurred())
	c := &checker{bench: b, stream: stream, end: cancel, asked: make(chan *healthv3.HealthCheckSpecifier, 100), ended: make(chan error, 1)}
	b.Expect(stream.Send(&healthv3.HealthCheckRequestOrEndpointHealthResponse{
		RequestType: &healthv3.HealthCheckRequestOrEndpointHealthResponse_HealthCheckRequest{
			HealthCheckRequest: &healthv3.HealthCheckRequest{Node: &corev3.Node{Id: node}},
		},
	})).To(Succeed())
	go func() {
		for {
			asked, err := stream.Recv()
			if err != nil {
				c.ended <- err
				return
			}
			c.asked <- asked
		}
	}()
	b.Cleanup(cancel)
	return c
}

// hears waits until it is asked to check just these, as "CHECK ADDRESS".
func (c *checker) hears(wanted ...string) *healthv3.HealthCheckSpecifier {
	c.Helper()
	var last *healthv3.HealthCheckSpecifier
	c.Eventually(func() []string {
		select {
		case last = <-c.asked:
		default:
		}
		return listed(last)
	}).Should(ConsistOf(wanted), "what it is asked")
	return last
}

func listed(specifier *healthv3.HealthCheckSpecifier) []string {
	all := []string{}
	for _, check := range specifier.GetClusterHealthChecks() {
		for _, e := range check.GetLocalityEndpoints()[0].GetEndpoints() {
			all = append(all, check.GetClusterName()+" "+e.GetAddress().GetSocketAddress().GetAddress())
		}
	}
	return all
}

// reports is what a checker finds once it has begun.
func (c *checker) reports(check, address string, status corev3.HealthStatus) {
	c.Helper()
	c.clock.Step(time.Minute)
	c.finds(check, address, status)
}

func (c *checker) finds(check, address string, status corev3.HealthStatus) {
	c.Helper()
	c.Expect(c.stream.Send(&healthv3.HealthCheckRequestOrEndpointHealthResponse{
		RequestType: &healthv3.HealthCheckRequestOrEndpointHealthResponse_EndpointHealthResponse{EndpointHealthResponse: &healthv3.EndpointHealthResponse{
			ClusterEndpointsHealth: []*healthv3.ClusterEndpointsHealth{{ClusterName: check, LocalityEndpointsHealth: []*healthv3.LocalityEndpointsHealth{{
				EndpointsHealth: []*healthv3.EndpointHealth{{Endpoint: endpoints([]string{address})[0], HealthStatus: status}},
			}}}},
		}},
	})).To(Succeed())
}

const (
	healthy   = corev3.HealthStatus_HEALTHY
	unhealthy = corev3.HealthStatus_UNHEALTHY
	timeout   = corev3.HealthStatus_TIMEOUT
)

func TestMostCheckersDecide(t *testing.T) {
	b := newBench(t)
	b.want("reviews", "reviews", "10.0.0.1")
	all := []*checker{b.connect("shop/plain0"), b.connect("shop/plain1"), b.connect("shop/plain2")}
	for _, c := range all {
		specifier := c.hears("reviews 10.0.0.1")
		b.Expect(specifier.GetInterval().AsDuration()).To(Equal(250*time.Millisecond), "so that a verdict is told within an interval")
	}
	all[0].reports("reviews", "10.0.0.1", unhealthy)
	b.Eventually(b.unhealthy("reviews")).Should(Equal([]string{"10.0.0.1:80"}), "nobody says otherwise")
	all[1].reports("reviews", "10.0.0.1", healthy)
	b.Eventually(b.unhealthy("reviews")).Should(BeEmpty(), "as many say that it is well")
	all[2].reports("reviews", "10.0.0.1", timeout)
	b.Eventually(b.unhealthy("reviews")).Should(Equal([]string{"10.0.0.1:80"}), "two of three")
	all[0].reports("reviews", "10.9.9.9", unhealthy)
	all[0].reports("others", "10.0.0.1", unhealthy)
	all[0].end()
	b.Eventually(b.unhealthy("reviews")).Should(BeEmpty(), "a verdict goes with the stream")
	b.Expect(b.store.Unhealthy("others")).To(BeEmpty(), "nobody asked for that")
	all[1].end()
	b.Eventually(b.unhealthy("reviews")).Should(Equal([]string{"10.0.0.1:80"}), "who is left decides")
	b.server.Check(translate.Unit{Host: "reviews"}, nil)
	all[2].hears()
	b.Eventually(b.unhealthy("reviews")).Should(BeEmpty(), "it is not checked any more")
}

func TestAFirstFailureDoesNotCount(t *testing.T) {
	b := newBench(t)
	b.want("reviews", "reviews", "10.0.0.1", "10.0.0.2")
	c := b.connect("shop/plain0")
	c.hears("reviews 10.0.0.1", "reviews 10.0.0.2")
	c.finds("reviews", "10.0.0.1", unhealthy)
	c.finds("reviews", "10.0.0.2", healthy)
	c.Consistently(b.unhealthy("reviews")).WithTimeout(100 * time.Millisecond).Should(BeEmpty())
	c.reports("reviews", "10.0.0.2", unhealthy)
	b.Eventually(b.unhealthy("reviews")).Should(Equal([]string{"10.0.0.2:80"}))
	c.reports("reviews", "10.0.0.1", unhealthy)
	b.Eventually(b.unhealthy("reviews")).Should(Equal([]string{"10.0.0.1:80", "10.0.0.2:80"}))
}

func TestEachEndpointHasThreeCheckers(t *testing.T) {
	b := newBench(t)
	var addresses []string
	for i := range 20 {
		addresses = append(addresses, fmt.Sprintf("10.0.0.%d", 100+i))
	}
	b.want("reviews", "reviews", addresses...)
	b.want("reviews of another namespace", "reviews", addresses[:5]...)
	all := make([]*checker, 10)
	for i := range all {
		all[i] = b.connect(fmt.Sprint("shop/plain", i))
	}
	last := make([][]string, len(all))
	shares := func() []int {
		count := map[string]int{}
		for i, c := range all {
			for len(c.asked) > 0 {
				last[i] = listed(<-c.asked)
			}
			for _, endpoint := range last[i] {
				count[endpoint]++
			}
		}
		var counts []int
		for _, n := range count {
			counts = append(counts, n)
		}
		return counts
	}
	b.Eventually(shares).Should(Equal(slices.Repeat([]int{3}, len(addresses))), "each is checked by three")
	b.Eventually(func() int {
		shares()
		idle := 0
		for _, share := range last {
			if len(share) == 0 {
				idle++
			}
		}
		return idle
	}).Should(BeNumerically("<", 4), "they share the work")
	b.Expect(shares()).To(Equal(slices.Repeat([]int{3}, len(addresses))))
}

func TestOnlyThoseWithCertificatesCheckByMutualTLS(t *testing.T) {
	b := newBench(t)
	certified, plain := b.connect("shop/certified0"), b.connect("shop/plain0")
	b.want("reviews", "reviews"+translate.MutualCheck, "10.0.0.1")
	b.want("ratings", "ratings", "10.0.0.2")
	certified.hears("ratings 10.0.0.2", "reviews|mutual 10.0.0.1")
	plain.hears("ratings 10.0.0.2")
}

func TestAProxyThatIsRefusedIsToldSo(t *testing.T) {
	b := newBench(t)
	var err error
	refused := b.connect("shop/stranger")
	b.Eventually(func() bool {
		b.clock.Step(time.Second)
		return len(refused.ended) > 0
	}).Should(BeTrue(), "after a while")
	b.Expect(refused.ended).To(Receive(&err))
	b.Expect(status.Code(err)).To(Equal(codes.PermissionDenied))
}
