package controllers_test

import (
	"log/slog"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/test/testenv"
)

var _ = Describe("Gateways and their Secrets", func() {
	It("come into the store", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		r := startReplica("")
		gateway := &v1alpha1.Gateway{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "public"},
			Spec: v1alpha1.GatewaySpec{Servers: []v1alpha1.Server{{
				Port: v1alpha1.ServerPort{Number: 80, Protocol: "HTTP", Name: "http"}, Hosts: []string{"*"},
			}}},
		}
		Expect(writer.Create(ctx, gateway)).To(Succeed())
		Eventually(func() *mesh.Gateway { return r.store.Gateway(namespace + "/public") }).ShouldNot(BeNil(), "it was created")
		Expect(writer.Delete(ctx, gateway)).To(Succeed())
		Eventually(func() *mesh.Gateway { return r.store.Gateway(namespace + "/public") }).Should(BeNil(), "it was deleted")
	})

	It("are watched by name, as long as they are wanted; what turns bad leaves what was good", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		var watched *controllers.Credentials
		r := startReplica("", func(manager ctrl.Manager, r *replica) {
			var err error
			watched, err = controllers.NewCredentials(manager, r.store, slog.New(slog.NewTextHandler(GinkgoWriter, nil)))
			Expect(err).NotTo(HaveOccurred())
			Expect(manager.Add(watched)).To(Succeed())
		})
		name := mesh.NamespacedName{Namespace: namespace, Name: "shop"}
		read := func() *mesh.Credential { return r.store.Credential(name) }
		problem := func() string {
			if c := read(); c != nil {
				return c.Problem
			}
			return "not read"
		}
		watched.Want([]mesh.NamespacedName{name, {Namespace: namespace, Name: "other"}})
		Eventually(problem).Should(ContainSubstring("no such Secret"), "it is not there yet")

		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "shop"}, Data: keyPair()}
		Expect(writer.Create(ctx, secret)).To(Succeed())
		Eventually(problem).Should(BeEmpty(), "it was created")
		good := read().Certificate
		Expect(good).To(Equal(secret.Data["tls.crt"]))

		secret.Data["tls.key"] = keyPair()["tls.key"]
		Expect(writer.Update(ctx, secret)).To(Succeed())
		Eventually(problem).Should(ContainSubstring("does not match"), "the key is another's")
		Expect(read().Certificate).To(Equal(good))

		secret.Data = keyPair()
		Expect(writer.Update(ctx, secret)).To(Succeed())
		Eventually(problem).Should(BeEmpty(), "the pair is good again")
		Expect(read().Certificate).NotTo(Equal(good))

		Expect(writer.Delete(ctx, secret)).To(Succeed())
		Eventually(problem).Should(ContainSubstring("no such Secret"), "it was deleted")
		watched.Want(nil)
		Eventually(read).Should(BeNil(), "nobody wants it")
	})
})

// keyPair is a certificate with its key, as a Secret has them.
func keyPair() map[string][]byte {
	GinkgoHelper()
	authority, err := testenv.NewAuthority("shop")
	Expect(err).NotTo(HaveOccurred())
	issued, err := authority.Issue("shop.example.com")
	Expect(err).NotTo(HaveOccurred())
	return map[string][]byte{"tls.crt": issued.Chain, "tls.key": issued.Key}
}
