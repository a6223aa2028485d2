package conformance

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
	"strings"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/test/echo"
)

// caller makes the requests of a case by one of the stage's proxies, as its application would.
type caller struct {
	scene *scene
	*proxy
}

// url completes a target: "reviews:8081/path" is a service of the case's namespace, a name with
// a dot stands as it is.
func (c caller) url(target string) string {
	authority, path, _ := strings.Cut(c.scene.text(target), "/")
	host, port, _ := strings.Cut(authority, ":")
	if !strings.Contains(host, ".") {
		host = mesh.ServiceHost(host, c.scene.namespace, "")
	}
	if port != "" {
		host += ":" + port
	}
	return "http://" + host + "/" + path
}

// get sends a GET request. Headers are given as name, value; "Host" is the authority.
func (c caller) get(target string, headers ...string) echo.Reply {
	c.scene.Helper()
	return c.send(http.MethodGet, target, "", headers...)
}

func (c caller) send(method, target, body string, headers ...string) echo.Reply {
	c.scene.Helper()
	for i := range headers {
		headers[i] = c.scene.text(headers[i])
	}
	r, err := echo.Send(c.http, method, c.url(target), body, headers...)
	c.scene.Expect(err).NotTo(HaveOccurred(), "the proxy of %s answers every request", c.name)
	return r
}

// many sends n requests, several at a time.
func (c caller) many(n int, target string, headers ...string) echo.Tally {
	return echo.Many(c.http, n, c.url(target), headers...)
}

// dial connects to a port of a TCP service; a name with a dot, or an address, stands as it is.
func (c caller) dial(service string, port uint16) net.Conn {
	c.scene.Helper()
	host := c.scene.text(service)
	if !strings.Contains(host, ".") {
		host = mesh.ServiceHost(service, c.scene.namespace, "")
	}
	var connection net.Conn
	var err error
	if c.intercepted {
		connection, err = c.intercept(context.Background(), net.JoinHostPort(host, strconv.Itoa(int(port))))
	} else {
		address, remove := c.listenFor(host, port)
		c.scene.Cleanup(remove)
		c.scene.settle()
		// Envoy acknowledges a listener before its threads listen.
		c.scene.Eventually(func() error {
			connection, err = new(net.Dialer).DialContext(context.Background(), "tcp", address)
			return err
		}).Should(Succeed(), "the proxy of %s listens", c.name)
	}
	c.scene.Expect(err).NotTo(HaveOccurred())
	c.scene.Cleanup(func() { _ = connection.Close() })
	return connection
}

// request sends one that is written as "METHOD /path Name: value; Name: value".
func (c caller) request(host, text string) echo.Reply {
	c.scene.Helper()
	method, rest, _ := strings.Cut(text, " ")
	path, fields, _ := strings.Cut(rest, " ")
	var headers []string
	if fields != "" {
		for field := range strings.SplitSeq(fields, "; ") {
			name, value, _ := strings.Cut(field, ": ")
			headers = append(headers, name, value)
		}
	}
	return c.send(method, host+path, "", headers...)
}

// converse connects to a TCP service, listens to its greeting, says a line and returns both
// answers.
func (c caller) converse(service string, port uint16, line string) (greeting, answer string) {
	c.scene.Helper()
	greeting, answer, err := echo.Converse(c.dial(service, port), line)
	c.scene.Expect(err).NotTo(HaveOccurred())
	return greeting, answer
}

// getTLS sends a GET request by TLS of the client's own, with a server name, to a port of a
// service.
func (c caller) getTLS(service string, port uint16, serverName string) echo.Reply {
	c.scene.Helper()
	config := c.scene.clientTLS(serverName)
	client := echo.NewDialingClient(func(ctx context.Context, _, _ string) (net.Conn, error) {
		connection := tls.Client(c.dial(service, port), config)
		return connection, connection.HandshakeContext(ctx)
	})
	r, err := echo.Send(client, http.MethodGet, "http://"+serverName+"/", "")
	c.scene.Expect(err).NotTo(HaveOccurred())
	client.CloseIdleConnections()
	return r
}
