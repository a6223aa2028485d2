package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"

	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/test/testenv"
)

// What asks the supervisor for something. That no request is lost meanwhile is tried in
// test/chaos.
var _ = Describe("fairlead-agent proxy, while it runs", func() {
	var dir, socket string

	BeforeEach(func() {
		base, err := testenv.SocketDir()
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(os.RemoveAll, base)
		dir, socket = filepath.Join(base, "agent"), filepath.Join(base, "xds.sock")
		c, err := startControlPlane(socket)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(c.stop)
		Expect(c.serve("shop/reviews-v1", "1", toApp("app|9080", "mark"))).To(Succeed())
	})
	// Nobody listens on the application's port, so that it has ended at a drain.
	start := func(flags ...string) *agentProcess {
		GinkgoHelper()
		agent := startAgent(dir, append([]string{"--xds-socket=" + socket, "--app=9080=127.0.0.1:9"}, flags...)...)
		agent.becomesReady()
		return agent
	}
	epoch := func(agent *agentProcess, n int) {
		GinkgoHelper()
		Eventually(func() envoy.Status { return agent.status().Status }).Within(patience).
			Should(And(HaveField("Epoch", n), HaveField("State", envoy.Live)), "the next epoch serves")
	}
	write := func(path, content string) {
		GinkgoHelper()
		Expect(os.WriteFile(path+".new", []byte(content), 0o600)).To(Succeed())
		Expect(os.Rename(path+".new", path)).To(Succeed())
	}

	It("restarts Envoy hot at SIGHUP", func() {
		agent := start()
		first := agent.envoyPID()
		for range 3 {
			Expect(agent.answer(GinkgoT().Context())).To(HavePrefix("503"), "Envoy answers; the application is not there")
		}
		const requests = `envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="inbound_9080"}`
		Expect(metric(agent, requests)).To(Equal("3"))
		agent.Signal(syscall.SIGHUP)
		epoch(agent, 1)
		Expect(agent.status().LastRestart).To(HaveField("Reason", "SIGHUP"))
		Expect(filepath.Join(dir, "envoy-rev1.json")).To(BeARegularFile())
		Eventually(commandLine).WithArguments(first).Within(patience).Should(BeEmpty(), "the predecessor ends")
		Expect(metric(agent, "fairlead_agent_restarts_total{kind=\"hot\",result=\"succeeded\"}")).To(Equal("1"))
		Expect(metric(agent, requests)).To(Equal("3"), "statistics go on")
	})

	It("restarts Envoy hot when its configuration changes, and keeps it when the new one is bad", func() {
		config := filepath.Join(filepath.Dir(dir), "agent.conf")
		write(config, "revision = one\n")
		agent := start("--config=" + config)
		pid := agent.envoyPID()

		write(config, "revision = two\nmax-connections = plenty\n")
		Eventually(agent.Err).Within(patience).Should(gbytes.Say(`Went on with the configuration that was.*agent.conf:2.*max-connections`))
		Expect(agent.envoyPID()).To(Equal(pid))
		Expect(agent.text("/status")).To(ContainSubstring(`"complaint": "`))

		write(config, "revision = two\nrescue-tokens = 3\n")
		epoch(agent, 1)
		Expect(agent.Err).To(gbytes.Say(`Some flags changed that cannot while the agent runs.*flags=rescue-tokens`))
		content, err := os.ReadFile(filepath.Join(dir, "envoy-rev1.json"))
		Expect(err).NotTo(HaveOccurred())
		Expect(string(content)).To(ContainSubstring(`"REVISION": "two"`))
		Expect(agent.text("/status")).NotTo(ContainSubstring(`"complaint"`))
	})

	It("restarts Envoy hot when its binary is replaced", func() {
		binary := filepath.Join(filepath.Dir(dir), "envoy")
		Expect(os.Symlink(envoyBinary, binary)).To(Succeed())
		agent := start("--envoy=" + binary)
		// Another file of the same program, put in place as a package would be.
		replacement := filepath.Join(filepath.Dir(dir), "envoy-2")
		write(replacement, "#!/bin/sh\nexec "+envoyBinary+" \"$@\"\n")
		Expect(os.Chmod(replacement, 0o700)).To(Succeed())
		Expect(os.Rename(replacement, binary)).To(Succeed())
		epoch(agent, 1)
		Expect(agent.status().LastRestart).To(HaveField("Reason", "Envoy's binary "+binary+" changed"))
	})

	It("rescues an Envoy that is killed, and is not ready meanwhile", func() {
		agent := start("--rescue-delay=1s", "--rescue-tokens=1")
		kill(agent.envoyPID(), syscall.SIGKILL)
		Eventually(agent.ready).Within(patience).Should(MatchRegexp(`^503 backing-off: .*SIGKILL.*rescue 1 of 1 starts it again after 1s`))
		agent.becomesReady()
		Expect(agent.status().RescueTokens).To(BeZero())
		kill(agent.envoyPID(), syscall.SIGKILL)
		Eventually(agent).Within(patience).Should(gexec.Exit(1))
	})

	It("forgives what was before once Envoy has been live for a while", func() {
		agent := start("--rescue-refill=1s")
		kill(agent.envoyPID(), syscall.SIGKILL)
		Eventually(func() int { return agent.status().RescueTokens }).Within(patience).Should(Equal(9))
		Eventually(func() int { return agent.status().RescueTokens }).Within(patience).Should(Equal(10))
	})

	It("drains and ends when it is asked to by /quitquitquit", func() {
		agent := start()
		response, err := agent.client.Post("http://agent/quitquitquit", "", nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(response.Body.Close()).To(Succeed())
		Expect(response.StatusCode).To(Equal(http.StatusOK))
		Eventually(agent).Within(patience).Should(gexec.Exit(0))
		Expect(agent.Err).To(gbytes.Say("/quitquitquit"))
		Expect(agent.Err).To(gbytes.Say("Drained Envoy.*result=complete"))
	})

	It("serves on for as long as callers may not have heard, unless it is told to hurry", func() {
		agent := start("--min-drain=1h", "--termination-grace-period=2h")
		agent.Terminate()
		Eventually(agent.ready).Within(patience).Should(HavePrefix("503 draining"))
		Expect(agent.answer(GinkgoT().Context())).To(HavePrefix("503"), "Envoy answers; the application is not there")
		Consistently(agent).WithTimeout(time.Second).ShouldNot(gexec.Exit())
		agent.Terminate()
		Eventually(agent).Within(patience).Should(gexec.Exit(0))
		Expect(agent.Err).To(gbytes.Say("Told to hurry"))
	})

	It("goes on for the application's own calls until that has ended", func() {
		application, err := net.Listen("tcp", "127.0.0.1:0")
		Expect(err).NotTo(HaveOccurred())
		agent := start("--app=9081="+application.Addr().String(), "--termination-grace-period=1h")
		agent.Terminate()
		Eventually(agent.ready).Within(patience).Should(HavePrefix("503 draining"))
		Consistently(agent).WithTimeout(time.Second).ShouldNot(gexec.Exit())
		Expect(application.Close()).To(Succeed())
		Eventually(agent).Within(patience).Should(gexec.Exit(0))
		Expect(agent.Err).To(gbytes.Say("Drained Envoy.*result=complete"))
	})

	It("serves a certificate that comes late, and proves it", func() {
		mount := filepath.Join(filepath.Dir(dir), "etc-certs")
		agent := start("--certs-dir=" + mount)
		authority, err := testenv.NewAuthority("one")
		Expect(err).NotTo(HaveOccurred())
		issued, err := authority.Issue("spiffe://cluster.local/ns/shop/sa/reviews")
		Expect(err).NotTo(HaveOccurred())
		Expect(testenv.MountSecret(mount, issued.Files())).To(Succeed())
		Eventually(agent.Err).Within(patience).Should(gbytes.Say("Envoy serves the certificate"))
		Expect(agent.envoyPID()).NotTo(BeZero())
		Expect(agent.status().Epoch).To(BeZero(), "no restart was needed")
	})
})

// text is what the agent answers.
func (a *agentProcess) text(path string) (string, error) {
	response, err := a.client.Get("http://agent" + path)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

// metric is the value of a sample of /metrics.
func metric(agent *agentProcess, sample string) (string, error) {
	body, err := agent.text("/metrics")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(line, sample+" "); ok {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("there is no %s", sample)
}
