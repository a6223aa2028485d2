// Package schema tells what the schemas of our kinds say: which fields there are, which of them
// an object sets, whether the API server would take it, and which test shows what a field does.
//
// A field is written as in docs/compatibility.md: "[]" stands for a list's items, "{}" for a
// map's values.
package schema

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/config"
)

// Specs returns the schema of each kind's spec.
func Specs() (map[string]apiextensionsv1.JSONSchemaProps, error) {
	list, err := config.CRDs()
	if err != nil {
		return nil, err
	}
	schemas := map[string]apiextensionsv1.JSONSchemaProps{}
	for _, file := range list {
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(file.YAML, &crd); err != nil {
			return nil, fmt.Errorf("%s: %w", file.FileName, err)
		}
		schemas[crd.Spec.Names.Kind] = crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	}
	return schemas, nil
}

// Each visits a schema and all below it.
func Each(path string, schema apiextensionsv1.JSONSchemaProps, visit func(string, apiextensionsv1.JSONSchemaProps)) {
	visit(path, schema)
	for name, property := range schema.Properties {
		Each(path+"."+name, property, visit)
	}
	if schema.Items != nil {
		Each(path+"[]", *schema.Items.Schema, visit)
	}
	if schema.AdditionalProperties != nil {
		Each(path+"{}", *schema.AdditionalProperties.Schema, visit)
	}
}

// Plain lists the fields below a schema that have a plain value, sorted.
func Plain(path string, schema apiextensionsv1.JSONSchemaProps) []string {
	var fields []string
	Each(path, schema, func(path string, schema apiextensionsv1.JSONSchemaProps) {
		if isPlain(schema) {
			fields = append(fields, path)
		}
	})
	slices.SortFunc(fields, func(a, b string) int { return cmp.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return fields
}

func isPlain(schema apiextensionsv1.JSONSchemaProps) bool {
	return len(schema.Properties) == 0 && schema.Items == nil && schema.AdditionalProperties == nil
}

// Set tells of the fields that a value has, as JSON decodes it, by the schema of the value.
// What is set and empty, such as "{}", is among them.
func Set(path string, schema apiextensionsv1.JSONSchemaProps, value any, tell func(field string)) {
	tell(path)
	switch value := value.(type) {
	case []any:
		for _, item := range value {
			if schema.Items != nil {
				Set(path+"[]", *schema.Items.Schema, item, tell)
			}
		}
	case map[string]any:
		for name, item := range value {
			if property, found := schema.Properties[name]; found {
				Set(path+"."+name, property, item, tell)
			} else if schema.AdditionalProperties != nil {
				Set(path+"{}", *schema.AdditionalProperties.Schema, item, tell)
			}
		}
	}
}

// Covers reports whether a field is the one given or stands below it.
func Covers(given, field string) bool {
	rest, found := strings.CutPrefix(field, given)
	return found && (rest == "" || strings.ContainsRune(".[{", rune(rest[0])))
}
