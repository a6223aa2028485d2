package translate_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
	"fairlead.dev/fairlead/internal/translate"
	"fairlead.dev/fairlead/test/schema"
)

// FuzzObjects gives a mesh any objects of our kinds, as YAML. Translating them never panics.
// What the API server and package validate accept gives resources that Envoy's API allows,
// each once and leading somewhere, and the same bytes again.
func FuzzObjects(f *testing.F) {
	for _, seed := range ourObjects(f) {
		f.Add([]byte(seed))
	}
	judge := newJudge(f)
	f.Fuzz(func(t *testing.T, text []byte) { judge.try(t, text) })
}

// judge tries objects in a mesh.
type judge struct {
	fill   func(*mesh.Store)
	reader objectReader
}

func newJudge(tb testing.TB) judge {
	tb.Helper()
	text, err := os.ReadFile("testdata/live/explicit.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	fill, _ := fillerOf(tb, bytes.Split(text, []byte("\n---\n")))
	return judge{fill, newObjectReader(tb)}
}

func (j judge) try(t *testing.T, text []byte) {
	store := mesh.NewStore()
	j.fill(store)
	documents, accepted := j.reader.read(t, text)
	fill, _ := fillerOf(t, documents)
	fill(store)
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
}

// ourObjects returns what each case of the corpus has of our kinds.
func ourObjects(tb testing.TB) []string {
	tb.Helper()
	var seeds []string
	for _, path := range append(inputs(tb), "testdata/live/explicit.yaml") {
		text, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		var ours []string
		for document := range strings.SplitSeq(string(text), "\n---\n") {
			if strings.Contains(document, "apiVersion: "+v1alpha1.GroupVersion.String()) {
				ours = append(ours, document)
			}
		}
		if len(ours) > 0 {
			seeds = append(seeds, strings.Join(ours, "\n---\n"))
		}
	}
	return seeds
}

// Without this the fuzz target could judge nothing.
func TestCorpusIsWhatTheAPIServerAccepts(t *testing.T) {
	t.Parallel()
	reader := newObjectReader(t)
	for _, seed := range ourObjects(t) {
		for document := range strings.SplitSeq(seed, "\n---\n") {
			object, kind, ok := reader.object([]byte(document))
			if !ok {
				t.Errorf("nothing reads\n%s", document)
			} else if faults := reader.faults(t, kind, object); len(faults) > 0 {
				t.Errorf("%v of\n%s", faults, document)
			}
		}
	}
}

// objectReader reads objects of our kinds, and judges them as the API server does.
type objectReader struct {
	rules  schema.Admission
	scheme *runtime.Scheme
}

func newObjectReader(tb testing.TB) objectReader {
	tb.Helper()
	rules, err := schema.NewAdmission()
	if err != nil {
		tb.Fatal(err)
	}
	delete(rules, "MeshCertificate") // says nothing of traffic
	r := objectReader{rules, runtime.NewScheme()}
	if err := v1alpha1.AddToScheme(r.scheme); err != nil {
		tb.Fatal(err)
	}
	return r
}

// read returns the objects of a text in the form in which the API server keeps them, and
// whether it takes all of them. What it cannot read is left out.
func (r objectReader) read(t *testing.T, text []byte) (documents [][]byte, accepted bool) {
	accepted = true
	for _, document := range bytes.Split(text, []byte("\n---\n")) {
		object, kind, ok := r.object(document)
		if !ok {
			continue
		}
		accepted = len(r.faults(t, kind, object)) == 0 && accepted
		object.SetNamespace("default")
		kept, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, kept)
	}
	return documents, accepted
}

// object reads one as a client that does not validate would send it: text that is not of the
// kind's form is none.
func (r objectReader) object(document []byte) (client.Object, string, bool) {
	asJSON, err := yaml.YAMLToJSON(document)
	if err != nil {
		return nil, "", false
	}
	var head struct {
		Kind string `json:"kind"`
	}
	if json.Unmarshal(asJSON, &head) != nil {
		return nil, "", false
	}
	if _, ours := r.rules[head.Kind]; !ours {
		return nil, "", false
	}
	made, err := r.scheme.New(v1alpha1.GroupVersion.WithKind(head.Kind))
	if err != nil {
		return nil, "", false
	}
	object, isObject := made.(client.Object)
	return object, head.Kind, isObject && json.Unmarshal(asJSON, object) == nil
}

func (r objectReader) faults(tb testing.TB, kind string, object any) field.ErrorList {
	tb.Helper()
	faults, err := r.rules.Faults(tb.Context(), kind, object)
	if err != nil {
		tb.Fatal(err)
	}
	return faults
}

func wire(t *testing.T, resource translate.Resource) []byte {
	t.Helper()
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(resource.Message)
	if err != nil {
		t.Errorf("%s: %v", resource.Name, err)
	}
	return text
}

// FuzzFields gives a mesh objects that are made of the schemas' fields, any of them, as bytes
// choose. They are held to what FuzzObjects holds them to.
func FuzzFields(f *testing.F) {
	for seed := range 60 {
		random := rand.New(rand.NewPCG(uint64(seed), 0))
		choices := make([]byte, 400)
		for i := range choices {
			choices[i] = byte(random.UintN(256))
		}
		f.Add(choices)
	}
	specs, err := schema.Specs()
	if err != nil {
		f.Fatal(err)
	}
	judge := newJudge(f)
	kinds := slices.Sorted(maps.Keys(judge.reader.rules))

	f.Fuzz(func(t *testing.T, choices []byte) {
		given := schema.Choices(choices)
		var documents [][]byte
		for i := range 3 {
			kind := kinds[(len(choices)+i)%len(kinds)]
			if document := judge.mended(t, kind, schema.Value("spec", specs[kind], &given)); document != nil {
				documents = append(documents, document)
			}
		}
		judge.try(t, bytes.Join(documents, []byte("\n---\n")))
	})
}

// mended returns an object with the spec, without the fields that somebody objects to; none if
// nothing is left.
func (j judge) mended(t *testing.T, kind string, spec any) []byte {
	const most = 100
	object := map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": kind, "metadata": map[string]any{"namespace": "default", "name": "reviews"}, "spec": spec,
	}
	for range most {
		document, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		typed, _, ok := j.reader.object(document)
		if !ok {
			return nil
		}
		var wrong []string
		for _, fault := range j.reader.faults(t, kind, typed) {
			wrong = append(wrong, fault.Field)
		}
		if len(wrong) == 0 {
			_, findings := fillerOf(t, [][]byte{document})
			for _, finding := range findings {
				if finding.Topic == message.Acceptance {
					wrong = append(wrong, finding.Path)
				}
			}
		}
		if len(wrong) == 0 {
			return document
		}
		for _, path := range wrong {
			if !schema.Prune(object, path) {
				return nil
			}
		}
	}
	return nil
}
