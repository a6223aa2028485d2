// Package convert makes the plain values of package mesh from Kubernetes' own objects and
// from Fairlead's kinds, and resolves the defaults that our kinds leave out of their
// schemas.
//
// Every function is pure. Values share maps and byte slices with the objects that they
// were made from, as those of an informer's cache must not be changed anyway. Objects of
// our kinds are judged by package validate first: what it finds is returned beside the
// value, and where it does not accept the object there is no value.
package convert

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
	"fairlead.dev/fairlead/internal/validate"
)

// Options are the settings of the mesh that conversion depends on.
type Options = validate.Options

// The kinds of the objects that values are made from, as mesh.ObjectID names them.
const (
	KindService         = "Service"
	KindVirtualService  = "VirtualService"
	KindDestinationRule = "DestinationRule"
	KindRouteRule       = "RouteRule"
	KindServiceEntry    = "ServiceEntry"
	KindGateway         = mesh.KindOfGateways
)

// origin names the object. The kind is given, since clients leave it out of typed objects.
func origin(kind string, object metav1.Object) mesh.Origin {
	return mesh.Origin{
		ObjectID:   mesh.ObjectID{Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName()},
		Generation: object.GetGeneration(),
		Created:    object.GetCreationTimestamp().Time,
	}
}

// exportTo returns the namespaces that see an object, none for all. "." is its own.
func exportTo(from []string, namespace string) []string {
	var to []string
	for _, name := range from {
		switch name {
		case "*":
			return nil
		case ".":
			name = namespace
		}
		to = append(to, name)
	}
	slices.Sort(to)
	return slices.Compact(to)
}

// refused reports whether findings keep an object from being used.
func refused(findings []message.Finding) bool {
	for _, finding := range findings {
		if finding.Topic == message.Acceptance {
			return true
		}
	}
	return false
}
