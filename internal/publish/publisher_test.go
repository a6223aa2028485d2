package publish_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"go.uber.org/goleak"

	"fairlead.dev/fairlead/internal/delivery"
	"fairlead.dev/fairlead/internal/mesh"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const domain = ".default.svc.cluster.local"

func object(kind, name string) mesh.ObjectID {
	return mesh.ObjectID{Kind: kind, Namespace: "default", Name: name}
}

func (l *line) service(name string) {
	l.store.SetService(&mesh.Service{
		Origin: mesh.Origin{ObjectID: object("Service", name)},
		Host:   name + domain, Name: name, Namespace: "default",
		Addresses: []netip.Addr{netip.MustParseAddr("10.96.0.10")},
		Ports:     []mesh.ServicePort{{Name: "http", Number: 9080, Protocol: mesh.HTTP}},
	})
}

func (l *line) endpoint(service, pod string, last byte) {
	l.store.SetEndpoints(service+domain, service+"-"+pod, []mesh.Endpoint{{
		Address: netip.AddrFrom4([4]byte{198, 18, 0, last}), PortName: "http", Port: 9080, Ready: true, Serving: true,
		Workload: mesh.NamespacedName{Namespace: "default", Name: pod},
	}})
}

func (l *line) workload(name string, labels map[string]string) {
	l.store.SetWorkload(&mesh.Workload{
		Namespace: "default", Name: name, Labels: labels, Ready: true, Explicit: true,
		Address: netip.MustParseAddr("198.18.0.99"),
	})
}

func (l *line) routes(name string, generation int64, matches []mesh.HTTPMatch, destinations ...mesh.Destination) mesh.ObjectID {
	id := object("VirtualService", name)
	l.store.SetRouteTable(&mesh.RouteTable{
		Origin: mesh.Origin{ObjectID: id, Generation: generation, Created: time.Unix(1, 0)},
		Hosts:  []string{name + domain},
		HTTP:   []mesh.HTTPRoute{{Path: "spec.http[0]", Matches: matches, Destinations: destinations}},
	})
	return id
}

func to(service string, labels map[string]string) mesh.Destination {
	return mesh.Destination{Path: "spec.http[0].route[0].destination", Host: service + domain, Labels: labels, Weight: 1}
}

// threeServices is a line with reviews, ratings and details, and a proxy that has everything.
func threeServices(t *testing.T) (*line, *eager) {
	l := newLine(t)
	l.workload("front", map[string]string{"app": "front"})
	for i, name := range []string{"reviews", "ratings", "details"} {
		l.service(name)
		l.endpoint(name, name+"-a", byte(10+i))
	}
	l.prime()
	proxy := l.connect("default/front")
	proxy.forget()
	return l, proxy
}

func TestAChangeIsSentAsFarAsItReaches(t *testing.T) {
	l, proxy := threeServices(t)

	id := l.routes("reviews", 1, nil, to("reviews", nil), to("ratings", nil))
	proxy.receives("route reviews" + domain + ":9080")
	l.acknowledged(id, 1)

	l.endpoint("ratings", "ratings-b", 40)
	proxy.receives("endpoints outbound|9080||ratings" + domain)

	// Selecting by labels makes a cluster, its endpoints come first.
	l.routes("reviews", 2, nil, to("reviews", map[string]string{"version": "v1"}))
	proxy.receives(
		"cluster outbound|9080|version=v1|reviews"+domain,
		"endpoints outbound|9080|version=v1|reviews"+domain,
		"route reviews"+domain+":9080",
	)
	l.acknowledged(id, 2)

	// The labels of the Pod behind an endpoint decide which subset it is in.
	l.workload("reviews-a", map[string]string{"version": "v1"})
	proxy.receives("endpoints outbound|9080|version=v1|reviews" + domain)

	l.store.DeleteRouteTable(id)
	proxy.receives("route reviews"+domain+":9080", "-cluster outbound|9080|version=v1|reviews"+domain)

	// A change that leaves the bytes equal reaches nobody, and is acknowledged.
	l.routes("details", 1, nil, to("details", nil))
	proxy.receives("route details" + domain + ":9080")
	l.routes("details", 2, nil, to("details", nil))
	l.acknowledged(object("VirtualService", "details"), 2)
	proxy.receives()
}

func TestANewServiceIsSentAlone(t *testing.T) {
	l, proxy := threeServices(t)
	l.service("extra")
	news := []string{"cluster outbound|9080||extra" + domain, "endpoints outbound|9080||extra" + domain, "route extra" + domain + ":9080"}
	for _, alias := range []string{"extra", "extra.default", "extra.default.svc", "extra" + domain} {
		news = append(news, "scope "+alias+":9080")
	}
	proxy.receives(news...)
	l.store.DeleteService("extra" + domain)
	gone := []string{"-cluster outbound|9080||extra" + domain}
	for _, alias := range []string{"extra", "extra.default", "extra.default.svc", "extra" + domain} {
		gone = append(gone, "-scope "+alias+":9080")
	}
	proxy.receives(gone...)
}

func TestFindingsAreToldWithoutAnyProxy(t *testing.T) {
	l := newLine(t)
	l.service("reviews")
	id := l.routes("reviews", 1, nil, to("reviews", nil), to("nowhere", nil))
	l.prime()
	l.g.Eventually(l.found(id)).Should(Equal([]string{"FL0102 spec.http[0].route[0].destination.host"}))
	l.service("nowhere")
	l.g.Eventually(l.found(id)).Should(BeEmpty())
	l.store.DeleteService("nowhere" + domain)
	l.g.Eventually(l.found(id)).Should(HaveLen(1))
	l.store.DeleteRouteTable(id)
	l.g.Eventually(l.found(id)).Should(BeEmpty())
}

func TestAnObjectWhoseConflictEndsIsDeliveredAnew(t *testing.T) {
	l, proxy := threeServices(t)
	older := l.routes("reviews", 1, nil, to("ratings", nil))
	proxy.receives("route reviews" + domain + ":9080")
	younger := object("VirtualService", "younger")
	l.store.SetRouteTable(&mesh.RouteTable{
		Origin: mesh.Origin{ObjectID: younger, Generation: 1, Created: time.Unix(2, 0)},
		Hosts:  []string{"reviews" + domain},
		HTTP:   []mesh.HTTPRoute{{Path: "spec.http[0]", Destinations: []mesh.Destination{to("details", nil)}}},
	})
	l.g.Eventually(l.found(younger)).Should(Equal([]string{"FL0101 spec.hosts"}))
	l.mu.Lock()
	l.deliveries = map[mesh.ObjectID]delivery.Report{}
	l.mu.Unlock()
	l.store.DeleteRouteTable(older)
	l.g.Eventually(l.found(younger)).Should(BeEmpty())
	l.acknowledged(younger, 1)
	proxy.receives("route reviews" + domain + ":9080")
}

func TestAnObjectWhoseConflictEndsWithoutAnyProxyIsToldOf(t *testing.T) {
	l := newLine(t)
	l.service("reviews")
	older := l.routes("reviews", 1, nil, to("reviews", nil))
	younger := object("VirtualService", "younger")
	l.store.SetRouteTable(&mesh.RouteTable{
		Origin: mesh.Origin{ObjectID: younger, Generation: 1, Created: time.Unix(2, 0)}, Hosts: []string{"reviews" + domain},
	})
	l.prime()
	l.g.Eventually(l.found(younger)).Should(HaveLen(1))
	l.mu.Lock()
	l.deliveries = map[mesh.ObjectID]delivery.Report{}
	l.mu.Unlock()
	l.store.DeleteRouteTable(older)
	l.g.Eventually(func() int64 {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.deliveries[younger].Generation
	}).Should(Equal(int64(1)), "those who were told that it is out of use wait for this")
}

func TestNothingIsServedBeforeTheStoreIsWhole(t *testing.T) {
	l := newLine(t)
	l.workload("front", nil)
	l.service("reviews")
	l.g.Consistently(l.socket, 50*time.Millisecond).ShouldNot(BeAnExistingFile())
	l.prime()
	l.connect("default/front").forget()
}

func TestAProxyWhosePodChangesIsServedAsItIsNow(t *testing.T) {
	l, proxy := threeServices(t)
	l.routes("reviews", 1, []mesh.HTTPMatch{{SourceLabels: map[string]string{"canary": "yes"}}}, to("ratings", nil))
	proxy.receives("route reviews" + domain + ":9080") // the match is not for it: no route is left
	l.workload("front", map[string]string{"app": "front", "canary": "yes"})
	proxy.receives("route reviews" + domain + ":9080")
}

func TestProxiesOfReadyWorkloadsAreAwaitedAfterAStart(t *testing.T) {
	l := newLineWith(t, time.Hour, 0)
	for _, name := range []string{"front", "back", "ends"} {
		l.workload(name, nil)
	}
	l.service("reviews")
	id := l.routes("reviews", 1, nil, to("reviews", nil))
	l.prime()
	counts := func() []int {
		l.mu.Lock()
		defer l.mu.Unlock()
		r := l.deliveries[id]
		return []int{r.Concerned, r.Acknowledged, r.Lost}
	}
	l.connect("default/front")
	l.g.Eventually(counts).Should(Equal([]int{3, 1, 2}))
	l.store.DeleteWorkload(mesh.NamespacedName{Namespace: "default", Name: "ends"})
	l.g.Eventually(counts).Should(Equal([]int{2, 1, 1}))
	l.connect("default/back")
	l.g.Eventually(counts).Should(Equal([]int{2, 2, 0}))
}

func TestAProxyWithoutAPodIsToldSo(t *testing.T) {
	l := newLine(t)
	l.prime()
	for _, node := range []string{"default/unknown", "nonsense"} {
		proxy := l.connect(node)
		<-proxy.done
	}
}

func TestAStormIsCarriedInFull(t *testing.T) {
	l, proxy := threeServices(t)
	for i := range 500 {
		l.routes("reviews", int64(i+1), nil, mesh.Destination{Host: "reviews" + domain, Weight: 1, Headers: mesh.HeaderOperations{
			Request: mesh.HeaderChange{Set: []mesh.HeaderValue{{Name: "x-turn", Value: fmt.Sprint(i)}}},
		}})
	}
	l.acknowledged(object("VirtualService", "reviews"), 500)
	proxy.receives("route reviews" + domain + ":9080")
}

// The timer of the first Istio, for those who do not trust that nothing gets lost.
func TestEverythingIsSentAgainAtItsInterval(t *testing.T) {
	l := newLineWith(t, 0, 100*time.Millisecond)
	l.workload("front", nil)
	l.service("reviews")
	l.prime()
	proxy := l.connect("default/front")
	times := func() int { return proxy.times("cluster outbound|9080||reviews" + domain) }
	l.g.Eventually(times).Should(BeNumerically(">=", 3), "nothing changed, and it is sent")
}
