package conformance

import (
	"testing"

	. "github.com/onsi/gomega"
)

func TestRoutesExportedToSomeNamespaces(t *testing.T) {
	s := newScene(t, "VirtualService spec.exportTo")
	s.serve("reviews", "v1")
	s.apply(`
apiVersion: mesh.fairlead.dev/v1alpha1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  exportTo: [bank, .]
  http: [{directResponse: {status: 418}}]
`)
	s.Expect(s.ledger.get("reviews/").Status).To(Equal(418))
	for _, caller := range []caller{s.front, s.mobile} {
		s.Expect(caller.get("reviews/").Status).To(Equal(200), caller.name)
	}
}

func TestPolicyExportedToSomeNamespaces(t *testing.T) {
	s := newScene(t, "DestinationRule spec.exportTo")
	s.serveMutual("reviews")
	s.apply(`
apiVersion: mesh.fairlead.dev/v1alpha1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  exportTo: [bank]
  trafficPolicy: {tls: {mode: DISABLE}}
`)
	s.Expect(s.ledger.get("reviews/").Status).To(Equal(400), "it speaks plaintext to what takes TLS")
	for _, caller := range []caller{s.front, s.mobile} {
		s.Expect(caller.get("reviews/").Seen.Peer).To(Equal(caller.identity()))
	}
}

func TestHostsNamedExactlyGoBeforeWildcards(t *testing.T) {
	s := newScene(t, "VirtualService spec.hosts")
	s.serve("reviews", "v1")
	s.serve("ratings", "v1")
	answer := func(name, host, status string) string {
		return `
---
apiVersion: mesh.fairlead.dev/v1alpha1
kind: VirtualService
metadata: {name: ` + name + `}
spec:
  hosts: ["` + host + `"]
  http: [{directResponse: {status: ` + status + `}}]
`
	}
	s.apply(answer("wide", "*.NAMESPACE.svc.cluster.local", "418") + answer("exact", "reviews", "451"))
	for _, caller := range s.callers() {
		s.Expect(caller.get("reviews/").Status).To(Equal(451), caller.name)
		s.Expect(caller.get("ratings/").Status).To(Equal(418), caller.name)
	}
	s.delete("VirtualService", "exact")
	for _, caller := range s.callers() {
		s.Expect(caller.get("reviews/").Status).To(Equal(418), caller.name)
	}
}
