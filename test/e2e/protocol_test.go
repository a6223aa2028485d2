package e2e

import (
	"context"
	"net"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	meshvalues "fairlead.dev/fairlead/internal/mesh"

	"fairlead.dev/fairlead/test/echo"
)

// converse opens a connection, listens to the greeting, says a line and returns both
// answers.
func converse(address, line string) (greeting, answer string, err error) {
	connection, err := net.Dial("tcp", address)
	if err != nil {
		return "", "", err
	}
	return echo.Converse(connection, line)
}

var _ = Describe("A port", func() {
	It("that is not HTTP passes bytes through, whoever speaks first", func() {
		for _, caller := range callers() {
			greetings := map[string]bool{}
			Eventually(func(g Gomega) {
				greeting, answer, err := converse(caller.tcpAddress(), "hello")
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(answer).To(Or(Equal("v1: hello\n"), Equal("v2: hello\n")))
				greetings[greeting] = true
				g.Expect(greetings).To(And(HaveLen(2), HaveKey("this is v1\n"), HaveKey("this is v2\n")))
			}).Should(Succeed(), "%s reaches both", caller.name)
		}
	})

	It("of appProtocol h2c is spoken to in HTTP/2, whatever the caller speaks", func() {
		for _, caller := range callers() {
			Expect(caller.get("http://echo:9090/").Seen.Protocol).To(Equal("HTTP/2.0"))
			Expect(caller.get("http://echo/").Seen.Protocol).To(Equal("HTTP/1.1"))
			client := echo.NewHTTP2Client(caller.address(meshvalues.ExplicitOutboundPort))
			DeferCleanup(client.CloseIdleConnections)
			for _, url := range []string{"http://echo:9090/", "http://echo/"} {
				r, err := echo.Send(client, http.MethodGet, url, "")
				Expect(err).NotTo(HaveOccurred())
				Expect(r.Status).To(Equal(200))
			}
		}
	})

	It("that serves gRPC is called, and routed, as any other", func() {
		programmed(apply(virtualServiceOf("calls", "[calls.example]", `
- match: [{uri: {prefix: /grpc.health.v1.Health/}, headers: {end-user: {exact: ann}}}]
  route: [{destination: {host: echo, subset: v2, port: {number: 9090}}}]
- route: [{destination: {host: echo, subset: v1, port: {number: 9090}}}]
`)))
		for _, caller := range callers() {
			connection, err := grpc.NewClient("passthrough:///"+caller.address(meshvalues.ExplicitOutboundPort),
				grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("calls.example"))
			Expect(err).NotTo(HaveOccurred())
			DeferCleanup(connection.Close)
			for user, version := range map[string]string{"ann": "v2", "bob": "v1"} {
				ctx := metadata.AppendToOutgoingContext(context.Background(), "end-user", user)
				var header metadata.MD
				answer, err := healthpb.NewHealthClient(connection).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.Header(&header))
				Expect(err).NotTo(HaveOccurred())
				Expect(answer.GetStatus()).To(Equal(healthpb.HealthCheckResponse_SERVING))
				Expect(header.Get("echo-version")).To(ConsistOf(version))
			}
		}
	})
})
