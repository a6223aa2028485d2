package e2e

import (
	"context"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/api/v1alpha1"
)

// object is an object as it was applied last.
type object struct {
	*unstructured.Unstructured
}

// apply creates or changes an object, as `kubectl apply --server-side` does, and removes
// it when the spec or container that created it ends.
func apply(manifest string) object {
	GinkgoHelper()
	o := parse(manifest)
	Expect(o.apply()).To(Succeed())
	return o
}

func parse(manifest string) object {
	GinkgoHelper()
	o := object{&unstructured.Unstructured{}}
	o.read(manifest)
	DeferCleanup(o.remove)
	return o
}

// change applies another manifest of the same object, and returns once every proxy runs it.
func (o object) change(manifest string) {
	GinkgoHelper()
	o.write(manifest)
	programmed(o)
}

// write applies another manifest of the same object.
func (o object) write(manifest string) {
	GinkgoHelper()
	o.read(manifest)
	Expect(o.apply()).To(Succeed())
}

func (o object) read(manifest string) {
	GinkgoHelper()
	o.Object = map[string]any{}
	Expect(yaml.UnmarshalStrict([]byte(manifest), &o.Object)).To(Succeed(), manifest)
	o.SetNamespace("default")
}

func (o object) apply() error {
	strict := client.WithFieldValidation(fairlead, metav1.FieldValidationStrict)
	return strict.Apply(context.Background(), client.ApplyConfigurationFromUnstructured(o.Unstructured), client.FieldOwner("e2e"), client.ForceOwnership)
}

func (o object) remove() {
	GinkgoHelper()
	err := fairlead.Delete(context.Background(), o.Unstructured)
	Expect(client.IgnoreNotFound(err)).To(Succeed())
}

// virtualService is a manifest. Its host is the object's name with ".example": routes
// of their own for each spec, to any service.
func virtualService(name, http string) string {
	return virtualServiceOf(name, "["+name+".example]", http)
}

func virtualServiceOf(name, hosts, http string) string {
	return fmt.Sprintf(`
apiVersion: mesh.fairlead.dev/v1alpha1
kind: VirtualService
metadata: {name: %s}
spec:
  hosts: %s
  http:%s`, name, hosts, indented(http))
}

func indented(text string) string {
	var indented string
	for line := range strings.Lines(text) {
		indented += "  " + line
	}
	return indented
}

// route applies a VirtualService and returns once every proxy runs it.
func route(name, http string) object {
	GinkgoHelper()
	return programmed(apply(virtualService(name, http)))
}

// programmed returns once the API server says that every proxy runs the object as it was
// applied last.
func programmed(o object) object {
	GinkgoHelper()
	Eventually(o.status).Should(BeProgrammed())
	return o
}

// status reads the object's status, and fails as long as it speaks of another generation
// than was applied last.
func (o object) status() (v1alpha1.Status, error) {
	var now struct {
		Status v1alpha1.Status `json:"status"`
	}
	fresh := &unstructured.Unstructured{}
	fresh.SetGroupVersionKind(o.GroupVersionKind())
	if err := fairlead.Get(context.Background(), client.ObjectKeyFromObject(o), fresh); err != nil {
		return now.Status, err
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(fresh.Object, &now); err != nil {
		return now.Status, err
	}
	if now.Status.ObservedGeneration != o.GetGeneration() {
		return now.Status, fmt.Errorf("the status speaks of generation %d, not of %d", now.Status.ObservedGeneration, o.GetGeneration())
	}
	for _, condition := range now.Status.Conditions {
		if condition.ObservedGeneration != o.GetGeneration() {
			return now.Status, fmt.Errorf("%s speaks of generation %d, not of %d", condition.Type, condition.ObservedGeneration, o.GetGeneration())
		}
	}
	return now.Status, nil
}

// HaveCondition matches a status by one of its conditions and what its message contains.
func HaveCondition(kind string, status metav1.ConditionStatus, reason string, words ...string) gomegatypes.GomegaMatcher {
	matchers := []gomegatypes.GomegaMatcher{
		HaveField("Type", kind), HaveField("Status", status), HaveField("Reason", reason),
	}
	for _, word := range words {
		matchers = append(matchers, HaveField("Message", ContainSubstring(word)))
	}
	return HaveField("Conditions", ContainElement(And(matchers...)))
}

// BeProgrammed matches the status of an object that every proxy runs and with which
// nothing is wrong.
func BeProgrammed() gomegatypes.GomegaMatcher {
	return And(
		HaveCondition(v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed),
		HaveCondition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady),
	)
}
