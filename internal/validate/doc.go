// Package validate holds the rules that one object must keep to be used, with a coded
// message for each breach: one library for status, for the admission webhook and for the
// command line.
//
// It covers what a schema and shallow CEL rules cannot say (regular expressions, sums of
// weights, names of headers), what is not implemented yet, and, since not every caller has
// an API server before it, what package convert relies on. What an object says of others
// (a missing service, a host that two objects claim) is found by package translate.
//
// Nothing here does I/O or changes an object.
package validate

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// Options are the settings of the mesh that rules depend on.
type Options struct {
	// ClusterDomain ends the full names of services; empty means cluster.local.
	ClusterDomain string
}

// The kinds of the objects that are judged here.
const (
	kindVirtualService  = "VirtualService"
	kindDestinationRule = "DestinationRule"
	kindRouteRule       = "RouteRule"
	kindGateway         = "Gateway"
	kindServiceEntry    = "ServiceEntry"
	kindMeshCertificate = "MeshCertificate"
)

// checker collects what is wrong with one object.
type checker struct {
	object   mesh.ObjectID
	options  Options
	findings []message.Finding
}

// newChecker returns a checker that has found what the object sets and Fairlead does not act on.
func newChecker(kind string, object metav1.Object, spec any, options Options) *checker {
	c := &checker{
		object:  mesh.ObjectID{Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName()},
		options: options,
	}
	c.unimplementedFields(kind, spec)
	return c
}

func (c *checker) add(finding message.Finding) { c.findings = append(c.findings, finding) }

func (c *checker) invalid(path *field.Path, text, fix string) {
	c.add(message.Invalid(c.object, path.String(), text, fix))
}

func (c *checker) conflict(path *field.Path, text, fix string) {
	c.add(message.FieldsConflict(c.object, path.String(), text, fix))
}

func (c *checker) notImplemented(path *field.Path, what, fix string) {
	c.add(message.NotImplementedValue(c.object, path.String(), what, fix))
}

// qualified completes a host as the object means it.
func (c *checker) qualified(host string) string {
	return mesh.QualifiedHost(host, c.object.Namespace, c.options.ClusterDomain)
}
