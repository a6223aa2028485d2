package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/internal/manager"
	"fairlead.dev/fairlead/test/testenv"
)

func TestFlags(t *testing.T) {
	g := NewWithT(t)
	s, err := readFlags([]string{"--cluster-domain=mesh.test", "--log-level=debug", "--reconnect-grace=2s"}, io.Discard)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(s.ClusterDomain).To(Equal("mesh.test"))
	g.Expect(s.logLevel).To(Equal(slog.LevelDebug))
	g.Expect(s.ReconnectGrace).To(Equal(2 * time.Second))
	g.Expect(s.MetricsAddress).To(Equal("0"), "nothing is served unasked")
	g.Expect(s.Refresh).To(BeZero())

	t.Setenv("V2_REFRESH", "15m")
	s, err = readFlags(nil, io.Discard)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(s.Refresh).To(Equal(15 * time.Minute))
	s, err = readFlags([]string{"--v2-refresh=0s"}, io.Discard)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(s.Refresh).To(BeZero())

	_, err = readFlags([]string{
		"--xds-socket=" + filepath.Join("/tmp", string(make([]byte, 200))), "--xds-address=15012", "--log-format=xml", "--cluster-domain=", "--reconnect-grace=-1s", "--v2-refresh=15", "extra",
	}, io.Discard)
	g.Expect(err).To(MatchError(SatisfyAll(ContainSubstring("107 bytes"), ContainSubstring("write HOST:PORT"), ContainSubstring("text or json"),
		ContainSubstring("--cluster-domain"), ContainSubstring("--reconnect-grace"), ContainSubstring("write a duration such as 15m"), ContainSubstring(`"extra"`))), "all at once")

	_, err = readFlags([]string{"--xds-socket=", "--xds-address="}, io.Discard)
	g.Expect(err).To(MatchError(ContainSubstring("no proxy is served")))

	_, err = readFlags([]string{"--help"}, io.Discard)
	g.Expect(err).To(MatchError(flag.ErrHelp))
}

// TestTheManagerAsAWhole runs everything that main puts together at a real API server.
func TestTheManagerAsAWhole(t *testing.T) {
	g := NewWithT(t)
	g.SetDefaultEventuallyTimeout(30 * time.Second)
	api, err := testenv.StartAPIServer()
	g.Expect(err).NotTo(HaveOccurred())
	defer func() { g.Expect(api.Stop()).To(Succeed()) }()
	kubectl := func(arguments ...string) string {
		output, err := api.Kubectl(t.Context(), arguments...).CombinedOutput()
		g.Expect(err).NotTo(HaveOccurred(), "kubectl %v: %s", arguments, output)
		return string(output)
	}

	kubectl("create", "namespace", "fairlead-system")
	free, err := net.Listen("tcp", "127.0.0.1:0")
	g.Expect(err).NotTo(HaveOccurred())
	address := free.Addr().String()
	g.Expect(free.Close()).To(Succeed())

	dir := t.TempDir()
	socket := filepath.Join(dir, "x", "s")
	s, err := readFlags([]string{
		"--kubeconfig=" + api.Kubeconfig, "--xds-socket=" + socket, "--xds-address=" + address, "--webhook-address=127.0.0.1:0", "--health-probe-bind-address=0", "--reconnect-grace=100ms",
	}, os.Stderr)
	g.Expect(err).NotTo(HaveOccurred())
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- manager.Run(ctx, s.Options, newLogger(s, t.Output())) }()
	g.Eventually(socket).Should(BeAnExistingFile(), "proxies are served")

	agentOf(t, kubectl).joins(address)
	refusesWhatCannotBeKept(g, api)

	file := filepath.Join(dir, "reviews.yaml")
	g.Expect(os.WriteFile(file, []byte(`
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {ports: [{name: http, port: 9080}]}
---
apiVersion: mesh.fairlead.dev/v1alpha1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - route: [{destination: {host: reviews}}]
`), 0o600)).To(Succeed())
	kubectl("apply", "-f", file)
	kubectl("wait", "--for=condition=Ready", "virtualservice/reviews", "--timeout=30s")
	g.Expect(kubectl("get", "virtualservice/reviews", "-o", `jsonpath={.status.conditions[?(@.type=="Programmed")].reason}`)).To(Equal("NoProxies"))

	// Another object of the same name, with generation 1 again, that differs or does not.
	for range 3 {
		kubectl("replace", "--force", "-f", file)
		kubectl("wait", "--for=condition=Ready", "virtualservice/reviews", "--timeout=30s")
	}

	// An older object has the host, and goes.
	younger := filepath.Join(dir, "younger.yaml")
	g.Expect(os.WriteFile(younger, []byte(`
apiVersion: mesh.fairlead.dev/v1alpha1
kind: VirtualService
metadata: {name: zz-younger}
spec:
  hosts: [reviews]
  http:
  - route: [{destination: {host: reviews}}]
`), 0o600)).To(Succeed())
	kubectl("apply", "-f", younger)
	kubectl("wait", "--for=condition=Accepted=false", "virtualservice/zz-younger", "--timeout=30s")
	kubectl("delete", "virtualservice/reviews")
	kubectl("wait", "--for=condition=Ready", "virtualservice/zz-younger", "--timeout=30s")

	stop()
	g.Eventually(ended).Should(Receive(BeNil()))
}

// refusesWhatCannotBeKept asks the webhooks, which the manager registers by itself.
func refusesWhatCannotBeKept(g *WithT, api *testenv.APIServer) {
	g.Eventually(func() (string, error) {
		command := api.Kubectl(context.Background(), "create", "--dry-run=server", "-f", "-")
		command.Stdin = strings.NewReader(`
apiVersion: mesh.fairlead.dev/v1alpha1
kind: MeshCertificate
metadata: {name: weekly}
spec:
  serviceAccount: reviews
  duration: 96h
  renewal: {windows: [{days: [Sunday], start: "02:00", end: "05:00", timeZone: Europe/Berlin}]}
`)
		output, err := command.CombinedOutput()
		if err == nil {
			return "", errors.New("taken")
		}
		return string(output), nil
	}).Should(ContainSubstring("FL0010 spec.renewal.windows: none opens from"))
}
