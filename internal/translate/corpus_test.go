package translate_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
	"fairlead.dev/fairlead/internal/translate"
)

var update = flag.Bool("update", false, "write testdata/*.out.yaml anew; read the difference before committing it")

// corpusCase is one testdata/<name>.in.yaml: which proxy to look at, and after that the
// Kubernetes objects of the mesh that it is in.
type corpusCase struct {
	// ProxyOf is the Pod, "<namespace>/<name>", whose proxy's resources are shown.
	ProxyOf string `json:"proxyOf"`
	// Show lists the types of resources that the case is about.
	Show []string `json:"show"`

	store    *mesh.Store
	class    translate.Class
	findings []message.Finding
}

// typeNames are the words for the types in a case, in the order of the output.
var typeNames = []struct{ name, url string }{
	{"listeners", translate.ListenerType},
	{"scopes", translate.ScopedRouteType},
	{"routes", translate.RouteType},
	{"clusters", translate.ClusterType},
	{"endpoints", translate.EndpointType},
	{"secrets", translate.SecretType},
}

func TestCorpus(t *testing.T) {
	t.Parallel()
	for _, path := range inputs(t) {
		t.Run(caseName(path), func(t *testing.T) {
			t.Parallel()
			c := readCase(t, path)
			got := c.output(t)
			out := strings.TrimSuffix(path, ".in.yaml") + ".out.yaml"
			if *update {
				if err := os.WriteFile(out, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(out)
			if err != nil {
				t.Fatalf("%v; write it with -update", err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("%s differs (-want +got); if that is meant, run with -update:\n%s", out, diff)
			}
		})
	}
}

func inputs(tb testing.TB) []string {
	tb.Helper()
	paths, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(paths) == 0 {
		tb.Fatalf("no cases in testdata: %v", err)
	}
	return paths
}

func caseName(path string) string { return strings.TrimSuffix(filepath.Base(path), ".in.yaml") }

// readCase reads a case and fills a store with its objects as controllers would.
func readCase(tb testing.TB, path string) *corpusCase {
	tb.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	text = []byte(strings.NewReplacer("A-CERTIFICATE", onePair().certificate, "ITS-KEY", onePair().key).Replace(string(text)))
	documents := bytes.Split(text, []byte("\n---\n"))
	c := &corpusCase{}
	if err := yaml.UnmarshalStrict(documents[0], c); err != nil {
		tb.Fatalf("%s: %v", path, err)
	}
	c.store, c.findings = meshOf(tb, documents[1:])
	namespace, name, _ := strings.Cut(c.ProxyOf, "/")
	workload := c.store.Workload(mesh.NamespacedName{Namespace: namespace, Name: name})
	if workload == nil {
		tb.Fatalf("%s: there is no Pod %q", path, c.ProxyOf)
	}
	c.class = translate.ClassOf(c.store, workload)
	return c
}

// meshOf converts objects, as YAML, to a mesh, and returns what was found wrong with
// those that were not accepted.
func meshOf(tb testing.TB, documents [][]byte) (*mesh.Store, []message.Finding) {
	tb.Helper()
	store := mesh.NewStore()
	fill, findings := fillerOf(tb, documents)
	fill(store)
	return store, findings
}

// fillerOf converts objects, as YAML, and returns what puts their values into a store.
func fillerOf(tb testing.TB, documents [][]byte) (func(*mesh.Store), []message.Finding) {
	tb.Helper()
	var steps []func(*mesh.Store)
	add := func(step func(*mesh.Store)) { steps = append(steps, step) }
	nodes := map[string]*corev1.Node{}
	var findings []message.Finding
	for i, document := range documents {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(document, &kind); err != nil {
			tb.Fatalf("document %d: %v", i+1, err)
		}
		switch kind.Kind {
		case "Service":
			service := convert.Service(decode[corev1.Service](tb, document), convert.Options{})
			add(func(s *mesh.Store) { s.SetService(service) })
		case "EndpointSlice":
			slice := decode[discoveryv1.EndpointSlice](tb, document)
			host, endpoints := convert.Endpoints(slice, convert.Options{})
			add(func(s *mesh.Store) { s.SetEndpoints(host, slice.Name, endpoints) })
		case "Namespace":
			namespace := convert.Namespace(decode[corev1.Namespace](tb, document))
			add(func(s *mesh.Store) { s.SetNamespace(namespace) })
		case "Node":
			node := decode[corev1.Node](tb, document)
			nodes[node.Name] = node
		case "Pod":
			pod := decode[corev1.Pod](tb, document)
			workload := convert.Workload(pod, nodes[pod.Spec.NodeName])
			if workload == nil {
				tb.Fatalf("Pod %s/%s has no proxy: give it status.podIP", pod.Namespace, pod.Name)
			}
			add(func(s *mesh.Store) { s.SetWorkload(workload) })
		case "VirtualService":
			table, found := convert.RouteTable(decode[v1alpha1.VirtualService](tb, document), convert.Options{})
			findings = append(findings, found...)
			if table != nil {
				add(func(s *mesh.Store) { s.SetRouteTable(table) })
			}
		case "RouteRule":
			table, found := convert.RouteRule(decode[v1alpha1.RouteRule](tb, document), convert.Options{})
			findings = append(findings, found...)
			if table != nil {
				add(func(s *mesh.Store) { s.SetRouteTable(table) })
			}
		case "ServiceEntry":
			entry, found := convert.Entry(decode[v1alpha1.ServiceEntry](tb, document), convert.Options{})
			findings = append(findings, found...)
			if entry != nil {
				add(func(s *mesh.Store) { s.SetEntry(entry) })
			}
		case "Gateway":
			gateway, found := convert.Gateway(decode[v1alpha1.Gateway](tb, document), convert.Options{})
			findings = append(findings, found...)
			if gateway != nil {
				add(func(s *mesh.Store) { s.SetGateway(gateway) })
			}
		case "Secret":
			secret := decode[corev1.Secret](tb, document)
			name := mesh.NamespacedName{Namespace: secret.Namespace, Name: secret.Name}
			if secret.StringData == nil { // one that is not there
				secret = nil
			}
			credential := convert.Credential(name, stored(secret), nil)
			add(func(s *mesh.Store) { s.SetCredential(credential) })
		case "DestinationRule":
			policy, found := convert.Policy(decode[v1alpha1.DestinationRule](tb, document), convert.Options{})
			findings = append(findings, found...)
			if policy != nil {
				add(func(s *mesh.Store) { s.SetPolicy(policy) })
			}
		default:
			tb.Fatalf("document %d: kind %q is not known here", i+1, kind.Kind)
		}
	}
	return func(s *mesh.Store) {
		for _, step := range steps {
			step(s)
		}
	}, findings
}

// stored is a Secret as the API server hands it out; nil stays nil.
func stored(secret *corev1.Secret) *corev1.Secret {
	if secret == nil {
		return nil
	}
	secret.Data = map[string][]byte{}
	for key, value := range secret.StringData {
		secret.Data[key] = []byte(value)
	}
	return secret
}

func decode[T any](tb testing.TB, document []byte) *T {
	tb.Helper()
	object := new(T)
	if err := yaml.UnmarshalStrict(document, object); err != nil {
		tb.Fatalf("%v in\n%s", err, document)
	}
	return object
}

// translated returns everything that the case's proxy is served, and what was found.
func (c *corpusCase) translated() ([]translate.Resource, []message.Finding) {
	return translateAll(c.store, c.class, c.findings)
}

func translateAll(view mesh.View, class translate.Class, findings []message.Finding) ([]translate.Resource, []message.Finding) {
	var resources []translate.Resource
	findings = slices.Clone(findings)
	units := translate.Units(view, class)
	for _, unit := range translate.Units(view, translate.Class{Everybody: true}) {
		if unit.Kind == translate.UnitGatewayFindings {
			units = append(units, unit)
		}
	}
	for _, unit := range units {
		result := translate.Translate(view, unit)
		resources = append(resources, result.Resources...)
		findings = append(findings, result.Findings...)
	}
	return resources, message.Sort(findings)
}

// output writes what the case shows as YAML.
func (c *corpusCase) output(tb testing.TB) []byte {
	tb.Helper()
	resources, findings := c.translated()
	var out bytes.Buffer
	fmt.Fprintf(&out, "class: %s\n", c.class.Key())
	if len(findings) > 0 {
		out.WriteString("findings:\n")
		for _, finding := range findings {
			// The words are package message's own matter.
			out.Write(marshal(tb, []string{finding.Object.String() + ": " + finding.Code + " " + finding.Reason + " at " + finding.Path}))
		}
	}
	for _, typeName := range typeNames {
		if !slices.Contains(c.Show, typeName.name) {
			continue
		}
		fmt.Fprintf(&out, "%s:\n", typeName.name)
		for _, resource := range resources {
			if resource.TypeURL == typeName.url {
				out.Write(marshal(tb, []any{shown(tb, resource)}))
			}
		}
	}
	return out.Bytes()
}

// shown is a resource as the output has it, in the names of Envoy's documentation.
func shown(tb testing.TB, resource translate.Resource) map[string]any {
	tb.Helper()
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(resource.Message)
	if err != nil {
		tb.Fatalf("%s: %v", resource.Name, err)
	}
	var message map[string]any
	if err := json.Unmarshal(withoutPEM(text), &message); err != nil {
		tb.Fatal(err)
	}
	entry := map[string]any{"name": resource.Name, "message": message}
	if len(resource.Requires) > 0 {
		entry["requires"] = resource.Requires
	}
	if len(resource.Owners) > 0 {
		owners := make([]string, len(resource.Owners))
		for i, owner := range resource.Owners {
			owners[i] = owner.String()
		}
		entry["owners"] = owners
	}
	return entry
}

func marshal(tb testing.TB, value any) []byte {
	tb.Helper()
	text, err := yaml.Marshal(value)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}
