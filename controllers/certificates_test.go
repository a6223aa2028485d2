package controllers_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers"
	"fairlead.dev/fairlead/internal/agents"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/settings"
)

const meshSettings = `
certificates:
  timeZone: Europe/Berlin
  secretPrefix: %s
`

// outputs are what a manager says of certificates, anywhere.
type outputs struct {
	log      *gbytes.Buffer
	registry *prometheus.Registry
}

// withCertificates adds the rotation of certificates to a replica.
func withCertificates(o *outputs) func(ctrl.Manager, *replica) {
	return withAuthority(o, "", clock.RealClock{})
}

// withAuthority has it sign with what is brought in a folder, if one is given.
func withAuthority(o *outputs, folder string, passing clock.WithTicker) func(ctrl.Manager, *replica) {
	return func(m ctrl.Manager, r *replica) {
		log := slog.New(slog.NewTextHandler(io.MultiWriter(GinkgoWriter, o.log), &slog.HandlerOptions{Level: slog.LevelDebug}))
		requests, err := dynamic.NewForConfig(asManager())
		Expect(err).NotTo(HaveOccurred())
		issuers := &controllers.Issuers{
			Settings: r.settings, Source: r.source, Client: requests, Clock: passing, Log: log,
			Identity: pki.Identity{TrustDomain: "cluster.local", Namespace: "fairlead-system", ServiceAccount: "fairlead-manager"},
		}
		if folder != "" {
			issuers.Folder = controllers.NewBrought(folder, clock.RealClock{}, log)
		}
		r.first = issuers.First
		_, err = controllers.SetupCertificates(m, controllers.CertificateOptions{
			Options: controllers.Options{Namespace: "fairlead-system", Settings: r.settings, Store: r.store, Clock: passing, Log: log, Metrics: o.registry},
			Source:  r.source, Authority: r.authority, Issuers: issuers, Proxies: agents.NewTable(clock.RealClock{}, nil),
		})
		Expect(err).NotTo(HaveOccurred())
		use(r, "fairlead")
	}
}

// use puts settings with a prefix for Secrets in force.
func use(r *replica, prefix string) {
	GinkgoHelper()
	read, err := settings.Parse(fmt.Appendf(nil, meshSettings, prefix))
	Expect(err).NotTo(HaveOccurred())
	r.settings.Set(read)
}

var _ = Describe("Certificates", func() {
	var r *replica
	var out *outputs
	var namespace string

	BeforeEach(func(ctx SpecContext) {
		out = &outputs{log: gbytes.NewBuffer(), registry: prometheus.NewRegistry()}
		// Other specs damage the authority's Secret.
		authority := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "fairlead-system", Name: controllers.AuthoritySecret}}
		Expect(client.IgnoreNotFound(writer.Delete(ctx, authority))).To(Succeed())
		namespace = newMeshed(ctx)
		createAccount(ctx, namespace, "reviews", nil)
		r = startReplica("", withCertificates(out))
		Eventually(certificateIn(ctx, namespace, "fairlead.reviews")).ShouldNot(BeEmpty(), "the first certificate is issued")
	})

	// Whatever happened in a spec, no key left the Secrets.
	AfterEach(func(ctx SpecContext) { noKeyIn(ctx, out) })

	It("are issued for the service accounts of meshed namespaces, and for no others", func(ctx SpecContext) {
		other := newNamespace(ctx)
		createAccount(ctx, other, "stranger", nil)
		createAccount(ctx, namespace, "ratings", nil)
		Eventually(certificateIn(ctx, namespace, "fairlead.ratings")).ShouldNot(BeEmpty())
		Expect(secretIn(ctx, other, "fairlead.stranger")).To(BeNil())

		secret := secretIn(ctx, namespace, "fairlead.reviews")
		identity := pki.Identity{TrustDomain: "cluster.local", Namespace: namespace, ServiceAccount: "reviews"}
		about, err := pki.CheckSecret(secret.Data, identity, r.source.Get().Bundle(), time.Now())
		Expect(err).NotTo(HaveOccurred())
		Expect(about.NotAfter.Sub(about.NotBefore)).To(BeNumerically("~", 90*24*time.Hour, time.Hour))
		Expect(secret.Labels).To(HaveKeyWithValue(v1alpha1.CertificateLabel, "reviews"))
		Expect(secret.OwnerReferences).To(ConsistOf(HaveField("Name", "reviews")), "it goes with its service account")
	})

	It("come back at once when their Secret is deleted or damaged", func(ctx SpecContext) {
		first := certificateIn(ctx, namespace, "fairlead.reviews")()
		Expect(writer.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "fairlead.reviews"}})).To(Succeed())
		Eventually(certificateIn(ctx, namespace, "fairlead.reviews")).WithTimeout(2 * time.Second).ShouldNot(Or(BeEmpty(), Equal(first)))

		second := certificateIn(ctx, namespace, "fairlead.reviews")()
		patch(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "fairlead.reviews"}}, `{"data":{"key.pem":"bm9uZQ=="}}`)
		Eventually(certificateIn(ctx, namespace, "fairlead.reviews")).WithTimeout(2 * time.Second).ShouldNot(Or(BeEmpty(), Equal(second)))
		Eventually(eventsOf(ctx, namespace)).Should(ContainElement(HavePrefix("SecretRestored ServiceAccount/reviews")))

		third := certificateIn(ctx, namespace, "fairlead.reviews")()
		patch(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "fairlead.reviews"}}, `{"data":{"root-cert.pem":"bm9uZQ=="}}`)
		Eventually(certificateIn(ctx, namespace, "fairlead.reviews")).ShouldNot(Or(BeEmpty(), Equal(third)))
	})

	It("leave a Secret alone that is not ours, and tell so", func(ctx SpecContext) {
		foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "fairlead.ratings"}, Data: map[string][]byte{"password": []byte("theirs")}}
		Expect(writer.Create(ctx, foreign)).To(Succeed())
		Expect(writer.Create(ctx, certificate(namespace, "ratings", v1alpha1.MeshCertificateSpec{ServiceAccount: "ratings"}))).To(Succeed())
		createAccount(ctx, namespace, "ratings", nil)
		Eventually(certified(ctx, namespace, "ratings", v1alpha1.ConditionResolvedRefs)).Should(Equal("False/" + v1alpha1.ReasonSecretNotOurs))
		Eventually(eventsOf(ctx, namespace)).Should(ContainElement(HavePrefix("Conflict ServiceAccount/ratings")))
		Expect(secretIn(ctx, namespace, "fairlead.ratings").Data).To(Equal(foreign.Data))
	})

	It("go to the older of two objects that claim one Secret, and the other is told", func(ctx SpecContext) {
		for _, name := range []string{"a", "b"} {
			Expect(writer.Create(ctx, certificate(namespace, name, v1alpha1.MeshCertificateSpec{ServiceAccount: "reviews"}))).To(Succeed())
		}
		Eventually(certified(ctx, namespace, "a", v1alpha1.ConditionReady)).Should(Equal("True/Ready"))
		Eventually(certified(ctx, namespace, "b", v1alpha1.ConditionAccepted)).Should(HavePrefix("False/"))
		Expect(read(ctx, namespace, "b").Status.Conditions[0].Message).To(ContainSubstring("MeshCertificate %s/a", namespace))
	})

	It("are issued on an object's terms, into a Secret of its own", func(ctx SpecContext) {
		Expect(writer.Create(ctx, certificate(namespace, "outside", v1alpha1.MeshCertificateSpec{
			ServiceAccount: "reviews", SecretName: "reviews-tls", Duration: new(v1alpha1.Duration("240h")), KeyAlgorithm: v1alpha1.KeyEd25519,
		}))).To(Succeed())
		Eventually(certified(ctx, namespace, "outside", v1alpha1.ConditionReady)).Should(Equal("True/Ready"))
		about, err := pki.CheckSecret(secretIn(ctx, namespace, "reviews-tls").Data, pki.Identity{TrustDomain: "cluster.local", Namespace: namespace, ServiceAccount: "reviews"},
			r.source.Get().Bundle(), time.Now())
		Expect(err).NotTo(HaveOccurred())
		Expect(about.KeyAlgorithm).To(Equal(pki.Ed25519))
		Eventually(func() int { return len(read(ctx, namespace, "outside").Status.Plan) }).Should(Equal(1), "counts and plans follow within seconds")
		status := read(ctx, namespace, "outside").Status
		Expect(status.Certificates.Current).To(Equal(int32(1)))
		Expect(status.Window).To(Equal("02:00-05:00 Europe/Berlin"))
		Expect(status.Plan[0].At.Sub(about.NotBefore)).To(BeNumerically("~", 5*24*time.Hour, 36*time.Hour), "it is due at half of its life")
	})

	It("are renewed by hand, once for each value of the annotation", func(ctx SpecContext) {
		first := certificateIn(ctx, namespace, "fairlead.reviews")()
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "reviews"}}
		patch(ctx, account, `{"metadata":{"annotations":{"mesh.fairlead.dev/renew":"today"}}}`)
		Eventually(certificateIn(ctx, namespace, "fairlead.reviews")).ShouldNot(Equal(first))
		second := certificateIn(ctx, namespace, "fairlead.reviews")()
		Consistently(certificateIn(ctx, namespace, "fairlead.reviews"), "2s").Should(Equal(second))
	})

	It("move to another prefix without taking what Pods may mount", func(ctx SpecContext) {
		first := certificateIn(ctx, namespace, "fairlead.reviews")()
		use(r, "istio")
		Eventually(certificateIn(ctx, namespace, "istio.reviews")).ShouldNot(BeEmpty())
		Expect(certificateIn(ctx, namespace, "fairlead.reviews")()).To(Equal(first))
	})

	It("are told of in mesh-root, which is made, and rotate their root by hand", func(ctx SpecContext) {
		Eventually(certified(ctx, "fairlead-system", "mesh-root", v1alpha1.ConditionReady)).Should(Equal("True/Ready"))
		before := pki.RootID(r.source.Get().Signer().Root)
		patch(ctx, certificate("fairlead-system", "mesh-root", v1alpha1.MeshCertificateSpec{}), fmt.Sprintf(`{"metadata":{"annotations":{"mesh.fairlead.dev/renew":%q}}}`, time.Now()))
		Eventually(func() string { return string(r.source.Get().Bundle()) }).Should(ContainSubstring("BEGIN"), "PEM")
		Eventually(func() int { return len(r.source.Get().Trusted) }).Should(Equal(2), "both are trusted")
		Eventually(func() int {
			secret := secretIn(ctx, namespace, "fairlead.reviews")
			return strings.Count(string(secret.Data[pki.RootsFile]), "BEGIN")
		}).Should(Equal(2), "and Secrets say so")
		Eventually(func() string { return pki.RootID(r.source.Get().Signer().Root) }).WithTimeout(30*time.Second).
			ShouldNot(Equal(before), "the new one signs once every Secret trusts it")
		Eventually(func() string { return read(ctx, "fairlead-system", "mesh-root").Status.Phase.Name }).Should(Equal("Activated"))
		Eventually(func() []string { return read(ctx, "fairlead-system", "mesh-root").Status.Phase.WaitingFor }).
			Should(ContainElement(ContainSubstring("still has a certificate of generation 1")), "certificates move in windows")
	})
})

// noKeyIn looks for private keys in everything that a manager says.
func noKeyIn(ctx context.Context, out *outputs, more ...[]byte) {
	GinkgoHelper()
	var said strings.Builder
	said.Write(out.log.Contents())
	families, err := out.registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	for _, family := range families {
		_, err := expfmt.MetricFamilyToText(&said, family)
		Expect(err).NotTo(HaveOccurred())
	}
	for _, kind := range []string{"events", "meshcertificates", "configmaps"} {
		output, err := api.Kubectl(ctx, "get", kind, "--all-namespaces", "--output=yaml").CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(output))
		said.Write(output)
	}
	var secrets corev1.SecretList
	Expect(writer.List(ctx, &secrets)).To(Succeed())
	text := said.String()
	Expect(text).NotTo(ContainSubstring("PRIVATE KEY"))
	for _, secret := range secrets.Items {
		for name, content := range secret.Data {
			if strings.HasSuffix(name, "key.pem") {
				more = append(more, content)
			}
		}
	}
	for _, key := range more {
		if lines := strings.Split(string(key), "\n"); len(lines) > 2 {
			Expect(text).NotTo(ContainSubstring(lines[1]))
		}
	}
	Expect(said.Len()).To(BeNumerically(">", 1000), "there was something to look at")
}

func newMeshed(ctx context.Context) string {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "meshed-", Labels: map[string]string{v1alpha1.InjectionLabel: "enabled"}}}
	Expect(writer.Create(ctx, namespace)).To(Succeed())
	return namespace.Name
}

func createAccount(ctx context.Context, namespace, name string, labels map[string]string) {
	GinkgoHelper()
	Expect(writer.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}})).To(Succeed())
}

func certificate(namespace, name string, spec v1alpha1.MeshCertificateSpec) *v1alpha1.MeshCertificate {
	return &v1alpha1.MeshCertificate{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: spec}
}

func read(ctx context.Context, namespace, name string) *v1alpha1.MeshCertificate {
	object := &v1alpha1.MeshCertificate{}
	_ = writer.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, object)
	return object
}

func certified(ctx context.Context, namespace, name, conditionType string) func() string {
	return func() string {
		for _, c := range read(ctx, namespace, name).Status.Conditions {
			if c.Type == conditionType {
				return string(c.Status) + "/" + c.Reason
			}
		}
		return ""
	}
}

// secretIn returns a Secret, nil if there is none.
func secretIn(ctx context.Context, namespace, name string) *corev1.Secret {
	secret := &corev1.Secret{}
	if writer.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, secret) != nil {
		return nil
	}
	return secret
}

// certificateIn returns the certificate in a Secret.
func certificateIn(ctx context.Context, namespace, name string) func() string {
	return func() string {
		secret := secretIn(ctx, namespace, name)
		if secret == nil {
			return ""
		}
		return string(secret.Data[pki.ChainFile])
	}
}

func patch(ctx context.Context, object client.Object, change string) {
	GinkgoHelper()
	Expect(writer.Patch(ctx, object, client.RawPatch(types.MergePatchType, []byte(change)))).To(Succeed())
}

// eventsOf lists a namespace's events, as "Reason Kind/name: note".
func eventsOf(ctx context.Context, namespace string) func() []string {
	return func() []string {
		var list eventsv1.EventList
		var all []string
		if err := writer.List(ctx, &list, client.InNamespace(namespace)); err != nil {
			return []string{err.Error()}
		}
		for _, e := range list.Items {
			all = append(all, fmt.Sprintf("%s %s/%s: %s", e.Reason, e.Regarding.Kind, e.Regarding.Name, e.Note))
		}
		return all
	}
}
