package v1alpha1_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	meshv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/config"
)

// withoutSource are the kinds that are Fairlead's own.
var withoutSource = []string{"MeshCertificate"}

// extensions are the ends of the paths that Fairlead has and the source schemas have not.
var extensions = []string{
	"destination.labels{} string",
	"mirror.labels{} string",
	"activeHealthCheck object",
	"activeHealthCheck.healthyThreshold integer",
	"activeHealthCheck.interval string",
	"activeHealthCheck.path string",
	"activeHealthCheck.protocol string GRPC|HTTP|TCP",
	"activeHealthCheck.service string",
	"activeHealthCheck.timeout string",
	"activeHealthCheck.unhealthyThreshold integer",
}

// ownValue is one that Fairlead knows besides the source's: its own name for ISTIO_MUTUAL.
const ownValue = "MESH_MUTUAL|"

// narrowed are fields for which the source takes any value, and only these have a meaning.
var narrowed = map[string]string{
	"redirect.redirectCode integer": " 301|302|303|307|308",
	"redirect.scheme string":        " http|https",
	"tunnel.protocol string":        " CONNECT|POST",
}

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
			if !slices.Contains(withoutSource, crd.Spec.Names.Kind) {
				It("has every field of its source, of the same type and with the same values", func() {
					ours := fields("spec", root.Properties["spec"])
					source := sourceFields(crd.Spec.Names.Singular)
					Expect(missing(source, ours)).To(BeEmpty(), "in the source only")
					Expect(slices.DeleteFunc(missing(ours, source), isExtension)).To(BeEmpty(), "ours only, and no known extension")
				})
			}

			It("has no default, since GitOps tools would see it as drift", func() {
				eachSchema("", root, func(path string, schema apiextensionsv1.JSONSchemaProps) {
					Expect(schema.Default).To(BeNil(), path)
				})
			})

			It("bounds every list and map", func() {
				eachSchema("", root, func(path string, schema apiextensionsv1.JSONSchemaProps) {
					switch {
					case schema.Type == "array":
						Expect(schema.MaxItems).NotTo(BeNil(), path)
					case schema.AdditionalProperties != nil:
						Expect(schema.MaxProperties).NotTo(BeNil(), path)
					}
				})
			})

			It("explains every field", func() {
				eachSchema("", root.Properties["spec"], func(path string, schema apiextensionsv1.JSONSchemaProps) {
					if !strings.HasSuffix(path, "[]") && !strings.HasSuffix(path, "{}") {
						Expect(schema.Description).NotTo(BeEmpty(), path)
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

// fields lists the paths below a schema with JSON type and enum values, sorted: "[]" stands
// for a list's items, "{}" for a map's values.
func fields(path string, schema apiextensionsv1.JSONSchemaProps) []string {
	var lines []string
	eachSchema(path, schema, func(path string, schema apiextensionsv1.JSONSchemaProps) {
		if schema.Type == "array" || schema.AdditionalProperties != nil {
			return // its items or values stand for it
		}
		line := path + " " + schema.Type
		if len(schema.Enum) > 0 {
			var values []string
			for _, value := range schema.Enum {
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
	slices.Sort(lines)
	return lines
}

// eachSchema visits a schema and all below it.
func eachSchema(path string, schema apiextensionsv1.JSONSchemaProps, visit func(string, apiextensionsv1.JSONSchemaProps)) {
	visit(path, schema)
	for name, property := range schema.Properties {
		eachSchema(path+"."+name, property, visit)
	}
	if schema.Items != nil {
		eachSchema(path+"[]", *schema.Items.Schema, visit)
	}
	if schema.AdditionalProperties != nil {
		eachSchema(path+"{}", *schema.AdditionalProperties.Schema, visit)
	}
}

// sourceFields are the stored paths of the source's schema, as fields writes them.
func sourceFields(singular string) []string {
	GinkgoHelper()
	data, err := os.ReadFile(filepath.Join("testdata", "istio", singular+".txt"))
	Expect(err).NotTo(HaveOccurred())
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	Expect(lines[0]).To(HavePrefix("# "), "the source and its version")
	return lines[1:]
}

func missing(from, in []string) []string {
	var lines []string
	for _, line := range from {
		if !slices.Contains(in, line) {
			lines = append(lines, line)
		}
	}
	return lines
}

func isExtension(line string) bool {
	return slices.ContainsFunc(extensions, func(end string) bool { return strings.HasSuffix(line, end) })
}
