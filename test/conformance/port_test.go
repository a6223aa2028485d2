package conformance

import (
	"fmt"
	"testing"

	. "github.com/onsi/gomega"
)

// named is entry with a name of its own.
func named(name, host, spec string) string {
	return fmt.Sprintf(`
---
apiVersion: mesh.fairlead.dev/v1alpha1
kind: ServiceEntry
metadata: {name: %s}
spec:
  hosts: [%q]
%s`, name, host, spec)
}

// routes is a VirtualService, as a manifest.
func routes(name, spec string) string {
	return fmt.Sprintf(`
---
apiVersion: mesh.fairlead.dev/v1alpha1
kind: VirtualService
metadata: {name: %s}
spec:
%s`, name, spec)
}

// An intercepting proxy tells hosts without an address by what clients say of whom they want.
func TestHostsOfOnePortByHostHeader(t *testing.T) {
	s := newScene(t)
	_, one := s.application("v1")
	_, two := s.application("v2")
	_, other := s.application("other")
	const spec = `
  resolution: STATIC
  ports: [{number: %d, name: http, protocol: HTTP}]
  endpoints: [{address: %s}]
`
	s.apply(named("one", "one.NAMESPACE.example", fmt.Sprintf(spec, httpPort, one)) +
		named("wide", "*.NAMESPACE.example", fmt.Sprintf(spec, httpPort, two)))
	for host, version := range map[string]string{"one.NAMESPACE.example": "v1", "any.NAMESPACE.example": "v2", "unknown.example": "other"} {
		at := fmt.Sprintf("%s:%d/", reached(s, other), httpPort)
		s.Expect(s.mobile.get(at, "Host", host).Version).To(Equal(version), host)
	}
}

func TestTLSRoutesOfHostsByServerName(t *testing.T) {
	s := newScene(t, "VirtualService spec.tls[].match[].sniHosts", "VirtualService spec.tls[].match[].destinationSubnets")
	s.serve("reviews", "v1")
	_, outside := s.application("outside")
	s.apply(entry("NAMESPACE.secure.example", fmt.Sprintf(`
  resolution: STATIC
  ports: [{number: 443, name: tls, protocol: TLS}]
  endpoints: [{address: %s, ports: {tls: %d}}]
`, outside, tlsPort)))
	name := s.text("NAMESPACE.secure.example")
	// An Envoy acknowledges a listener a moment before its workers have it.
	s.Eventually(func() string { return s.mobile.getTLS("192.0.2.1", 443, name).Version }).Should(Equal("outside"))
	s.apply(routes("outside", `
  hosts: [NAMESPACE.secure.example]
  tls: [{match: [{sniHosts: [NAMESPACE.secure.example], destinationSubnets: [192.0.2.0/25]}], route: [{destination: {host: reviews, port: {number: 443}}}]}]
`))
	s.Expect(s.mobile.getTLS("192.0.2.1", 443, name).Version).To(Equal("v1"))
	s.Expect(s.mobile.getTLS("192.0.2.129", 443, name).Version).To(Equal("outside"), "another address")
}

func TestTCPRoutesOfHostsByAddress(t *testing.T) {
	s := newScene(t, "VirtualService spec.tcp[].match[].destinationSubnets", "VirtualService spec.tcp[].match[].port")
	s.serve("reviews", "v1")
	_, outside := s.application("outside")
	const spec = `
  resolution: STATIC
  ports: [{number: %d, name: tcp, protocol: TCP}]
  endpoints: [{address: %s, ports: {tcp: %d}}]
`
	const held, ranged = 7001, 7002
	s.apply(named("held", "held.NAMESPACE.example", fmt.Sprintf(spec, held, outside, linesPort)) +
		named("ranged", "ranged.NAMESPACE.example", "  addresses: [192.0.2.0/24]\n"+fmt.Sprintf(spec, ranged, outside, linesPort)))
	answers := func(want map[string]string) {
		s.Helper()
		for _, port := range []uint16{held, ranged} {
			for address, version := range want {
				greeting, _ := s.mobile.converse(address, port, "hello")
				s.Expect(greeting).To(Equal("this is "+version+"\n"), "%s:%d", address, port)
			}
		}
	}
	answers(map[string]string{"192.0.2.1": "outside", "192.0.2.129": "outside"})
	s.apply(routes("outside", `
  hosts: [held.NAMESPACE.example, ranged.NAMESPACE.example]
  tcp:
  - {match: [{destinationSubnets: [192.0.2.0/25], port: 7001}, {destinationSubnets: [192.0.2.0/25], port: 7002}], route: [{destination: {host: reviews, port: {number: 9000}}}]}
`))
	answers(map[string]string{"192.0.2.1": "v1", "192.0.2.129": "outside"})
}

func TestTCPRoutesOfAHeadlessService(t *testing.T) {
	s := newScene(t)
	s.serve("reviews", "v1")
	pod := s.headless("db", "v2", "", linesPort)
	said := func() string {
		greeting, _ := s.mobile.converse(pod, linesPort, "hello")
		return greeting
	}
	s.Expect(said()).To(Equal("this is v2\n"))
	s.apply(routes("db", `
  hosts: [db]
  tcp: [{route: [{destination: {host: reviews, port: {number: 9000}}}]}]
`))
	s.Expect(said()).To(Equal("this is v1\n"))
}
