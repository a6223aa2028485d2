package conformance

import (
	"testing"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/internal/mesh"
)

// serveTwo makes reviews and ratings.
func (s *scene) serveTwo() {
	s.Helper()
	s.serve("reviews", "v1")
	s.serve("ratings", "v2")
}

func TestGatewayPassthrough(t *testing.T) {
	s := newScene(t, "Gateway spec.servers[].tls.mode", "VirtualService spec.tls[].match[].sniHosts[]", "VirtualService spec.tls[].route[].destination.host")
	s.serveTwo()
	s.apply(gateway("public", `
- {port: {number: INGRESS, protocol: TLS, name: tls}, hosts: ["*.secure.example"], tls: {mode: PASSTHROUGH}}
`) + bound("secure", `"*.secure.example"`, `
tls:
- match: [{sniHosts: ["*.secure.example"]}]
  route: [{destination: {host: reviews, port: {number: 443}}}]
- match: [{sniHosts: [ratings.secure.example]}]
  route: [{destination: {host: ratings, port: {number: 443}}}]
`))
	s.Expect(s.outside().byTLS().get("shop.secure.example/").Seen).To(And(HaveField("Version", "v1"), HaveField("ServerName", "shop.secure.example")))
	s.Expect(s.outside().byTLS().get("ratings.secure.example/").Version).To(Equal("v2"), "the more exact name goes first")
	_, err := s.outside().byTLS().try("secure.example/")
	s.Expect(err).To(HaveOccurred(), "the server does not have the name")
}

func TestGatewayTLSMatch(t *testing.T) {
	s := newScene(t, "VirtualService spec.tls[].match[].port", "VirtualService spec.tls[].match[].gateways[]",
		"VirtualService spec.tls[].match[].destinationSubnets[]", "VirtualService spec.tls[].route[].weight")
	s.serveTwo()
	s.apply(gateway("public", `
- {port: {number: INGRESS, protocol: TLS, name: tls}, hosts: ["*.secure.example"], tls: {mode: PASSTHROUGH}}
- {port: {number: INGRESS2, protocol: TLS, name: tls-too}, hosts: ["*.secure.example"], tls: {mode: PASSTHROUGH}}
`) + bound("secure", `"*.secure.example"`, `
tls:
- match: [{sniHosts: [a.secure.example], gateways: [other]}, {sniHosts: [a.secure.example], destinationSubnets: [192.0.2.0/24]}]
  route: [{destination: {host: reviews, port: {number: 443}}}]
- match: [{sniHosts: [a.secure.example], port: INGRESS2, gateways: [public], destinationSubnets: [127.0.0.0/8]}]
  route: [{destination: {host: ratings, port: {number: 443}}}]
- match: [{sniHosts: [a.secure.example, b.secure.example]}]
  route: [{destination: {host: reviews, port: {number: 443}}, weight: 50}, {destination: {host: ratings, port: {number: 443}}, weight: 50}]
`))
	shares := map[string]int{}
	for range 40 {
		shares[s.outside().byTLS().get("a.secure.example/").Version]++
		s.Expect(s.outside().second().byTLS().get("a.secure.example/").Version).To(Equal("v2"))
	}
	s.Expect(shares).To(And(HaveKey("v1"), HaveKey("v2")))
	s.Expect(s.outside().second().byTLS().get("b.secure.example/").Status).To(Equal(200))
}

func TestGatewayTCP(t *testing.T) {
	s := newScene(t, "Gateway spec.servers[].port.protocol", "VirtualService spec.tcp[].route[].destination.host",
		"VirtualService spec.tcp[].route[].destination.port.number", "VirtualService spec.tcp[].route[].weight", "VirtualService spec.tcp[].match[].port")
	s.serveTwo()
	s.apply(gateway("public", `
- {port: {number: INGRESS, protocol: TCP, name: lines}, hosts: ["*"]}
- {port: {number: INGRESS2, protocol: TCP, name: lines-too}, hosts: ["*"]}
`) + bound("lines", `"*"`, `
tcp:
- match: [{port: INGRESS}]
  route: [{destination: {host: reviews, port: {number: 9000}}, weight: 80}, {destination: {host: ratings, port: {number: 9000}}, weight: 20}]
- match: [{port: INGRESS2}]
  route: [{destination: {host: ratings, port: {number: 9000}}}]
`))
	const connections = 300
	shares := map[string]int{}
	for range connections {
		greeting, answer, err := s.outside().converse("", "hello")
		s.Expect(err).NotTo(HaveOccurred())
		s.Expect(answer).To(HaveSuffix(": hello\n"))
		shares[greeting]++
	}
	s.Expect(shares["this is v2\n"]).To(BeNumerically("~", connections/5, connections/10))
	greeting, _, err := s.outside().second().converse("", "hello")
	s.Expect(err).NotTo(HaveOccurred())
	s.Expect(greeting).To(Equal("this is v2\n"))
}

func TestGatewayTCPBySource(t *testing.T) {
	s := newScene(t, "VirtualService spec.tcp[].match[].sourceSubnet", "VirtualService spec.tcp[].match[].destinationSubnets[]", "VirtualService spec.tcp[].match[].gateways[]")
	s.serveTwo()
	s.apply(gateway("public", `
- {port: {number: INGRESS, protocol: TCP, name: lines}, hosts: ["*"]}
`) + bound("lines", `"*"`, `
tcp:
- match: [{sourceSubnet: 192.0.2.0/24}, {destinationSubnets: [192.0.2.0/24]}, {gateways: [other]}]
  route: [{destination: {host: reviews, port: {number: 9000}}}]
- match: [{sourceSubnet: 127.0.0.0/8, destinationSubnets: [127.0.0.0/8], gateways: [public]}]
  route: [{destination: {host: ratings, port: {number: 9000}}}]
`))
	greeting, _, err := s.outside().converse("", "hello")
	s.Expect(err).NotTo(HaveOccurred())
	s.Expect(greeting).To(Equal("this is v2\n"))
}

func TestGatewayEndsTLSOfTCP(t *testing.T) {
	s := newScene(t, "Gateway spec.servers[].port.protocol", "Gateway spec.servers[].hosts[]")
	s.secret("lines", "reviews.example", "ratings.example")
	s.serveTwo()
	s.apply(gateway("public", `
- {port: {number: INGRESS, protocol: TLS, name: lines}, name: reviews, hosts: [reviews.example], tls: {mode: SIMPLE, credentialName: NAMESPACE-lines}}
- {port: {number: INGRESS, protocol: TLS, name: lines-too}, name: ratings, hosts: [ratings.example], tls: {mode: SIMPLE, credentialName: NAMESPACE-lines}}
`) +
		bound("reviews", "reviews.example", "\ntcp:\n- route: [{destination: {host: reviews, port: {number: 9000}}}]\n") +
		bound("ratings", "ratings.example", "\ntcp:\n- route: [{destination: {host: ratings, port: {number: 9000}}}]\n"))
	for host, version := range map[string]string{"reviews.example": "v1", "ratings.example": "v2"} {
		greeting, answer, err := s.outside().byTLS().converse(host, "hello")
		s.Expect(err).NotTo(HaveOccurred())
		s.Expect(greeting + answer).To(Equal("this is " + version + "\n" + version + ": hello\n"))
	}
}

func TestGatewayAutoPassthrough(t *testing.T) {
	s := newScene(t, "Gateway spec.servers[].tls.mode")
	s.serveMutual("reviews")
	s.gateway("public", `
- {port: {number: INGRESS, protocol: TLS, name: tls}, hosts: ["*.local"], tls: {mode: AUTO_PASSTHROUGH}}
`)
	member, err := s.stage.authority.Issue("spiffe://cluster.local/ns/bank/sa/ledger")
	s.Expect(err).NotTo(HaveOccurred())
	client := s.outside().byTLS(shows(member), asksFor("outbound_.80_._."+mesh.ServiceHost("reviews", s.namespace, "")), unverified)
	s.Expect(client.get("reviews/").Seen.Peer).To(Equal("spiffe://cluster.local/ns/bank/sa/ledger"), "mutual TLS of the client's own")
	_, err = s.outside().byTLS(asksFor("outbound_.80_._.other.local"), unverified).try("reviews/")
	s.Expect(err).To(HaveOccurred(), "there is no such service")
}

func TestGatewayGRPC(t *testing.T) {
	s := newScene(t, "Gateway spec.servers[].port.protocol")
	s.serve("reviews", "v1")
	s.apply(gateway("public", `
- {port: {number: INGRESS, protocol: GRPC, name: grpc}, hosts: [greeter.example]}
`) + bound("greeter", "greeter.example", `
http:
- match: [{uri: {prefix: /grpc.health.v1.Health/}}]
  route: [{destination: {host: reviews, port: {number: 9090}}}]
`))
	s.Expect(s.outside().checkHealth("greeter.example")).To(Equal("SERVING"))
}

func TestGatewayGRPCByTLS(t *testing.T) {
	s := newScene(t, "Gateway spec.servers[].port.protocol")
	s.secret("shop", "shop.example")
	s.serve("reviews", "v1")
	s.apply(gateway("public", secureServer) + bound("shop", "shop.example", "\nhttp:\n- route: [{destination: {host: reviews, port: {number: 9090}}}]\n"))
	s.Expect(s.outside().byTLS().checkHealth("shop.example")).To(Equal("SERVING"))
}
