package convert_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/message"
)

// FuzzVirtualService converts whatever decodes, with or without regard to the schema. What
// is accepted must come back from the mesh's value as it was.
func FuzzVirtualService(f *testing.F) {
	for _, object := range corpus(f, "VirtualService") {
		f.Add(object)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		object := &v1alpha1.VirtualService{}
		if json.Unmarshal(data, object) != nil {
			return
		}
		object.Namespace, object.Name = "default", "fuzz"
		before := object.DeepCopy()
		table, findings := convert.RouteTable(object, convert.Options{})
		if (table == nil) != refused(findings) {
			t.Fatalf("table %v with findings %v", table, findings)
		}
		complete(t, findings)
		if !cmp.Equal(before, object) {
			t.Fatalf("conversion changed the object: %s", cmp.Diff(before, object))
		}
		if table == nil || ambiguous(object) {
			return
		}
		if diff := cmp.Diff(filled("default", object.Spec), restore(table), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("lost (-) or made up (+):\n%s", diff)
		}
	})
}

// FuzzDestinationRule does the same for the other kind.
func FuzzDestinationRule(f *testing.F) {
	for _, object := range corpus(f, "DestinationRule") {
		f.Add(object)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		object := &v1alpha1.DestinationRule{}
		if json.Unmarshal(data, object) != nil {
			return
		}
		object.Namespace, object.Name = "default", "fuzz"
		policy, findings := convert.Policy(object, convert.Options{})
		if (policy == nil) != refused(findings) {
			t.Fatalf("policy %v with findings %v", policy, findings)
		}
		complete(t, findings)
		if policy == nil {
			return
		}
		restored := v1alpha1.DestinationRuleSpec{Host: policy.Host}
		if policy.Selector != nil {
			restored.WorkloadSelector = &v1alpha1.WorkloadSelector{MatchLabels: map[string]v1alpha1.SelectorValue{}}
			for key, value := range policy.Selector {
				restored.WorkloadSelector.MatchLabels[key] = v1alpha1.SelectorValue(value)
			}
		}
		for _, subset := range policy.Subsets {
			restored.Subsets = append(restored.Subsets, v1alpha1.Subset{Name: subset.Name, Labels: subset.Labels})
		}
		// That nothing of traffic policies is lost is shown field by field.
		want := *object.Spec.DeepCopy()
		want.TrafficPolicy = nil
		for i := range want.Subsets {
			want.Subsets[i].TrafficPolicy = nil
		}
		want.Host, want.ExportTo = filled("default", v1alpha1.VirtualServiceSpec{Hosts: []string{want.Host}}).Hosts[0], nil
		if diff := cmp.Diff(want, restored, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("lost (-) or made up (+):\n%s", diff)
		}
	})
}

// FuzzKubernetesObjects converts whatever decodes as one of Kubernetes' own objects.
func FuzzKubernetesObjects(f *testing.F) {
	for _, seed := range []string{
		`{"metadata":{"name":"a","namespace":"b"},"spec":{"clusterIP":"10.0.0.1","ports":[{"name":"http","port":80,"protocol":"TCP","appProtocol":"grpc"}]}}`,
		`{"metadata":{"namespace":"b","labels":{"kubernetes.io/service-name":"a"}},"addressType":"IPv6","ports":[{"name":"x","port":1}],"endpoints":[{"addresses":["::ffff:1.2.3.4"],"conditions":{"ready":true},"targetRef":{"kind":"Pod","name":"p"},"zone":"z"}]}`,
		`{"metadata":{"annotations":{"mesh.fairlead.dev/mode":"explicit","mesh.fairlead.dev/outbound-tcp":"a.b:1=2,c:3"}},"spec":{"containers":[{"ports":[{"containerPort":9080,"name":"http"}]}]},"status":{"podIP":"198.18.0.1"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var service corev1.Service
		if json.Unmarshal(data, &service) == nil {
			value := convert.Service(&service, convert.Options{})
			if (value == nil) != (service.Spec.Type == corev1.ServiceTypeExternalName) {
				t.Errorf("%v", value)
			}
		}
		var slice discoveryv1.EndpointSlice
		if json.Unmarshal(data, &slice) == nil {
			host, endpoints := convert.Endpoints(&slice, convert.Options{})
			for _, endpoint := range endpoints {
				if host == "" || !endpoint.Address.IsValid() || endpoint.Port == 0 {
					t.Errorf("%q: %+v", host, endpoint)
				}
			}
		}
		var pod corev1.Pod
		if json.Unmarshal(data, &pod) == nil {
			if value := convert.Workload(&pod, &corev1.Node{}); value != nil && !value.Address.IsValid() {
				t.Errorf("%+v", value)
			}
		}
		var namespace corev1.Namespace
		if json.Unmarshal(data, &namespace) == nil {
			convert.Namespace(&namespace)
		}
	})
}

func refused(findings []message.Finding) bool {
	for _, finding := range findings {
		if finding.Topic == message.Acceptance {
			return true
		}
	}
	return false
}

// complete checks that findings say where, what and what to do.
func complete(t *testing.T, findings []message.Finding) {
	t.Helper()
	for _, finding := range findings {
		if finding.Code == "" || finding.Reason == "" || finding.Object.Name == "" ||
			!strings.HasPrefix(finding.Path, "spec") || finding.Text == "" || finding.Fix == "" {
			t.Errorf("incomplete finding %+v", finding)
		}
	}
}

// ambiguous reports whether the spec spells the name of a header to match in two ways:
// those become two conditions, which the restored map cannot hold.
func ambiguous(object *v1alpha1.VirtualService) bool {
	for _, route := range object.Spec.HTTP {
		for _, match := range route.Match {
			if len(lowerKeys(match.Headers)) != len(match.Headers) || len(lowerKeys(match.WithoutHeaders)) != len(match.WithoutHeaders) {
				return true
			}
		}
	}
	return false
}

// corpus returns the objects of a kind by which the API server's rules are tried, good and
// bad ones, and the samples.
func corpus(tb testing.TB, kind string) [][]byte {
	tb.Helper()
	return append(corpusFiles(tb, "api/v1alpha1/testdata/*/*", kind), corpusFiles(tb, "config/samples", kind)...)
}

// corpusFiles returns the objects of a kind in a folder of the repository, as JSON.
func corpusFiles(tb testing.TB, folder, kind string) [][]byte {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(folder), "*.yaml"))
	if err != nil {
		tb.Fatal(err)
	}
	var objects [][]byte
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		object, err := yaml.YAMLToJSON(data)
		var meta metav1.TypeMeta
		if err != nil || json.Unmarshal(object, &meta) != nil {
			tb.Fatalf("%s: %v", file, err)
		}
		if meta.Kind == kind {
			objects = append(objects, object)
		}
	}
	if len(objects) == 0 {
		tb.Fatalf("%s has no objects of kind %s", folder, kind)
	}
	return objects
}
