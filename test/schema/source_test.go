package schema_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "istio.io/api/label" // the smallest package of the module that has the CRDs
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/test/schema"
)

// extensions are parts of the paths that Fairlead has and the source has not.
var extensions = []string{
	".destination.labels{}",
	".mirror.labels{}",
	".trafficPolicy.activeHealthCheck", ".portLevelSettings[].activeHealthCheck",
}

// ownValue is one that Fairlead knows besides the source's: its own name for ISTIO_MUTUAL.
const ownValue = "MESH_MUTUAL|"

// narrowed are fields for which the source takes any value, and only these have a meaning.
var narrowed = map[string]string{
	"redirect.redirectCode integer": " 301|302|303|307|308",
	"redirect.scheme string":        " http|https",
	"tunnel.protocol string":        " CONNECT|POST",
}

// withoutSource are the kinds that no other mesh has, or has no more.
var withoutSource = []string{"MeshCertificate", "RouteRule", "TelemetryAdapter"}

// The kinds have every field of Istio's, of the same type and with the same values: no field is
// missed silently.
func TestKindsHaveEveryFieldOfTheirSource(t *testing.T) {
	source := sourceSpecs(t)
	ours, err := schema.Specs()
	if err != nil {
		t.Fatal(err)
	}
	for kind, spec := range ours {
		if slices.Contains(withoutSource, kind) {
			continue
		}
		theirs, found := source[kind]
		if !found {
			t.Errorf("Istio has no kind %s", kind)
			continue
		}
		want, got := lines(theirs), lines(spec)
		for _, line := range want {
			if !slices.Contains(got, line) {
				t.Errorf("%s of the source only: %s", kind, line)
			}
		}
		for _, line := range got {
			known := func(part string) bool { return strings.Contains(line, part) }
			if !slices.Contains(want, line) && !slices.ContainsFunc(extensions, known) {
				t.Errorf("%s of ours only, and no known extension: %s", kind, line)
			}
		}
	}
}

// sourceSpecs reads the CRDs that Istio's module has, in version v1.
func sourceSpecs(t *testing.T) map[string]apiextensionsv1.JSONSchemaProps {
	t.Helper()
	folder, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "istio.io/api").Output()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(folder)), "kubernetes", "customresourcedefinitions.gen.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	specs := map[string]apiextensionsv1.JSONSchemaProps{}
	for _, document := range bytes.Split(text, []byte("\n---\n")) {
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(document, &crd); err != nil {
			t.Fatal(err)
		}
		for _, version := range crd.Spec.Versions {
			if version.Name == "v1" {
				specs[crd.Spec.Names.Kind] = version.Schema.OpenAPIV3Schema.Properties["spec"]
			}
		}
	}
	return specs
}

// lines are the paths below a schema with JSON type and enum values.
func lines(spec apiextensionsv1.JSONSchemaProps) []string {
	var lines []string
	schema.Each("spec", spec, func(path string, field apiextensionsv1.JSONSchemaProps) {
		if field.Type == "array" || field.AdditionalProperties != nil {
			return // its items or values stand for it
		}
		line := path + " " + field.Type
		if field.XIntOrString {
			line += "int-or-string"
		}
		if len(field.Enum) > 0 {
			var values []string
			for _, value := range field.Enum {
				values = append(values, strings.Trim(string(value.Raw), `"`))
			}
			slices.Sort(values)
			line += " " + strings.Join(values, "|")
		}
		line = strings.ReplaceAll(line, ownValue, "")
		for end, values := range narrowed {
			if strings.HasSuffix(line, end+values) {
				line = strings.TrimSuffix(line, values)
			}
		}
		lines = append(lines, line)
	})
	return lines
}
