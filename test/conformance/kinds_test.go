package conformance

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
	"fairlead.dev/fairlead/internal/status"
)

// kinds says of each kind how its objects come into the store, as its reconciler has it.
var kinds = map[string]kind{
	"Service": plain(
		func(s *stage, o *corev1.Service) { s.store.SetService(convert.Service(o, s.options)) },
		func(s *stage, o *corev1.Service) { s.store.DeleteService(mesh.ServiceHost(o.Name, o.Namespace, "")) }),
	"EndpointSlice": plain(
		func(s *stage, o *discoveryv1.EndpointSlice) {
			host, endpoints := convert.Endpoints(o, s.options)
			s.store.SetEndpoints(host, o.Name, endpoints)
		},
		func(s *stage, o *discoveryv1.EndpointSlice) {
			host, _ := convert.Endpoints(o, s.options)
			s.store.SetEndpoints(host, o.Name, nil)
		}),
	"Namespace": plain(
		func(s *stage, o *corev1.Namespace) { s.store.SetNamespace(convert.Namespace(o)) },
		func(s *stage, o *corev1.Namespace) { s.store.DeleteNamespace(o.Name) }),
	"Pod": plain(
		func(s *stage, o *corev1.Pod) { s.store.SetWorkload(convert.Workload(o, nodes[o.Spec.NodeName])) },
		func(s *stage, o *corev1.Pod) {
			s.store.DeleteWorkload(mesh.NamespacedName{Namespace: o.Namespace, Name: o.Name})
		}),
	"Secret": plain(
		func(s *stage, o *corev1.Secret) { s.setSecret(o, o) },
		func(s *stage, o *corev1.Secret) { s.setSecret(o, nil) }),

	convert.KindGateway:         ours(convert.Gateway, (*mesh.Store).SetGateway, (*mesh.Store).DeleteGateway),
	convert.KindServiceEntry:    ours(convert.Entry, (*mesh.Store).SetEntry, (*mesh.Store).DeleteEntry),
	convert.KindVirtualService:  ours(convert.RouteTable, (*mesh.Store).SetRouteTable, (*mesh.Store).DeleteRouteTable),
	convert.KindRouteRule:       ours(convert.RouteRule, (*mesh.Store).SetRouteTable, (*mesh.Store).DeleteRouteTable),
	convert.KindDestinationRule: ours(convert.Policy, (*mesh.Store).SetPolicy, (*mesh.Store).DeletePolicy),
}

// kind is how objects of one kind come into the store and out of it.
type kind struct {
	read   func(text []byte) (client.Object, error)
	set    func(*stage, client.Object)
	remove func(*stage, client.Object)
	// hasStatus is true for our own kinds.
	hasStatus bool
}

// plain is a kind of Kubernetes' own.
func plain[T any, P interface {
	*T
	client.Object
}](set, remove func(*stage, P)) kind {
	return kind{
		read:   read[T, P],
		set:    func(s *stage, o client.Object) { set(s, o.(P)) },
		remove: func(s *stage, o client.Object) { remove(s, o.(P)) },
	}
}

// ours is a kind whose objects are judged, and have a status.
func ours[T, V any, P interface {
	*T
	client.Object
	GetStatus() *v1alpha1.Status
}](convert func(P, convert.Options) (*V, []message.Finding), set func(*mesh.Store, *V), remove func(*mesh.Store, mesh.ObjectID)) kind {
	return kind{
		hasStatus: true,
		read:      read[T, P],
		set: func(s *stage, o client.Object) {
			value, findings := convert(o.(P), s.options)
			s.table.Observe(status.Observation{Object: idOf(o), UID: o.GetUID(), Generation: o.GetGeneration(), Findings: findings})
			if value != nil {
				set(s.store, value)
			}
		},
		remove: func(s *stage, o client.Object) {
			s.table.Forget(idOf(o))
			remove(s.store, idOf(o))
		},
	}
}

func read[T any, P interface {
	*T
	client.Object
}](text []byte) (client.Object, error) {
	o := P(new(T))
	if err := yaml.UnmarshalStrict(text, o); err != nil {
		return nil, fmt.Errorf("%w in\n%s", err, text)
	}
	return o, nil
}

func idOf(o client.Object) mesh.ObjectID {
	return mesh.ObjectID{Kind: o.GetObjectKind().GroupVersionKind().Kind, Namespace: o.GetNamespace(), Name: o.GetName()}
}

// nodes are where Pods run.
var nodes = map[string]*corev1.Node{"a": node("eu", "eu-1"), "b": node("eu", "eu-2"), "c": node("us", "us-1")}

func node(region, zone string) *corev1.Node {
	n := &corev1.Node{}
	n.Labels = map[string]string{corev1.LabelTopologyRegion: region, corev1.LabelTopologyZone: zone}
	return n
}
