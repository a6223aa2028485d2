package controllers_test

import (
	"crypto/x509"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/settings"
	"fairlead.dev/fairlead/test/testenv"
)

// prompt are settings by which a change of the root takes seconds: certificates are renewed at
// any time, all at once, and connections do not become old.
const prompt = `
maxConnectionAge: 1s
certificates:
  timeZone: Etc/UTC
  renewal: {jitter: 0, windows: [{start: "00:00", end: "00:00"}]}
  root: {rawConnectionDeadline: 0s}
`

// hurried is a clock by which ten seconds pass in one.
type hurried struct {
	clock.RealClock
	begun time.Time
}

func (h hurried) Now() time.Time                         { return h.begun.Add(10 * time.Since(h.begun)) }
func (h hurried) Since(t time.Time) time.Duration        { return h.Now().Sub(t) }
func (h hurried) After(d time.Duration) <-chan time.Time { return h.RealClock.After(d / 10) }
func (h hurried) NewTimer(d time.Duration) clock.Timer   { return h.RealClock.NewTimer(d / 10) }

var _ = Describe("An authority that is brought in a folder", func() {
	var out *outputs
	var passing clock.WithTicker
	var folder, namespace string
	var root *testenv.Authority
	var keys [][]byte

	aYear := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(365 * 24 * time.Hour) }
	newRoot := func(name string) *testenv.Authority {
		a, err := testenv.NewAuthority(name, aYear)
		Expect(err).NotTo(HaveOccurred())
		return a
	}
	// filesOf are an authority below a root.
	filesOf := func(root *testenv.Authority) map[string][]byte {
		signing, err := root.Below("signing", aYear)
		Expect(err).NotTo(HaveOccurred())
		files, err := signing.Files()
		Expect(err).NotTo(HaveOccurred())
		keys = append(keys, files["ca-key.pem"])
		return files
	}
	// bring mounts files as a kubelet does, which swaps a symlink.
	bring := func(files map[string][]byte) { Expect(testenv.MountSecret(folder, files)).To(Succeed()) }
	start := func(folder string) *replica {
		out.registry = prometheus.NewRegistry()
		r := startReplica("", withAuthority(out, folder, passing))
		read, err := settings.Parse([]byte(prompt))
		Expect(err).NotTo(HaveOccurred())
		r.settings.Set(read)
		return r
	}
	signer := func(r *replica) func() *pki.Generation {
		return func() *pki.Generation {
			if r.source.Get() == nil {
				return nil
			}
			return r.source.Get().Signer()
		}
	}
	// signsAlone: one generation is left, of this source, and the root is at rest.
	signsAlone := func(ctx SpecContext, r *replica, source string) {
		GinkgoHelper()
		Eventually(func(g Gomega) {
			g.Expect(r.source.Get()).NotTo(BeNil())
			g.Expect(r.source.Get().Generations).To(ConsistOf(HaveField("Source", source)))
			g.Expect(read(ctx, "fairlead-system", "mesh-root").Status.Phase).To(HaveField("Name", "Stable"))
		}).WithTimeout(90*time.Second).Should(Succeed(), "the root is changed to %s", source)
		identity := pki.Identity{TrustDomain: "cluster.local", Namespace: namespace, ServiceAccount: "reviews"}
		_, err := pki.CheckSecret(secretIn(ctx, namespace, "fairlead.reviews").Data, identity, r.source.Get().Bundle(), time.Now())
		Expect(err).NotTo(HaveOccurred())
	}

	BeforeEach(func(ctx SpecContext) {
		out, passing = &outputs{log: gbytes.NewBuffer()}, clock.RealClock{}
		for _, object := range []client.Object{
			&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "fairlead-system", Name: controllers.AuthoritySecret}},
			certificate("fairlead-system", "mesh-root", v1alpha1.MeshCertificateSpec{}),
		} {
			Expect(client.IgnoreNotFound(writer.Delete(ctx, object))).To(Succeed())
		}
		namespace = newMeshed(ctx)
		createAccount(ctx, namespace, "reviews", nil)
		folder, keys, root = filepath.Join(GinkgoT().TempDir(), "authority"), nil, newRoot("ours")
	})

	AfterEach(func(ctx SpecContext) { noKeyIn(ctx, out, keys...) })

	It("is the mesh's first generation; what signs is replaced below the same root, and another root is changed to", func(ctx SpecContext) {
		passing = hurried{begun: time.Now()} // a change of the root waits for times that are bounded
		files := filesOf(root)
		bring(files)
		r := start(folder)
		Eventually(signer(r)).Should(And(HaveField("Source", pki.SourceFiles), HaveField("Number", 1)))
		Expect(pki.EncodeCertificates(signer(r)().Root)).To(Equal(root.Roots))
		Eventually(certificateIn(ctx, namespace, "fairlead.reviews")).Should(ContainSubstring(string(files["ca-cert.pem"])), "leaves are of it")
		first := certificateIn(ctx, namespace, "fairlead.reviews")()

		bring(filesOf(root))
		Eventually(signer(r)).WithTimeout(5*time.Second).Should(WithTransform(func(g *pki.Generation) string {
			return string(pki.EncodeCertificates(g.Signing))
		}, Not(BeEquivalentTo(files["ca-cert.pem"]))), "a renewed authority signs within seconds")
		Expect(r.source.Get().Generations).To(HaveLen(1), "without a change of the root")
		Eventually(eventsOf(ctx, "fairlead-system")).Should(ContainElement(HavePrefix("SigningReplaced MeshCertificate/mesh-root")))
		Consistently(certificateIn(ctx, namespace, "fairlead.reviews"), "1s").Should(Equal(first), "nobody's certificate is the worse for it")

		bring(filesOf(newRoot("another")))
		Eventually(func() []int { return r.source.Get().Trusted }).Should(Equal([]int{1, 2}), "another root is trusted first")
		signsAlone(ctx, r, pki.SourceFiles)
		Expect(signer(r)().Root.Subject.CommonName).To(Equal("another"))
	})

	It("takes a built-in root's place, and gives it back when the flag is taken away", func(ctx SpecContext) {
		passing = hurried{begun: time.Now()}
		r := start("")
		signsAlone(ctx, r, pki.SourceBuiltin)
		r.stop()
		bring(filesOf(root))
		r = start(folder)
		signsAlone(ctx, r, pki.SourceFiles)
		r.stop()
		signsAlone(ctx, start(""), pki.SourceBuiltin)
	})

	It("is left as it was last good when the folder is damaged, which is told once for each reason", func(ctx SpecContext) {
		good := filesOf(root)
		bring(good)
		r := start(folder)
		Eventually(certified(ctx, "fairlead-system", "mesh-root", v1alpha1.ConditionReady)).Should(Equal("True/Ready"))
		before := r.source.Get()

		mismatched := maps.Clone(good)
		mismatched["ca-key.pem"] = filesOf(root)["ca-key.pem"]
		bring(mismatched)
		told := func() string {
			for _, c := range read(ctx, "fairlead-system", "mesh-root").Status.Conditions {
				if c.Type == v1alpha1.ConditionResolvedRefs {
					return c.Reason + ": " + c.Message
				}
			}
			return ""
		}
		Eventually(told).Should(And(HavePrefix("AuthorityUnusable: --authority-dir "+folder), ContainSubstring("the signing key is not that of the signing certificate")))
		Eventually(certified(ctx, "fairlead-system", "mesh-root", v1alpha1.ConditionReady)).Should(Equal("False/AuthorityUnusable"))
		Eventually(eventsOf(ctx, "fairlead-system")).Should(ContainElement(HavePrefix("AuthorityUnusable MeshCertificate/mesh-root: --authority-dir")))
		for range 4 {
			// Read again for each of these, with the same outcome.
			Expect(os.WriteFile(filepath.Join(folder, "unrelated"), nil, 0o600)).To(Succeed())
			Consistently(r.source.Get, "700ms").Should(Equal(before), "what was good signs on")
		}
		Expect(strings.Count(string(out.log.Contents()), "cannot be used")).To(Equal(1), "it is told once")
		createAccount(ctx, namespace, "ratings", nil)
		Eventually(certificateIn(ctx, namespace, "fairlead.ratings")).ShouldNot(BeEmpty())

		// A manager that starts now goes on with what the one before took.
		r.stop()
		r = start(folder)
		Eventually(signer(r)).ShouldNot(BeNil())
		Expect(os.Remove(filepath.Join(folder, "root-cert.pem"))).To(Succeed())
		Eventually(told).Should(And(HavePrefix("AuthorityUnusable"), ContainSubstring("root-cert.pem")), "another fault is another reason")
		Expect(r.source.Get().Equal(before)).To(BeTrue())

		Expect(os.RemoveAll(folder)).To(Succeed())
		bring(good)
		Eventually(certified(ctx, "fairlead-system", "mesh-root", v1alpha1.ConditionReady)).Should(Equal("True/Ready"), "another folder of the same name is seen")
	})

	It("is waited for where a mesh begins with a folder that is empty", func(ctx SpecContext) {
		r := start(folder)
		Eventually(out.log).Should(gbytes.Say("cannot be used.*--authority-dir.*ca-cert.pem"))
		Consistently(r.source.Get, "1s").Should(BeNil(), "no other root is made meanwhile")
		Eventually(certified(ctx, "fairlead-system", "mesh-root", v1alpha1.ConditionResolvedRefs)).Should(Equal("False/AuthorityUnusable"))
	})

	It("says what to do when it ends soon", func(ctx SpecContext) {
		yesterday := func(c *x509.Certificate) { c.NotBefore = time.Now().Add(-24 * time.Hour) }
		root, err := testenv.NewAuthority("ours", aYear, yesterday)
		Expect(err).NotTo(HaveOccurred())
		ending, err := root.Below("ending", yesterday, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(6 * time.Hour) })
		Expect(err).NotTo(HaveOccurred())
		files, err := ending.Files()
		Expect(err).NotTo(HaveOccurred())
		bring(files)
		start(folder)
		Eventually(func() string {
			status := read(ctx, "fairlead-system", "mesh-root").Status
			for _, c := range status.Conditions {
				if c.Type == v1alpha1.ConditionProgrammed {
					return c.Message
				}
			}
			return ""
		}).Should(ContainSubstring("have CN=ending renewed below the same root, and put it into the folder of --authority-dir"))
		Eventually(eventsOf(ctx, "fairlead-system")).Should(ContainElement(And(HavePrefix("RootAtRisk MeshCertificate/mesh-root"), ContainSubstring("have CN=ending renewed"))))
		Expect(string(out.log.Contents())).To(ContainSubstring("have CN=ending renewed"))
	})
})
