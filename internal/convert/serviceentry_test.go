package convert_test

import (
	"reflect"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

var serviceEntryLeaves = leafTest{
	kind: convert.KindServiceEntry,
	base: `{hosts: [leaf.example.com], ports: [{name: key, number: 80, protocol: HTTP}], resolution: DNS}`,
	bases: map[string]string{
		"spec.endpoints":                  `{hosts: [leaf.example.com], ports: [{name: key, number: 80, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 198.18.0.9}]}`,
		"spec.endpoints[].serviceAccount": `{hosts: [inner.example.com], location: MESH_INTERNAL, ports: [{name: key, number: 80, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 198.18.0.9, labels: {mesh.fairlead.dev/tlsMode: mutual}}]}`,
		"spec.location":                   `{hosts: [inner.example.com], ports: [{name: key, number: 80, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 198.18.0.9, labels: {mesh.fairlead.dev/tlsMode: mutual}}]}`,
		"spec.ports[].name":               `{hosts: [leaf.example.com], ports: [{number: 80}], resolution: DNS}`, // tells the protocol,
		"spec.workloadSelector":           `{hosts: [leaf.example.com], ports: [{name: key, number: 80, protocol: HTTP}], resolution: STATIC}`,
	},
	samples: map[string][2]any{
		"spec.addresses[]":         {"192.0.2.1", "192.0.2.2"},
		"spec.endpoints[].address": {"198.18.0.9", "198.18.0.10"},
		"spec.exportTo[]":          {"*", "prod"},
		"spec.hosts[]":             {"leaf.example.com", "other.example.com"},
		"spec.location":            {"MESH_INTERNAL", "MESH_EXTERNAL"},
		"spec.ports[].name":        {"http", "tcp"},
		"spec.ports[].protocol":    {"HTTP", "TCP"},
		"spec.resolution":          {"NONE", "STATIC"},
	},
	add: func(store *mesh.Store, spec []byte) ([]message.Finding, error) {
		const leaf = "leaf.example.com"
		origin := func(kind string) mesh.Origin {
			return mesh.Origin{ObjectID: mesh.ObjectID{Kind: kind, Namespace: "default", Name: "other"}}
		}
		// One of the hosts has servers that are chosen by a label and have certificates of their own.
		store.SetRouteTable(&mesh.RouteTable{
			Origin: origin(convert.KindVirtualService), Hosts: []string{leaf},
			HTTP: []mesh.HTTPRoute{{Destinations: []mesh.Destination{{Host: leaf, Labels: map[string]string{"key": "text"}}}}},
		})
		store.SetPolicy(&mesh.Policy{
			Origin: origin(convert.KindDestinationRule), Host: leaf, Traffic: mesh.Traffic{TLS: &mesh.ClientTLS{Mode: mesh.TLSSimple}},
		})
		object := &v1alpha1.ServiceEntry{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "leaf"}}
		err := yaml.UnmarshalStrict(spec, &object.Spec)
		entry, findings := convert.Entry(object, convert.Options{})
		if entry != nil {
			store.SetEntry(entry)
		}
		return findings, err
	},
}

func TestEveryFieldOfServiceEntryActsOrIsRefused(t *testing.T) {
	for name, intercepted := range map[string]bool{"intercepted": true, "called by address": false} {
		t.Run(name, func(t *testing.T) {
			leaves := serviceEntryLeaves
			leaves.intercepted = intercepted
			// Who calls a proxy by address names the host, and not where it is.
			leaves.sole = map[string]bool{"spec.addresses[]": !intercepted}
			leaves.run(t, reflect.TypeFor[v1alpha1.ServiceEntrySpec](), 15)
		})
	}
}
