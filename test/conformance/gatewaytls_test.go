package conformance

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"net"
	"testing"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/test/testenv"
)

const secureServer = `
- {port: {number: INGRESS, protocol: HTTPS, name: https}, hosts: [shop.example], tls: {mode: SIMPLE, credentialName: NAMESPACE-shop}}
`

// serveShop makes what is behind gateways, and routes of the Gateway "public" for hosts to it.
func (s *scene) serveShop(servers, hosts string) {
	s.Helper()
	s.serve("reviews", "v1")
	s.apply(gateway("public", servers) + bound("shop", hosts, toReviews))
}

// server is one that ends TLS of HTTP for shop.example.
func server(tls string) string {
	return "\n- {port: {number: INGRESS, protocol: HTTPS, name: https}, hosts: [shop.example], tls: {" + tls + "}}\n"
}

func TestGatewaySimple(t *testing.T) {
	s := newScene(t, "Gateway spec.servers[].tls.mode", "Gateway spec.servers[].tls.credentialName", "Gateway spec.servers[].name")
	shop, pay := s.secret("shop", "shop.example"), s.secret("pay", "pay.example")
	s.serveShop(`
- {port: {number: INGRESS, protocol: HTTPS, name: https}, name: shop, hosts: [shop.example], tls: {mode: SIMPLE, credentialName: NAMESPACE-shop}}
- {port: {number: INGRESS, protocol: HTTPS, name: https-pay}, name: pay, hosts: [pay.example], tls: {mode: SIMPLE, credentialName: NAMESPACE-pay}}
`, "shop.example, pay.example")
	s.Expect(s.outside().certificate("shop.example").SerialNumber).To(Equal(shop.SerialNumber))
	s.Expect(s.outside().certificate("pay.example").SerialNumber).To(Equal(pay.SerialNumber))
	for _, host := range []string{"shop.example", "pay.example"} {
		reply := s.outside().byTLS().get(host + "/items")
		s.Expect(reply.Seen).To(And(HaveField("Version", "v1"), HaveField("Authority", host)))
		s.Expect(reply.Seen.Header.Get("X-Forwarded-Proto")).To(Equal("https"))
	}
	_, err := s.outside().byTLS().try("other.example/")
	s.Expect(err).To(HaveOccurred(), "no server has the name")
	_, err = s.outside().try("shop.example/")
	s.Expect(err).To(HaveOccurred(), "nobody speaks plaintext here")
}

func TestGatewayMisdirectedRequest(t *testing.T) {
	s := newScene(t, "Gateway spec.servers[].hosts[]")
	s.secret("shop", "shop.example", "pay.example")
	s.serveShop(secureServer, "shop.example")
	s.Expect(s.outside().byTLS(asksFor("shop.example")).get("pay.example/").Status).To(Equal(421))
	s.Expect(s.outside().byTLS(asksFor("shop.example")).get("shop.example/").Status).To(Equal(200))
}

func TestGatewayRenewedSecret(t *testing.T) {
	s := newScene(t, "Gateway spec.servers[].tls.credentialName")
	first := s.secret("shop", "shop.example")
	s.serveShop(secureServer, "shop.example")
	s.Expect(s.outside().certificate("shop.example").SerialNumber).To(Equal(first.SerialNumber))
	open, err := s.outside().byTLS().dial("shop.example")
	s.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = open.Close() })

	second := s.secret("shop", "shop.example")
	s.Eventually(func() string { return s.outside().certificate("shop.example").SerialNumber.String() }).
		Should(Equal(second.SerialNumber.String()), "the new certificate is shown")
	s.Expect(s.outside().byTLS().get("shop.example/").Status).To(Equal(200))
	_, err = open.Write([]byte("GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"))
	s.Expect(err).NotTo(HaveOccurred())
	answer := make([]byte, len("HTTP/1.1 200"))
	_, err = open.Read(answer)
	s.Expect(err).NotTo(HaveOccurred())
	s.Expect(string(answer)).To(Equal("HTTP/1.1 200"), "a connection that was there goes on")
}

func TestGatewaySecretMissing(t *testing.T) {
	s := newScene(t, "Gateway spec.servers[].tls.credentialName")
	s.secret("shop", "shop.example")
	s.secret("pay", "pay.example")
	missing := s.objects[mesh.ObjectID{Kind: "Secret", Namespace: "edge", Name: s.namespace + "-pay"}]
	s.remove(missing)
	s.serveShop(`
- {port: {number: INGRESS, protocol: HTTPS, name: https}, hosts: [pay.example], tls: {mode: SIMPLE, credentialName: NAMESPACE-pay}}
- {port: {number: INGRESS, protocol: HTTPS, name: https-shop}, hosts: [shop.example], tls: {mode: SIMPLE, credentialName: NAMESPACE-shop}}
`, "shop.example, pay.example")
	s.Expect(s.outside().byTLS().get("shop.example/").Status).To(Equal(200), "the other server serves")
	_, err := s.outside().byTLS().try("pay.example/")
	s.Expect(err).To(HaveOccurred(), "its certificate is not there")
	s.secret("pay", "pay.example")
	s.Eventually(func() error {
		_, err := s.outside().byTLS().try("pay.example/")
		return err
	}).Should(Succeed(), "its certificate has come")
}

func TestGatewayMutual(t *testing.T) {
	s := newScene(t, "Gateway spec.servers[].tls.mode", "Gateway spec.servers[].tls.subjectAltNames[]", "Gateway spec.servers[].tls.verifyCertificateHash[]",
		"Gateway spec.servers[].tls.verifyCertificateSpki[]", "Gateway spec.servers[].tls.caCertCredentialName", "Gateway spec.servers[].tls.insecureSkipVerify")
	credentials := s.issue(testenv.Named("shop.example"))
	s.secretOf("shop", map[string][]byte{"tls.crt": credentials.Chain, "tls.key": credentials.Key, "ca.crt": s.stage.authority.Roots})
	s.serveShop(server("mode: MUTUAL, credentialName: NAMESPACE-shop"), "shop.example")

	good := s.issue(testenv.Named("client.example"))
	stranger, err := testenv.NewAuthority("stranger")
	s.Expect(err).NotTo(HaveOccurred())
	bad, err := stranger.Issue("client.example")
	s.Expect(err).NotTo(HaveOccurred())
	taken := func(credentials ...testenv.Credentials) bool {
		client := s.outside().byTLS()
		for _, c := range credentials {
			client = s.outside().byTLS(shows(c))
		}
		reply, err := client.try("shop.example/")
		return err == nil && reply.Status == 200
	}
	s.Expect(taken()).To(BeFalse(), "without a certificate")
	s.Expect(taken(bad)).To(BeFalse(), "with a stranger's certificate")
	s.Expect(taken(good)).To(BeTrue())
	seen := s.outside().byTLS(shows(good)).get("shop.example/", "X-Forwarded-Client-Cert", "Hash=0").Seen
	s.Expect(seen.Header.Get("X-Forwarded-Client-Cert")).To(And(ContainSubstring("DNS=client.example"), Not(ContainSubstring("Hash=0;")), Not(Equal("Hash=0"))))

	// change is what the server asks for besides; connections of before are not what is judged.
	change := func(more string, accepted ...bool) {
		s.Helper()
		s.gateway("public", server(more))
		for i, client := range []testenv.Credentials{good, bad} {
			s.Eventually(func() bool { return taken(client) }).Should(Equal(accepted[i]), "%s, client %d", more, i)
		}
	}
	const mutual = "mode: MUTUAL, credentialName: NAMESPACE-shop"
	change(mutual+", subjectAltNames: [other.example]", false, false)
	change(mutual+", subjectAltNames: [client.example]", true, false)
	pair, err := tls.X509KeyPair(good.Chain, good.Key)
	s.Expect(err).NotTo(HaveOccurred())
	digest := sha256.Sum256(pair.Leaf.Raw)
	change(mutual+", verifyCertificateHash: ['"+hex.EncodeToString(make([]byte, 32))+"']", false, false)
	change(mutual+", verifyCertificateHash: ['"+hex.EncodeToString(digest[:])+"']", true, false)
	digest = sha256.Sum256(pair.Leaf.RawSubjectPublicKeyInfo)
	change(mutual+", verifyCertificateSpki: ['"+base64.StdEncoding.EncodeToString(digest[:])+"']", true, false)
	s.secretOf("clients", map[string][]byte{"ca.crt": stranger.Roots})
	change(mutual+", caCertCredentialName: NAMESPACE-clients", false, true)
	change(mutual+", insecureSkipVerify: true", true, true)
	change("mode: OPTIONAL_MUTUAL, credentialName: NAMESPACE-shop", true, false)
	s.Expect(taken()).To(BeTrue(), "a client may show none")
}

func TestGatewayCertificateFiles(t *testing.T) {
	s := newScene(t, "Gateway spec.servers[].tls.serverCertificate", "Gateway spec.servers[].tls.privateKey", "Gateway spec.servers[].tls.caCertificates",
		"Gateway spec.servers[].tls.caCrl", "Gateway spec.servers[].tls.tlsCertificates[].serverCertificate", "Gateway spec.servers[].tls.tlsCertificates[].privateKey")
	credentials, good, revoked := s.issue(testenv.Named("shop.example")), s.issue(testenv.Named("client.example")), s.issue(testenv.Named("client.example"))
	list, err := s.stage.authority.Revoke(revoked.Chain)
	s.Expect(err).NotTo(HaveOccurred())
	pair := "serverCertificate: " + s.written("chain.pem", credentials.Chain) + ", privateKey: " + s.written("key.pem", credentials.Key)
	s.serveShop(server("mode: MUTUAL, "+pair+", caCertificates: "+s.stage.rootsFile()+", caCrl: "+s.written("crl.pem", list)), "shop.example")
	s.Expect(s.outside().byTLS(shows(good)).get("shop.example/").Status).To(Equal(200))
	_, err = s.outside().byTLS(shows(revoked)).try("shop.example/")
	s.Expect(err).To(HaveOccurred(), "the certificate is revoked")
	s.gateway("public", server("mode: SIMPLE, tlsCertificates: [{"+pair+"}]"))
	s.Eventually(func() error {
		_, err := s.outside().byTLS().try("shop.example/")
		return err
	}).Should(Succeed(), "the server has its certificate from the list")
}

func TestGatewayTLSVersions(t *testing.T) {
	s := newScene(t, "Gateway spec.servers[].tls.minProtocolVersion", "Gateway spec.servers[].tls.maxProtocolVersion", "Gateway spec.servers[].tls.cipherSuites[]")
	s.secret("shop", "shop.example")
	const of = "mode: SIMPLE, credentialName: NAMESPACE-shop, "
	s.serveShop(server(of+"minProtocolVersion: TLSV1_3"), "shop.example")
	speak := func(version uint16, ciphers ...uint16) error {
		connection, err := s.outside().byTLS(func(c *tls.Config) { c.MinVersion, c.MaxVersion, c.CipherSuites = version, version, ciphers }).dial("shop.example")
		if err == nil {
			err = connection.Close()
		}
		return err
	}
	s.Expect(speak(tls.VersionTLS12)).NotTo(Succeed())
	s.Expect(speak(tls.VersionTLS13)).To(Succeed())
	s.gateway("public", server(of+"maxProtocolVersion: TLSV1_2, cipherSuites: [ECDHE-ECDSA-AES256-GCM-SHA384]"))
	s.Eventually(func() error { return speak(tls.VersionTLS12) }).Should(Succeed(), "the change has come")
	s.Expect(speak(tls.VersionTLS13)).NotTo(Succeed())
	s.Expect(speak(tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)).NotTo(Succeed(), "the cipher is not on the list")
	s.Expect(speak(tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384)).To(Succeed())
}

func TestGatewayMutualOfTheMesh(t *testing.T) {
	s := newScene(t, "Gateway spec.servers[].tls.mode")
	s.serveShop(server("mode: ISTIO_MUTUAL"), "shop.example")
	_, err := s.outside().byTLS(unverified).try("shop.example/")
	s.Expect(err).To(HaveOccurred(), "a client without a certificate")
	member, err := s.stage.authority.Issue("spiffe://cluster.local/ns/bank/sa/ledger")
	s.Expect(err).NotTo(HaveOccurred())
	client := s.outside().byTLS(shows(member), unverified)
	s.Expect(client.get("shop.example/").Seen.Header.Get("X-Forwarded-Client-Cert")).To(ContainSubstring("URI=spiffe://cluster.local/ns/bank/sa/ledger"))
	connection, err := client.dial("shop.example")
	s.Expect(err).NotTo(HaveOccurred())
	defer func(c net.Conn) { _ = c.Close() }(connection)
	s.Expect(connection.(*tls.Conn).ConnectionState().PeerCertificates[0].URIs[0].String()).To(Equal(s.stage.proxies[ingress].identity()))
}

func TestGatewaySeveralCertificates(t *testing.T) {
	s := newScene(t, "Gateway spec.servers[].tls.credentialNames[]")
	s.secret("shop", "shop.example")
	s.secret("pay", "pay.example")
	s.serveShop(`
- {port: {number: INGRESS, protocol: HTTPS, name: https}, hosts: [shop.example, pay.example], tls: {mode: SIMPLE, credentialNames: [NAMESPACE-shop, NAMESPACE-pay]}}
`, "shop.example, pay.example")
	for _, host := range []string{"shop.example", "pay.example"} {
		s.Expect(s.outside().byTLS().get(host+"/").Status).To(Equal(200), "the client gets the certificate of the name that it asks for")
	}
}
