package v1alpha1_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
)

var _ = Describe("Status", Ordered, func() {
	var service *meshv1alpha1.VirtualService
	var rule *meshv1alpha1.DestinationRule

	BeforeAll(func(ctx SpecContext) {
		ready := meshv1alpha1.Status{
			ObservedGeneration: 1,
			Conditions: []metav1.Condition{{
				Type: meshv1alpha1.ConditionReady, Status: metav1.ConditionTrue, ObservedGeneration: 1,
				LastTransitionTime: metav1.Now(), Reason: meshv1alpha1.ReasonProgrammed,
			}},
			Proxies: &meshv1alpha1.ProxyCounts{Concerned: 3, Acknowledged: 2, Lost: 1},
			Rejections: []meshv1alpha1.Rejection{{
				Node: "default/front-1", Resource: "route reviews", Message: "refused",
			}},
		}
		service = &meshv1alpha1.VirtualService{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "status"},
			Spec: meshv1alpha1.VirtualServiceSpec{
				Hosts: []string{"reviews", "ratings"},
				TCP: []meshv1alpha1.TCPRoute{{Route: []meshv1alpha1.RouteDestination{
					{Destination: meshv1alpha1.Destination{Host: "reviews"}},
				}}},
			},
			Status: ready,
		}
		rule = &meshv1alpha1.DestinationRule{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "status"},
			Spec:       meshv1alpha1.DestinationRuleSpec{Host: "reviews"},
			Status:     ready,
		}
		for _, object := range []client.Object{service, rule} {
			Expect(k8sClient.Create(ctx, object)).To(Succeed())
			DeferCleanup(k8sClient.Delete, object)
		}
		Expect(service.Status).To(BeZero(), "creating an object does not set its status")
		for _, object := range []interface {
			client.Object
			GetStatus() *meshv1alpha1.Status
		}{service, rule} {
			*object.GetStatus() = ready
			Expect(k8sClient.Status().Update(ctx, object)).To(Succeed())
		}
	})

	It("is written through its subresource only, and leaves the generation", func(ctx SpecContext) {
		var read meshv1alpha1.VirtualService
		Expect(k8sClient.Get(ctx, client.ObjectKeyFromObject(service), &read)).To(Succeed())
		Expect(read.Generation).To(Equal(int64(1)))
		Expect(read.Status.Proxies).To(HaveValue(Equal(meshv1alpha1.ProxyCounts{Concerned: 3, Acknowledged: 2, Lost: 1})))
		Expect(read.Status.Rejections).To(HaveLen(1))
		Expect(meta.IsStatusConditionTrue(read.Status.Conditions, meshv1alpha1.ConditionReady)).To(BeTrue())
	})

	It("answers `kubectl get fairlead` for all kinds: is it live?", func() {
		table := kubectl("get", meshv1alpha1.Category)
		Expect(table).To(ContainElements(
			[]string{"NAME", "HOSTS", "LIVE", "REASON", "ACKNOWLEDGED", "CONCERNED", "AGE"},
			HaveExactElements("virtualservice.mesh.fairlead.dev/status", `["reviews","ratings"]`, "True", "Programmed", "2", "3", Not(BeEmpty())),
			[]string{"NAME", "HOST", "LIVE", "REASON", "ACKNOWLEDGED", "CONCERNED", "AGE"},
			HaveExactElements("destinationrule.mesh.fairlead.dev/status", "reviews", "True", "Programmed", "2", "3", Not(BeEmpty())),
		))
	})

	It("lets `kubectl wait` return", func() {
		Expect(kubectl("wait", "--for=condition=Ready", "--timeout=10s", "virtualservice/status")).
			To(Equal([][]string{{"virtualservice.mesh.fairlead.dev/status", "condition", "met"}}))
	})

	It("explains its fields with `kubectl explain`", func() {
		words := kubectl("explain", "virtualservice.spec.http.route.destination.labels")
		Expect(words).To(ContainElement(ContainElement("DESCRIPTION:")))
	})
})

var _ = Describe("The status of a MeshCertificate", func() {
	It("says with `kubectl get mc` when certificates expire and what comes next", func(ctx SpecContext) {
		at := func(value string) *metav1.Time {
			parsed, err := time.Parse(time.RFC3339, value)
			Expect(err).NotTo(HaveOccurred())
			return &metav1.Time{Time: parsed}
		}
		root := &meshv1alpha1.MeshCertificate{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: meshv1alpha1.RootCertificateName},
			Spec:       meshv1alpha1.MeshCertificateSpec{IsCA: true},
		}
		Expect(k8sClient.Create(ctx, root)).To(Succeed())
		DeferCleanup(k8sClient.Delete, root)
		root.Status = meshv1alpha1.MeshCertificateStatus{
			ObservedGeneration: 1,
			Conditions: []metav1.Condition{
				{Type: meshv1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: meshv1alpha1.ReasonReady, LastTransitionTime: metav1.Now()},
				{Type: meshv1alpha1.ConditionPaused, Status: metav1.ConditionFalse, Reason: meshv1alpha1.ReasonRenewing, LastTransitionTime: metav1.Now()},
			},
			Certificates: &meshv1alpha1.CertificateCounts{Total: 2, Current: 1, Due: 1},
			NotAfter:     at("2027-02-22T03:00:00Z"),
			NextRenewal:  at("2027-01-08T02:34:00Z"), NextReason: "window",
			Window: "02:00-05:00 Europe/Berlin", Issuer: "built-in",
			Plan:    []meshv1alpha1.PlannedRenewal{{Name: "reviews", At: *at("2027-01-08T02:34:00Z"), Reason: "window"}},
			Learned: &meshv1alpha1.LearnedHours{Hours: "03:00-06:00 Europe/Berlin", Curve: make([]int64, 24), Days: 7},
			Phase: &meshv1alpha1.RootPhase{
				Name: "Prepared", Since: *at("2026-11-24T12:00:00Z"), Generation: 1, Next: 2, Last: 2, Signed: 1,
				Hold:       &meshv1alpha1.RootHold{Source: "builtin", Until: *at("2026-12-24T12:00:00Z")},
				WaitingFor: []string{"Pod shop/reviews-1 has a proxy that has not reported yet"},
			},
			Proxies: &meshv1alpha1.ProxyCounts{Concerned: 3, Acknowledged: 2},
		}
		written := root.Status.DeepCopy()
		Expect(k8sClient.Status().Update(ctx, root)).To(Succeed())
		Expect(k8sClient.Get(ctx, client.ObjectKeyFromObject(root), root)).To(Succeed())
		Expect(root.Status.Phase).To(HaveValue(HaveField("Hold.Source", written.Phase.Hold.Source)), "nothing is pruned that the manager has to remember")
		Expect(root.Status.Plan).To(HaveLen(1))

		Expect(kubectl("get", "mc", "-o", "wide")).To(HaveExactElements(
			[]string{"NAME", "READY", "EXPIRES", "NEXT", "WINDOW", "ISSUER", "REASON", "PHASE", "AGE"},
			HaveExactElements("mesh-root", "True", "2027-02-22T03:00:00Z", "2027-01-08T02:34:00Z", "02:00-05:00", "Europe/Berlin", "built-in", "window", "Prepared", Not(BeEmpty())),
		))
	})
})
