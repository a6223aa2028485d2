package validate_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"fairlead.dev/fairlead/internal/validate"
	"fairlead.dev/fairlead/test/schema"
)

var update = flag.Bool("update", false, "write docs/compatibility.md")

// ownKinds have no source that they could differ from.
var ownKinds = []string{"MeshCertificate"}

// historicKind has its source in an API that is gone.
const historicKind = "RouteRule"

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
		"The last column names the test, in `test/conformance`, that shows by traffic what the field does. Traffic policies of subsets and of\n" +
		"single ports are the same code as that of the host, and have its tests.\n\n" +
		"`[]` stands for a list's items, `{}` for a map's values.\n")
	kinds, shown := schemas(t), tests(t)
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		fields := schema.Plain("spec", kinds[kind])
		count := map[validate.State]int{}
		var rows strings.Builder
		for _, field := range fields {
			state, note := validate.SupportOf(kind, field)
			count[state]++
			fmt.Fprintf(&rows, "| `%s` | %s | %s | %s |\n", field, state, note, testOf(shown, kind, field))
		}
		source := "`networking.istio.io/v1`"
		if kind == historicKind {
			source = "the historic `config.istio.io/v1alpha2`"
		} else if slices.Contains(ownKinds, kind) {
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
		fmt.Fprintf(&page, "\n| field | state | | test |\n| --- | --- | --- | --- |\n%s", rows.String())
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
	for kind, spec := range schemas(t) {
		known := map[string]bool{}
		schema.Each("spec", spec, func(path string, _ apiextensionsv1.JSONSchemaProps) { known[path] = true })
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
	specs, err := schema.Specs()
	if err != nil {
		t.Fatal(err)
	}
	return specs
}

// tests returns, by "KIND FIELD", those that show what a field does.
func tests(t *testing.T) map[string][]string {
	t.Helper()
	shown, err := schema.Shown(filepath.Join("..", "..", "test", "conformance"))
	if err != nil {
		t.Fatal(err)
	}
	return shown
}

// testOf returns the first test of a field, or of one that it stands below.
func testOf(shown map[string][]string, kind, field string) string {
	for _, place := range []string{field, strings.NewReplacer("spec.subsets[].", "spec.", ".portLevelSettings[]", "").Replace(field)} {
		var narrowest string
		for given := range shown {
			of, path, _ := strings.Cut(given, " ")
			if of == kind && schema.Covers(path, place) && len(given) > len(narrowest) {
				narrowest = given
			}
		}
		if narrowest != "" {
			return slices.Min(shown[narrowest])
		}
	}
	return ""
}
