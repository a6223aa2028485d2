package envoy_test

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"

	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/test/testenv"
)

var _ = Describe("A supervisor", func() {
	var h *harness
	BeforeEach(func() { h = newHarness() })

	It("tells the states from start to stop", func() {
		h.run()
		status := h.live()
		Expect(status.Ready()).To(BeTrue())
		Expect(status.PID).NotTo(BeZero())
		Expect(status.Epoch).To(BeZero())
		Expect(status.Since).To(BeTemporally("~", time.Now(), patience))

		h.stop(errors.New("enough"))
		Expect(h.result()).To(Succeed())
		status = h.supervisor.Status()
		Expect(status.Ready()).To(BeFalse())
		Expect(status).To(And(HaveField("State", envoy.Draining), HaveField("Reason", "Envoy has stopped: enough"), HaveField("PID", 0)))
		Expect(h.logs).To(gbytes.Say(`Envoy is starting.*validating`))
		Expect(h.logs).To(gbytes.Say(`Envoy is live`))
		Expect(h.logs).To(gbytes.Say(`Envoy is draining.*told to stop: enough`))
		Expect(h.logs).To(gbytes.Say(`caught ENVOY_SIGTERM`))
		Expect(h.logs).To(gbytes.Say(`Stopped Envoy`))
	})

	It("tells how Envoy was killed, and its last words", func() {
		h.run()
		pid := h.live().PID
		Expect(syscall.Kill(pid, syscall.SIGKILL)).To(Succeed())

		var exit *envoy.ExitError
		Expect(errors.As(h.result(), &exit)).To(BeTrue())
		Expect(exit).To(And(HaveField("PID", pid), HaveField("Code", -1), HaveField("Signal", syscall.SIGKILL)))
		Expect(exit.Error()).To(MatchRegexp(`envoy \(epoch 0, pid \d+\) was killed by signal 9 \(SIGKILL\) after [\d.]+m?s`))
		Expect(exit.LastLines).To(ContainElement(ContainSubstring("starting main dispatch loop")))
		Expect(len(exit.LastLines)).To(BeNumerically("<=", envoy.KeptLines))
		Expect(h.supervisor.Status()).To(And(HaveField("State", envoy.Failed), HaveField("Reason", exit.Error()), HaveField("PID", 0)))
	})

	DescribeTable("knows an end for want of memory from one by somebody's SIGKILL", func(kills uint64, told string) {
		var counted atomic.Uint64
		h.options.OOMKills = func() (uint64, error) { return counted.Load(), nil }
		h.run()
		pid := h.live().PID
		counted.Store(kills)
		Expect(syscall.Kill(pid, syscall.SIGKILL)).To(Succeed())
		Expect(h.result().Error()).To(MatchRegexp(told))
	},
		Entry("the kernel counts one", uint64(1), `SIGKILL\) for want of memory \(the container's limit is reached: raise it`),
		Entry("the kernel counts none", uint64(0), `SIGKILL\) after`),
	)

	It("tells with which code Envoy exited, and why", func() {
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		Expect(err).NotTo(HaveOccurred())
		defer func() { _ = taken.Close() }()
		h.options.Bootstrap = func(int) ([]byte, error) { return []byte(listeningOn(h.dir, taken.Addr().(*net.TCPAddr))), nil }
		h.run()
		var exit *envoy.ExitError
		Expect(errors.As(h.result(), &exit)).To(BeTrue())
		Expect(exit).To(And(HaveField("Code", 1), HaveField("Signal", BeZero())))
		Expect(exit.Error()).To(ContainSubstring("exited with code 1"))
		Expect(exit.LastLines).To(ContainElement(ContainSubstring("Address already in use")))
	})

	It("never starts an Envoy with a bootstrap that it refuses", func() {
		h.options.Bootstrap = func(int) ([]byte, error) { return []byte(`{"node": {"id": "a"}, "no_such_field": 1}`), nil }
		h.run()
		var refused *envoy.InvalidBootstrapError
		Expect(errors.As(h.result(), &refused)).To(BeTrue())
		Expect(refused.Path).To(Equal(h.dir.Bootstrap(0)))
		Expect(refused.Words).To(ContainSubstring("no_such_field"))
		Expect(refused.Path).To(BeARegularFile(), "it is left for inspection")
		Expect(h.supervisor.Status()).To(HaveField("State", envoy.Failed))
		Expect(h.logs.Contents()).NotTo(ContainSubstring("Started Envoy"))
	})

	It("gives back the error of a bootstrap that cannot be made", func() {
		broken := errors.New("no idea")
		h.options.Bootstrap = func(int) ([]byte, error) { return nil, broken }
		h.run()
		Expect(h.result()).To(MatchError(broken))
		Expect(h.supervisor.Status()).To(HaveField("Reason", "no idea"))
	})

	It("names a binary that cannot be started", func() {
		h.options.Binary = filepath.Join(h.dir.Path(), "missing")
		h.run()
		Expect(h.result()).To(MatchError(And(ContainSubstring("validate "+h.dir.Bootstrap(0)), ContainSubstring(h.options.Binary))))
	})

	It("starts nothing any more when it is told to stop while validating", func() {
		h.options.Bootstrap = func(int) ([]byte, error) {
			h.stop(errors.New("changed my mind"))
			return []byte(adminOnly(h.dir)), nil
		}
		h.run()
		Expect(h.result()).To(Succeed())
		Expect(h.supervisor.Status()).To(HaveField("Reason", "told to stop while no Envoy ran: changed my mind"))
		Expect(h.logs.Contents()).NotTo(ContainSubstring("Started Envoy"))
	})

	It("kills an Envoy that does not stop in time", func() {
		h.options.StopTimeout, h.options.DrainDeadline = 100*time.Millisecond, 100*time.Millisecond
		h.run()
		Expect(syscall.Kill(h.live().PID, syscall.SIGSTOP)).To(Succeed())
		h.stop(errors.New("enough"))
		Expect(h.result()).To(Succeed(), "it was told to stop, however that went")
		Expect(h.logs).To(gbytes.Say("Envoy did not end after SIGTERM and was killed"))
	})

	It("tells that Envoy hangs, and that it answers again", func() {
		h.run()
		pid := h.live().PID
		Expect(syscall.Kill(pid, syscall.SIGSTOP)).To(Succeed())
		Eventually(h.supervisor.Status).Within(patience).Should(HaveField("State", envoy.Unresponsive))
		Expect(h.supervisor.Status().Ready()).To(BeFalse())
		Expect(h.supervisor.Status().PID).To(Equal(pid))
		Expect(syscall.Kill(pid, syscall.SIGCONT)).To(Succeed())
		h.live()
	})

	It("is told to drain by an operator", func() {
		h.run()
		h.live()
		response, err := testenv.UnixClient(h.dir.AdminSocket()).Post("http://envoy/healthcheck/fail", "", nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(response.Body.Close()).To(Succeed())
		Eventually(h.supervisor.Status).Within(patience).Should(HaveField("State", envoy.Draining))
	})
})

// listeningOn has a listener, which Envoy opens only once it serves.
func listeningOn(dir *envoy.Dir, address *net.TCPAddr) string {
	return fmt.Sprintf(`{"admin": {"address": {"pipe": {"path": %q}}},
		"static_resources": {"listeners": [{"name": "one", "enable_reuse_port": false,
			"address": {"socket_address": {"address": %q, "port_value": %d}}, "filter_chains": [{}]}]}}`,
		dir.AdminSocket(), address.IP, address.Port)
}
