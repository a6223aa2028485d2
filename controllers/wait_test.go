package controllers_test

import (
	"bytes"
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/mesh"
)

// waiting is a `kubectl wait` that runs.
type waiting struct {
	ended  chan error
	output *bytes.Buffer
}

// startWait starts the real `kubectl wait --for=condition=Programmed`.
func startWait(ctx context.Context, object client.Object, timeout string) waiting {
	GinkgoHelper()
	command := api.Kubectl(ctx, "wait", "--for=condition=Programmed", "--namespace", object.GetNamespace(),
		"virtualservice/"+object.GetName(), "--timeout", timeout)
	w := waiting{ended: make(chan error, 1), output: &bytes.Buffer{}}
	command.Stdout, command.Stderr = w.output, w.output
	Expect(command.Start()).To(Succeed())
	go func() { w.ended <- command.Wait() }()
	return w
}

var _ = Describe("kubectl wait --for=condition=Programmed", func() {
	var object *v1alpha1.VirtualService
	var id mesh.ObjectID

	BeforeEach(func(ctx SpecContext) {
		object = virtualService(newNamespace(ctx), "reviews", "reviews")
		id = idOf(convert.KindVirtualService, object)
		Expect(writer.Create(ctx, object)).To(Succeed())
	})

	It("returns when the last proxy concerned has acknowledged", func(ctx SpecContext) {
		r := startReplica("")
		observed(r, id, 1)
		wait := startWait(ctx, object, "30s")
		deliver(r, id, 1, 2, 1)
		Eventually(stored(ctx, object)).Should(HaveField("Proxies.Concerned", int32(2)))
		Consistently(wait.ended, "500ms").ShouldNot(Receive(), "one proxy is missing")
		deliver(r, id, 1, 2, 2)
		Eventually(wait.ended).Should(Receive(BeNil()), "kubectl: %s", wait.output)
	})

	It("is not fooled by an older generation", func(ctx SpecContext) {
		By("generation 1 being programmed, and the manager ending")
		first := startReplica("")
		observed(first, id, 1)
		deliver(first, id, 1, 2, 2)
		Eventually(storedCondition(ctx, object, v1alpha1.ConditionProgrammed)).Should(Equal("True/Programmed"))
		first.stop()

		By("generation 2, which nobody has looked at")
		change(ctx, object, func() { object.Spec.HTTP[0].Name = "changed" })
		Expect(storedCondition(ctx, object, v1alpha1.ConditionProgrammed)(Default)).To(Equal("True/Programmed"), "of generation 1")
		wait := startWait(ctx, object, "1s")
		Eventually(wait.ended).Should(Receive(HaveOccurred()))
		Expect(wait.output.String()).To(ContainSubstring("timed out"))

		By("a manager that has seen it, and proxies that have not")
		second := startReplica("")
		wait = startWait(ctx, object, "30s")
		observed(second, id, 2)
		deliver(second, id, 1, 2, 2)
		deliver(second, id, 2, 2, 0)
		Eventually(storedCondition(ctx, object, v1alpha1.ConditionProgrammed)).Should(Equal("False/Pending"))
		Consistently(wait.ended, "500ms").ShouldNot(Receive())
		deliver(second, id, 2, 2, 2)
		Eventually(wait.ended).Should(Receive(BeNil()), "kubectl: %s", wait.output)
	})
})
