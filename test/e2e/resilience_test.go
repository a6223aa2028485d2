package e2e

import (
	"context"
	"fmt"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/test/echo"
)

var _ = Describe("Under load", func() {
	It("the manager is killed and comes back, and no proxy or status takes notice", func() {
		kept := route("kept", steady)
		changed := route("changed", toV1)
		background := startLoad("http://kept.example/", callers()...)
		history := watch(kept)
		before, err := kept.status()
		Expect(err).NotTo(HaveOccurred())
		configured := map[string]map[string]int{}
		for _, w := range all() {
			configured[w.name] = w.configuration()
		}
		received := front.stat("cluster.fairlead-xds.upstream_cx_rx_bytes_total")

		killManager()
		background.goesOn()
		changed.write(virtualService("changed", toV2))
		for _, caller := range callers() {
			Expect(caller.many(20, "http://changed.example/")).To(Equal(echo.Tally{"v1": 20}))
		}

		fairlead.startManager()
		// Proxies reconnect one by one within seconds, and the first does not speak for all.
		programmed(changed)
		Expect(changed.status()).To(HaveField("Proxies", HaveValue(Equal(v1alpha1.ProxyCounts{Concerned: proxies, Acknowledged: proxies}))))
		for _, w := range all() {
			Expect(w.stat("control_plane.connected_state")).To(Equal(1), w.name)
		}
		for _, caller := range callers() {
			Expect(caller.many(20, "http://changed.example/")).To(Equal(echo.Tally{"v2": 20}))
		}
		background.goesOn()
		Expect(background.Stop().Failed()).To(BeEmpty())

		for _, w := range all() {
			Expect(w.configuration()).To(Equal(configured[w.name]), "nothing is new to %s", w.name)
		}
		again := front.stat("cluster.fairlead-xds.upstream_cx_rx_bytes_total") - received
		GinkgoWriter.Println("front received", received, "and after the restart", again)
		Expect(again).To(BeNumerically("<", 4096),
			"a proxy that says what it has is not sent it again: this is one route and the answers that there is nothing else")
		Expect(kept.status()).To(HaveField("Conditions", Equal(before.Conditions)))
		Expect(history()).To(HaveEach(BeProgrammed()))
	})

	It("the manager is killed and comes back, and what a proxy refused stays held", func() {
		o := route("held", toV1)
		o.write(virtualService("held", refused(toV2)))
		rejected := HaveCondition(v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonRejected, "until then proxies keep generation 1")
		Eventually(o.status).Should(rejected)
		Eventually(func() int {
			var revisions appsv1.ControllerRevisionList
			Expect(fairlead.List(context.Background(), &revisions, client.InNamespace("default"), client.MatchingLabels{
				v1alpha1.RevisionLabel: "refused", v1alpha1.GenerationLabel: fmt.Sprint(o.GetGeneration())})).To(Succeed())
			return len(revisions.Items)
		}).Should(BeNumerically(">", 0), "it is written down")
		before, err := o.status()
		Expect(err).NotTo(HaveOccurred())
		history := watch(o)
		background := startLoad("http://held.example/", callers()...)
		refusals := func() (sum int) {
			for _, w := range all() {
				for _, n := range w.stats(`.*\.update_rejected`) {
					sum += n
				}
			}
			return sum
		}
		seen := refusals()
		for range 2 {
			killManager()
			fairlead.startManager()
			programmed(route("after-the-start", toV1)).remove()
		}
		Expect(refusals()).To(Equal(seen), "no proxy was sent it again")
		Expect(history()).To(HaveEach(Equal(before)))
		Expect(background.Counts()).To(HaveLen(1))
		o.change(virtualService("held", toV2))
		Expect(background.Stop().Failed()).To(BeEmpty())
		Expect(front.many(20, "http://held.example/")).To(Equal(echo.Tally{"v2": 20}))

		o.remove()
		Eventually(func() []appsv1.ControllerRevision {
			var revisions appsv1.ControllerRevisionList
			Expect(fairlead.List(context.Background(), &revisions, client.InNamespace("default"))).To(Succeed())
			return slices.DeleteFunc(revisions.Items, func(r appsv1.ControllerRevision) bool { return !metav1.IsControlledBy(&r, o) })
		}).Should(BeEmpty(), "it goes with the object")
	})

	It("the manager comes back after a shift to a new cluster, and the old one stays until no route needs it", func() {
		away := func(turn int) string {
			return virtualService("away", fmt.Sprintf(`
- retries: {attempts: 0}
  route: [{destination: {host: echo, labels: {version: %s, turn-%d: "yes"}}}]
`, version(turn), turn))
		}
		o := programmed(apply(away(0)))
		// A proxy does not tell by the state-of-the-world protocol which clusters it has, so
		// that only those that speak the other one are spared.
		background := startLoad("http://away.example/", front, front, front, front)
		for turn := range 3 {
			killManager()
			o.write(away(turn + 1))
			fairlead.startManager()
			programmed(o)
			for _, caller := range callers() {
				Expect(caller.many(20, "http://away.example/")).To(Equal(echo.Tally{version(turn + 1): 20}))
			}
		}
		Expect(background.Stop().Failed()).To(BeEmpty())
	})

	It("a Pod is added and another one leaves without a failed request", func() {
		route("pods", `
- retries: {attempts: 0}
  route: [{destination: {host: echo}}]
`)
		background := startLoad("http://pods.example/", callers()...)
		added := fairlead.start(echoWorkload("v3", "delta"))
		added.awaitReady()
		Eventually(background.Counts).Should(HaveKey("v3"), "the new Pod is called")
		background.goesOn()
		stop(added.session)
		background.goesOn()
		Expect(background.Stop().Failed()).To(BeEmpty())
	})

	It("routing comes and goes without a failed request", func() {
		background := startLoad("http://echo/", callers()...)
		for range 10 {
			o := programmed(apply(virtualServiceOf("comes-and-goes", "[echo]", `
- retries: {attempts: 0}
  route: [{destination: {host: echo, labels: {version: v2, turn-0: "yes"}}}]
`)))
			Expect(front.many(5, "http://echo/")).To(Equal(echo.Tally{"v2": 5}))
			o.remove()
			Eventually(func() echo.Tally { return front.many(5, "http://echo/") }).Should(HaveKey("v1"), "as if there were no routing")
		}
		Expect(background.Stop().Failed()).To(BeEmpty())
	})

	It("a Service that is called is made anew", func() {
		service := apply(shiftingService)
		o := apply(virtualService("made-anew", `
- match: [{uri: {prefix: /there}}]
  route: [{destination: {host: shifting}}]`+toV1))
		programmed(o)
		background := startLoad("http://made-anew.example/", callers()...)
		for range 3 {
			service.remove()
			Eventually(o.status).Should(HaveCondition(v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonHostNotFound))
			for _, caller := range callers() {
				Eventually(func() int { return caller.get("http://made-anew.example/there").Status }).Should(Equal(503))
			}
			service.write(shiftingService)
			programmed(o)
			for _, caller := range callers() {
				Eventually(func() int { return caller.get("http://made-anew.example/there").Status }).Should(Equal(200))
			}
		}
		Expect(background.Stop().Failed()).To(BeEmpty(), "its other routes serve")
	})

	It("all traffic is shifted to and fro, to new clusters each time, without a failed request", func() {
		shift := func(i int) string {
			// A cluster for each combination of labels: v2 has those of v1 but for its version.
			return virtualService("labels-shift", fmt.Sprintf(`
- retries: {attempts: 0}
  route: [{destination: {host: echo, labels: {version: %s, turn-%d: "yes"}}}]
`, version(i), i%turns))
		}
		o := programmed(apply(shift(0)))
		background := startLoad("http://labels-shift.example/", callers()...)
		for i := range 50 {
			o.change(shift(i + 1))
			for _, caller := range callers() {
				Expect(caller.get("http://labels-shift.example/").Version).To(Equal(version(i+1)), "shift %d, from %s", i+1, caller.name)
			}
		}
		Expect(background.Stop().Failed()).To(BeEmpty())
	})

	It("all traffic is shifted between subsets that come and go, without a failed request", func() {
		rule := func(subsets ...int) string {
			manifest := `
apiVersion: mesh.fairlead.dev/v1alpha1
kind: DestinationRule
metadata: {name: shifting}
spec:
  host: shifting
  subsets:
`
			for _, i := range subsets {
				manifest += fmt.Sprintf("  - {name: s%d, labels: {version: %s}}\n", i, version(i))
			}
			return manifest
		}
		to := func(i int) string {
			return virtualService("subset-shift", fmt.Sprintf(`
- retries: {attempts: 0}
  route: [{destination: {host: shifting, subset: s%d}}]
`, i))
		}
		apply(shiftingService)
		Eventually(func() echo.Tally { return front.many(10, "http://shifting/") }).Should(HaveKey("v2"), "the Service has endpoints")
		defined, routes := programmed(apply(rule(0))), programmed(apply(to(0)))
		background := startLoad("http://subset-shift.example/", callers()...)
		for i := range 50 {
			// As kubectl would, with a file for each: nothing but the first is waited for.
			defined.write(rule(i, i+1))
			Eventually(defined.status).Should(HaveCondition(v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted))
			routes.change(to(i + 1))
			defined.write(rule(i + 1))
			Expect(front.get("http://subset-shift.example/").Version).To(Equal(version(i + 1)))
		}
		Expect(background.Stop().Failed()).To(BeEmpty())
	})
})

// killManager returns once every proxy has noticed.
func killManager() {
	GinkgoHelper()
	fairlead.manager.Kill()
	Eventually(fairlead.manager).Should(gexec.Exit())
	for _, w := range all() {
		Eventually(func() int { return w.stat("control_plane.connected_state") }).Should(BeZero(), w.name)
	}
}

// version alternates.
func version(i int) string { return []string{"v1", "v2"}[i%2] }

// configuration is what Envoy has counted of its clusters and listeners.
func (w *workload) configuration() map[string]int {
	GinkgoHelper()
	counts := map[string]int{}
	for _, name := range []string{
		"cluster_manager.active_clusters", "cluster_manager.cluster_added", "cluster_manager.cluster_modified", "cluster_manager.cluster_removed",
		"listener_manager.total_listeners_active", "listener_manager.listener_added", "listener_manager.listener_modified", "listener_manager.listener_removed",
	} {
		counts[name] = w.stat(name)
	}
	return counts
}

const shiftingService = `
apiVersion: v1
kind: Service
metadata: {name: shifting}
spec:
  selector: {app: echo}
  ports: [{name: http, port: 80, targetPort: 9080}]
`
