package chaos

import (
	"fmt"
	"syscall"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/internal/mesh"
)

const (
	reviewsHost = "reviews.shop.svc.cluster.local"
	// once is the path of requests that the caller's proxy does not try again.
	once = "/once"
	// outboundTCP is where the caller's proxy takes connections to the Service's TCP port.
	outboundTCP = 13306
	// A Pod that ends: how late its callers hear of it at most, how long the application
	// serves on after SIGTERM (a preStop hook), and how long it lets streams finish.
	hearsay, preStop, finishing = 2 * time.Second, 3 * time.Second, time.Second
)

// deployment is a caller and what it calls: two workloads of one Service.
type deployment struct {
	*scene
	front *workload
	pods  []*workload
}

func deploy(s *scene, arguments ...string) *deployment {
	s.t.Helper()
	d := &deployment{scene: s, front: s.add("front")}
	d.front.mesh.OutboundTCP = []mesh.OutboundTCP{{Host: reviewsHost, Port: tcpPort, ListenPort: outboundTCP}}
	d.pods = []*workload{s.add("reviews-1"), s.add("reviews-2")}
	s.store.SetService(&mesh.Service{
		Origin: mesh.Origin{ObjectID: mesh.ObjectID{Kind: "Service", Namespace: "shop", Name: "reviews"}},
		Host:   reviewsHost, Name: "reviews", Namespace: "shop",
		Ports: []mesh.ServicePort{
			{Name: "http", Number: httpPort, Protocol: mesh.HTTP}, {Name: "grpc", Number: grpcPort, Protocol: mesh.GRPC},
			{Name: "tcp", Number: tcpPort, Protocol: mesh.TCP},
		},
	})
	to := []mesh.Destination{{Host: reviewsHost, Weight: 1}}
	s.store.SetRouteTable(&mesh.RouteTable{
		Origin: mesh.Origin{ObjectID: mesh.ObjectID{Kind: "VirtualService", Namespace: "shop", Name: "reviews"}},
		Hosts:  []string{reviewsHost},
		HTTP: []mesh.HTTPRoute{
			{Name: "once", Matches: []mesh.HTTPMatch{{URI: &mesh.StringMatch{Value: once}}}, Destinations: to, Retries: &mesh.Retries{}},
			{Name: "default", Destinations: to},
		},
	})
	d.ready(true, d.pods...)
	for _, w := range s.workloads {
		w.start(append([]string{"--termination-grace-period=30s", "--min-drain=3s"}, arguments...)...)
	}
	s.under(target{
		http: d.front.at(mesh.ExplicitOutboundPort), httpHost: "reviews:8080", paths: []string{"/", once},
		grpc: d.front.at(mesh.ExplicitOutboundPort), grpcHost: "reviews:9090", tcp: d.front.at(outboundTCP),
	})
	return d
}

// ready tells callers which pods may be called, as endpoints do.
func (d *deployment) ready(ready bool, pods ...*workload) {
	d.t.Helper()
	for _, w := range pods {
		w.mesh.Ready = ready
	}
	var endpoints []mesh.Endpoint
	for _, w := range d.pods {
		for _, port := range []mesh.ServicePort{{Name: "http", Number: httpPort}, {Name: "grpc", Number: grpcPort}, {Name: "tcp", Number: tcpPort}} {
			endpoints = append(endpoints, mesh.Endpoint{
				Address: w.mesh.Address, PortName: port.Name, Port: port.Number, Workload: w.mesh.Key(),
				Ready: w.mesh.Ready, Serving: true, Terminating: !w.mesh.Ready,
			})
		}
	}
	d.store.SetEndpoints(reviewsHost, "reviews-a", endpoints)
	d.serve()
}

// called waits until a pod gets its share.
func (d *deployment) called(w *workload) {
	d.t.Helper()
	before := w.app.asked.Load()
	d.g.Eventually(w.app.asked.Load).Within(patience).Should(BeNumerically(">", before+50), "callers have found it")
}

// drained is a rollout: one pod after the other ends as its deletion has it, and comes back.
func drained(s *scene) { rollout(s, func(*workload, int) {}) }

// stoppedDuringRestart has each pod told to stop at another moment of a hot restart.
func stoppedDuringRestart(s *scene) {
	rollout(s, func(w *workload, n int) {
		w.hotRestart()
		<-time.After(time.Duration(n%5) * 50 * time.Millisecond)
	})
}

// outlived has an application that goes on whatever its proxy does, and callers of streams
// without end that call it directly: the drain comes to its deadline.
func outlived(s *scene) {
	d := deploy(s, "--termination-grace-period=10s")
	w := d.pods[0]
	d.called(w)
	direct := startEndless(s.t, w.target())
	s.g.Eventually(direct.carried).Within(patience).Should(BeNumerically(">", 0), "streams have begun")
	told := time.Now()
	w.signal(syscall.SIGTERM)
	d.ready(false, w)
	s.g.Expect(w.ends()).To(Equal("exit status 0"), "%s", w.logs.tail(20))
	took := time.Since(told)
	s.g.Expect(w.logs.String()).To(ContainSubstring("result=deadline"))
	s.g.Eventually(direct.apart).Within(patience).ShouldNot(Equal("none"), "streams are cut off")
	direct.stop()
	s.saw("the agent ended %s after SIGTERM, of a grace period of 10 s; of those that called the workload directly: %s", took.Round(100*time.Millisecond), direct.apart())
}

func rollout(s *scene, before func(*workload, int)) {
	d := deploy(s)
	var longest time.Duration
	for n := range s.times {
		w := d.pods[n%2]
		d.called(w)
		before(w, n)
		told := time.Now()
		w.signal(syscall.SIGTERM)
		// The API server tells callers whenever it comes to it.
		<-time.After(time.Duration(n%3) * hearsay / 2)
		d.ready(false, w)
		<-time.After(time.Until(told.Add(preStop)))
		w.app.end(finishing)
		s.g.Expect(w.ends()).To(Equal("exit status 0"), "%s", w.logs.tail(20))
		longest = max(longest, time.Since(told))
		s.load.flows(5)
		if n+1 < s.times {
			w.app = startApp(s.t, w.behind)
			w.start("--termination-grace-period=30s", "--min-drain=3s")
			d.ready(true, w)
		}
	}
	s.saw("%s at the latest from SIGTERM to the agent's end, with an application that ends %s after SIGTERM", longest.Round(100*time.Millisecond), fmt.Sprint(preStop))
}
