package conformance

import (
	"os"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/test/testenv"
)

// written puts PEM where every proxy finds it, and returns the path.
func (s *scene) written(name string, content []byte) string {
	s.Helper()
	path := filepath.Join(s.stage.dir, s.namespace+"-"+name)
	s.Expect(os.WriteFile(path, content, 0o600)).To(Succeed())
	return path
}

func TestTLSModeSimple(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.tls.mode", "DestinationRule spec.trafficPolicy.tls.sni",
		"DestinationRule spec.trafficPolicy.tls.caCertificates", "DestinationRule spec.trafficPolicy.tls.subjectAltNames",
		"DestinationRule spec.trafficPolicy.tls.insecureSkipVerify")
	s.serve("reviews", "v1")
	s.policy("reviews", `{tls: {mode: SIMPLE, sni: secure.example}}`)
	for _, caller := range s.callers() {
		seen := caller.get("reviews:8443/").Seen
		s.Expect(seen.ServerName).To(Equal("secure.example"), "verified by the system's authorities")
		s.Expect(seen.Peer).To(BeEmpty())
	}
	s.policy("reviews", `{tls: {mode: SIMPLE, sni: other.example}}`)
	s.Expect(s.front.get("reviews:8443/").Status).To(Equal(503), "the certificate has another name")
	s.policy("reviews", `{tls: {mode: SIMPLE, sni: other.example, subjectAltNames: [secure.example]}}`)
	s.Expect(s.front.get("reviews:8443/").Seen.ServerName).To(Equal("other.example"))
	s.policy("reviews", `{tls: {mode: SIMPLE, sni: other.example, insecureSkipVerify: true}}`)
	s.Expect(s.front.get("reviews:8443/").Status).To(Equal(200))

	stranger, err := testenv.NewAuthority("stranger")
	s.Expect(err).NotTo(HaveOccurred())
	s.policy("reviews", `{tls: {mode: SIMPLE, sni: secure.example, caCertificates: `+s.written("stranger.pem", stranger.Roots)+`}}`)
	s.Expect(s.front.get("reviews:8443/").Status).To(Equal(503))
	s.policy("reviews", `{tls: {mode: SIMPLE, sni: secure.example, caCertificates: `+s.stage.rootsFile()+`}}`)
	s.Expect(s.front.get("reviews:8443/").Status).To(Equal(200))
	s.policy("reviews", `{tls: {mode: SIMPLE}}`)
	s.route("reviews", `
- rewrite: {authority: shop.secure.example}
  route: [{destination: {host: reviews}}]
`)
	s.Expect(s.front.get("reviews:8443/").Seen.ServerName).To(Equal("shop.secure.example"), "the request's host")
}

func TestTLSModeMutual(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.tls.clientCertificate", "DestinationRule spec.trafficPolicy.tls.privateKey",
		"DestinationRule spec.trafficPolicy.tls.caCrl")
	s.serve("reviews", "v1")
	client := s.issue(testenv.Named("client.example"))
	mutual := `mode: MUTUAL, sni: secure.example, clientCertificate: ` + s.written("chain.pem", client.Chain) + `, privateKey: ` + s.written("key.pem", client.Key)
	s.policy("reviews", `{tls: {`+mutual+`}}`)
	for _, caller := range s.callers() {
		s.Expect(caller.get("reviews:8443/").Seen.Peer).To(Equal("client.example"))
	}
	list, err := s.stage.authority.Revoke()
	s.Expect(err).NotTo(HaveOccurred())
	s.policy("reviews", `{tls: {`+mutual+`, caCertificates: `+s.stage.rootsFile()+`, caCrl: `+s.written("crl.pem", list)+`}}`)
	s.Expect(s.front.get("reviews:8443/").Status).To(Equal(200), "nothing is revoked")
	stranger, err := testenv.NewAuthority("stranger")
	s.Expect(err).NotTo(HaveOccurred())
	foreign, err := stranger.Revoke()
	s.Expect(err).NotTo(HaveOccurred())
	s.policy("reviews", `{tls: {`+mutual+`, caCertificates: `+s.stage.rootsFile()+`, caCrl: `+s.written("foreign.pem", foreign)+`}}`)
	s.Expect(s.front.get("reviews:8443/").Status).To(Equal(503), "nobody says of the authority's certificates that they are good still")
}
