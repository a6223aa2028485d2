package e2e

import (
	"fmt"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/test/echo"
)

// steady is a VirtualService for constant load. Nothing hides a failure: no request is
// tried again.
const steady = `
- retries: {attempts: 0}
  route:
  - {destination: {host: echo, subset: v1}, weight: 50}
  - {destination: {host: echo, subset: v2}, weight: 50}
`

// toV1 and toV2 send everything there.
const (
	toV1 = `
- route: [{destination: {host: echo, subset: v1}}]
`
	toV2 = `
- route: [{destination: {host: echo, subset: v2}}]
`
)

// tooLarge is an expression that is well-formed, but compiled it is larger than Envoy
// takes: only Envoy itself can tell.
var tooLarge = "/" + strings.Repeat(`\pL{1,1000}`, 5)

// refused is routing that Envoy refuses.
func refused(otherwise string) string {
	return fmt.Sprintf(`
- match: [{uri: {regex: '%s'}}]
  directResponse: {status: 404}`, tooLarge) + otherwise
}

var _ = Describe("An object that is wrong", Ordered, func() {
	var background load

	BeforeAll(func() {
		route("steady", steady)
		background = startLoad("http://steady.example/", callers()...)
	})

	It("by a host that does not exist says so; what leads there is answered 503, the rest serves", func() {
		o := apply(virtualService("unknown-host", `
- match: [{uri: {prefix: /nowhere}}]
  route: [{destination: {host: nowhere}}]`+toV1))
		Eventually(o.status).Should(And(
			HaveCondition(v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted),
			HaveCondition(v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonHostNotFound,
				"spec.http[0].route[0].destination.host", "nowhere.default.svc.cluster.local", "create the Service or correct the name"),
			HaveCondition(v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed),
			HaveCondition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonHostNotFound),
		))
		for _, caller := range callers() {
			Expect(caller.get("http://unknown-host.example/nowhere").Status).To(Equal(503))
			Expect(caller.get("http://unknown-host.example/").Version).To(Equal("v1"))
		}
	})

	It("by a subset that does not exist says so; its share is answered 503 until it exists", func() {
		o := apply(virtualService("unknown-subset", `
- route:
  - {destination: {host: echo, subset: v1}, weight: 50}
  - {destination: {host: echo, subset: v3}, weight: 50}
`))
		Eventually(o.status).Should(And(
			HaveCondition(v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonSubsetNotFound,
				"spec.http[0].route[1].destination.subset", `"v3"`, "v1, v2"),
			HaveCondition(v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed),
		))
		const n = 400
		for _, caller := range callers() {
			counts := caller.many(n, "http://unknown-subset.example/")
			Expect(counts["v1"]+counts["HTTP 503"]).To(Equal(n), "%v", counts)
			Expect(counts["HTTP 503"]).To(BeShareOf(n, 0.5))
		}

		DeferCleanup(func() { subsets.change(echoSubsets) })
		subsets.change(echoSubsets + "  - {name: v3, labels: {version: v2}}\n")
		Eventually(o.status).Should(BeProgrammed(), "the missing subset was defined")
		for _, caller := range callers() {
			Expect(caller.many(50, "http://unknown-subset.example/").Failed()).To(BeEmpty())
		}
	})

	It("by weights that are all zero is refused at once, with the reason", func() {
		o := parse(virtualService("weights-zero", `
- route:
  - {destination: {host: echo, subset: v1}, weight: 0}
  - {destination: {host: echo, subset: v2}, weight: 0}
`))
		Eventually(func() error {
			err := o.apply()
			o.remove() // if it was taken
			return err
		}).Should(MatchError(And(
			ContainSubstring("spec.http[0].route: the weights of all destinations are zero"),
			ContainSubstring("give at least one destination a weight above 0"),
		)), "the webhook is registered")
		for _, caller := range callers() {
			Expect(caller.get("http://weights-zero.example/").Status).To(Equal(404), "nobody has the host")
		}
	})

	It("by a field that is not implemented yet names the field", func() {
		o := apply(virtualService("later", `
- fault: {delay: {exponentialDelay: 1s}, abort: {http2Error: REFUSED_STREAM}}
  route: [{destination: {host: echo}}]
`))
		Eventually(o.status).Should(HaveCondition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonNotImplemented,
			"spec.http[0].fault.delay.exponentialDelay", "spec.http[0].fault.abort.http2Error", "not implemented yet"))
	})

	It("after it was right is served as it was accepted last, and is used once it is mended", func() {
		o := route("last-accepted", toV1)
		o.write(virtualService("last-accepted", `
- timeout: 5s
  fault: {delay: {exponentialDelay: 1s}}
  route: [{destination: {host: echo, subset: v2}}]
`))
		Eventually(o.status).Should(And(
			HaveCondition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonNotImplemented, "spec.http[0].fault.delay.exponentialDelay"),
			HaveCondition(v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonNotAccepted),
		))
		for _, caller := range callers() {
			Expect(caller.many(20, "http://last-accepted.example/")).To(Equal(echo.Tally{"v1": 20}))
		}
		o.change(virtualService("last-accepted", toV2))
		for _, caller := range callers() {
			Expect(caller.many(20, "http://last-accepted.example/")).To(Equal(echo.Tally{"v2": 20}))
		}
	})

	It("by a host that an older object has is told so, and takes over when that is deleted", func() {
		older := programmed(apply(virtualServiceOf("z-older", "[shared.example]", toV1)))
		// Objects are as old as the second in which they were created.
		Eventually(time.Now).Should(BeTemporally(">", older.GetCreationTimestamp().Add(time.Second)), "the next second begins")
		newer := apply(virtualServiceOf("a-newer", "[shared.example]", toV2))
		Eventually(newer.status).Should(And(
			HaveCondition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonHostConflict,
				"spec.hosts", "host shared.example belongs to the older VirtualService default/z-older", "merge the two objects"),
			HaveCondition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonHostConflict),
		))
		Expect(older.status()).To(BeProgrammed())
		for _, caller := range callers() {
			Expect(caller.many(20, "http://shared.example/")).To(Equal(echo.Tally{"v1": 20}))
		}
		older.remove()
		programmed(newer)
		for _, caller := range callers() {
			Expect(caller.many(20, "http://shared.example/")).To(Equal(echo.Tally{"v2": 20}))
		}
	})

	It("in the eyes of Envoy only is told with Envoy's words; proxies keep what they had", func() {
		o := route("refused", toV1)
		o.write(virtualService("refused", refused(toV2)))
		Eventually(o.status).Should(And(
			HaveCondition(v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted),
			HaveCondition(v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonRejected,
				"proxy default/", "route refused.example:80", "RE2 program size", "until then proxies keep generation 1"),
			HaveCondition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonRejected),
			HaveField("Proxies", BeNil()),
			HaveField("Rejections", ConsistOf(HaveField("Resource", "route refused.example:80"))),
		))
		for _, caller := range callers() {
			Expect(caller.many(20, "http://refused.example/")).To(Equal(echo.Tally{"v1": 20}))
		}
		o.change(virtualService("refused", toV2))
		for _, caller := range callers() {
			Expect(caller.many(20, "http://refused.example/")).To(Equal(echo.Tally{"v2": 20}))
		}
	})

	It("in the eyes of Envoy only is left out if it never was right, and nobody who joins sees anything of it", func() {
		o := apply(virtualService("never-right", refused(toV1)))
		isTold := HaveCondition(v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonRejected, "RE2 program size", "it is left out")
		Eventually(o.status).Should(isTold)
		for _, caller := range callers() {
			Eventually(func() int { return caller.get("http://never-right.example/").Status }).Should(Equal(404))
		}
		before, err := o.status()
		Expect(err).NotTo(HaveOccurred())
		for _, protocol := range []string{"delta", "sotw"} {
			joins := fairlead.start(workload{name: "joins-" + protocol, labels: "app=joins", protocol: protocol})
			joins.awaitReady()
			Expect(joins.get("http://steady.example/").Status).To(Equal(200))
			Expect(joins.get("http://never-right.example/").Status).To(Equal(404))
			Expect(joins.stats(`.*\.update_rejected`)).To(HaveEach(BeZero()))
			stop(joins.session)
		}
		Expect(o.status()).To(Equal(before))
		o.change(virtualService("never-right", toV1))
		for _, caller := range callers() {
			Expect(caller.get("http://never-right.example/").Version).To(Equal("v1"))
		}
	})

	// All of them are in one table, which Envoy takes or refuses as a whole.
	It("in the eyes of Envoy only does not hold up nine others that it shares a table with", func() {
		const several, wrong = 10, 3
		part := func(name, http string) string {
			return strings.Replace(virtualServiceOf(name, "", http), "  hosts: \n", "", 1)
		}
		routes := ""
		var objects []object
		for i := range several {
			routes += fmt.Sprintf("\n- match: [{uri: {prefix: /%d}}]\n  delegate: {name: part-%d}", i, i)
			objects = append(objects, apply(part(fmt.Sprint("part-", i), toV1)))
		}
		root := route("in-parts", routes)
		for _, o := range objects {
			programmed(o)
		}
		var group sync.WaitGroup
		failures := make([]error, several)
		for i, o := range objects {
			routes := toV2
			if i == wrong {
				routes = fmt.Sprintf("\n- match: [{headers: {x-large: {regex: '%s'}}}]\n %s", tooLarge, strings.TrimPrefix(toV2, "\n-"))
			}
			o.read(part(o.GetName(), routes))
			group.Go(func() { failures[i] = o.apply() })
		}
		group.Wait()
		Expect(failures).To(HaveEach(Succeed()))
		for i, o := range objects {
			if i != wrong {
				programmed(o)
			}
		}
		Eventually(objects[wrong].status).Should(HaveCondition(v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonRejected,
			"route in-parts.example:80", "RE2 program size", "until then proxies keep generation 1"))
		Expect(root.status()).To(BeProgrammed())
		for _, caller := range callers() {
			for i := range several {
				expected := "v2"
				if i == wrong {
					expected = "v1"
				}
				Expect(caller.get(fmt.Sprintf("http://in-parts.example/%d", i)).Version).To(Equal(expected))
			}
		}
	})

	It("in the eyes of Envoy only does not hold up nine others that change at the same instant", func() {
		const several, wrong = 10, 6
		name := func(i int) string { return fmt.Sprintf("among-%d", i) }
		var objects []object
		for i := range several {
			objects = append(objects, route(name(i), toV1))
		}
		var group sync.WaitGroup
		failures := make([]error, several)
		for i, o := range objects {
			routes := toV2
			if i == wrong {
				routes = refused(toV2)
			}
			o.read(virtualService(name(i), routes))
			group.Go(func() { failures[i] = o.apply() })
		}
		group.Wait()
		Expect(failures).To(HaveEach(Succeed()))
		for i, o := range objects {
			if i == wrong {
				Eventually(o.status).Should(HaveCondition(v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonRejected,
					"route among-6.example:80", "RE2 program size"))
			} else {
				programmed(o)
			}
		}
		for _, caller := range callers() {
			for i := range several {
				expected := "v2"
				if i == wrong {
					expected = "v1"
				}
				Expect(caller.get("http://" + name(i) + ".example/").Version).To(Equal(expected))
			}
		}
	})

	It("never costs another object a request", func() {
		background.goesOn()
		Expect(background.Stop().Failed()).To(BeEmpty())
	})
})
