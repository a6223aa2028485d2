package validate_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/config"
	"fairlead.dev/fairlead/internal/validate"
)

var update = flag.Bool("update", false, "write docs/compatibility.md")

// ownKinds have no source that they could differ from.
var ownKinds = []string{"MeshCertificate"}

// docs/compatibility.md is written from the schemas and from the table by which fields are
// refused: `go test ./internal/validate -update`.
func TestCompatibilityPage(t *testing.T) {
	var page strings.Builder
	page.WriteString("# Compatibility\n\n" +
		"The kinds have the fields of their sources: an Istio user changes `apiVersion` and goes on. A field that is\n" +
		"accepted is implemented. One that is *not yet* implemented is not ignored: an object that sets it gets\n" +
		"`Accepted=False`, reason `NotImplemented`, with the field's path ([FL0002](messages.md#fl0002)); a field that is\n" +
		"*partly* implemented gives the same for the values that are not. Empty lists and maps say nothing and are taken.\n\n" +
		"The API server drops fields that no schema knows, unless the client validates strictly, as kubectl does.\n\n" +
		"`[]` stands for a list's items, `{}` for a map's values.\n")
	kinds := schemas(t)
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		fields := fieldsOf("spec", kinds[kind])
		count := map[validate.State]int{}
		var rows strings.Builder
		for _, field := range fields {
			state, note := validate.SupportOf(kind, field)
			count[state]++
			fmt.Fprintf(&rows, "| `%s` | %s | %s |\n", field, state, note)
		}
		source := "`networking.istio.io/v1`"
		if slices.Contains(ownKinds, kind) {
			source = "none, the kind is Fairlead's own"
		}
		fmt.Fprintf(&page, "\n## %s\n\nSource: %s. Of %d fields %d are implemented, %d partly, %d not yet.\n",
			kind, source, len(fields), count[validate.Implemented], count[validate.Partial], count[validate.NotImplemented])
		if differences := validate.Differences(kind); len(differences) > 0 {
			page.WriteString("\nWhere the field is implemented, and differs from its source:\n\n")
			for _, field := range slices.Sorted(maps.Keys(differences)) {
				fmt.Fprintf(&page, "- `%s`: %s.\n", field, differences[field])
			}
		}
		fmt.Fprintf(&page, "\n| field | state | |\n| --- | --- | --- |\n%s", rows.String())
	}
	page.WriteString("\n<!-- Written by `go test ./internal/validate -update`. -->\n")

	path := filepath.Join("..", "..", "docs", "compatibility.md")
	if *update {
		if err := os.WriteFile(path, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	current, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(current) != page.String() {
		t.Errorf("%s is not current: run `go test ./internal/validate -update`", path)
	}
}

// A line in the tables that no field has would be a promise about nothing.
func TestTablesNameFieldsOfTheSchemas(t *testing.T) {
	for kind, schema := range schemas(t) {
		known := map[string]bool{}
		eachField("spec", schema, func(path string, _ apiextensionsv1.JSONSchemaProps) { known[path] = true })
		listed := validate.ListedFields(kind)
		if len(listed) == 0 && !slices.Contains(ownKinds, kind) {
			t.Errorf("%s has no table", kind)
		}
		for _, field := range listed {
			if !known[field] {
				t.Errorf("%s has no field %s", kind, field)
			}
		}
	}
}

// schemas returns the schema of each kind's spec.
func schemas(t *testing.T) map[string]apiextensionsv1.JSONSchemaProps {
	t.Helper()
	list, err := config.CRDs()
	if err != nil {
		t.Fatal(err)
	}
	schemas := map[string]apiextensionsv1.JSONSchemaProps{}
	for _, file := range list {
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(file.YAML, &crd); err != nil {
			t.Fatalf("%s: %v", file.FileName, err)
		}
		schemas[crd.Spec.Names.Kind] = crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	}
	return schemas
}

// fieldsOf lists the fields below a schema that have a plain value, sorted.
func fieldsOf(path string, schema apiextensionsv1.JSONSchemaProps) []string {
	var fields []string
	eachField(path, schema, func(path string, schema apiextensionsv1.JSONSchemaProps) {
		isPlain := len(schema.Properties) == 0 && schema.Items == nil && schema.AdditionalProperties == nil
		if isPlain {
			fields = append(fields, path)
		}
	})
	slices.SortFunc(fields, func(a, b string) int { return cmp.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return fields
}

func eachField(path string, schema apiextensionsv1.JSONSchemaProps, visit func(string, apiextensionsv1.JSONSchemaProps)) {
	visit(path, schema)
	for name, property := range schema.Properties {
		eachField(path+"."+name, property, visit)
	}
	if schema.Items != nil {
		eachField(path+"[]", *schema.Items.Schema, visit)
	}
	if schema.AdditionalProperties != nil {
		eachField(path+"{}", *schema.AdditionalProperties.Schema, visit)
	}
}
