package envoy_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"go.uber.org/goleak"

	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/test/testenv"
)

// patience is for a machine that is busy with other things.
const patience = 30 * time.Second

var _ = Describe("A supervisor", func() {
	var (
		dir        *envoy.Dir
		logs       *gbytes.Buffer
		options    envoy.Options
		supervisor *envoy.Supervisor
		stop       context.CancelCauseFunc
		ended      chan error
	)

	BeforeEach(func() {
		before := goleak.IgnoreCurrent()
		base, err := testenv.SocketDir()
		Expect(err).NotTo(HaveOccurred())
		dir, err = envoy.OpenDir(filepath.Join(base, "agent"))
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() {
			Expect(dir.Close()).To(Succeed())
			Expect(os.RemoveAll(base)).To(Succeed())
			Eventually(func() error { return goleak.Find(before) }).Within(patience).
				Should(Succeed(), "a supervisor that has returned has left nothing running")
		})
		logs = gbytes.NewBuffer()
		log := slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
		options = envoy.Options{
			Binary:       binary,
			Dir:          dir,
			Bootstrap:    func() ([]byte, error) { return []byte(adminOnly(dir)), nil },
			ControlPlane: "nowhere",
			Concurrency:  1,
			DrainTime:    time.Second,
			StopTimeout:  patience,
			Stdout:       GinkgoWriter,
			Log:          log,
			EnvoyLog:     log.With("source", "envoy"), EnvoyLogLevel: slog.LevelWarn,
		}
	})

	run := func() {
		running := envoy.New(options)
		ctx, cancel := context.WithCancelCause(context.Background())
		returned := make(chan error, 1)
		done := make(chan struct{})
		supervisor, stop, ended = running, cancel, returned
		go func() {
			defer close(done)
			returned <- running.Run(ctx)
		}()
		DeferCleanup(func() {
			cancel(errors.New("the test is over"))
			Eventually(done).Within(patience).Should(BeClosed(), "Run returns")
		})
	}
	live := func() envoy.Status {
		GinkgoHelper()
		Eventually(supervisor.Status).Within(patience).Should(HaveField("State", envoy.Live), "Envoy starts")
		return supervisor.Status()
	}
	result := func() error {
		GinkgoHelper()
		var err error
		Eventually(ended).Within(patience).Should(Receive(&err), "Run returns")
		return err
	}

	It("tells the states from start to stop", func() {
		run()
		status := live()
		Expect(status.Ready()).To(BeTrue())
		Expect(status.PID).NotTo(BeZero())
		Expect(status.Epoch).To(BeZero())
		Expect(status.Since).To(BeTemporally("~", time.Now(), patience))

		stop(errors.New("enough"))
		Expect(result()).To(Succeed())
		status = supervisor.Status()
		Expect(status.Ready()).To(BeFalse())
		Expect(status).To(And(HaveField("State", envoy.Draining), HaveField("Reason", "Envoy has stopped: enough"), HaveField("PID", 0)))
		Expect(logs).To(gbytes.Say(`Envoy is starting.*validating`))
		Expect(logs).To(gbytes.Say(`Envoy is live`))
		Expect(logs).To(gbytes.Say(`Envoy is draining.*told to stop: enough`))
		Expect(logs).To(gbytes.Say(`caught ENVOY_SIGTERM`))
		Expect(logs).To(gbytes.Say(`Stopped Envoy`))
	})

	It("tells how Envoy was killed, and its last words", func() {
		run()
		pid := live().PID
		Expect(syscall.Kill(pid, syscall.SIGKILL)).To(Succeed())

		var exit *envoy.ExitError
		Expect(errors.As(result(), &exit)).To(BeTrue())
		Expect(exit).To(And(HaveField("PID", pid), HaveField("Code", -1), HaveField("Signal", syscall.SIGKILL)))
		Expect(exit.Error()).To(MatchRegexp(`envoy \(epoch 0, pid \d+\) was killed by signal 9 \(SIGKILL\) after [\d.]+m?s`))
		Expect(exit.LastLines).To(ContainElement(ContainSubstring("starting main dispatch loop")))
		Expect(len(exit.LastLines)).To(BeNumerically("<=", envoy.KeptLines))
		Expect(supervisor.Status()).To(And(HaveField("State", envoy.Failed), HaveField("Reason", exit.Error()), HaveField("PID", 0)))
	})

	It("tells with which code Envoy exited, and why", func() {
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		Expect(err).NotTo(HaveOccurred())
		defer func() { _ = taken.Close() }()
		options.Bootstrap = func() ([]byte, error) { return []byte(listeningOn(dir, taken.Addr().(*net.TCPAddr))), nil }
		run()
		var exit *envoy.ExitError
		Expect(errors.As(result(), &exit)).To(BeTrue())
		Expect(exit).To(And(HaveField("Code", 1), HaveField("Signal", BeZero())))
		Expect(exit.Error()).To(ContainSubstring("exited with code 1"))
		Expect(exit.LastLines).To(ContainElement(ContainSubstring("Address already in use")))
	})

	It("never starts an Envoy with a bootstrap that it refuses", func() {
		options.Bootstrap = func() ([]byte, error) { return []byte(`{"node": {"id": "a"}, "no_such_field": 1}`), nil }
		run()
		var refused *envoy.InvalidBootstrapError
		Expect(errors.As(result(), &refused)).To(BeTrue())
		Expect(refused.Path).To(Equal(dir.Bootstrap(0)))
		Expect(refused.Words).To(ContainSubstring("no_such_field"))
		Expect(refused.Path).To(BeARegularFile(), "it is left for inspection")
		Expect(supervisor.Status()).To(HaveField("State", envoy.Failed))
		Expect(logs.Contents()).NotTo(ContainSubstring("Started Envoy"))
	})

	It("gives back the error of a bootstrap that cannot be made", func() {
		broken := errors.New("no idea")
		options.Bootstrap = func() ([]byte, error) { return nil, broken }
		run()
		Expect(result()).To(MatchError(broken))
		Expect(supervisor.Status()).To(HaveField("Reason", "no idea"))
	})

	It("names a binary that cannot be started", func() {
		options.Binary = filepath.Join(dir.Path(), "missing")
		run()
		Expect(result()).To(MatchError(And(ContainSubstring("validate "+dir.Bootstrap(0)), ContainSubstring(options.Binary))))
	})

	It("starts nothing any more when it is told to stop while validating", func() {
		options.Bootstrap = func() ([]byte, error) {
			stop(errors.New("changed my mind"))
			return []byte(adminOnly(dir)), nil
		}
		run()
		Expect(result()).To(Succeed())
		Expect(supervisor.Status()).To(HaveField("Reason", "told to stop before Envoy was started: changed my mind"))
		Expect(logs.Contents()).NotTo(ContainSubstring("Started Envoy"))
	})

	It("kills an Envoy that does not stop in time", func() {
		options.StopTimeout = 100 * time.Millisecond
		run()
		Expect(syscall.Kill(live().PID, syscall.SIGSTOP)).To(Succeed())
		stop(errors.New("enough"))
		Expect(result()).To(Succeed(), "it was told to stop, however that went")
		Expect(logs).To(gbytes.Say("Envoy did not end after SIGTERM and was killed"))
	})

	It("tells that Envoy hangs, and that it answers again", func() {
		run()
		pid := live().PID
		Expect(syscall.Kill(pid, syscall.SIGSTOP)).To(Succeed())
		Eventually(supervisor.Status).Within(patience).Should(HaveField("State", envoy.Unresponsive))
		Expect(supervisor.Status().Ready()).To(BeFalse())
		Expect(supervisor.Status().PID).To(Equal(pid))
		Expect(syscall.Kill(pid, syscall.SIGCONT)).To(Succeed())
		live()
	})

	It("is told to drain by an operator", func() {
		run()
		live()
		response, err := testenv.UnixClient(dir.AdminSocket()).Post("http://envoy/healthcheck/fail", "", nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(response.Body.Close()).To(Succeed())
		Eventually(supervisor.Status).Within(patience).Should(HaveField("State", envoy.Draining))
	})
})

// adminOnly is the least that an Envoy starts from.
func adminOnly(dir *envoy.Dir) string {
	return fmt.Sprintf(`{"admin": {"address": {"pipe": {"path": %q}}}}`, dir.AdminSocket())
}

// listeningOn has a listener, which Envoy opens only once it serves.
func listeningOn(dir *envoy.Dir, address *net.TCPAddr) string {
	return fmt.Sprintf(`{"admin": {"address": {"pipe": {"path": %q}}},
		"static_resources": {"listeners": [{"name": "one", "enable_reuse_port": false,
			"address": {"socket_address": {"address": %q, "port_value": %d}}, "filter_chains": [{}]}]}}`,
		dir.AdminSocket(), address.IP, address.Port)
}
