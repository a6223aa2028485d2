package controllers_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/controllers"
	"fairlead.dev/fairlead/internal/mesh"
)

var _ = Describe("The mesh's settings", func() {
	It("are what the ConfigMap says; what cannot be used is told, and the last good ones stay", func(ctx SpecContext) {
		configMap := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: "fairlead-system", Name: "fairlead"},
			Data:       map[string]string{"mesh.yaml": "mtls: STRICT\ncertificates: {timeZone: Asia/Tokyo}"},
		}
		Expect(writer.Create(ctx, configMap)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(writer.Delete(ctx, configMap)).To(Succeed()) })
		write := func(text string) {
			configMap.Data["mesh.yaml"] = text
			Expect(writer.Update(ctx, configMap)).To(Succeed())
		}

		r := startReplica("")
		Expect(r.store.Settings().MTLS).To(Equal(mesh.MTLSStrict), "read before anything is served")
		Expect(r.settings.Get().Certificates.TimeZone).To(HaveField("String()", "Asia/Tokyo"))

		changed := r.settings.Changes()
		write("mtls: DISABLED\ncertificates: {timeZone: Asia/Tokyo}")
		told := func(g Gomega) []eventsv1.Event {
			clients, err := kubernetes.NewForConfig(api.Config)
			g.Expect(err).NotTo(HaveOccurred())
			list, err := clients.EventsV1().Events("fairlead-system").List(ctx, metav1.ListOptions{FieldSelector: "reason=SettingsRefused"})
			g.Expect(err).NotTo(HaveOccurred())
			return list.Items
		}
		Eventually(told).Should(ContainElement(And(
			HaveField("Regarding.Name", "fairlead"),
			HaveField("Note", ContainSubstring("mtls: \"DISABLED\" is not a mode; write STRICT, PERMISSIVE or DISABLE")),
		)))
		Expect(changed).NotTo(BeClosed())
		Expect(r.store.Settings().MTLS).To(Equal(mesh.MTLSStrict), "the last good settings")

		another, err := controllers.ReadSettings(ctx, writer, "fairlead-system", time.Now())
		Expect(err).NotTo(HaveOccurred())
		Expect(another.Certificates.TimeZone).To(BeNil(), "a manager that starts now has no last good settings")

		write("trustDomain: example.org\nmtls: DISABLE\ncertificates: {timeZone: Asia/Tokyo}")
		Eventually(changed).Should(BeClosed())
		Eventually(func() mesh.MTLSMode { return r.store.Settings().MTLS }).Should(Equal(mesh.MTLSDisable), "once it is mended")
		Expect(r.store.Settings().TrustDomain).To(Equal("cluster.local"), "which a running manager does not change")
	})
})
