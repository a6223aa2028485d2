package e2e

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"

	"fairlead.dev/fairlead/test/echo"
)

// BeShareOf matches a count out of n independent requests, each of which had the given chance.
func BeShareOf(n int, chance float64) gomegatypes.GomegaMatcher {
	return BeNumerically("~", float64(n)*chance, echo.Deviation(n, chance))
}

var _ = Describe("Requests go to", func() {
	It("destinations in proportion to their weights", func() {
		route("weights", `
- route:
  - {destination: {host: echo, subset: v1}, weight: 90}
  - {destination: {host: echo, subset: v2}, weight: 10}
`)
		for _, caller := range callers() {
			const n = 2000
			counts := caller.many(n, "http://weights.example/")
			Expect(counts.Failed()).To(BeEmpty())
			Expect(counts["v2"]).To(BeShareOf(n, 0.1), "%s: %v", caller.name, counts)
		}
	})

	It("none of those whose weight is zero", func() {
		route("zero", `
- route:
  - {destination: {host: echo, subset: v1}, weight: 0}
  - {destination: {host: echo, subset: v2}, weight: 1}
`)
		for _, caller := range callers() {
			Expect(caller.many(50, "http://zero.example/")).To(Equal(echo.Tally{"v2": 50}))
		}
	})

	It("Pods by their labels, without a DestinationRule", func() {
		o := route("by-labels", `
- route: [{destination: {host: echo, labels: {version: v1}}}]
`)
		for _, caller := range callers() {
			Expect(caller.many(20, "http://by-labels.example/")).To(Equal(echo.Tally{"v1": 20}))
		}
		o.change(virtualService("by-labels", `
- route: [{destination: {host: echo, labels: {version: v2, app: echo}}}]
`))
		for _, caller := range callers() {
			Expect(caller.many(20, "http://by-labels.example/")).To(Equal(echo.Tally{"v2": 20}))
		}
	})

	It("a subset that its DestinationRule defines anew", func() {
		rule := apply(`
apiVersion: mesh.fairlead.dev/v1alpha1
kind: DestinationRule
metadata: {name: headless}
spec: {host: headless, subsets: [{name: current, labels: {version: v1}}]}
`)
		apply(headlessService)
		route("anew", `
- route: [{destination: {host: headless, subset: current, port: {number: 9080}}}]
`)
		for _, caller := range callers() {
			Eventually(func() echo.Tally { return caller.many(5, "http://anew.example/") }).Should(Equal(echo.Tally{"v1": 5}),
				"the endpoints of a new Service come a little later")
		}
		rule.change(`
apiVersion: mesh.fairlead.dev/v1alpha1
kind: DestinationRule
metadata: {name: headless}
spec: {host: headless, subsets: [{name: current, labels: {version: v2}}]}
`)
		for _, caller := range callers() {
			Expect(caller.many(20, "http://anew.example/")).To(Equal(echo.Tally{"v2": 20}))
		}
	})

	It("a headless service by its name", func() {
		apply(headlessService)
		for _, caller := range callers() {
			for _, version := range []string{"v1", "v2"} {
				Eventually(func() string { return caller.get("http://headless:9080/").Version }).Should(Equal(version))
			}
		}
	})

	It("a service by every name that a Pod's resolver would complete", func() {
		for _, caller := range callers() {
			for _, name := range []string{"echo", "echo.default", "echo.default.svc", "echo.default.svc.cluster.local"} {
				for _, port := range []string{"", ":80", ":8081"} {
					r := caller.get("http://" + name + port + "/")
					Expect(r.Status).To(Equal(200), "%s%s from %s", name, port, caller.name)
				}
			}
		}
	})
})

const headlessService = `
apiVersion: v1
kind: Service
metadata: {name: headless}
spec:
  clusterIP: None
  selector: {app: echo}
  ports: [{name: http, port: 9080}]
`
