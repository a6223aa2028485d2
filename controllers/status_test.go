package controllers_test

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers"
	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/delivery"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// deliver reports what proxies did, as the xDS server does.
func deliver(r *replica, id mesh.ObjectID, generation int64, concerned, acknowledged int) {
	r.table.Delivered(delivery.Report{Object: id, Generation: generation, Concerned: concerned, Acknowledged: acknowledged, Settled: true})
}

// observed waits until a replica has seen a generation of an object.
func observed(r *replica, id mesh.ObjectID, generation int64) {
	GinkgoHelper()
	Eventually(func() int64 {
		s, _, _ := r.table.Status(id)
		return s.ObservedGeneration
	}).Should(Equal(generation), "the replica sees generation %d", generation)
}

// conditionIn returns a condition of a replica's table as "status/reason".
func conditionIn(r *replica, id mesh.ObjectID, conditionType string) string {
	s, _, _ := r.table.Status(id)
	return conditionOf(s, conditionType)
}

func conditionOf(s v1alpha1.Status, conditionType string) string {
	condition := meta.FindStatusCondition(s.Conditions, conditionType)
	if condition == nil {
		return ""
	}
	return string(condition.Status) + "/" + condition.Reason
}

// stored returns what the API server holds as the object's status.
func stored(ctx context.Context, object *v1alpha1.VirtualService) func(Gomega) v1alpha1.Status {
	return func(g Gomega) v1alpha1.Status {
		var read v1alpha1.VirtualService
		g.Expect(writer.Get(ctx, client.ObjectKeyFromObject(object), &read)).To(Succeed())
		return read.Status
	}
}

// storedCondition returns a condition that the API server holds as "status/reason".
func storedCondition(ctx context.Context, object *v1alpha1.VirtualService, conditionType string) func(Gomega) string {
	return func(g Gomega) string { return conditionOf(stored(ctx, object)(g), conditionType) }
}

var _ = Describe("The status writer", func() {
	var namespace string
	var object *v1alpha1.VirtualService
	var id mesh.ObjectID

	BeforeEach(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		object = virtualService(namespace, "reviews", "reviews")
		id = idOf(convert.KindVirtualService, object)
		Expect(writer.Create(ctx, object)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { _ = writer.Delete(ctx, object) })
	})

	It("applies status alone, and leaves what is not its own", func(ctx SpecContext) {
		r := startReplica("")
		observed(r, id, 1)
		deliver(r, id, 1, 2, 2)
		Eventually(storedCondition(ctx, object, v1alpha1.ConditionReady)).Should(Equal("True/Ready"))

		var read v1alpha1.VirtualService
		Expect(writer.Get(ctx, client.ObjectKeyFromObject(object), &read)).To(Succeed())
		Expect(read.Generation).To(Equal(int64(1)))
		Expect(read.Spec).To(Equal(object.Spec))
		Expect(read.ManagedFields).To(ContainElement(SatisfyAll(
			HaveField("Manager", controllers.FieldManager), HaveField("Operation", metav1.ManagedFieldsOperationApply),
			HaveField("Subresource", "status"))))

		By("somebody else adding a condition of theirs and changing one of ours")
		for i := range read.Status.Conditions {
			if read.Status.Conditions[i].Type == v1alpha1.ConditionProgrammed {
				read.Status.Conditions[i].Status, read.Status.Conditions[i].Reason = metav1.ConditionFalse, "Meddled"
			}
		}
		read.Status.Conditions = append(read.Status.Conditions, metav1.Condition{
			Type: "Audited", Status: metav1.ConditionTrue, Reason: "Looked", LastTransitionTime: metav1.Now(),
		})
		Expect(writer.Status().Update(ctx, &read, client.FieldOwner("meddler"))).To(Succeed())
		Eventually(storedCondition(ctx, object, v1alpha1.ConditionProgrammed)).Should(Equal("True/Programmed"))
		Expect(storedCondition(ctx, object, "Audited")(Default)).To(Equal("True/Looked"))
		Eventually(func() bool { _, open := r.table.Unwritten(id); return open }).Should(BeFalse(), "there is nothing left to write")
	})

	It("writes conditions at once and many changes of counts in few writes", func(ctx SpecContext) {
		r := startReplica("")
		observed(r, id, 1)
		deliver(r, id, 1, 100, 100)
		Eventually(storedCondition(ctx, object, v1alpha1.ConditionProgrammed)).Should(Equal("True/Programmed"))

		var before v1alpha1.VirtualService
		Expect(writer.Get(ctx, client.ObjectKeyFromObject(object), &before)).To(Succeed())
		writes := countWrites(ctx, &before)
		for acknowledged := range 50 {
			deliver(r, id, 1, 100, acknowledged)
		}
		r.table.Findings(id, []message.Finding{message.HostNotFound(id, "spec.http[0]", "nowhere")})
		Eventually(storedCondition(ctx, object, v1alpha1.ConditionResolvedRefs)).Should(Equal("False/HostNotFound"))
		for acknowledged := 50; acknowledged < 99; acknowledged++ {
			deliver(r, id, 1, 100, acknowledged)
		}
		Eventually(stored(ctx, object)).Should(HaveField("Proxies.Acknowledged", int32(98)))
		Expect(writes()).To(BeNumerically("<=", 3), "one for the condition, one or two for a hundred counts")
	})

	It("tells of a conflict of hosts that is found after the object was accepted", func(ctx SpecContext) {
		r := startReplica("")
		observed(r, id, 1)
		deliver(r, id, 1, 1, 1)
		Eventually(storedCondition(ctx, object, v1alpha1.ConditionReady)).Should(Equal("True/Ready"))
		winner := mesh.ObjectID{Kind: convert.KindVirtualService, Namespace: namespace, Name: "older"}
		r.table.Findings(id, []message.Finding{message.HostConflict(id, "spec.hosts[0]", "reviews", winner)})
		Eventually(storedCondition(ctx, object, v1alpha1.ConditionAccepted)).Should(Equal("False/HostConflict"))
		s := stored(ctx, object)(Default)
		Expect(conditionOf(s, v1alpha1.ConditionProgrammed)).To(Equal("False/NotAccepted"))
		Expect(s.Proxies).To(BeNil(), "counts that are withdrawn are removed")
		r.table.Findings(id, nil)
		deliver(r, id, 1, 2, 2)
		Eventually(storedCondition(ctx, object, v1alpha1.ConditionReady)).Should(Equal("True/Ready"))
	})

	It("keeps Programmed over a restart, and writes nothing for it", func(ctx SpecContext) {
		first := startReplica("")
		observed(first, id, 1)
		deliver(first, id, 1, 2, 2)
		Eventually(storedCondition(ctx, object, v1alpha1.ConditionReady)).Should(Equal("True/Ready"))
		first.stop()

		var before v1alpha1.VirtualService
		Expect(writer.Get(ctx, client.ObjectKeyFromObject(object), &before)).To(Succeed())
		second := startReplica("")
		observed(second, id, 1)
		second.table.Delivered(delivery.Report{Object: id, Generation: 1, Concerned: 2}) // proxies come back
		Eventually(stored(ctx, object)).Should(HaveField("Proxies.Acknowledged", int32(0)), "counts are those of now")
		var after v1alpha1.VirtualService
		Expect(writer.Get(ctx, client.ObjectKeyFromObject(object), &after)).To(Succeed())
		Expect(after.Status.Conditions).To(Equal(before.Status.Conditions))
	})

	It("lets one replica write, and the next one write what was left", func(ctx SpecContext) {
		election := "takeover-" + namespace
		leader := startReplica(election)
		Eventually(leader.elected).Should(BeClosed())
		follower := startReplica(election)
		for _, r := range []*replica{leader, follower} {
			observed(r, id, 1)
			deliver(r, id, 1, 1, 1)
		}
		Eventually(storedCondition(ctx, object, v1alpha1.ConditionReady)).Should(Equal("True/Ready"))
		Eventually(func() bool { _, open := follower.table.Unwritten(id); return open }).Should(BeFalse(), "the follower sees that")

		By("a change that only the follower has heard of when the leader ends")
		follower.table.Findings(id, []message.Finding{message.HostNotFound(id, "spec.http[0]", "nowhere")})
		Consistently(storedCondition(ctx, object, v1alpha1.ConditionResolvedRefs), "300ms").Should(Equal("True/ResolvedRefs"), "a follower does not write")
		leader.stop()
		Eventually(storedCondition(ctx, object, v1alpha1.ConditionResolvedRefs)).Should(Equal("False/HostNotFound"))
		Expect(storedCondition(ctx, object, v1alpha1.ConditionProgrammed)(Default)).To(Equal("True/Programmed"))
	})

	It("tells the newest generation while a person keeps changing the object", func(ctx SpecContext) {
		r := startReplica("")
		const changes = 30
		for i := range changes {
			change(ctx, object, func() {
				object.Spec.HTTP[0].Name = fmt.Sprint("change-", i)
				object.Annotations = map[string]string{"change": fmt.Sprint(i)}
			})
			deliver(r, id, object.Generation, 1, i%2)
		}
		observed(r, id, changes+1)
		deliver(r, id, changes+1, 1, 1)
		Eventually(stored(ctx, object)).Should(SatisfyAll(
			HaveField("ObservedGeneration", int64(changes+1)),
			WithTransform(func(s v1alpha1.Status) string { return conditionOf(s, v1alpha1.ConditionReady) }, Equal("True/Ready"))))
		Expect(writer.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
		Expect(object.Spec.HTTP[0].Name).To(Equal(fmt.Sprint("change-", changes-1)), "no change was overwritten")
	})

	It("lets go of an object that is deleted, and knows another of the same name from it", func(ctx SpecContext) {
		r := startReplica("")
		observed(r, id, 1)
		deliver(r, id, 1, 1, 1)
		Eventually(storedCondition(ctx, object, v1alpha1.ConditionReady)).Should(Equal("True/Ready"))
		Expect(writer.Delete(ctx, object)).To(Succeed())
		deliver(r, id, 1, 2, 1) // to be written after it is gone
		Eventually(func() bool { _, _, found := r.table.Status(id); return found }).Should(BeFalse())

		object = virtualService(namespace, "reviews", "reviews")
		Expect(writer.Create(ctx, object)).To(Succeed())
		Eventually(storedCondition(ctx, object, v1alpha1.ConditionProgrammed)).Should(Equal("False/Pending"))
		deliver(r, id, 1, 1, 1)
		Eventually(storedCondition(ctx, object, v1alpha1.ConditionProgrammed)).Should(Equal("True/Programmed"))
	})
})

// countWrites watches an object from the version given, and returns how many writes of it
// were seen.
func countWrites(ctx context.Context, from *v1alpha1.VirtualService) func() int {
	GinkgoHelper()
	watching, err := client.NewWithWatch(api.Config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	watch, err := watching.Watch(ctx, &v1alpha1.VirtualServiceList{}, client.InNamespace(from.Namespace), &client.ListOptions{
		Raw: &metav1.ListOptions{ResourceVersion: from.ResourceVersion},
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(watch.Stop)
	seen := 0
	return func() int {
		for {
			select {
			case <-watch.ResultChan():
				seen++
			case <-time.After(200 * time.Millisecond): // no event is on its way any more
				return seen
			}
		}
	}
}
