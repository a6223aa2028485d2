package v1alpha1_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	meshv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
)

// leastCases is how many valid and how many invalid objects each kind has at least.
const leastCases = 20

// kinds maps a folder in testdata to the kind of the objects in it.
var kinds = map[string]func() client.Object{
	"destinationrule": func() client.Object { return &meshv1alpha1.DestinationRule{} },
	"gateway":         func() client.Object { return &meshv1alpha1.Gateway{} },
	"meshcertificate": func() client.Object { return &meshv1alpha1.MeshCertificate{} },
	"routerule":       func() client.Object { return &meshv1alpha1.RouteRule{} },
	"serviceentry":    func() client.Object { return &meshv1alpha1.ServiceEntry{} },
	"virtualservice":  func() client.Object { return &meshv1alpha1.VirtualService{} },
}

var _ = Describe("An object in", func() {
	for folder, newObject := range kinds {
		valid := yamlFiles("testdata", "valid", folder)
		invalid := yamlFiles("testdata", "invalid", folder)

		for _, file := range valid {
			It(file+" is taken and reads back as it was sent", func(ctx SpecContext) {
				sent := readObject(file)
				created := sent.DeepCopy()
				Expect(create(ctx, created)).To(Succeed())
				DeferCleanup(k8sClient.Delete, created)

				read := &unstructured.Unstructured{}
				read.SetGroupVersionKind(sent.GroupVersionKind())
				Expect(k8sClient.Get(ctx, client.ObjectKeyFromObject(created), read)).To(Succeed())
				Expect(read.Object["spec"]).To(Equal(sent.Object["spec"]), "no default is added, nothing is pruned")
				Expect(read.Object).NotTo(HaveKey("status"))
			})

			It(file+" is carried by the Go types without loss", func() {
				sent := readObject(file)
				typed := newObject()
				data, err := os.ReadFile(file)
				Expect(err).NotTo(HaveOccurred())
				Expect(yaml.UnmarshalStrict(data, typed)).To(Succeed())

				written, err := yaml.Marshal(typed)
				Expect(err).NotTo(HaveOccurred())
				again := map[string]any{}
				Expect(yaml.Unmarshal(written, &again)).To(Succeed())
				Expect(again).NotTo(HaveKey("status"), "an object that is sent brings no status")
				Expect(withoutUnset(again["spec"])).To(Equal(withoutUnset(sent.Object["spec"])))
			})
		}

		for _, file := range invalid {
			It(file+" is refused with the message that it wants", func(ctx SpecContext) {
				err := create(ctx, readObject(file))
				Expect(err).To(HaveOccurred())
				Expect(errors.IsInvalid(err) || errors.IsBadRequest(err)).To(BeTrue(), "refused for what it says: %v", err)
				Expect(err.Error()).To(ContainSubstring(wanted(file)))
			})
		}

		It(fmt.Sprintf("%s: there are enough cases", folder), func() {
			Expect(len(valid)).To(BeNumerically(">=", leastCases), "valid")
			Expect(len(invalid)).To(BeNumerically(">=", leastCases), "invalid")
		})
	}

	for _, file := range yamlFiles("..", "..", "config", "samples") {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		It(file+" is taken", func(ctx SpecContext) {
			object := readObject(file)
			Expect(create(ctx, object)).To(Succeed())
			Expect(k8sClient.Delete(ctx, object)).To(Succeed())
		})
	}

	It("Go tells a weight of zero from an unset one", func() {
		data, err := os.ReadFile(filepath.Join("testdata", "valid", "virtualservice", "labels-split.yaml"))
		Expect(err).NotTo(HaveOccurred())
		var typed meshv1alpha1.VirtualService
		Expect(yaml.UnmarshalStrict(data, &typed)).To(Succeed())
		route := typed.Spec.HTTP[0].Route
		Expect(route[0].Weight).To(HaveValue(BeZero()))
		Expect(route[1].Weight).To(BeNil())
	})

	It("loses an unknown field where the client does not validate strictly", func(ctx SpecContext) {
		object := readObject(filepath.Join("testdata", "invalid", "virtualservice", "unknown-field.yaml"))
		object.SetNamespace("default")
		Expect(k8sClient.Create(ctx, object)).To(Succeed())
		DeferCleanup(k8sClient.Delete, object)
		routes, _, err := unstructured.NestedSlice(object.Object, "spec", "http")
		Expect(err).NotTo(HaveOccurred())
		Expect(routes).To(HaveExactElements(Not(HaveKey("retrys"))))
	})
})

// create sends an object as kubectl does, refusing unknown fields.
func create(ctx context.Context, object client.Object) error {
	object.SetNamespace("default")
	return k8sClient.Create(ctx, object, client.FieldValidation(metav1.FieldValidationStrict))
}

func yamlFiles(folder ...string) []string {
	files, err := filepath.Glob(filepath.Join(append(folder, "*.yaml")...))
	if err != nil {
		panic(err) // the pattern is a constant
	}
	return files
}

func readObject(file string) *unstructured.Unstructured {
	GinkgoHelper()
	data, err := os.ReadFile(file)
	Expect(err).NotTo(HaveOccurred())
	object := &unstructured.Unstructured{}
	Expect(yaml.UnmarshalStrict(data, object)).To(Succeed(), "%s holds one object", file)
	return object
}

// wanted is the part of the message that an invalid file's first line asks for.
func wanted(file string) string {
	GinkgoHelper()
	data, err := os.ReadFile(file)
	Expect(err).NotTo(HaveOccurred())
	first, _, _ := strings.Cut(string(data), "\n")
	message, found := strings.CutPrefix(first, "# wants: ")
	Expect(found && message != "").To(BeTrue(), "%s begins with `# wants: <part of the message>`", file)
	return message
}
