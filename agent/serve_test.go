package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"fairlead.dev/fairlead/test/testenv"
)

var _ = Describe("what the agent answers", func() {
	var (
		dir, socket string
		application *httptest.Server
		agent       *agentProcess
	)

	BeforeEach(func() {
		base, err := testenv.SocketDir()
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() { Expect(os.RemoveAll(base)).To(Succeed()) })
		dir, socket = filepath.Join(base, "agent"), filepath.Join(base, "xds.sock")
		application = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/broken" {
				w.WriteHeader(http.StatusInternalServerError)
			}
			_, _ = io.WriteString(w, "application_requests_total{path=\""+r.URL.Path+"\"} 7\n")
		}))
		DeferCleanup(application.Close)
		c, err := startControlPlane(socket)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(c.stop)
		Expect(c.serve(node, "1")).To(Succeed())
	})

	start := func() {
		GinkgoHelper()
		_, port, _ := strings.Cut(strings.TrimPrefix(application.URL, "http://"), ":")
		agent = startAgent(dir, "--xds-socket="+socket, "--min-drain=0", "--app-metrics="+application.URL+"/metrics",
			`--app-probes={"/app-health/web/livez": {"httpGet": {"path": "/alive", "port": `+port+`}}, "/app-health/web/readyz": {"httpGet": {"path": "/broken", "port": `+port+`}}}`)
	}
	get := func(path string) (int, string) {
		GinkgoHelper()
		response, err := agent.client.Get("http://agent" + path)
		Expect(err).NotTo(HaveOccurred())
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		Expect(err).NotTo(HaveOccurred())
		return response.StatusCode, string(body)
	}

	It("has metrics of itself, of Envoy and of the application", func() {
		start()
		agent.becomesReady()
		code, body := get("/metrics")
		Expect(code).To(Equal(http.StatusOK))
		Expect(body).To(And(
			ContainSubstring("\nfairlead_agent_state{state=\"live\"} 1\n"),
			ContainSubstring("\nfairlead_agent_state{state=\"backing-off\"} 0\n"),
			ContainSubstring("\nenvoy_server_live{} 1\n"),
			ContainSubstring("\napplication_requests_total{path=\"/metrics\"} 7\n"),
			ContainSubstring("\nfairlead_agent_scrape_target_up{target=\"envoy\"} 1\n"),
			ContainSubstring("\nfairlead_agent_scrape_target_up{target=\"application\"} 1\n"),
		))
		parser := expfmt.NewTextParser(model.LegacyValidation)
		Expect(parser.TextToMetricFamilies(strings.NewReader(body))).NotTo(BeEmpty())
	})

	It("hands the application's probes on, whether Envoy is live or not", func() {
		start()
		Eventually(agent.ready).Within(patience).Should(Not(BeEmpty()), "the agent answers")
		code, body := get("/app-health/web/livez")
		Expect(code).To(Equal(http.StatusOK))
		Expect(body).To(ContainSubstring("/alive"))
		code, _ = get("/app-health/web/readyz")
		Expect(code).To(Equal(http.StatusInternalServerError))
	})

	It("makes others wait until the proxy is ready, and stops when it is asked to", func() {
		wait, err := gexec.Start(exec.Command(built, "wait", "--dir="+dir, "--interval=10ms"), GinkgoWriter, GinkgoWriter)
		Expect(err).NotTo(HaveOccurred())
		Eventually(wait.Err).Within(patience).Should(gbytes.Say("no agent answers at"))
		start()
		Eventually(wait).Within(patience).Should(gexec.Exit(0))
		Expect(wait.Out).To(gbytes.Say("fairlead-agent wait: live: Envoy serves"))
		Expect(agent.ready()).To(HavePrefix("200"))

		quit, err := gexec.Start(exec.Command(built, "quit", "--dir="+dir), GinkgoWriter, GinkgoWriter)
		Expect(err).NotTo(HaveOccurred())
		Eventually(quit).Within(patience).Should(gexec.Exit(0))
		Eventually(agent).Within(patience).Should(gexec.Exit(0))
		Expect(agent.Err).To(gbytes.Say("told to stop: asked to by .*/quitquitquit"))
	})

	It("stays thin, however often it is asked", func() {
		start()
		agent.becomesReady()
		ask := func(probes, scrapes int) {
			for range probes {
				code, _ := get("/app-health/web/livez")
				Expect(code).To(Equal(http.StatusOK))
			}
			for range scrapes {
				code, _ := get("/metrics")
				Expect(code).To(Equal(http.StatusOK))
			}
		}
		idle, err := resident(agent.Command.Process.Pid)
		Expect(err).NotTo(HaveOccurred())
		// Until the heap is as large as Go lets it grow before it collects for the first time.
		ask(1000, 100)
		before, err := resident(agent.Command.Process.Pid)
		Expect(err).NotTo(HaveOccurred())
		ask(1000, 100)
		after, err := resident(agent.Command.Process.Pid)
		Expect(err).NotTo(HaveOccurred())
		AddReportEntry("resident MiB", []float64{idle, before, after})
		// A leak of 4 KiB a request, a connection's buffer, would be three times this.
		Expect(after-before).To(BeNumerically("<", 1.5), "%.1f MiB after %.1f MiB", after, before)
		Expect(measured(agent.Command.Process.Pid)).To(Succeed())
	})
})
