package translate_test

import (
	"math"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/config"
)

// admission judges objects as the API server does by our CRDs, with its own code.
type admission map[string]admissionRules

type admissionRules struct {
	schema     validation.SchemaValidator
	structural *structuralschema.Structural
	rules      *cel.Validator
}

func admissionOf(tb testing.TB) admission {
	tb.Helper()
	files, err := config.CRDs()
	if err != nil {
		tb.Fatal(err)
	}
	all := admission{}
	for _, file := range files {
		crd, internal := &apiextensionsv1.CustomResourceDefinition{}, &apiextensions.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(file.YAML, crd); err != nil {
			tb.Fatal(err)
		}
		if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(crd, internal, nil); err != nil {
			tb.Fatal(err)
		}
		schema := internal.Spec.Versions[0].Schema
		if schema == nil {
			schema = internal.Spec.Validation
		}
		structural, err := structuralschema.NewStructural(schema.OpenAPIV3Schema)
		if err != nil {
			tb.Fatal(err)
		}
		validator, _, err := validation.NewSchemaValidator(schema.OpenAPIV3Schema)
		if err != nil {
			tb.Fatal(err)
		}
		all[crd.Spec.Names.Kind] = admissionRules{validator, structural, cel.NewValidator(structural, true, celconfig.PerCallLimit)}
	}
	return all
}

// accepts reports whether the API server would store the object.
func (a admission) accepts(tb testing.TB, kind string, object any) bool {
	tb.Helper()
	return len(a.faults(tb, kind, object)) == 0
}

func (a admission) faults(tb testing.TB, kind string, object any) field.ErrorList {
	tb.Helper()
	text, err := json.Marshal(object)
	if err != nil {
		tb.Fatal(err)
	}
	var value map[string]any
	if err := json.Unmarshal(text, &value); err != nil {
		tb.Fatal(err)
	}
	// The API server judges metadata by rules of its own, and drops status on create.
	delete(value, "metadata")
	delete(value, "status")
	if faults := validation.ValidateCustomResource(nil, value, a[kind].schema); len(faults) > 0 {
		return faults
	}
	faults, _ := a[kind].rules.Validate(tb.Context(), nil, a[kind].structural, value, nil, math.MaxInt64)
	return faults
}
