package v1alpha1_test

import (
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	meshv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/config"
	"fairlead.dev/fairlead/test/schema"
)

var _ = Describe("The schema", func() {
	list, err := config.CRDs()
	if err != nil {
		panic(err) // the files are compiled in
	}
	for _, file := range list {
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(file.YAML, &crd); err != nil {
			panic(fmt.Errorf("%s: %w", file.FileName, err)) // run `make manifests`
		}
		root := *crd.Spec.Versions[0].Schema.OpenAPIV3Schema

		Describe("of "+crd.Spec.Names.Kind, func() {
			It("has no default, since GitOps tools would see it as drift", func() {
				schema.Each("", root, func(path string, field apiextensionsv1.JSONSchemaProps) {
					Expect(field.Default).To(BeNil(), path)
				})
			})

			It("bounds every list and map", func() {
				schema.Each("", root, func(path string, field apiextensionsv1.JSONSchemaProps) {
					switch {
					case field.Type == "array":
						Expect(field.MaxItems).NotTo(BeNil(), path)
					case field.AdditionalProperties != nil:
						Expect(field.MaxProperties).NotTo(BeNil(), path)
					}
				})
			})

			It("explains every field", func() {
				schema.Each("", root.Properties["spec"], func(path string, field apiextensionsv1.JSONSchemaProps) {
					if !strings.HasSuffix(path, "[]") && !strings.HasSuffix(path, "{}") {
						Expect(field.Description).NotTo(BeEmpty(), path)
					}
				})
			})

			It("belongs to the category, takes no other mesh's short name and keeps status apart", func() {
				Expect(crd.Spec.Names.Categories).To(ConsistOf(meshv1alpha1.Category))
				for _, name := range crd.Spec.Names.ShortNames {
					Expect(name).NotTo(BeElementOf("vs", "dr"))
				}
				Expect(crd.Spec.Versions[0].Subresources.Status).NotTo(BeNil())
			})
		})
	}
})
