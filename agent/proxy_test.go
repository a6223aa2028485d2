package main

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"

	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/test/testenv"
)

const node = "shop/reviews-v1"

var _ = Describe("fairlead-agent proxy", func() {
	var (
		base, dir, socket string
		application       *httptest.Server
		toPort9080        string
	)

	BeforeEach(func() {
		var err error
		base, err = testenv.SocketDir()
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() { Expect(os.RemoveAll(base)).To(Succeed()) })
		dir, socket = filepath.Join(base, "agent"), filepath.Join(base, "xds.sock")
		application = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("application"))
		}))
		DeferCleanup(application.Close)
		toPort9080 = "--app=9080=" + application.Listener.Addr().String()
	})

	// startServer is a control plane that serves a listener to the application, unless
	// the mark is empty.
	startServer := func(mark string) *controlPlane {
		GinkgoHelper()
		c, err := startControlPlane(socket)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(c.stop)
		if mark != "" {
			Expect(c.serve(node, mark, toApp("app|9080", mark))).To(Succeed())
		}
		return c
	}
	start := func(flags ...string) *agentProcess {
		GinkgoHelper()
		return startAgent(dir, append([]string{"--xds-socket=" + socket, toPort9080}, flags...)...)
	}

	DescribeTable("is ready once Envoy has its configuration, and traffic flows", func(protocol string) {
		agent := start("--xds-protocol=" + protocol)
		Eventually(agent.ready).Within(patience).Should(Equal("503 starting: waiting for the control plane: no stream to " + socket + " yet"))

		c := startServer("")
		Eventually(agent.ready).Within(patience).Should(Equal("503 starting: connected to the control plane at " + socket + ", waiting for its first clusters and listeners"))

		Expect(c.serve(node, "1", toApp("app|9080", "first"))).To(Succeed())
		agent.becomesReady()
		Expect(agent.answer(GinkgoT().Context())).To(Equal("200 first application"))
		Expect(agent.status()).To(And(HaveField("Node", node), HaveField("Epoch", 0), HaveField("PID", BeNumerically(">", 1))))

		Expect(c.serve(node, "2", toApp("app|9080", "second"))).To(Succeed())
		Eventually(agent.answer).WithContext(GinkgoT().Context()).Within(patience).Should(Equal("200 second application"))
	},
		Entry("by delta", "delta"),
		Entry("by the state of the world", "sotw"),
	)

	DescribeTable("is ready with nothing to serve, if it is told so", func(protocol string) {
		c := startServer("")
		Expect(c.serve(node, "1")).To(Succeed())
		start("--xds-protocol=" + protocol).becomesReady()
	},
		Entry("by delta", "delta"),
		Entry("by the state of the world", "sotw"),
	)

	It("serves on while the control plane is gone, and follows it when it is back", func() {
		c := startServer("before")
		agent := start()
		agent.becomesReady()
		c.stop()
		Eventually(func() error { _, err := net.Dial("unix", socket); return err }).Within(patience).Should(HaveOccurred())
		Expect(agent.answer(GinkgoT().Context())).To(Equal("200 before application"))
		Expect(agent.ready()).To(HavePrefix("200"))

		startServer("after")
		Eventually(agent.answer).WithContext(GinkgoT().Context()).Within(patience).Should(Equal("200 after application"))
	})

	DescribeTable("hands SIGTERM and SIGINT on and leaves nothing behind", func(signal syscall.Signal) {
		startServer("1")
		agent := start("--log-level=debug")
		agent.becomesReady()
		pid := agent.envoyPID()
		id, err := os.ReadFile(filepath.Join(dir, "base-id"))
		Expect(err).NotTo(HaveOccurred())
		shared := "/dev/shm/envoy_shared_memory_" + strings.TrimSpace(string(id)) + "0"
		Expect(shared).To(BeAnExistingFile())

		agent.Signal(signal)
		Eventually(agent).Within(patience).Should(gexec.Exit(0))
		Expect(agent.Err).To(gbytes.Say("caught ENVOY_SIGTERM"))
		Expect(commandLine(pid)).To(BeEmpty(), "Envoy is gone")
		entries, err := os.ReadDir(dir)
		Expect(err).NotTo(HaveOccurred())
		Expect(entries).To(HaveExactElements(HaveField("Name()", "envoy-rev0.json"), HaveField("Name()", "lock")))
		Expect(shared).NotTo(BeAnExistingFile())
	},
		Entry(nil, syscall.SIGTERM),
		Entry(nil, syscall.SIGINT),
	)

	It("stops in time, though Envoy hangs", func() {
		startServer("1")
		agent := start("--stop-timeout=100ms", "--termination-grace-period=2s")
		agent.becomesReady()
		kill(agent.envoyPID(), syscall.SIGSTOP)
		agent.Terminate()
		Eventually(agent).Within(patience).Should(gexec.Exit(0))
		Expect(agent.Err).To(gbytes.Say("Envoy did not end after SIGTERM and was killed"))
	})

	It("stops before Envoy is up", func() {
		agent := start()
		Eventually(agent.Err).Within(patience).Should(gbytes.Say("validating"))
		agent.Terminate()
		Eventually(agent).Within(patience).Should(gexec.Exit(0))
	})

	It("exits with Envoy's last lines when Envoy is killed", func() {
		startServer("1")
		agent := start("--rescue-tokens=0")
		agent.becomesReady()
		pid := agent.envoyPID()
		kill(pid, syscall.SIGKILL)
		Eventually(agent).Within(patience).Should(gexec.Exit(1))
		Expect(agent.Err).To(gbytes.Say(`level=ERROR msg="Agent ends, because Envoy did" error="envoy \(epoch 0, pid \d+\) was killed by signal 9 \(SIGKILL\) after .*" epoch=0 pid=%d signal=9`, pid))
		Expect(agent.Err).To(gbytes.Say("Envoy's last log lines, 50 at most:\n"))
		Expect(agent.Err).To(gbytes.Say(`  \[info\]\[main\] .*starting main dispatch loop`))
	})

	It("tells the same as one record where machines read", func() {
		startServer("1")
		agent := start("--log-format=json", "--rescue-tokens=0")
		agent.becomesReady()
		kill(agent.envoyPID(), syscall.SIGABRT)
		Eventually(agent).Within(patience).Should(gexec.Exit(1))
		var record struct {
			Level, Error string
			Signal       int
			LastLines    []string
		}
		lines := strings.Split(strings.TrimSpace(string(agent.Err.Contents())), "\n")
		for _, line := range lines {
			Expect(json.Valid([]byte(line))).To(BeTrue(), line)
		}
		Expect(json.Unmarshal([]byte(lines[len(lines)-1]), &record)).To(Succeed())
		Expect(record).To(And(HaveField("Level", "ERROR"), HaveField("Error", ContainSubstring("SIGABRT")), HaveField("Signal", 6)))
		Expect(record.LastLines).To(ContainElement(ContainSubstring("Caught Aborted")), "Envoy tells where it was")
	})

	It("takes Envoy along when it is killed itself, and starts again in the same folder", func() {
		startServer("1")
		first := start()
		first.becomesReady()
		pid := first.envoyPID()
		first.Kill()
		Eventually(first).Within(patience).Should(gexec.Exit())
		Eventually(commandLine).WithArguments(pid).Within(patience).Should(BeEmpty(), "Envoy ends with its agent")

		second := start()
		second.becomesReady()
		Expect(second.answer(GinkgoT().Context())).To(Equal("200 1 application"))
	})

	It("refuses the folder of another agent, which goes on", func() {
		startServer("1")
		first := start()
		first.becomesReady()
		second := startAgent(dir, "--xds-socket="+socket)
		Eventually(second).Within(patience).Should(gexec.Exit(2))
		Expect(second.Err).To(gbytes.Say(`fairlead-agent proxy: --dir: %s is in use by another agent \(pid %d\): give each agent a folder of its own`, dir, first.Command.Process.Pid))
		Expect(first.ready()).To(HavePrefix("200"))
		Expect(first.answer(GinkgoT().Context())).To(Equal("200 1 application"))
	})

	It("runs beside another agent", func() {
		c := startServer("1")
		Expect(c.serve("shop/ratings-v1", "1", toApp("app|9080", "other"))).To(Succeed())
		first, second := start(), startAgent(filepath.Join(base, "other"), "--pod-name=ratings-v1", "--xds-socket="+socket, toPort9080)
		first.becomesReady()
		second.becomesReady()
		Expect(first.answer(GinkgoT().Context())).To(Equal("200 1 application"))
		Expect(second.answer(GinkgoT().Context())).To(Equal("200 other application"))
	})

	It("never starts Envoy with a bootstrap that Envoy refuses", func() {
		// More than the field of Envoy's message holds.
		agent := start("--max-connections=18446744073709551615")
		Eventually(agent).Within(patience).Should(gexec.Exit(1))
		Expect(agent.Err).To(gbytes.Say(`msg="Agent ends" error="envoy was not started, because it refuses %s/envoy-rev0.json: .*max_active_downstream_connections`, dir))
		Expect(string(agent.Err.Contents())).NotTo(ContainSubstring("Started Envoy"))
	})

	It("writes the bootstrap that the bootstrap command prints", func() {
		startServer("1")
		agent := start()
		agent.becomesReady()
		printed, err := exec.Command(built, append([]string{"bootstrap"}, agent.Command.Args[2:]...)...).Output()
		Expect(err).NotTo(HaveOccurred())
		written, err := os.ReadFile(filepath.Join(dir, "envoy-rev0.json"))
		Expect(err).NotTo(HaveOccurred())
		Expect(string(written)).To(Equal(string(printed)))
	})

	It("answers on a TCP address for the kubelet, and refuses one that is taken", func() {
		startServer("1")
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		Expect(err).NotTo(HaveOccurred())
		agent := start("--status-address=" + taken.Addr().String())
		Eventually(agent).Within(patience).Should(gexec.Exit(2))
		Expect(agent.Err).To(gbytes.Say("--status-address %s is in use by another program: choose another one", taken.Addr()))

		Expect(taken.Close()).To(Succeed())
		agent = start("--status-address=" + taken.Addr().String())
		agent.client = http.DefaultClient
		Eventually(func() (int, error) {
			response, err := http.Get("http://" + taken.Addr().String() + "/ready")
			if err != nil {
				return 0, err
			}
			return response.StatusCode, response.Body.Close()
		}).Within(patience).Should(Equal(http.StatusOK))
	})

	It("is thin", func() {
		startServer("1")
		agent := start()
		agent.becomesReady()
		// As much as a kubelet asks in half an hour.
		for range 1000 {
			Expect(agent.ready()).To(HavePrefix("200"))
		}
		Expect(measured(agent.Command.Process.Pid)).To(Succeed())
	})

	It("shows itself to people", func() {
		agent := start()
		Eventually(func() (string, error) {
			response, err := agent.client.Get("http://agent/")
			if err != nil {
				return "", err
			}
			defer func() { _ = response.Body.Close() }()
			buffer := gbytes.BufferReader(response.Body)
			Eventually(buffer).Should(gbytes.Say("/status"))
			return string(buffer.Contents()), nil
		}).Within(patience).Should(ContainSubstring("fairlead-agent of " + node))
		Expect(agent.status().State).To(Equal(envoy.Starting))
	})
})
