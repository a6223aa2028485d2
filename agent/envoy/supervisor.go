// Package envoy runs Envoy: it writes and validates the bootstrap, starts the
// process, watches it and stops it, and says at any time how it is.
//
// It never decides what is in a bootstrap and never changes Envoy's configuration.
// The bootstrap comes from a function of the caller's; what is known goes out as a
// Status, as log records and, when Envoy ends by itself, as an ExitError.
//
// Every process has a restart epoch. There is only epoch 0 as yet, but the folder's
// layout, the base id and the command line are those that a successor needs.
package envoy

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// validateTimeout is far beyond the 0.1 s that validation takes; a busy machine may
// need longer, a hung one should be told.
const validateTimeout = 30 * time.Second

// Options are what a Supervisor needs. All fields are required.
type Options struct {
	// Binary is the path of Envoy.
	Binary string
	// Dir is the agent's folder. The caller closes it after Run.
	Dir *Dir
	// Bootstrap returns the file's content. It is called for each epoch.
	Bootstrap func() ([]byte, error)
	// ControlPlane is the control plane's address as a person would know it.
	ControlPlane string
	// Concurrency is the number of worker threads; 0 is one for each CPU.
	Concurrency int
	// DrainTime is how long listeners that were removed finish their connections.
	DrainTime time.Duration
	// StopTimeout is how long Envoy has between SIGTERM and SIGKILL.
	StopTimeout time.Duration
	// Stdout receives what Envoy writes there, which is access logs only.
	Stdout io.Writer
	// Log receives the supervisor's own records.
	Log *slog.Logger
	// EnvoyLog receives Envoy's lines from the level EnvoyLogLevel up.
	EnvoyLog      *slog.Logger
	EnvoyLogLevel slog.Level
}

// Supervisor runs one Envoy, once.
type Supervisor struct {
	options  Options
	launcher *launcher

	mu     sync.Mutex
	status Status
}

// New does not start anything yet.
func New(options Options) *Supervisor {
	return &Supervisor{
		options: options,
		status:  Status{State: Starting, Reason: "not started yet", Since: time.Now()},
	}
}

// Status is how Envoy is now.
func (s *Supervisor) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// Run starts Envoy and returns when it has ended. It returns nil if the context ended
// it, whose cause becomes the status' reason; an *ExitError if Envoy ended by itself;
// an *InvalidBootstrapError if Envoy refuses its bootstrap.
func (s *Supervisor) Run(ctx context.Context) error {
	s.launcher = newLauncher()
	defer s.launcher.close()

	current, err := s.start(ctx, 0)
	if err != nil {
		if ctx.Err() != nil {
			s.become(Draining, "told to stop before Envoy was started: "+context.Cause(ctx).Error(), 0)
			return nil
		}
		s.become(Failed, err.Error(), 0)
		return err
	}

	observed := make(chan observation)
	watching, stopWatching := context.WithCancel(ctx)
	var watchers sync.WaitGroup
	watchers.Go(func() {
		watch{
			prober:       NewAdmin(s.options.Dir.AdminSocket()),
			controlPlane: s.options.ControlPlane,
			observed:     observed,
		}.run(watching)
	})
	defer watchers.Wait()
	defer stopWatching()

	for {
		select {
		case o := <-observed:
			s.become(o.state, o.reason, current.pid)
		case <-current.done:
			s.become(Failed, current.exit.Error(), 0)
			return current.exit
		case <-ctx.Done():
			s.stop(current, context.Cause(ctx))
			return nil
		}
	}
}

// start writes and validates the bootstrap of an epoch and runs Envoy with it.
func (s *Supervisor) start(ctx context.Context, epoch int) (*process, error) {
	o := s.options
	content, err := o.Bootstrap()
	if err != nil {
		return nil, err
	}
	path, err := o.Dir.writeBootstrap(epoch, content)
	if err != nil {
		return nil, err
	}
	s.become(Starting, "validating "+path, 0)
	limited, cancel := context.WithTimeoutCause(ctx, validateTimeout,
		fmt.Errorf("envoy had not finished after %s", validateTimeout))
	defer cancel()
	// Silent: what it complains of is in the error, and a valid file's warnings come
	// again when Envoy starts.
	silent := newLogWriter(slog.New(slog.DiscardHandler), slog.LevelError)
	validation := exec.CommandContext(limited, o.Binary, "--mode", "validate", "--config-path", path,
		"--log-level", "warning", "--log-format", logFormat, "--log-format-escaped")
	if err := validate(limited, s.launcher, validation, path, silent); err != nil {
		return nil, err
	}

	cmd := exec.Command(o.Binary, s.arguments(epoch, path)...)
	// The hot-restart sockets' name is relative to here.
	cmd.Dir = o.Dir.Path()
	p, err := startProcess(s.launcher, cmd, epoch, o.Stdout, newLogWriter(o.EnvoyLog, o.EnvoyLogLevel))
	if err != nil {
		return nil, err
	}
	s.become(Starting, "waiting for Envoy's first answer", p.pid)
	o.Log.Info("Started Envoy", "epoch", epoch, "pid", p.pid, "bootstrap", path)
	return p, nil
}

// arguments are Envoy's. Those that epochs must agree on (concurrency, socket path)
// are always written out.
func (s *Supervisor) arguments(epoch int, bootstrap string) []string {
	o := s.options
	args := []string{
		"--config-path", bootstrap,
		"--restart-epoch", strconv.Itoa(epoch),
		// Chosen by Envoy so that agents on one host do not meet, and written down
		// for the epochs to come.
		"--use-dynamic-base-id",
		"--base-id-path", o.Dir.BaseID(),
		// By default these are abstract sockets, which any local user may talk to;
		// in our folder only we can.
		"--socket-path", hotRestartName,
		"--socket-mode", "600",
		"--drain-time-s", strconv.Itoa(int(o.DrainTime.Round(time.Second).Seconds())),
		"--log-level", envoyLevel(o.EnvoyLogLevel),
		"--log-format", logFormat,
		"--log-format-escaped",
	}
	if o.Concurrency > 0 {
		args = append(args, "--concurrency", strconv.Itoa(o.Concurrency))
	}
	return args
}

// stop ends a process within StopTimeout.
func (s *Supervisor) stop(p *process, cause error) {
	s.become(Draining, "told to stop: "+cause.Error(), p.pid)
	p.signal(syscall.SIGTERM)
	timer := time.NewTimer(s.options.StopTimeout)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		s.options.Log.Warn("Envoy did not end after SIGTERM and was killed", "epoch", p.epoch, "pid", p.pid,
			"waited", s.options.StopTimeout.String())
		p.signal(syscall.SIGKILL)
		<-p.done
	}
	s.become(Draining, "Envoy has stopped: "+cause.Error(), 0)
	s.options.Log.Info("Stopped Envoy", "epoch", p.epoch, "pid", p.pid, "after", p.exit.Uptime.String())
}

// become sets the status and logs it if somebody may be waiting for it.
func (s *Supervisor) become(state State, reason string, pid int) {
	s.mu.Lock()
	previous := s.status
	s.status.State, s.status.Reason, s.status.PID = state, reason, pid
	now := time.Now()
	if state != previous.State {
		s.status.Since = now
	}
	epoch := s.status.Epoch
	s.mu.Unlock()
	if state == previous.State && reason == previous.Reason {
		return
	}
	level := slog.LevelInfo
	switch {
	case state == Unresponsive:
		level = slog.LevelWarn
	case state == Failed, state == previous.State && pid != previous.PID:
		// Told by the error that follows, or by the record of the start or stop.
		level = slog.LevelDebug
	}
	s.options.Log.Log(context.Background(), level, "Envoy is "+string(state), "reason", reason,
		"epoch", epoch, "pid", pid, "was", string(previous.State), "for", now.Sub(previous.Since).Round(time.Millisecond).String())
}
