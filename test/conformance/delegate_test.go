package conformance

import (
	"testing"

	. "github.com/onsi/gomega"
)

func TestDelegate(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].delegate")
	s.serve("reviews", "v1", "v2")
	s.apply(subsets)
	const items = `
apiVersion: mesh.fairlead.dev/v1alpha1
kind: VirtualService
metadata: {name: items}
spec:
  http:
  - match: [{uri: {prefix: /items/new}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - route: [{destination: {host: reviews, subset: v1}}]
`
	s.apply(items)
	s.route("reviews", `
- match: [{uri: {prefix: /items}, headers: {x-user: {exact: anna}}}]
  delegate: {name: items, namespace: NAMESPACE}
  headers: {request: {set: {x-from: root}}}
- match: [{uri: {prefix: /gone}}]
  delegate: {name: gone}
- directResponse: {status: 418}
`)
	for _, caller := range s.callers() {
		r := caller.get("reviews/items/new/7", "x-user", "anna")
		s.Expect(r.Version).To(Equal("v2"))
		s.Expect(r.Seen.Header.Get("X-From")).To(Equal("root"), "the delegate says nothing of headers")
		s.Expect(caller.get("reviews/items/7", "x-user", "anna").Version).To(Equal("v1"))
		s.Expect(caller.get("reviews/items/7").Status).To(Equal(418), "the naming route does not match")
		s.Expect(caller.get("reviews/gone").Status).To(Equal(503))
	}
	s.Expect(s.status("VirtualService", "reviews").Conditions).To(ContainElement(And(
		HaveField("Type", "ResolvedRefs"), HaveField("Reason", "DelegateNotFound"))))

	// A change of the delegate is its own: its status says when the proxies run it.
	s.apply(`
apiVersion: mesh.fairlead.dev/v1alpha1
kind: VirtualService
metadata: {name: items}
spec:
  http:
  - directResponse: {status: 404}
`)
	for _, caller := range s.callers() {
		s.Expect(caller.get("reviews/items/new/7", "x-user", "anna").Status).To(Equal(404))
	}
	s.delete("VirtualService", "items")
	s.Expect(s.front.get("reviews/items/new/7", "x-user", "anna").Status).To(Equal(503))
}
