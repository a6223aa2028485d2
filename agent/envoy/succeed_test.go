package envoy_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"

	"fairlead.dev/fairlead/agent/envoy"
)

var _ = Describe("A hot restart", func() {
	var (
		h    *harness
		port int
	)
	BeforeEach(func() {
		h, port = newHarness(), freePort()
		h.options.Bootstrap = serving(h.dir, port, "here")
	})

	gone := func(pid int) {
		GinkgoHelper()
		Eventually(func() error { return syscall.Kill(pid, 0) }).Within(patience).Should(MatchError(syscall.ESRCH), "the predecessor ends")
	}

	It("loses no request, again and again, and statistics go on", func(ctx SpecContext) {
		h.run()
		first := h.live()
		load := startLoad(port, 4)
		previous := first.PID
		// Envoy hands on what was counted since it was last asked, and what it had by then
		// is what it says when it is asked.
		var answered int64
		count := func() {
			GinkgoHelper()
			n, err := envoy.NewAdmin(h.dir.AdminSocket()).Statistic(ctx, "http.inbound_80.downstream_rq_total")
			Expect(err).NotTo(HaveOccurred())
			answered += n
		}
		for n := range 3 {
			count()
			h.supervisor.Restart("the test wants one")
			status := h.epoch(n + 1)
			Expect(status.PID).NotTo(Equal(previous))
			gone(previous)
			previous = status.PID
		}
		load.stop()
		Expect(load.lost()).To(BeEmpty())
		Expect(h.count.all()).To(HaveEach("hot succeeded"))
		Expect(h.supervisor.Status().Since).To(Equal(first.Since), "it was live all the time")
		count()
		// But for what is counted between its answer and its noting what it has handed on.
		Expect(answered).To(BeNumerically("~", load.asked.Load(), load.asked.Load()/100), "each request is counted once")
	})

	It("takes what was asked for meanwhile into the next one", func() {
		h.run()
		h.live()
		for _, reason := range []string{"one", "two", "two", "three"} {
			h.supervisor.Restart(reason)
		}
		h.epoch(1)
		h.supervisor.Restart("four")
		h.supervisor.Restart("five")
		h.epoch(2)
		Consistently(h.supervisor.Status).WithTimeout(3*time.Second).Should(HaveField("Epoch", 2), "nothing is left to do")
		Expect(h.supervisor.Status().LastRestart).To(HaveField("Reason", HaveSuffix("four; five")))
	})

	It("leaves the serving Envoy alone when the new bootstrap is refused", func() {
		var broken atomic.Bool
		good := h.options.Bootstrap
		h.options.Bootstrap = func(epoch int) ([]byte, error) {
			if broken.Load() {
				return []byte(`{"no_such_field": 1}`), nil
			}
			return good(epoch)
		}
		h.run()
		before := h.live()
		load := startLoad(port, 1)
		broken.Store(true)
		h.supervisor.Restart("a bad idea")
		Eventually(h.supervisor.Status).Within(patience).Should(HaveField("LastRestart", HaveValue(And(
			HaveField("Result", "refused"), HaveField("Reason", ContainSubstring("no_such_field"))))))
		Expect(h.supervisor.Status()).To(And(HaveField("PID", before.PID), HaveField("State", envoy.Live)))

		broken.Store(false)
		h.supervisor.Restart("a better one")
		h.epoch(1)
		load.stop()
		Expect(load.lost()).To(BeEmpty())
	})

	It("waits for a control plane that cannot be reached", func() {
		var reachable atomic.Bool
		h.options.Probe = func(context.Context) error {
			if !reachable.Load() {
				return errors.New("nobody there")
			}
			return nil
		}
		h.run()
		pid := h.live().PID
		h.supervisor.Restart("for once")
		Eventually(h.supervisor.Status).Within(patience).Should(HaveField("LastRestart", HaveValue(And(
			HaveField("Result", "refused"), HaveField("Reason", ContainSubstring("nobody there"))))))
		Expect(h.supervisor.Status()).To(And(HaveField("PID", pid), HaveField("State", envoy.Live)))
		reachable.Store(true)
		h.epoch(1)
		Expect(h.supervisor.Status().LastRestart).To(HaveField("Reason", "for once"))
	})

	It("leaves the serving Envoy alone when the next epoch fails, and comes off later", func() {
		// It dies while it initializes, which in Envoy's shared memory bars all others.
		bad := filepath.Join(h.dir.Path(), "pressure-bad")
		var broken atomic.Bool
		// Not an address of this machine: validation does not bind.
		h.spoilWhile(&broken, `"127.0.0.1"`, `"203.0.113.7"`)
		h.run()
		pid := h.live().PID
		load := startLoad(port, 1)
		broken.Store(true)
		h.supervisor.Restart("elsewhere")
		Eventually(h.supervisor.Status).Within(patience).Should(HaveField("LastRestart", HaveValue(HaveField("Result", "failed"))))
		Expect(h.supervisor.Status().LastRestart.Reason).To(ContainSubstring("exited with code 1"))
		Expect(h.supervisor.Status()).To(And(HaveField("PID", pid), HaveField("State", envoy.Live)))
		Expect(bad).NotTo(BeAnExistingFile())

		broken.Store(false)
		h.supervisor.Restart("here again")
		h.epoch(1)
		load.stop()
		Expect(load.lost()).To(BeEmpty())
	})

	It("gives up on an epoch that does not become live", func() {
		h.options.RestartTimeout = time.Second
		var hopeless atomic.Bool
		h.spoilWhile(&hopeless, `"static_resources": {`, waitingForClusters)
		h.run()
		pid := h.live().PID
		load := startLoad(port, 1)
		hopeless.Store(true)
		h.supervisor.Restart("in vain")
		Eventually(h.supervisor.Status).Within(patience).Should(HaveField("LastRestart", HaveValue(And(HaveField("Result", "failed"),
			HaveField("Reason", ContainSubstring("not live within 1s"))))))
		Expect(h.supervisor.Status()).To(And(HaveField("PID", pid), HaveField("State", envoy.Live)))
		hopeless.Store(false)
		h.epoch(1)
		load.stop()
		Expect(load.lost()).To(BeEmpty())
	})

	It("is a cold start where the versions do not go together", func() {
		path := filepath.Join(h.dir.Path(), "envoy-link")
		Expect(os.Symlink(binary, path)).To(Succeed())
		h.options.Binary = path
		h.run()
		pid := h.live().PID
		speakAnother(path)
		h.supervisor.Restart("another Envoy")
		gone(pid)
		status := h.live()
		Expect(status.Epoch).To(BeZero())
		Expect(h.logs).To(gbytes.Say(`Draining Envoy to start it cold.*hot-restart version is 10.1 and that of the one that serves 11.104`))
		Expect(h.count.all()).To(Equal([]string{"cold succeeded"}))
	})

	It("is a plain start while Envoy is not live yet", func() {
		var wrong atomic.Bool
		wrong.Store(true)
		h.spoilWhile(&wrong, `"static_resources": {`, waitingForClusters)
		h.run()
		Eventually(h.supervisor.Status).Within(patience).Should(HaveField("Reason", ContainSubstring("waiting for the control plane")))
		wrong.Store(false)
		h.supervisor.Restart("the right address")
		Expect(h.live().Epoch).To(BeZero())
	})

	It("that is a cold start gives way to a stop, which drains as any other", func() {
		path := filepath.Join(h.dir.Path(), "envoy-link")
		Expect(os.Symlink(binary, path)).To(Succeed())
		h.options.Binary, h.options.DrainTime, h.options.ParentShutdownTime = path, time.Hour, 2*time.Hour
		h.options.DrainDeadline = time.Second
		h.run()
		h.live()
		// A connection that nobody ends keeps the drain from being complete.
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetUnencryptedHTTP2(true)
		DeferCleanup(transport.CloseIdleConnections)
		response, err := (&http.Client{Transport: transport}).Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
		Expect(err).NotTo(HaveOccurred())
		Expect(response.Body.Close()).To(Succeed())
		Expect(response.Proto).To(Equal("HTTP/2.0"))

		speakAnother(path)
		h.supervisor.Restart("another Envoy")
		Eventually(h.logs).Within(patience).Should(gbytes.Say("Draining Envoy to start it cold"))
		h.stop(errors.New("enough"))
		Expect(h.result()).To(Succeed())
		Expect(h.logs).To(gbytes.Say("result=hurried"))
		Expect(h.logs).To(gbytes.Say("told to stop: enough"))
		Expect(h.logs).To(gbytes.Say("result=deadline"))
	})

	It("is finished before a stop that comes meanwhile", func() {
		h.run()
		h.live()
		load := startLoad(port, 1)
		h.supervisor.Restart("now")
		h.stop(errors.New("and stop"))
		Expect(h.result()).To(Succeed())
		load.stop()
		Expect(h.supervisor.Status()).To(And(HaveField("State", envoy.Draining), HaveField("PID", 0)))
	})

	It("is survived by the successor's crash", func() {
		h.options.Rescue = envoy.Rescue{Tokens: 1, Delay: time.Millisecond, Refill: time.Hour}
		h.options.ParentShutdownTime = time.Minute
		h.run()
		h.live()
		h.supervisor.Restart("first")
		pid := h.epoch(1).PID
		Expect(syscall.Kill(pid, syscall.SIGKILL)).To(Succeed())
		Eventually(h.supervisor.Status).Within(patience).Should(And(HaveField("State", envoy.Live), HaveField("Epoch", 0), HaveField("RescueTokens", 0)), "it is rescued")
	})
})

// waitingForClusters takes the place of the beginning of static_resources: Envoy waits
// for clusters that nobody sends.
const waitingForClusters = `"node": {"id": "a", "cluster": "b"},
  "dynamic_resources": {"cds_config": {"resource_api_version": "V3", "initial_fetch_timeout": "0s", "api_config_source": {
    "api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [{"envoy_grpc": {"cluster_name": "nobody"}}]}}},
  "static_resources": {"clusters": [{"name": "nobody", "type": "STATIC", "connect_timeout": "1s"}], `

// speakAnother puts a script in Envoy's place, which says that its hot-restart version is
// another one.
func speakAnother(path string) {
	GinkgoHelper()
	script := path + ".new"
	Expect(os.WriteFile(script, []byte("#!/bin/sh\ncase \"$*\" in --hot-restart-version) echo 10.1;; *) exec "+binary+" \"$@\";; esac\n"), 0o700)).To(Succeed())
	Expect(os.Rename(script, path)).To(Succeed())
}
