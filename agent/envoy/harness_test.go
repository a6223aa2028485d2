package envoy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"go.uber.org/goleak"

	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/agent/metrics"
	"fairlead.dev/fairlead/test/testenv"
)

// patience is for a machine that is busy with other things.
const patience = 30 * time.Second

// harness is a supervisor under test, with the real Envoy, in a folder of its own.
type harness struct {
	dir        *envoy.Dir
	logs       *gbytes.Buffer
	count      *counts
	options    envoy.Options
	supervisor *envoy.Supervisor
	stop       context.CancelCauseFunc
	ended      chan error
}

// newHarness prepares one that a spec may change before it runs.
func newHarness() *harness {
	GinkgoHelper()
	h := &harness{logs: gbytes.NewBuffer(), count: &counts{Agent: metrics.NewAgent()}}
	before := goleak.IgnoreCurrent()
	base, err := testenv.SocketDir()
	Expect(err).NotTo(HaveOccurred())
	h.dir, err = envoy.OpenDir(filepath.Join(base, "agent"))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() {
		Expect(h.dir.Close()).To(Succeed())
		Expect(os.RemoveAll(base)).To(Succeed())
		Eventually(func() error { return goleak.Find(before) }).Within(patience).
			Should(Succeed(), "a supervisor that has returned has left nothing running")
	})
	log := slog.New(slog.NewTextHandler(io.MultiWriter(h.logs, GinkgoWriter), &slog.HandlerOptions{Level: slog.LevelDebug}))
	h.options = envoy.Options{
		Binary:             binary,
		Dir:                h.dir,
		Bootstrap:          func(int) ([]byte, error) { return []byte(adminOnly(h.dir)), nil },
		ControlPlane:       "nowhere",
		Concurrency:        1,
		DrainTime:          time.Second,
		ParentShutdownTime: 2 * time.Second,
		RestartTimeout:     patience,
		DrainDeadline:      patience,
		StopTimeout:        patience,
		Count:              h.count,
		Stdout:             GinkgoWriter,
		Log:                log,
		EnvoyLog:           log.With("source", "envoy"), EnvoyLogLevel: slog.LevelWarn,
	}
	return h
}

// run starts the supervisor and ends it after the spec.
func (h *harness) run() {
	running := envoy.New(h.options)
	ctx, cancel := context.WithCancelCause(context.Background())
	returned := make(chan error, 1)
	done := make(chan struct{})
	h.supervisor, h.stop, h.ended = running, cancel, returned
	go func() {
		defer close(done)
		returned <- running.Run(ctx)
	}()
	DeferCleanup(func() {
		cancel(errors.New("the test is over"))
		Eventually(done).Within(patience).Should(BeClosed(), "Run returns")
	})
}

// spoilWhile has a part of the bootstrap replaced as long as it is so.
func (h *harness) spoilWhile(spoilt *atomic.Bool, part, by string) {
	good := h.options.Bootstrap
	h.options.Bootstrap = func(epoch int) ([]byte, error) {
		content, err := good(epoch)
		if spoilt.Load() {
			content = bytes.Replace(content, []byte(part), []byte(by), 1)
		}
		return content, err
	}
}

// live waits until Envoy is.
func (h *harness) live() envoy.Status {
	GinkgoHelper()
	Eventually(h.supervisor.Status).Within(patience).Should(HaveField("State", envoy.Live), "Envoy starts")
	return h.supervisor.Status()
}

// epoch waits until the given one is live.
func (h *harness) epoch(n int) envoy.Status {
	GinkgoHelper()
	Eventually(h.supervisor.Status).Within(patience).Should(And(HaveField("State", envoy.Live), HaveField("Epoch", n)), "the epoch becomes live")
	return h.supervisor.Status()
}

// result is what Run returns.
func (h *harness) result() error {
	GinkgoHelper()
	var err error
	Eventually(h.ended).Within(patience).Should(Receive(&err), "Run returns")
	return err
}

// adminOnly is the least that an Envoy starts from.
func adminOnly(dir *envoy.Dir) string {
	return fmt.Sprintf(`{"admin": {"address": {"pipe": {"path": %q}}}}`, dir.AdminSocket())
}
