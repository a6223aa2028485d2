package conformance

import (
	"net"
	"testing"

	. "github.com/onsi/gomega"
)

const plainServer = `
- {port: {number: INGRESS, protocol: HTTP, name: http}, hosts: ["*.example"]}
`

// toReviews are routes of which each leads to reviews.
const toReviews = `
http:
- route: [{destination: {host: reviews, port: {number: 80}}}]
`

func TestGatewayHTTP(t *testing.T) {
	s := newScene(t, "Gateway spec.selector", "Gateway spec.servers[].port.number", "Gateway spec.servers[].port.protocol",
		"Gateway spec.servers[].port.name", "Gateway spec.servers[].hosts[]", "VirtualService spec.gateways[]")
	s.serve("reviews", "v1", "v2")
	s.apply(gateway("public", plainServer) + bound("shop", "shop.example, shop.elsewhere", `
http:
- match: [{uri: {prefix: /new}}]
  rewrite: {uri: /items}
  route: [{destination: {host: reviews, port: {number: 80}, labels: {version: v2}}}]
- route: [{destination: {host: reviews, port: {number: 80}, labels: {version: v1}}}]
`))
	seen := s.outside().get("shop.example/old").Seen
	s.Expect(seen).To(And(HaveField("Version", "v1"), HaveField("Path", "/old"), HaveField("Authority", "shop.example")))
	s.Expect(s.outside().get("shop.example/new/1").Seen).To(And(HaveField("Version", "v2"), HaveField("Path", "/items/1")))
	s.Expect(s.outside().get("shop.example/old", "Host", s.text("shop.example:INGRESS")).Status).To(Equal(200), "clients name the port")
	s.Expect(s.outside().get("other.example/").Status).To(Equal(404), "nothing is bound for the host")
	s.Expect(s.outside().get("shop.elsewhere/").Status).To(Equal(404), "the server does not have the host")
	s.Expect(s.front.get("shop.example/").Status).NotTo(Equal(200), "sidecars do not have what is bound to gateways alone")
}

func TestGatewayMergesVirtualServices(t *testing.T) {
	s := newScene(t, "VirtualService spec.gateways[]")
	s.serve("reviews", "v1", "v2")
	s.apply(gateway("public", plainServer) +
		bound("first", "shop.example", "\nhttp:\n- match: [{uri: {prefix: /reviews}}]\n  route: [{destination: {host: reviews, port: {number: 80}, labels: {version: v1}}}]\n") +
		bound("second", "shop.example", "\nhttp:\n- match: [{uri: {prefix: /}}]\n  route: [{destination: {host: reviews, port: {number: 80}, labels: {version: v2}}}]\n") +
		bound("other", "other.example", "\nhttp:\n- directResponse: {status: 418}\n"))
	s.Expect(s.outside().get("shop.example/reviews").Version).To(Equal("v1"))
	s.Expect(s.outside().get("shop.example/ratings").Version).To(Equal("v2"))
	s.Expect(s.outside().get("other.example/").Status).To(Equal(418))
	s.delete("VirtualService", "second")
	s.Expect(s.outside().get("shop.example/reviews").Version).To(Equal("v1"))
	s.Expect(s.outside().get("shop.example/ratings").Status).To(Equal(404))
}

func TestGatewayHostsOfNamespaces(t *testing.T) {
	s := newScene(t, "Gateway spec.servers[].hosts[]")
	s.serve("reviews", "v1")
	s.apply(gateway("public", `
- {port: {number: INGRESS, protocol: HTTP, name: http}, hosts: ["./own.example", "*/any.example", "elsewhere/other.example"]}
`) + bound("shop", "own.example, any.example, other.example", toReviews))
	s.Expect(s.outside().get("own.example/").Status).To(Equal(200))
	s.Expect(s.outside().get("any.example/").Status).To(Equal(200))
	s.Expect(s.outside().get("other.example/").Status).To(Equal(404), "the host is for another namespace's routes")
}

func TestGatewayHTTPSRedirect(t *testing.T) {
	s := newScene(t, "Gateway spec.servers[].tls.httpsRedirect")
	s.serve("reviews", "v1")
	s.apply(gateway("public", `
- {port: {number: INGRESS, protocol: HTTP, name: http}, hosts: [shop.example], tls: {httpsRedirect: true}}
- {port: {number: INGRESS, protocol: HTTP, name: plain}, hosts: [plain.example]}
`) + bound("shop", "shop.example, plain.example", toReviews))
	reply := s.outside().get("shop.example/items?of=1")
	s.Expect(reply.Status).To(Equal(301))
	s.Expect(reply.Header.Get("Location")).To(Equal("https://shop.example/items?of=1"))
	s.Expect(s.outside().get("plain.example/").Status).To(Equal(200))
}

func TestGatewayMatchGateways(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].match[].gateways[]")
	s.serve("reviews", "v1", "v2")
	s.apply(gateway("public", plainServer) + `---` + gateway("private", `
- {port: {number: INGRESS2, protocol: HTTP, name: http}, hosts: ["*.example"]}
`) + `
---
apiVersion: mesh.fairlead.dev/v1alpha1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [NAMESPACE.example]
  gateways: [public, NAMESPACE/private, mesh]
  http:
  - match: [{gateways: [public], uri: {prefix: /}}]
    route: [{destination: {host: reviews, port: {number: 80}, labels: {version: v1}}}]
  - match: [{gateways: [NAMESPACE/private], uri: {prefix: /}}]
    route: [{destination: {host: reviews, port: {number: 80}, labels: {version: v2}}}]
  - directResponse: {status: 418}
`)
	s.Expect(s.outside().get("NAMESPACE.example/").Version).To(Equal("v1"))
	s.Expect(s.outside().second().get("NAMESPACE.example/").Version).To(Equal("v2"))
	s.Expect(s.front.get("NAMESPACE.example/").Status).To(Equal(418))
}

func TestGatewayChangesWhileItServes(t *testing.T) {
	s := newScene(t)
	s.serve("reviews", "v1", "v2")
	s.apply(gateway("public", plainServer) + bound("shop", "shop.example", toReviews))
	s.Expect(s.outside().get("shop.example/").Status).To(Equal(200))
	s.gateway("public", "\n- {port: {number: INGRESS2, protocol: HTTP, name: http}, hosts: [shop.example]}\n")
	s.Expect(s.outside().second().get("shop.example/").Status).To(Equal(200), "the server has another port")
	s.Eventually(func() error {
		_, err := s.outside().try("shop.example/")
		return err
	}).Should(HaveOccurred(), "the old port is closed")
	s.delete("Gateway", "public")
	s.Eventually(func() error {
		_, err := s.outside().second().try("shop.example/")
		return err
	}).Should(HaveOccurred(), "there is no gateway any more")
}

func TestGatewayWhoCalls(t *testing.T) {
	s := newScene(t)
	s.serve("reviews", "v1")
	s.apply(gateway("public", plainServer) + bound("shop", "shop.example", toReviews))
	header := s.outside().get("shop.example/", "X-Forwarded-Client-Cert", "By=spiffe://cluster.local/ns/edge/sa/ingress").Seen.Header
	s.Expect(header).NotTo(HaveKey("X-Forwarded-Client-Cert"), "clients do not say who they are")
	s.Expect(net.ParseIP(header.Get("X-Forwarded-For"))).NotTo(BeNil(), "the client's address, one")
}
