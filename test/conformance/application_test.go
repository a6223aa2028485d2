package conformance

import (
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/test/echo"
)

// serviceAddresses counts the Services that there were.
var serviceAddresses atomic.Uint32

// serve makes a Service with a Pod for each version, and returns their applications.
func (s *scene) serve(name string, versions ...string) map[string]*echo.App {
	s.Helper()
	manifests := s.service(name)
	apps := map[string]*echo.App{}
	for _, version := range versions {
		version, node, _ := strings.Cut(version, "@")
		app, address := s.application(version)
		apps[version] = app
		manifests += pod(name, version, node, address) + slice(name, version, address)
	}
	s.apply(manifests)
	return apps
}

// service is a Service, as a manifest.
func (s *scene) service(name string) string {
	n := serviceAddresses.Add(1)
	return fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %s}
spec:
  clusterIP: 10.96.%d.%d
  selector: {app: %[1]s}
  ports:
  - {name: http, port: 80}
  - {name: http-other, port: 8081}
  - {name: grpc, port: 9090}
  - {name: tcp-lines, port: 9000}
  - {name: https, port: 443}
  - {name: http-tls, port: 8443}
`, name, n/250, 1+n%250)
}

// The ports of an application.
const (
	httpPort  = 9080
	linesPort = 9000
	tlsPort   = 9443
)

// application runs one until the case ends, and returns the address of its Pod.
func (s *scene) application(version string) (*echo.App, string) {
	s.Helper()
	address, err := freeAddress(httpPort)
	s.Expect(err).NotTo(HaveOccurred())
	app := echo.New(version)
	s.Cleanup(app.Close)
	serveTLS := func(listener net.Listener) error { return app.Serve(tls.NewListener(listener, s.serverTLS())) }
	for port, serve := range map[int]func(net.Listener) error{httpPort: app.Serve, linesPort: app.ServeLines, tlsPort: serveTLS} {
		listener, err := net.Listen("tcp", net.JoinHostPort(mesh.LoopbackAddress(address).String(), strconv.Itoa(port)))
		s.Expect(err).NotTo(HaveOccurred())
		go func() { _ = serve(listener) }()
	}
	return app, address.String()
}

// serveMutual makes a Service whose one Pod takes mutual TLS of the mesh on every port of HTTP,
// as its proxy would.
func (s *scene) serveMutual(name string) *echo.App {
	s.Helper()
	app, address := s.application("v1")
	ports := strings.NewReplacer(fmt.Sprint(": ", httpPort), fmt.Sprint(": ", tlsPort))
	s.apply(s.service(name) + strings.Replace(pod(name, "v1", "", address), "labels: {", "labels: {"+v1alpha1.TLSModeLabel+": mutual, ", 1) +
		ports.Replace(slice(name, "v1", address)))
	return app
}

// pod is a ready Pod of a service, as a manifest.
func pod(service, version, node, address string) string {
	return fmt.Sprintf(`
---
apiVersion: v1
kind: Pod
metadata: {name: %[1]s-%[2]s, labels: {app: %[1]s, version: %[2]s}}
spec: {nodeName: "%[3]s", serviceAccountName: %[1]s, containers: []}
status: {podIP: %[4]s, conditions: [{type: Ready, status: "True"}]}
`, service, version, node, address)
}

// slice leads a service to a Pod, as a manifest.
func slice(service, version, address string) string {
	return fmt.Sprintf(`
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[1]s-%[2]s, labels: {kubernetes.io/service-name: %[1]s}}
addressType: IPv4
endpoints: [{addresses: [%[3]s], conditions: {ready: true}, targetRef: {kind: Pod, name: %[1]s-%[2]s}}]
ports:
- {name: http, port: %[4]d}
- {name: http-other, port: %[4]d}
- {name: grpc, port: %[4]d}
- {name: tcp-lines, port: %[5]d}
- {name: https, port: %[6]d}
- {name: http-tls, port: %[6]d}
`, service, version, address, httpPort, linesPort, tlsPort)
}
