package schema

import (
	"context"
	"fmt"
	"math"

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

// Admission judges objects as the API server does by our CRDs, with its own code.
type Admission map[string]rules

type rules struct {
	schema     validation.SchemaValidator
	structural *structuralschema.Structural
	cel        *cel.Validator
}

// NewAdmission reads the CRDs.
func NewAdmission() (Admission, error) {
	files, err := config.CRDs()
	if err != nil {
		return nil, err
	}
	all := Admission{}
	for _, file := range files {
		crd, internal := &apiextensionsv1.CustomResourceDefinition{}, &apiextensions.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(file.YAML, crd); err != nil {
			return nil, fmt.Errorf("%s: %w", file.FileName, err)
		}
		if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(crd, internal, nil); err != nil {
			return nil, fmt.Errorf("%s: %w", file.FileName, err)
		}
		schema := internal.Spec.Versions[0].Schema
		if schema == nil {
			schema = internal.Spec.Validation
		}
		structural, err := structuralschema.NewStructural(schema.OpenAPIV3Schema)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file.FileName, err)
		}
		validator, _, err := validation.NewSchemaValidator(schema.OpenAPIV3Schema)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file.FileName, err)
		}
		all[crd.Spec.Names.Kind] = rules{validator, structural, cel.NewValidator(structural, true, celconfig.PerCallLimit)}
	}
	return all, nil
}

// Faults returns what the API server would refuse an object of one of our kinds for.
func (a Admission) Faults(ctx context.Context, kind string, object any) (field.ErrorList, error) {
	text, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	var value map[string]any
	if err := json.Unmarshal(text, &value); err != nil {
		return nil, err
	}
	// The API server judges metadata by rules of its own, and drops status on create.
	delete(value, "metadata")
	delete(value, "status")
	if faults := validation.ValidateCustomResource(nil, value, a[kind].schema); len(faults) > 0 {
		return faults, nil
	}
	faults, _ := a[kind].cel.Validate(ctx, nil, a[kind].structural, value, nil, math.MaxInt64)
	return faults, nil
}
