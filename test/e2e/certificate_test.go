package e2e

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/agent/certs"
	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/test/testenv"
)

const (
	// hasteInterval is the time between two requests of each of two callers: 667 a second, as
	// far as the machine has room for it. Certificates are to be changed under 500.
	hasteInterval = 3 * time.Millisecond
	// renewals is how many leaf certificates are renewed under that load.
	renewals = 100
	// connectionAge is short, so that a root does not wait an hour for old connections.
	connectionAge = 5 * time.Second
)

const managerNamespace = "fairlead-system"

// certificate is what the agent says of what its Envoy serves.
func (w *workload) certificate() (certs.Status, error) {
	var status struct{ Certificates certs.Status }
	err := w.agent(&status)
	return status.Certificates, err
}

// serial is that of the certificate that Envoy is proven to serve; empty if it is not.
func (w *workload) serial() string {
	status, err := w.certificate()
	if err != nil || status.Certificate == nil || status.Proven.IsZero() {
		return ""
	}
	return status.Certificate.Serial
}

// failedHandshakes are those between sidecars, without those by which an agent asks its own
// Envoy for its certificate.
func failedHandshakes() int {
	GinkgoHelper()
	total := 0
	for _, w := range all() {
		for _, count := range w.stats(`(?:listener|cluster)\.(?:inbound|outbound).*\.ssl\.(?:connection_error|fail_.*)`) {
			total += count
		}
	}
	return total
}

// useSettings puts the mesh's settings, and those before them back when the spec ends.
func useSettings(yaml string) {
	GinkgoHelper()
	key := client.ObjectKey{Namespace: managerNamespace, Name: "fairlead"}
	put := func(data map[string]string) {
		GinkgoHelper()
		var object corev1.ConfigMap
		Expect(fairlead.Get(context.Background(), key, &object)).To(Succeed())
		object.Data = data
		Expect(fairlead.Update(context.Background(), &object)).To(Succeed())
	}
	var before corev1.ConfigMap
	Expect(fairlead.Get(context.Background(), key, &before)).To(Succeed())
	DeferCleanup(func() { put(before.Data) })
	put(map[string]string{"mesh.yaml": yaml})
}

// annotate asks for something by an annotation's new value.
func annotate(o client.Object, annotation, value string) {
	GinkgoHelper()
	patch := client.RawPatch("application/merge-patch+json",
		fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, annotation, value))
	Expect(fairlead.Patch(context.Background(), o, patch)).To(Succeed())
}

// meshRoot is the object that speaks of the mesh's root.
func meshRoot() *v1alpha1.MeshCertificate {
	return &v1alpha1.MeshCertificate{ObjectMeta: metav1.ObjectMeta{Namespace: managerNamespace, Name: "mesh-root"}}
}

// phasesUntil watches mesh-root until it is done, and returns the phases that were seen.
func phasesUntil(done func(*v1alpha1.MeshCertificate) bool) []string {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	watcher, err := fairlead.Watch(ctx, &v1alpha1.MeshCertificateList{}, client.InNamespace(managerNamespace))
	Expect(err).NotTo(HaveOccurred())
	defer watcher.Stop()
	var phases []string
	var last *v1alpha1.RootPhase
	for event := range watcher.ResultChan() {
		object, ok := event.Object.(*v1alpha1.MeshCertificate)
		if !ok || object.Name != "mesh-root" || object.Status.Phase == nil {
			continue
		}
		last = object.Status.Phase
		if len(phases) == 0 || phases[len(phases)-1] != last.Name {
			phases = append(phases, last.Name)
			GinkgoWriter.Printf("phase %s, waits for %v\n", last.Name, last.WaitingFor)
		}
		if done(object) {
			return phases
		}
	}
	Fail(fmt.Sprintf("the root came as far as %v only: %+v", phases, last))
	return nil
}

// throughout runs something under load, and holds that nothing of the load was lost.
func throughout(change func()) {
	GinkgoHelper()
	refused := failedHandshakes()
	l := startLoadAt(hasteInterval, "http://echo/", callers()...)
	l.goesOn()
	began, answered := time.Now(), l.answered()
	change()
	l.goesOn()
	rate := float64(l.answered()-answered) / time.Since(began).Seconds()
	counts := l.Stop()
	AddReportEntry("load", fmt.Sprintf("%d requests, %.0f/s", counts.Total(), rate))
	Expect(counts.Failed()).To(BeEmpty(), "every request of %d is answered by the application", counts.Total())
	Expect(failedHandshakes()).To(Equal(refused), "no handshake between sidecars failed")
}

var _ = Describe("Certificates of the mesh under load", Ordered, func() {
	BeforeAll(func() {
		useSettings(fmt.Sprintf(`
mtls: STRICT
maxConnectionAge: %s
certificates:
  timeZone: Etc/UTC
  renewal: {windows: [{start: "00:00", end: "00:00"}], jitter: 0}
  root: {rawConnectionDeadline: 5s}
`, connectionAge))
		for _, w := range all() {
			Eventually(w.serial).ShouldNot(BeEmpty(), "%s is proven to serve a certificate", w.name)
		}
		Eventually(plain).Should(Equal("refused"), "what is answered from here on has come by mutual TLS")
	})

	It("are renewed by hand, all of a service account at once, without a lost request", func() {
		throughout(func() {
			for renewed := 0; renewed < renewals; renewed += len(all()) {
				before := map[*workload]string{}
				for _, w := range all() {
					before[w] = w.serial()
				}
				annotate(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "default"}},
					v1alpha1.RenewAnnotation, strconv.Itoa(renewed))
				for _, w := range all() {
					Eventually(w.serial).ShouldNot(Or(BeEmpty(), Equal(before[w])), "the certificate of %s is another one, and proven", w.name)
				}
			}
		})
	})

	It("lead to a new root, and the old one goes, without a lost request", func() {
		Eventually(func(g Gomega) {
			root := meshRoot()
			g.Expect(fairlead.Get(context.Background(), client.ObjectKeyFromObject(root), root)).To(Succeed())
			g.Expect(root.Status.Phase).To(HaveValue(HaveField("Name", BeEquivalentTo("Stable"))))
		}).Should(Succeed(), "the mesh has a root that speaks of itself")
		before := roots()
		Expect(before).To(HaveLen(1))
		throughout(func() {
			annotate(meshRoot(), v1alpha1.RenewAnnotation, "now")
			begun := false
			phases := phasesUntil(func(root *v1alpha1.MeshCertificate) bool {
				begun = begun || root.Status.Phase.Name != "Stable"
				return begun && root.Status.Phase.Name == "Stable"
			})
			AddReportEntry("phases", strings.Join(phases, " → "))
			Expect(slices.DeleteFunc(phases, func(name string) bool { return name == "Stable" })).
				To(Equal([]string{"Prepared", "TrustDistributed", "Activated", "LeavesMoved", "Revoked"}), "each step once, and none back")
		})
		Eventually(roots).Should(And(HaveLen(1), Not(Equal(before))), "every proxy trusts the new root and no other")
		for _, w := range all() {
			status, err := w.certificate()
			Expect(err).NotTo(HaveOccurred())
			Expect([]string{status.Certificate.Root}).To(Equal(roots()), "the certificate of %s leads to it", w.name)
		}
	})

	It("keep their private keys to themselves", func() {
		for _, w := range all() {
			key, err := os.ReadFile(filepath.Join(certs.PathsIn(w.folder()).Current, certs.KeyFile))
			Expect(err).NotTo(HaveOccurred())
			lines := strings.Split(string(key), "\n")
			everything := told(w)
			Expect(everything).To(And(ContainSubstring(w.serial()), ContainSubstring("BEGIN CERTIFICATE")), "it is about certificates")
			Expect(strings.Contains(everything, lines[1])).To(BeFalse(), "the key of %s is told nowhere", w.name)
			Expect(strings.Contains(everything, "PRIVATE KEY")).To(BeFalse(), "nor is anybody's")
		}
	})

	It("are the only way in, unless a namespace says otherwise", func() {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
		DeferCleanup(func() {
			annotate(namespace, v1alpha1.MTLSAnnotation, "")
			Eventually(plain).Should(Equal("refused"), "it is as before")
		})
		annotate(namespace, v1alpha1.MTLSAnnotation, "PERMISSIVE")
		Eventually(plain).Should(Equal("v1"), "PERMISSIVE takes plain text too")
		for _, caller := range callers() {
			Expect(caller.many(100, "http://echo/").Failed()).To(BeEmpty(), "sidecars go on")
		}
	})
})

// told is everything that anybody can read of certificates without a right to Secrets: what
// Envoy and the agent of a workload answer, what programs log, and what the API server keeps.
func told(w *workload) string {
	GinkgoHelper()
	var all strings.Builder
	read := func(socket, path string) {
		GinkgoHelper()
		response, err := testenv.UnixClient(socket).Get("http://it" + path)
		Expect(err).NotTo(HaveOccurred())
		defer func() { _ = response.Body.Close() }()
		Expect(response.StatusCode).To(Equal(http.StatusOK), path)
		_, err = io.Copy(&all, response.Body)
		Expect(err).NotTo(HaveOccurred())
	}
	for _, path := range []string{"/config_dump?include_eds", "/certs", "/stats"} {
		read(envoy.AdminSocket(w.folder()), path)
	}
	for _, path := range []string{"/status", "/metrics"} {
		read(envoy.StatusSocket(w.folder()), path)
	}
	for _, session := range []*gexec.Session{w.session, fairlead.manager, fairlead.up} {
		all.Write(session.Out.Contents())
		all.Write(session.Err.Contents())
	}
	logs, err := filepath.Glob(filepath.Join(fairlead.data, "logs", "*.log"))
	Expect(err).NotTo(HaveOccurred())
	for _, log := range logs {
		content, err := os.ReadFile(log)
		Expect(err).NotTo(HaveOccurred())
		all.Write(content)
	}
	kept := fairlead.kubectl("get", "events,meshcertificates,configmaps,pods,serviceaccounts", "-A", "-o", "yaml")
	Eventually(kept).Should(gexec.Exit(0))
	all.Write(kept.Out.Contents())
	return all.String()
}

// plain asks an application's proxy without TLS.
func plain() string {
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + echoV1.address(9080) + "/")
	if err != nil {
		return "refused"
	}
	defer func() { _ = response.Body.Close() }()
	return response.Header.Get("Echo-Version")
}

// roots are the identifiers of all that any proxy is proven to trust.
func roots() []string {
	GinkgoHelper()
	set := map[string]struct{}{}
	for _, w := range all() {
		status, err := w.certificate()
		if err != nil || status.Certificate == nil || status.Proven.IsZero() {
			return nil
		}
		for _, id := range status.Certificate.Trusted {
			set[id] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(set))
}
