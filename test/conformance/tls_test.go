package conformance

import (
	"testing"

	. "github.com/onsi/gomega"
)

// tlsMode is a DestinationRule for reviews.
func tlsMode(mode string) string {
	return `
apiVersion: mesh.fairlead.dev/v1alpha1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  trafficPolicy: {tls: {mode: ` + mode + `}}
`
}

// identityOf is what a caller's certificate says.
func identityOf(c caller) string {
	return "spiffe://cluster.local/ns/" + c.proxy.namespace + "/sa/" + c.name
}

func TestMutualTLSByItself(t *testing.T) {
	s := newScene(t)
	s.serveMutual("reviews")
	for _, caller := range s.callers() {
		s.Expect(caller.get("reviews/").Seen.Peer).To(Equal(identityOf(caller)))
	}
}

func TestTLSModeIstioMutual(t *testing.T) {
	s := newScene(t)
	s.serveMutual("reviews")
	for _, mode := range []string{"ISTIO_MUTUAL", "MESH_MUTUAL"} {
		s.apply(tlsMode(mode))
		for _, caller := range s.callers() {
			s.Expect(caller.get("reviews/").Seen.Peer).To(Equal(identityOf(caller)))
		}
	}
}

func TestTLSModeDisable(t *testing.T) {
	s := newScene(t)
	s.serveMutual("reviews")
	s.apply(tlsMode("DISABLE"))
	for _, caller := range s.callers() {
		s.Expect(caller.get("reviews/")).To(HaveField("Status", 400), "the application is spoken to in plaintext")
	}
}
