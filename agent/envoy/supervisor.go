// Package envoy runs Envoy: it writes and validates the bootstrap, starts the process,
// watches it, replaces it without a lost request, starts it again when it crashed, and
// drains and stops it; and it says at any time how it is.
//
// It never decides what is in a bootstrap and never changes Envoy's configuration.
// The bootstrap comes from a function of the caller's; what is known goes out as a
// Status, as counts, as log records and, when Envoy cannot be kept running, as an error.
//
// Every process has a restart epoch. Epoch 0 is started while no other Envoy runs; each
// further one takes over from its predecessor (see succeed.go).
package envoy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// Options are what a Supervisor needs. All fields are required but those that say so.
type Options struct {
	// Binary is the path of Envoy. What is found there may change at any time.
	Binary string
	// Dir is the agent's folder. The caller closes it after Run.
	Dir *Dir
	// Bootstrap returns the file's content for an epoch, in which only the name of
	// Dir.Pressure(epoch) depends on the epoch.
	Bootstrap func(epoch int) ([]byte, error)
	// ControlPlane is the control plane's address as a person would know it.
	ControlPlane string
	// Probe says whether the control plane can be reached, before a hot restart. nil
	// does not ask.
	Probe func(context.Context) error
	// Concurrency is the number of worker threads; 0 is one for each CPU.
	Concurrency int
	// DrainTime is how long the connections of listeners that were removed, and those of
	// a predecessor, may go on.
	DrainTime time.Duration
	// ParentShutdownTime is when after a hot restart the predecessor ends.
	ParentShutdownTime time.Duration
	// RestartTimeout is how long a new epoch may take until it is live.
	RestartTimeout time.Duration
	Rescue         Rescue
	// MinDrain is how long Envoy serves on at least after the agent was told to stop, and
	// DrainDeadline how long at most.
	MinDrain, DrainDeadline time.Duration
	// StopTimeout is how long Envoy has between SIGTERM and SIGKILL.
	StopTimeout time.Duration
	// ApplicationEnded tells whether the application is gone. nil: it cannot be known.
	ApplicationEnded func(context.Context) bool
	// Hurry ends a drain when it is closed. nil never does.
	Hurry <-chan struct{}
	// OOMKills counts what the kernel has killed in the agent's container for want of
	// memory. nil: it cannot be known.
	OOMKills func() (uint64, error)
	// Count is told what happened.
	Count Counter
	// Statistics has Envoy's counters go on over hot restarts. nil: they begin anew.
	Statistics Statistics
	// Stdout receives what Envoy writes there, which is access logs only.
	Stdout io.Writer
	// Log receives the supervisor's own records.
	Log *slog.Logger
	// EnvoyLog receives Envoy's lines from the level EnvoyLogLevel up.
	EnvoyLog      *slog.Logger
	EnvoyLogLevel slog.Level
}

// Counter keeps what a dashboard shows. The words are those of package metrics.
type Counter interface {
	Restarted(kind, result string)
	Rescued()
	RescueTokens(left int)
	Drained(result string)
}

// Statistics is told of the moments that matter to whoever wants Envoy's counters to go
// on over hot restarts: a successor is given only what its predecessor has not yet told
// anybody. It is called from one goroutine.
type Statistics interface {
	// Snapshot comes right before a successor is started. From then on nobody may ask
	// Envoy for statistics, until Keep or Drop, one of which follows whatever it returns.
	Snapshot(context.Context) error
	// Keep: the successor serves. Drop: the predecessor goes on.
	Keep()
	Drop()
	// Reset comes before a cold start: what was counted is lost.
	Reset()
}

// forgetful is the Statistics of those who want none.
type forgetful struct{}

func (forgetful) Snapshot(context.Context) error { return nil }
func (forgetful) Keep()                          {}
func (forgetful) Drop()                          {}
func (forgetful) Reset()                         {}

// Supervisor runs one Envoy, once: one at a time but for hot restarts.
type Supervisor struct {
	options  Options
	launcher *launcher
	admin    *Admin
	wanted   *requests
	budget   budget
	// retired are predecessors; leaving is closed when they may not go on.
	retired sync.WaitGroup
	leaving chan struct{}

	// The following belong to the goroutine that runs Run.

	// program is what the serving epoch was started from.
	program program
	// valid is the bootstrap that Envoy validated last, and lastGood the one that an epoch
	// became live with.
	valid, lastGood bootstrapOf
	// started: there was an Envoy. served: the one that runs was live.
	started, served bool
	// kills is what OOMKills said when the process that runs was started.
	kills uint64

	mu     sync.Mutex
	status Status
}

// New does not start anything yet.
func New(options Options) *Supervisor {
	options.Count.RescueTokens(options.Rescue.Tokens)
	if options.Statistics == nil {
		options.Statistics = forgetful{}
	}
	return &Supervisor{
		options: options,
		admin:   NewAdmin(options.Dir.AdminSocket()),
		wanted:  newRequests(),
		budget:  budget{Rescue: options.Rescue},
		leaving: make(chan struct{}),
		status:  Status{State: Starting, Reason: "not started yet", Since: time.Now(), RescueTokens: options.Rescue.Tokens},
	}
}

// Restart asks for a hot restart and says why. What is asked while one is under way, or
// before the predecessor has ended, is merged into the next one.
func (s *Supervisor) Restart(reason string) { s.wanted.add(reason) }

// Status is how Envoy is now.
func (s *Supervisor) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// errAnew ends one cold start's life so that the next begins, without a token.
var errAnew = errors.New("envoy is started anew")

// Run keeps Envoy running until the context is done, and returns when it has drained and
// ended. It returns nil if the context ended it, whose cause becomes the status' reason;
// an *ExitError if Envoy ended by itself once too often; an *InvalidBootstrapError if
// Envoy refuses its first bootstrap.
func (s *Supervisor) Run(ctx context.Context) error {
	s.launcher = newLauncher()
	// Only after all processes: it ends their parent thread.
	defer s.launcher.close()
	defer s.retired.Wait()
	defer close(s.leaving)
	for {
		err := s.serve(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil && !errors.Is(err, errAnew) && (!s.started || !s.rescue(ctx, err)) {
			s.become(Failed, err.Error(), nil)
			return err
		}
		if ctx.Err() != nil {
			s.become(Draining, "told to stop while no Envoy ran: "+context.Cause(ctx).Error(), nil)
			return nil
		}
	}
}

// serve starts epoch 0 and stays with it and its successors until none is left.
func (s *Supervisor) serve(ctx context.Context) error {
	// Whoever asked for a restart until now gets one by this start.
	s.wanted.take()
	s.served = false
	current, err := s.start(ctx)
	if err != nil {
		return err
	}
	observed, stopWatching := s.watch(current)
	defer func() { stopWatching() }()

	var (
		predecessor *process
		gone        <-chan struct{}
		steady      <-chan time.Time
		again       <-chan time.Time
		patience    = newPatience()
	)
	for {
		// Restarts are spaced: a third epoch would kill the first, with all it serves.
		var wanted <-chan struct{}
		if predecessor == nil {
			wanted = s.wanted.wake
		}
		select {
		case o := <-observed:
			s.become(o.state, o.reason, current)
			switch {
			case o.state != Live:
				steady = nil
			case steady == nil:
				// A restart that did not take place is no interruption.
				steady = s.steady()
			}
			if o.state == Live {
				s.served, s.lastGood = true, current.bootstrap
			}
			continue
		case <-steady:
			s.budget.refill()
			s.tokens()
			s.options.Log.Info("Refilled the rescue tokens", "tokens", s.budget.left(), "after", s.budget.Refill.String())
			continue
		case <-gone:
			s.options.Log.Info("The predecessor has ended", "epoch", predecessor.epoch, "pid", predecessor.pid, "after", predecessor.exit.Uptime.String())
			predecessor, gone = nil, nil
			continue
		case <-current.done:
			return s.crashed(current)
		case <-ctx.Done():
			stopWatching()
			s.stop(current, context.Cause(ctx))
			return nil
		case <-wanted:
			if !s.served {
				// There is nothing to hand over, and what it waits for may be what was mended.
				s.options.Log.Info("Starting Envoy anew, since it is not live yet", "reason", s.wanted.String())
				s.end(current)
				return errAnew
			}
			patience = newPatience()
		case <-again:
		}
		again = nil
		reasons := s.wanted.take()
		stopWatching()
		next, err := s.succeed(ctx, current, reasons)
		switch {
		case err == nil:
			predecessor, gone, current = current, current.done, next
			s.retire(predecessor)
		case errors.Is(err, errAnew):
			return err
		case worthAnotherTry(err):
			s.wanted.keep(reasons)
			again = time.After(patience.next())
		}
		observed, stopWatching = s.watch(current)
	}
}

// steady fires when Envoy has been live for long enough to forgive what was before.
func (s *Supervisor) steady() <-chan time.Time {
	if s.budget.spent == 0 {
		return nil
	}
	return time.After(s.budget.Refill)
}

// tokens tells how many rescue tokens are left.
func (s *Supervisor) tokens() {
	s.options.Count.RescueTokens(s.budget.left())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.RescueTokens = s.budget.left()
}

// crashed makes an error of the end of a process that nobody had told to end.
func (s *Supervisor) crashed(p *process) error {
	if s.options.OOMKills != nil {
		if kills, err := s.options.OOMKills(); err == nil && kills > s.kills {
			p.exit.OutOfMemory = true
		}
	}
	return p.exit
}

// rescue waits for the time that the next token costs; false if there is none left.
func (s *Supervisor) rescue(ctx context.Context, cause error) bool {
	delay, ok := s.budget.spend()
	if !ok {
		s.options.Log.Error("Gave up on Envoy", "error", cause, "rescueTokens", s.budget.Tokens)
		return false
	}
	s.options.Count.Rescued()
	s.tokens()
	reason := fmt.Sprintf("%s; rescue %d of %d starts it again after %s", cause, s.budget.spent, s.budget.Tokens, delay)
	s.become(BackingOff, reason, nil)
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.wanted.wake:
		// Somebody has mended something, and does not want to wait.
		s.options.Log.Info("Starting Envoy now, as asked for", "reason", s.wanted.String())
	case <-ctx.Done():
	}
	return true
}

// watch looks at the process that serves until it is stopped.
func (s *Supervisor) watch(p *process) (<-chan observation, func()) {
	observed := make(chan observation)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		watch{
			prober: s.admin, controlPlane: s.options.ControlPlane, observed: observed,
			live: s.served, mute: p.mute,
		}.run(ctx)
	})
	return observed, func() {
		cancel()
		running.Wait()
	}
}

// become sets the status and logs it if somebody may be waiting for it.
func (s *Supervisor) become(state State, reason string, p *process) {
	s.mu.Lock()
	previous := s.status
	s.status.State, s.status.Reason, s.status.PID = state, reason, 0
	if p != nil {
		s.status.Epoch, s.status.PID = p.epoch, p.pid
	}
	now := time.Now()
	if state != previous.State {
		s.status.Since = now
	}
	current := s.status
	s.mu.Unlock()
	if state == previous.State && reason == previous.Reason {
		return
	}
	level := slog.LevelInfo
	switch {
	case state == Unresponsive, state == BackingOff:
		level = slog.LevelWarn
	case state == Failed, state == previous.State && current.PID != previous.PID:
		// Told by the error that follows, or by the record of the start or stop.
		level = slog.LevelDebug
	}
	s.options.Log.Log(context.Background(), level, "Envoy is "+string(state), "reason", reason,
		"epoch", current.Epoch, "pid", current.PID, "was", string(previous.State), "for", now.Sub(previous.Since).Round(time.Millisecond).String())
}
