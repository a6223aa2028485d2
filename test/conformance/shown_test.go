package conformance

import (
	"slices"
	"strings"
	"sync"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/test/schema"
)

var specs = sync.OnceValues(schema.Specs)

// shown are the fields that a case says it shows, and those that its objects set.
type shown struct {
	wanted []string
	set    map[string]bool
}

func newShown(wanted []string) shown { return shown{wanted, map[string]bool{}} }

// note takes in what an object sets.
func (s shown) note(kind string, document []byte) error {
	all, err := specs()
	if err != nil {
		return err
	}
	var object struct {
		Spec any `json:"spec"`
	}
	if err := yaml.Unmarshal(document, &object); err != nil {
		return err
	}
	schema.Set("spec", all[kind], object.Spec, func(field string) { s.set[kind+" "+field] = true })
	return nil
}

// check fails a case that does not set what it says it shows.
func (s shown) check(t *testing.T) {
	t.Helper()
	all, err := specs()
	if err != nil {
		t.Fatal(err)
	}
	for _, wanted := range s.wanted {
		kind, path, _ := strings.Cut(wanted, " ")
		var covered []string
		schema.Each("spec", all[kind], func(field string, _ apiextensionsv1.JSONSchemaProps) {
			if schema.Covers(path, field) {
				covered = append(covered, field)
			}
		})
		if len(covered) == 0 {
			t.Errorf("there is no field %s", wanted)
		}
		slices.Sort(covered)
		for _, field := range covered {
			if !s.set[kind+" "+field] {
				t.Errorf("the case says that it shows %s, and sets no %s", wanted, field)
			}
		}
	}
}
