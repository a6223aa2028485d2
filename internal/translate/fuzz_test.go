package translate_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/translate"
	"fairlead.dev/fairlead/test/schema"
)

// FuzzObjects gives a mesh any VirtualService and DestinationRule, as YAML. Translating
// them never panics. What the API server and package validate accept gives resources
// that Envoy's API allows, each once and leading somewhere, and the same bytes again.
func FuzzObjects(f *testing.F) {
	for _, pair := range objectPairs(f) {
		f.Add([]byte(pair[0]), []byte(pair[1]))
	}
	text, err := os.ReadFile("testdata/live/explicit.yaml")
	if err != nil {
		f.Fatal(err)
	}
	fill, _ := fillerOf(f, bytes.Split(text, []byte("\n---\n")))
	rules := admissionOf(f)

	f.Fuzz(func(t *testing.T, routes, rule []byte) {
		store := mesh.NewStore()
		fill(store)
		accepted := true
		if object, ok := readObject[v1alpha1.VirtualService](routes); ok {
			accepted = len(rules.faults(t, "VirtualService", object)) == 0
			object.Namespace, object.Name = "default", "reviews"
			if table, _ := convert.RouteTable(object, convert.Options{}); table != nil {
				store.SetRouteTable(table)
			}
		}
		if object, ok := readObject[v1alpha1.DestinationRule](rule); ok {
			accepted = len(rules.faults(t, "DestinationRule", object)) == 0 && accepted
			object.Namespace, object.Name = "default", "reviews"
			if policy, _ := convert.Policy(object, convert.Options{}); policy != nil {
				store.SetPolicy(policy)
			}
		}
		front := *store.Workload(mesh.NamespacedName{Namespace: "default", Name: "front"})
		for _, explicit := range []bool{true, false} {
			front.Explicit = explicit
			class := translate.ClassOf(store, &front)
			resources, findings := translateAll(store, class, nil)
			again, _ := translateAll(store, class, nil)
			for _, finding := range findings {
				_ = finding.String()
			}
			if !accepted {
				continue
			}
			checkWhole(t, resources)
			for i, resource := range resources {
				checkValid(t, resource)
				if !bytes.Equal(wire(t, resource), wire(t, again[i])) {
					t.Errorf("%s gives other bytes the second time", resource.Name)
				}
			}
		}
	})
}

// objectPairs returns every VirtualService of the corpus, as YAML, with a DestinationRule
// that stands beside it.
func objectPairs(tb testing.TB) [][2]string {
	tb.Helper()
	var pairs [][2]string
	for _, path := range append(inputs(tb), "testdata/live/explicit.yaml") {
		text, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		documents, rule := strings.Split(string(text), "\n---\n"), ""
		for _, document := range documents {
			if strings.Contains(document, "\nkind: DestinationRule\n") {
				rule = document
			}
		}
		for _, document := range documents {
			if strings.Contains(document, "\nkind: VirtualService\n") {
				pairs = append(pairs, [2]string{document, rule})
			}
		}
	}
	return pairs
}

// Without this the fuzz target could judge nothing.
func TestCorpusIsWhatTheAPIServerAccepts(t *testing.T) {
	t.Parallel()
	rules := admissionOf(t)
	for _, pair := range objectPairs(t) {
		if faults := rules.faults(t, "VirtualService", decode[v1alpha1.VirtualService](t, []byte(pair[0]))); len(faults) > 0 {
			t.Errorf("%v of\n%s", faults, pair[0])
		}
		if pair[1] == "" {
			continue
		}
		if faults := rules.faults(t, "DestinationRule", decode[v1alpha1.DestinationRule](t, []byte(pair[1]))); len(faults) > 0 {
			t.Errorf("%v of\n%s", faults, pair[1])
		}
	}
}

// readObject reads an object as a client that does not validate would send it: text that
// is not of the kind's form is none.
func readObject[T any](text []byte) (*T, bool) {
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, false
	}
	object := new(T)
	return object, json.Unmarshal(asJSON, object) == nil
}

func wire(t *testing.T, resource translate.Resource) []byte {
	t.Helper()
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(resource.Message)
	if err != nil {
		t.Errorf("%s: %v", resource.Name, err)
	}
	return text
}

// admission judges objects as the API server does.
type admission struct{ schema.Admission }

func admissionOf(tb testing.TB) admission {
	tb.Helper()
	rules, err := schema.NewAdmission()
	if err != nil {
		tb.Fatal(err)
	}
	return admission{rules}
}

func (a admission) faults(tb testing.TB, kind string, object any) field.ErrorList {
	tb.Helper()
	faults, err := a.Faults(tb.Context(), kind, object)
	if err != nil {
		tb.Fatal(err)
	}
	return faults
}
