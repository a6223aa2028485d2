package e2e

import (
	"context"
	"syscall"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/test/echo"
)

// stopped has the workload's Envoy stand still until the returned function is called, or
// the spec ends.
func (w *workload) stopped() (resume func()) {
	GinkgoHelper()
	w.signalEnvoy(syscall.SIGSTOP)
	resume = func() { w.signalEnvoy(syscall.SIGCONT) }
	DeferCleanup(resume)
	return resume
}

// proxies is how many there are.
const proxies = 4

var _ = Describe("Programmed", func() {
	for _, variant := range []struct {
		protocol string
		workload func() *workload
	}{
		{"incremental", func() *workload { return echoV1 }},
		{"the state of the world", func() *workload { return echoV2 }},
	} {
		It("waits for each proxy, one that is sent "+variant.protocol+" too", func() {
			o := route("waited-for", toV1)
			resume := variant.workload().stopped()
			o.write(virtualService("waited-for", toV2))

			wait := fairlead.kubectl("wait", "--for=condition=Programmed", "virtualservice/waited-for", "--timeout=2s")
			Eventually(wait).Should(gexec.Exit(1))
			Expect(wait.Err).To(gbytes.Say("timed out waiting for the condition"))
			Eventually(o.status).Should(And(
				HaveCondition(v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonPending),
				HaveCondition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonPending),
				HaveField("Proxies", HaveValue(Equal(v1alpha1.ProxyCounts{Concerned: proxies, Acknowledged: proxies - 1}))),
			))

			wait = fairlead.kubectl("wait", "--for=condition=Programmed", "virtualservice/waited-for", "--timeout=60s")
			resume()
			Eventually(wait).Should(gexec.Exit(0))
			Expect(o.status()).To(BeProgrammed())
			Eventually(o.status).Should(HaveField("Proxies", HaveValue(Equal(v1alpha1.ProxyCounts{Concerned: proxies, Acknowledged: proxies}))))
			for _, caller := range callers() {
				Expect(caller.many(20, "http://waited-for.example/")).To(Equal(echo.Tally{"v2": 20}))
			}
		})
	}

	It("is not held up by a proxy that has the very same bytes already", func() {
		o := programmed(apply(virtualServiceOf("same", "[one.example, two.example]", `
- timeout: 90s
  route: [{destination: {host: echo, subset: v1}}]
`)))
		echoV1.stopped()
		o.change(virtualServiceOf("same", "[two.example, one.example]", `
- timeout: 1m30s
  route: [{destination: {host: echo, subset: v1}, weight: 7}]
`))
		Expect(o.GetGeneration()).To(Equal(int64(2)))
	})

	It("says NoProxies of an object that concerns nobody", func() {
		o := apply(`
apiVersion: mesh.fairlead.dev/v1alpha1
kind: DestinationRule
metadata: {name: of-nobody}
spec: {host: nobody.example, subsets: [{name: v1, labels: {version: v1}}]}
`)
		Eventually(o.status).Should(HaveCondition(v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonNoProxies))
	})

	It("stays true when another proxy joins, which begins with what is programmed", func() {
		o := route("latched", toV1)
		history := watch(o)
		late := fairlead.start(workload{name: "late", labels: "app=late"})
		late.awaitReady()
		Expect(late.many(20, "http://latched.example/")).To(Equal(echo.Tally{"v1": 20}))
		Eventually(o.status).Should(HaveField("Proxies", HaveValue(Equal(v1alpha1.ProxyCounts{Concerned: proxies + 1, Acknowledged: proxies + 1}))))
		Expect(history()).To(HaveEach(BeProgrammed()))

		stop(late.session)
		Eventually(o.status).Should(HaveField("Proxies", HaveValue(Equal(v1alpha1.ProxyCounts{Concerned: proxies, Acknowledged: proxies}))),
			"a workload that ended is nobody to wait for")
		Expect(history()).To(HaveEach(BeProgrammed()))
	})
})

// watch collects every status that the API server shows of an object from now on; the
// returned function gives those so far.
func watch(o object) func() []v1alpha1.Status {
	GinkgoHelper()
	watcher, err := fairlead.Watch(context.Background(), &v1alpha1.VirtualServiceList{}, client.InNamespace("default"),
		client.MatchingFields{"metadata.name": o.GetName()})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(watcher.Stop)
	var seen []v1alpha1.Status
	return func() []v1alpha1.Status {
		for {
			select {
			case event := <-watcher.ResultChan():
				if shown, is := event.Object.(*v1alpha1.VirtualService); is {
					seen = append(seen, shown.Status)
				}
			default:
				return seen
			}
		}
	}
}
