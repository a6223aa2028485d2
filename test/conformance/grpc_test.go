package conformance

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"fairlead.dev/fairlead/internal/mesh"
)

// TestGRPCsOwnClient shows that a client without a proxy, of grpc-go, follows the same objects.
func TestGRPCsOwnClient(t *testing.T) {
	s := newScene(t)
	manifests := fmt.Sprintf(service, "10.96.250.1")
	for _, version := range []string{"v1", "v2"} {
		address := s.serveGRPC(version)
		manifests += pod("greeter", version, "", address) + slice("greeter", version, address)
	}
	s.apply(manifests)
	s.route("greeter", `
- match: [{headers: {team: {exact: bank}}}]
  route: [{destination: {host: greeter, labels: {version: v2}}}]
- match: [{headers: {slow: {exact: "yes"}}}]
  timeout: 50ms
  route: [{destination: {host: greeter, labels: {version: v1}}}]
- match: [{headers: {broken: {exact: "yes"}}}]
  fault: {abort: {grpcStatus: RESOURCE_EXHAUSTED, percentage: {value: 100}}}
  route: [{destination: {host: greeter, labels: {version: v1}}}]
- corsPolicy: {allowOrigins: [{exact: "http://example.org"}]}
  route: [{destination: {host: greeter, labels: {version: v1}}}]
`)

	call := s.grpcClient(mesh.ServiceHost("greeter", s.namespace, "") + ":9090")
	s.Expect(call()).To(Equal("v1"))
	s.Expect(call("team=bank")).To(Equal("v2"))
	s.Expect(call("broken=yes")).To(Equal(codes.ResourceExhausted.String()))
	s.Expect(call("slow=yes")).To(Equal(codes.DeadlineExceeded.String()))
	s.Expect(s.status("VirtualService", "greeter").Proxies.Concerned).To(BeEquivalentTo(len(s.callers())+1), "the client counts")

	s.route("greeter", "\n- route: [{destination: {host: greeter, labels: {version: v2}}}]\n")
	s.Eventually(func() string { return call() }).Should(Equal("v2"), "the change has come")
	s.delete("VirtualService", "greeter")
	s.Eventually(func() string { return call() }).Should(Equal("v1"), "both versions serve again")
}

// grpcClient runs the program of this folder of that name, for a target, and returns what calls
// by it.
func (s *scene) grpcClient(target string) (call func(headers ...string) string) {
	s.Helper()
	program := filepath.Join(s.TempDir(), "grpcclient")
	build := exec.CommandContext(s.Context(), "go", "build", "-o", program, ".")
	build.Dir = "grpcclient"
	output, err := build.CombinedOutput()
	s.Expect(err).NotTo(HaveOccurred(), "%s", output)
	client := exec.CommandContext(s.Context(), program, target)
	client.Env = append(os.Environ(), "GRPC_XDS_BOOTSTRAP_CONFIG="+fmt.Sprintf(`{
		"xds_servers": [{"server_uri": "unix:%s", "channel_creds": [{"type": "insecure"}], "server_features": ["xds_v3"]}],
		"node": {"id": "default/front"}}`, s.stage.socket()))
	client.Stderr = s.Output()
	questions, err := client.StdinPipe()
	s.Expect(err).NotTo(HaveOccurred())
	answers, err := client.StdoutPipe()
	s.Expect(err).NotTo(HaveOccurred())
	s.Expect(client.Start()).To(Succeed())
	s.Cleanup(func() {
		_ = questions.Close()
		_ = client.Wait()
	})
	lines := bufio.NewScanner(answers)
	return func(headers ...string) string {
		_, err := fmt.Fprintln(questions, strings.Join(headers, " "))
		s.Expect(err).NotTo(HaveOccurred())
		s.Expect(lines.Scan()).To(BeTrue(), "the client answers")
		return lines.Text()
	}
}

// service is one that speaks gRPC.
const service = `
apiVersion: v1
kind: Service
metadata: {name: greeter}
spec: {clusterIP: %s, selector: {app: greeter}, ports: [{name: grpc, port: 9090}]}
`

// serveGRPC runs a server that answers the calls of gRPC's health service with its version in a
// header, later if it is asked for, and returns the address of its Pod.
func (s *scene) serveGRPC(version string) string {
	s.Helper()
	address, err := freeAddress(httpPort)
	s.Expect(err).NotTo(HaveOccurred())
	listener, err := net.Listen("tcp", net.JoinHostPort(mesh.LoopbackAddress(address).String(), strconv.Itoa(httpPort)))
	s.Expect(err).NotTo(HaveOccurred())
	server := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if len(metadata.ValueFromIncomingContext(ctx, "slow")) > 0 {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		if err := grpc.SetHeader(ctx, metadata.Pairs("version", version)); err != nil {
			return nil, err
		}
		return next(ctx, request)
	}))
	healthpb.RegisterHealthServer(server, health.NewServer())
	go func() { _ = server.Serve(listener) }()
	s.Cleanup(server.Stop)
	return address.String()
}
