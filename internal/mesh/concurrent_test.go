package mesh_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"go.uber.org/goleak"

	"fairlead.dev/fairlead/internal/mesh"
)

// Controllers write while the publisher reads and keeps what it read. This is for the race
// detector; in the end every change was told and the indexes are those of the last values.
func TestConcurrentUse(t *testing.T) {
	defer goleak.VerifyNone(t)
	g, store := NewWithT(t), mesh.NewStore()
	const rounds = 200
	names := []string{"reviews", "ratings", "store"}
	done := make(chan struct{})
	told := map[mesh.Key]bool{}
	var readers sync.WaitGroup
	readers.Go(func() {
		for {
			select {
			case <-store.Wake():
			case <-done:
				for key := range store.Take().Keys {
					told[key] = true
				}
				return
			}
			for key := range store.Take().Keys {
				told[key] = true
			}
			readAll(store)
		}
	})

	var writers sync.WaitGroup
	for writer, name := range names {
		writers.Go(func() {
			for round := range rounds {
				write(store, name, writer, round)
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()

	for _, name := range names {
		g.Expect(told).To(HaveKey(mesh.Key{Kind: mesh.KindService, Name: host(name)}))
		g.Expect(told).To(HaveKey(mesh.Key{Kind: mesh.KindEndpoints, Name: host(name)}))
		g.Expect(told).To(HaveKey(mesh.Key{Kind: mesh.KindServing, Name: "default/" + name}))
		g.Expect(store.Serving(mesh.NamespacedName{Namespace: "default", Name: name})).To(HaveLen(1))
	}
	g.Expect(store.Routes(host("shared"))[0].Origin.Name).To(Equal("reviews"), "the oldest")
	g.Expect(store.LabelSubsets(host("shared"))).To(Equal([]mesh.LabelSubset{{
		Labels: map[string]string{"round": fmt.Sprint(rounds - 1)}, Selectors: []mesh.ObjectID{id("VirtualService", "reviews")},
	}}), "only what the one that wins selects")
}

func write(store *mesh.Store, name string, age, round int) {
	labels := map[string]string{"round": fmt.Sprint(round)}
	store.SetWorkload(&mesh.Workload{Namespace: "default", Name: name, Labels: labels})
	store.SetEndpoints(host(name), "a", []mesh.Endpoint{endpoint(fmt.Sprintf("10.0.%d.%d", age, round), name)})
	store.SetService(service(name, uint16(round+1)))
	routes := table(name, int64(age), []string{host("shared")}, mesh.HTTPRoute{
		Destinations: []mesh.Destination{{Host: host("shared"), Labels: labels}},
	})
	store.SetRouteTable(routes)
	store.SetPolicy(&mesh.Policy{Origin: mesh.Origin{ObjectID: id("DestinationRule", name), Created: time.Unix(int64(age), 0)}, Host: host("shared")})
	if round%3 == 0 {
		store.DeletePolicy(id("DestinationRule", name))
		store.DeleteRouteTable(id("VirtualService", name))
		store.DeleteService(host(name))
		store.SetService(service(name, uint16(round+1)))
		store.SetRouteTable(routes)
	}
}

// readAll reads everything, and holds lists to the order that View promises.
func readAll(store *mesh.Store) {
	for _, s := range store.Services() {
		_ = store.ServiceNamed(mesh.NamespacedName{Namespace: s.Namespace, Name: s.Name})
		for _, e := range store.Endpoints(s.Host) {
			_ = e.Labels["round"]
		}
	}
	for _, w := range store.Workloads() {
		_ = len(store.Serving(w.Key()))
	}
	for _, list := range [][]string{store.RoutedHosts(), store.PolicyHosts(), store.SourceHosts()} {
		if !slices.IsSorted(list) {
			panic(fmt.Sprintf("%v is not sorted", list))
		}
		for _, host := range list {
			for _, t := range store.Routes(host) {
				_ = t.Origin
			}
			for _, p := range store.Policies(host) {
				_ = p.Origin
			}
			for _, s := range store.LabelSubsets(host) {
				_ = mesh.LabelText(s.Labels)
			}
		}
	}
}
