package controllers_test

import (
	"context"
	"fmt"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/delivery"
	"fairlead.dev/fairlead/internal/mesh"
)

var _ = Describe("What is written down of specs", func() {
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

	// written lists the ControllerRevisions, "1 proven".
	written := func(ctx context.Context) func(Gomega) []string {
		return func(g Gomega) []string {
			var list appsv1.ControllerRevisionList
			g.Expect(writer.List(ctx, &list, client.InNamespace(namespace))).To(Succeed())
			var all []string
			for _, revision := range list.Items {
				g.Expect(metav1.IsControlledBy(&revision, object)).To(BeTrue(), "it is deleted with the object")
				all = append(all, fmt.Sprint(revision.Revision, " ", revision.Labels[v1alpha1.RevisionLabel]))
			}
			slices.Sort(all)
			return all
		}
	}
	// served is the generation that a replica has in its store, 0 for none.
	served := func(r *replica) func() int64 {
		return func() int64 {
			for _, table := range r.store.Routes(fullHost("reviews", namespace)) {
				return table.Origin.Generation
			}
			return 0
		}
	}
	took := func(r *replica, generation int64) {
		GinkgoHelper()
		Eventually(served(r)).Should(Equal(generation))
		r.holder.Delivered(delivery.Report{Object: id, Generation: generation, Concerned: 1, Acknowledged: 1, Settled: true})
	}
	refuses := func(r *replica, generation int64) {
		GinkgoHelper()
		Eventually(served(r)).Should(Equal(generation))
		r.holder.Delivered(delivery.Report{Object: id, Generation: generation, Concerned: 1, Rejected: 1, Settled: true,
			Rejections: []delivery.Rejection{{Node: "prod/front", Resource: "route reviews", Message: "too large",
				Suspects: []delivery.Version{{Object: id, Generation: generation}}}}})
	}
	rename := func(ctx context.Context, name string) {
		GinkgoHelper()
		change(ctx, object, func() { object.Spec.HTTP[0].Name = name })
	}
	routeName := func(r *replica) string { return r.store.Routes(fullHost("reviews", namespace))[0].HTTP[0].Name }

	It("holds what was refused over a restart, and is served as it was taken last from the first moment on", func(ctx SpecContext) {
		first := startReplica("")
		rename(ctx, "good")
		took(first, 2)
		Eventually(written(ctx)).Should(Equal([]string{"2 proven"}))
		rename(ctx, "bad")
		refuses(first, 3)
		Eventually(served(first)).Should(Equal(int64(2)))
		Eventually(written(ctx)).Should(Equal([]string{"2 proven", "3 refused"}))
		Eventually(storedCondition(ctx, object, v1alpha1.ConditionProgrammed)).Should(Equal("False/Rejected"))
		s := stored(ctx, object)(Default)
		Expect(conditionOf(s, v1alpha1.ConditionAccepted)).To(Equal("True/Accepted"))
		Expect(conditionOf(s, v1alpha1.ConditionReady)).To(Equal("False/Rejected"))
		Expect(s.Rejections).To(Equal([]v1alpha1.Rejection{{Node: "prod/front", Resource: "route reviews", Message: "too large"}}))
		first.stop()

		second := startReplica("")
		Expect(served(second)()).To(Equal(int64(2)), "as soon as the mesh is read")
		Expect(routeName(second)).To(Equal("good"))
		after, _, _ := second.table.Status(id)
		Expect(after.Conditions).To(Equal(s.Conditions), "the same is told, in the same words")
		Expect(after.Rejections).To(Equal(s.Rejections))

		By("a repair")
		rename(ctx, "repaired")
		took(second, 4)
		Eventually(written(ctx)).Should(Equal([]string{"4 proven"}))
		Eventually(storedCondition(ctx, object, v1alpha1.ConditionReady)).Should(Equal("True/Ready"))
	})

	It("serves what was accepted last over a restart, though it concerned no proxy", func(ctx SpecContext) {
		first := startReplica("")
		Eventually(served(first)).Should(Equal(int64(1)))
		change(ctx, object, func() { object.Spec.HTTP[0].Route[0].Weight = new(int32(0)) })
		Eventually(written(ctx)).Should(Equal([]string{"1 accepted"}))
		Eventually(storedCondition(ctx, object, v1alpha1.ConditionAccepted)).Should(Equal("False/Invalid"))
		first.stop()
		second := startReplica("")
		Expect(served(second)()).To(Equal(int64(1)))
	})

	It("knows what to go back to if the object was changed while nobody ran", func(ctx SpecContext) {
		first := startReplica("")
		took(first, 1)
		Eventually(written(ctx)).Should(Equal([]string{"1 proven"}))
		first.stop()
		rename(ctx, "bad")
		second := startReplica("")
		refuses(second, 2)
		Eventually(served(second)).Should(Equal(int64(1)))
	})

	It("tells one replica what another one's proxy refused", func(ctx SpecContext) {
		election := "refusal-" + namespace
		leader := startReplica(election)
		Eventually(leader.elected).Should(BeClosed())
		follower := startReplica(election)
		took(leader, 1)
		Eventually(written(ctx)).Should(Equal([]string{"1 proven"}))
		rename(ctx, "bad")
		Eventually(served(leader)).Should(Equal(int64(2)))
		refuses(follower, 2)
		Eventually(served(follower)).Should(Equal(int64(1)))
		Eventually(served(leader)).Should(Equal(int64(1)))
		Eventually(storedCondition(ctx, object, v1alpha1.ConditionProgrammed)).Should(Equal("False/Rejected"))
	})
})
