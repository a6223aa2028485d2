package validate

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// DestinationRule returns what is wrong with the object, looked at alone; nothing means
// that package convert can use it.
func DestinationRule(object *v1alpha1.DestinationRule, options Options) []message.Finding {
	c := &checker{
		object:  mesh.ObjectID{Kind: kindDestinationRule, Namespace: object.Namespace, Name: object.Name},
		options: options,
	}
	c.unimplementedFields(kindDestinationRule, object.Spec)
	spec := field.NewPath("spec")
	c.routedHost(spec.Child("host"), object.Spec.Host)
	c.exportTo(spec.Child("exportTo"), object.Spec.ExportTo)
	c.trafficPolicy(spec.Child("trafficPolicy"), object.Spec.TrafficPolicy)
	first := map[string]*field.Path{}
	for i, subset := range object.Spec.Subsets {
		path := spec.Child("subsets").Index(i)
		c.subsetName(path.Child("name"), subset.Name)
		c.labels(path.Child("labels"), subset.Labels)
		c.trafficPolicy(path.Child("trafficPolicy"), subset.TrafficPolicy)
		if other, found := first[subset.Name]; found {
			c.add(message.Repeated(c.object, path.Child("name").String(), fmt.Sprintf("%q", subset.Name), "the name of "+other.String()))
			continue
		}
		first[subset.Name] = path
	}
	return message.Sort(c.findings)
}

func (c *checker) trafficPolicy(path *field.Path, policy *v1alpha1.TrafficPolicy) {
	if policy == nil {
		return
	}
	c.tlsMode(path.Child("tls"), policy.TLS)
	for i, port := range policy.PortLevelSettings {
		at := path.Child("portLevelSettings").Index(i)
		c.port(at.Child("port", "number"), port.Port.Number)
		c.tlsMode(at.Child("tls"), port.TLS)
	}
}

func (c *checker) tlsMode(path *field.Path, tls *v1alpha1.ClientTLSSettings) {
	if tls == nil {
		return
	}
	switch tls.Mode {
	case "", v1alpha1.TLSDisable, v1alpha1.TLSIstioMutual, v1alpha1.TLSMeshMutual:
	default:
		c.add(message.NotImplementedValue(c.object, path.Child("mode").String(), "other modes than DISABLE, ISTIO_MUTUAL and MESH_MUTUAL are",
			"use one of these, or remove tls: proxies of the mesh speak mutual TLS to each other by themselves"))
	}
}
