package conformance

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strings"

	. "github.com/onsi/gomega"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"fairlead.dev/fairlead/test/echo"
	"fairlead.dev/fairlead/test/testenv"
)

// gateway applies a Gateway of the case for the ingress, with servers as YAML.
func (s *scene) gateway(name, servers string) {
	s.Helper()
	s.apply(gateway(name, servers))
}

func gateway(name, servers string) string {
	return fmt.Sprintf(`
apiVersion: mesh.fairlead.dev/v1alpha1
kind: Gateway
metadata: {name: %s}
spec:
  selector: {app: ingress}
  servers:`, name) + strings.ReplaceAll(servers, "\n-", "\n  -")
}

// bound is a VirtualService bound to the Gateway "public" of the case, for hosts, with the rest
// of its spec as YAML.
func bound(name, hosts, rest string) string {
	return fmt.Sprintf(`
---
apiVersion: mesh.fairlead.dev/v1alpha1
kind: VirtualService
metadata: {name: %s}
spec:
  hosts: [%s]
  gateways: [public]`, name, hosts) + strings.ReplaceAll(rest, "\n", "\n  ")
}

// secret puts a certificate for names where the ingress finds it, and returns it.
func (s *scene) secret(name string, names ...string) *x509.Certificate {
	s.Helper()
	issued := s.issue(testenv.Named(names...))
	s.secretOf(name, map[string][]byte{"tls.crt": issued.Chain, "tls.key": issued.Key})
	pair, err := tls.X509KeyPair(issued.Chain, issued.Key)
	s.Expect(err).NotTo(HaveOccurred())
	return pair.Leaf
}

// secretOf puts a Secret of the case where the ingress finds it.
func (s *scene) secretOf(name string, data map[string][]byte) {
	s.Helper()
	manifest := fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {name: NAMESPACE-%s, namespace: edge}
data:
`, name)
	for key, value := range data {
		manifest += fmt.Sprintf("  %s: %s\n", key, base64.StdEncoding.EncodeToString(value))
	}
	s.apply(manifest)
}

// outside is a client from outside of the mesh, which calls the ingress.
type outside struct {
	scene *scene
	port  uint16
	// tls is nil for one that does not speak it. Where it names no server, the request's host is named.
	tls *tls.Config
}

// outside is a client that calls the first port of the case.
func (s *scene) outside() outside { return outside{scene: s, port: s.ingress} }

// byTLS is the client, by TLS, with changes to how.
func (o outside) byTLS(changes ...func(*tls.Config)) outside {
	o.tls = o.scene.clientTLS("")
	for _, change := range changes {
		change(o.tls)
	}
	return o
}

// asksFor has the client ask for a server by name.
func asksFor(name string) func(*tls.Config) { return func(c *tls.Config) { c.ServerName = name } }

// unverified has the client take any certificate: identities of the mesh are no names of servers.
func unverified(c *tls.Config) { c.InsecureSkipVerify = true }

// shows has the client show a certificate.
func shows(issued testenv.Credentials) func(*tls.Config) {
	return func(c *tls.Config) {
		// Never fails: it was issued right now.
		pair, _ := tls.X509KeyPair(issued.Chain, issued.Key)
		// Whoever the server says it trusts.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
}

// dial connects, for a host that is named in the handshake unless another is.
func (o outside) dial(host string) (net.Conn, error) {
	connection, err := new(net.Dialer).DialContext(context.Background(), "tcp", o.scene.stage.proxies[ingress].at(o.port))
	if err != nil || o.tls == nil {
		return connection, err
	}
	config := o.tls.Clone()
	if config.ServerName == "" {
		config.ServerName = host
	}
	secure := tls.Client(connection, config)
	if err := secure.Handshake(); err != nil {
		_ = connection.Close()
		return nil, err
	}
	return secure, nil
}

// certificate returns what is shown for a host.
func (o outside) certificate(host string) *x509.Certificate {
	o.scene.Helper()
	connection, err := o.byTLS().dial(host)
	o.scene.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = connection.Close() }()
	return connection.(*tls.Conn).ConnectionState().PeerCertificates[0]
}

// try sends a GET request by a connection of its own to "host/path".
func (o outside) try(target string, headers ...string) (echo.Reply, error) {
	target = o.scene.text(target)
	host, _, _ := strings.Cut(target, "/")
	client := echo.NewDialingClient(func(context.Context, string, string) (net.Conn, error) { return o.dial(host) })
	defer client.CloseIdleConnections()
	return echo.Send(client, http.MethodGet, "http://"+target, "", headers...)
}

// get is try of a request that is answered.
func (o outside) get(target string, headers ...string) echo.Reply {
	o.scene.Helper()
	reply, err := o.try(target, headers...)
	o.scene.Expect(err).NotTo(HaveOccurred(), "the ingress answers")
	return reply
}

// converse listens to a greeting, says a line and returns both answers.
func (o outside) converse(host, line string) (greeting, answer string, err error) {
	connection, err := o.dial(o.scene.text(host))
	if err != nil {
		return "", "", err
	}
	return echo.Converse(connection, line)
}

// checkHealth calls gRPC's health service, and returns what it says of itself.
func (o outside) checkHealth(host string) string {
	o.scene.Helper()
	secure := insecure.NewCredentials()
	if o.tls != nil {
		secure = credentials.NewTLS(o.tls)
	}
	client, err := grpc.NewClient("passthrough:///"+o.scene.stage.proxies[ingress].at(o.port), grpc.WithTransportCredentials(secure), grpc.WithAuthority(host))
	o.scene.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = client.Close() }()
	answer, err := healthpb.NewHealthClient(client).Check(o.scene.Context(), &healthpb.HealthCheckRequest{})
	o.scene.Expect(err).NotTo(HaveOccurred())
	return answer.GetStatus().String()
}

// second is the client, for the other port of the case.
func (o outside) second() outside {
	o.port++
	return o
}
