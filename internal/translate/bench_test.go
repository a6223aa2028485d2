package translate_test

import (
	"fmt"
	"net/netip"
	"testing"

	"google.golang.org/protobuf/proto"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/translate"
)

// sizes are meshes in services, each with a port, two endpoints, a VirtualService and a
// DestinationRule of two subsets.
var sizes = []int{1000, 5000}

func benchmarkMesh(services int) *mesh.Store {
	store := mesh.NewStore()
	for i := range services {
		name := fmt.Sprintf("service-%d", i)
		host := mesh.ServiceHost(name, "default", "")
		id := func(kind string) mesh.Origin {
			return mesh.Origin{ObjectID: mesh.ObjectID{Kind: kind, Namespace: "default", Name: name}, Generation: 1}
		}
		store.SetService(&mesh.Service{
			Origin: id("Service"), Host: host, Name: name, Namespace: "default",
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)})},
			Ports:     []mesh.ServicePort{{Name: "http", Number: 9080, Protocol: mesh.HTTP}},
		})
		var endpoints []mesh.Endpoint
		for version := range byte(2) {
			endpoints = append(endpoints, mesh.Endpoint{
				Address: netip.AddrFrom4([4]byte{10, version, byte(i >> 8), byte(i)}), Port: 9080, PortName: "http",
				Ready: true, Serving: true, Labels: map[string]string{"version": fmt.Sprint("v", version)},
			})
		}
		store.SetEndpoints(host, "slice", endpoints)
		store.SetPolicy(&mesh.Policy{Origin: id("DestinationRule"), Host: host, Subsets: []mesh.Subset{
			{Name: "v0", Labels: map[string]string{"version": "v0"}}, {Name: "v1", Labels: map[string]string{"version": "v1"}},
		}})
		store.SetRouteTable(weights(name, host, 90))
	}
	store.SetWorkload(&mesh.Workload{
		Namespace: "default", Name: "front", Address: netip.MustParseAddr("198.18.0.1"), Explicit: true,
		Ports: []mesh.WorkloadPort{{Number: 8080, Protocol: mesh.HTTP}},
	})
	store.Take()
	return store
}

// weights is a canary release.
func weights(name, host string, first uint32) *mesh.RouteTable {
	return &mesh.RouteTable{
		Origin: mesh.Origin{ObjectID: mesh.ObjectID{Kind: "VirtualService", Namespace: "default", Name: name}},
		Hosts:  []string{host},
		HTTP: []mesh.HTTPRoute{{Path: "spec.http[0]", Destinations: []mesh.Destination{
			{Host: host, Subset: "v0", Weight: first}, {Host: host, Subset: "v1", Weight: 100 - first},
		}}},
	}
}

func benchmarkClass(store *mesh.Store) translate.Class {
	return translate.ClassOf(store, store.Workload(mesh.NamespacedName{Namespace: "default", Name: "front"}))
}

// BenchmarkWhole translates and marshals everything that one class of proxies is served.
func BenchmarkWhole(b *testing.B) {
	for _, services := range sizes {
		b.Run(fmt.Sprintf("services=%d", services), func(b *testing.B) {
			store := benchmarkMesh(services)
			class := benchmarkClass(store)
			b.ReportAllocs()
			var resources, bytes int
			for b.Loop() {
				resources, bytes = 0, 0
				for _, unit := range translate.Units(store, class) {
					for _, resource := range translate.Translate(mesh.NewRecorder(store), unit).Resources {
						text, err := proto.Marshal(resource.Message)
						if err != nil {
							b.Fatal(err)
						}
						resources, bytes = resources+1, bytes+len(text)
					}
				}
			}
			b.ReportMetric(float64(resources), "resources")
			b.ReportMetric(float64(bytes), "wire-bytes")
		})
	}
}

// BenchmarkUnits lists the units of a class, which is done when a service, or the set of
// routed hosts, changes.
func BenchmarkUnits(b *testing.B) {
	for _, services := range sizes {
		b.Run(fmt.Sprintf("services=%d", services), func(b *testing.B) {
			store := benchmarkMesh(services)
			class := benchmarkClass(store)
			b.ReportAllocs()
			for b.Loop() {
				translate.Units(store, class)
			}
		})
	}
}

// BenchmarkRouteChange writes other weights of one service into the store and translates
// the unit that the change concerns.
func BenchmarkRouteChange(b *testing.B) {
	for _, services := range sizes {
		b.Run(fmt.Sprintf("services=%d", services), func(b *testing.B) {
			store := benchmarkMesh(services)
			host := mesh.ServiceHost("service-500", "default", "")
			b.ReportAllocs()
			for first := uint32(0); b.Loop(); first = (first + 1) % 100 {
				store.SetRouteTable(weights("service-500", host, first))
				store.Take()
				translate.Translate(mesh.NewRecorder(store), translate.Unit{
					Kind: translate.UnitRoutes, Host: host, Namespace: "default", Explicit: true,
				})
			}
		})
	}
}

// BenchmarkEndpointChange does the same for the endpoints of one service.
func BenchmarkEndpointChange(b *testing.B) {
	for _, services := range sizes {
		b.Run(fmt.Sprintf("services=%d", services), func(b *testing.B) {
			store := benchmarkMesh(services)
			host := mesh.ServiceHost("service-500", "default", "")
			b.ReportAllocs()
			for last := byte(0); b.Loop(); last++ {
				store.SetEndpoints(host, "slice", []mesh.Endpoint{{
					Address: netip.AddrFrom4([4]byte{10, 9, 9, last}), Port: 9080, PortName: "http", Ready: true,
				}})
				store.Take()
				translate.Translate(mesh.NewRecorder(store), translate.Unit{Kind: translate.UnitEndpoints, Host: host})
			}
		})
	}
}
