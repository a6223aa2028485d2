package controllers_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/controllers"
)

var _ = Describe("The replica that leads", func() {
	It("is found by the lease, and by the Pod that the lease names", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		lease := &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: "fairlead-system", Name: "found"},
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: new("manager-7_6b6a")},
		}
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "manager-7"},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "manager", Image: "manager"}}},
		}
		Expect(writer.Create(ctx, lease)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(writer.Delete(ctx, lease)).To(Succeed()) })
		r := startReplica("")
		reader, err := client.New(asManager(), client.Options{Scheme: scheme})
		Expect(err).NotTo(HaveOccurred())
		leader := &controllers.Leader{
			Lease: client.ObjectKeyFromObject(lease), Namespace: namespace, Port: "15012", Reader: reader, Store: r.store,
		}
		_, err = leader.Address(ctx)
		Expect(err).To(MatchError(ContainSubstring("there is no Pod " + namespace + "/manager-7")))

		Expect(writer.Create(ctx, pod)).To(Succeed())
		pod.Status.Phase, pod.Status.PodIP, pod.Status.PodIPs = corev1.PodRunning, "fd00::7", []corev1.PodIP{{IP: "fd00::7"}}
		Expect(writer.Status().Update(ctx, pod)).To(Succeed())
		Eventually(leader.Address).WithContext(ctx).Should(Equal("[fd00::7]:15012"))
	})
})
