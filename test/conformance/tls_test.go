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

func TestMutualTLSByItself(t *testing.T) {
	s := newScene(t)
	s.serveMutual("reviews")
	for _, caller := range s.callers() {
		s.Expect(caller.get("reviews/").Seen.Peer).To(Equal(caller.identity()))
	}
}

func TestTLSModeIstioMutual(t *testing.T) {
	s := newScene(t)
	s.serveMutual("reviews")
	for _, mode := range []string{"ISTIO_MUTUAL", "MESH_MUTUAL"} {
		s.apply(tlsMode(mode))
		for _, caller := range s.callers() {
			s.Expect(caller.get("reviews/").Seen.Peer).To(Equal(caller.identity()))
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
