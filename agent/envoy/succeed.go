package envoy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"fairlead.dev/fairlead/agent/drain"
)

// A hot restart: the next epoch initializes beside the one that serves, takes its
// listening sockets over, tells it to drain, and ends it after the parent-shutdown time.
// Until the next epoch is live nothing has changed for anybody's connections; whatever
// fails before that leaves the serving epoch as it was, but for its administration
// interface, which Envoy closes as soon as a successor starts.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/operations/hot_restart

const (
	probeTimeout = 5 * time.Second
	// snapshotTimeout is longer than any scrape, since one may be under way.
	snapshotTimeout = 10 * time.Second
	// overdue is how long after its time a predecessor is believed to be ending.
	overdue = 5 * time.Second
	// inheritInterval is how much of what a predecessor counts may be lost at its end, when
	// it has little left to count.
	inheritInterval = 250 * time.Millisecond
	// lastMoment is how long a restart may still take once the agent was told to stop.
	lastMoment = 3 * time.Second
)

// RestartError is why a hot restart did not take place. The serving epoch goes on.
type RestartError struct {
	// Again: the reason may go away by itself, so it is tried again.
	Again bool
	// Result is "refused" if nothing was changed, and "failed" if it was tried.
	Result string
	Err    error
}

func (e *RestartError) Error() string { return "hot restart " + e.Result + ": " + e.Err.Error() }

func (e *RestartError) Unwrap() error { return e.Err }

func worthAnotherTry(err error) bool {
	restart, ok := errors.AsType[*RestartError](err)
	return ok && restart.Again
}

// succeed starts the epoch after current and returns it when it is live.
func (s *Supervisor) succeed(ctx context.Context, current *process, reasons []string) (*process, error) {
	log := s.options.Log.With("reason", strings.Join(reasons, "; "), "epoch", current.epoch+1)
	next, err := s.trySucceed(ctx, current)
	switch {
	case errors.Is(err, errAnew):
		return nil, s.replace(ctx, current, err)
	case err != nil:
		restart, ok := errors.AsType[*RestartError](err)
		if !ok {
			return nil, err
		}
		s.restarted("hot", restart.Result, restart.Err.Error())
		log.Error("Did not restart Envoy; the one that serves goes on", "error", err, "again", restart.Again)
		return nil, err
	}
	s.restarted("hot", "succeeded", strings.Join(reasons, "; "))
	s.served, s.lastGood = true, next.bootstrap
	s.become(Live, serves, next)
	log.Info("Restarted Envoy; the predecessor drains", "pid", next.pid, "after", time.Since(next.started).Round(time.Millisecond).String(),
		"predecessorEndsIn", s.options.ParentShutdownTime.String())
	return next, nil
}

func (s *Supervisor) trySucceed(ctx context.Context, current *process) (*process, error) {
	refused := func(again bool, err error) error { return &RestartError{Again: again, Result: "refused", Err: err} }
	if s.options.Probe != nil {
		probing, cancel := context.WithTimeout(ctx, probeTimeout)
		err := s.options.Probe(probing)
		cancel()
		if err != nil {
			return nil, refused(true, fmt.Errorf("the control plane cannot be reached, and a new Envoy would have nothing to serve: %w", err))
		}
	}
	found, err := s.inspect(ctx, s.program)
	if err != nil {
		return nil, refused(true, err)
	}
	path, err := s.prepare(ctx, current.epoch+1)
	if err != nil {
		_, invalid := errors.AsType[*InvalidBootstrapError](err)
		return nil, refused(!invalid, err)
	}
	if found.hotRestart != s.program.hotRestart {
		return nil, fmt.Errorf("%w, because its hot-restart version is %s and that of the one that serves %s", errAnew, found.hotRestart, s.program.hotRestart)
	}
	baseID, err := s.options.Dir.baseID()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAnew, err)
	}
	s.snapshot(ctx)
	next, err := s.launch(current.epoch+1, path, "--base-id", strconv.FormatUint(baseID, 10))
	if err != nil {
		s.options.Statistics.Drop()
		return nil, refused(true, err)
	}
	if err := s.awaitLive(ctx, current, next); err != nil {
		err = s.abandon(current, next, err)
		s.options.Statistics.Drop()
		return nil, err
	}
	s.options.Statistics.Keep()
	s.program = found
	return next, nil
}

// snapshot has the statistics remembered. A restart is worth more than they are.
func (s *Supervisor) snapshot(ctx context.Context) {
	limited, cancel := context.WithTimeoutCause(ctx, snapshotTimeout, fmt.Errorf("it had not ended after %s", snapshotTimeout))
	defer cancel()
	if err := s.options.Statistics.Snapshot(limited); err != nil {
		s.options.Log.Warn("Could not remember Envoy's statistics: its counters begin anew with its successor", "error", err)
	}
}

// awaitLive returns nil when the next epoch serves.
func (s *Supervisor) awaitLive(ctx context.Context, current, next *process) error {
	limit := time.NewTimer(s.options.RestartTimeout)
	defer limit.Stop()
	tick := time.NewTicker(startingInterval)
	defer tick.Stop()
	// A stop waits for a restart that is about to succeed: both epochs drain well, one
	// that lost its administration interface does not.
	told := ctx.Done()
	last := "it never answered"
	for {
		select {
		case <-next.done:
			return s.crashed(next)
		case <-current.done:
			return s.crashed(current)
		case <-limit.C:
			return fmt.Errorf("it was not live within %s: %s", s.options.RestartTimeout, last)
		case <-told:
			told = nil
			limit.Reset(lastMoment)
		case <-s.options.Hurry:
			return errStopping
		case <-tick.C:
			asking, cancel := context.WithTimeout(context.Background(), adminTimeout)
			state, err := s.admin.epochState(asking, next.epoch)
			cancel()
			switch {
			case err != nil:
				last = err.Error()
			case state == serverLive:
				return nil
			default:
				last = "Envoy says that it is " + string(state)
			}
		}
	}
}

// abandon ends an epoch that did not become live and says what follows from it.
func (s *Supervisor) abandon(current, next *process, cause error) error {
	// By SIGKILL: asked to end by SIGTERM it would end its predecessor too.
	next.signal(syscall.SIGKILL)
	<-next.done
	select {
	case <-current.done:
		return s.crashed(current)
	default:
	}
	current.mute = fmt.Sprintf("epoch %d could not take over, and Envoy closed its administration interface for it", next.epoch)
	if err := s.options.Dir.forgetInitializing(); err != nil {
		s.options.Log.Warn("Could not tidy up the memory that epochs share", "error", err)
	}
	if slices.ContainsFunc(next.logs.last(), func(line string) bool { return strings.Contains(line, "previous envoy process is still initializing") }) {
		// The memory could not be mended: no epoch can ever follow this one.
		return fmt.Errorf("%w, because its predecessor lets no successor in: %w", errAnew, cause)
	}
	return &RestartError{Again: true, Result: "failed", Err: cause}
}

// replace is the cold start that is left where no hot restart can be: the serving Envoy
// drains first, as for a stop.
func (s *Supervisor) replace(ctx context.Context, current *process, cause error) error {
	s.options.Log.Warn("Draining Envoy to start it cold: connections that outlive the drain are cut off, and new ones refused until it is live",
		"reason", cause.Error(), "deadline", s.options.DrainTime.String())
	s.become(Draining, cause.Error(), current)
	// Callers come back to this very Envoy, and the application stays: what can be waited
	// for is what was open.
	s.drain(current, drain.Options{Deadline: s.options.DrainTime, Hurry: ctx.Done()})
	if ctx.Err() != nil {
		// Callers do leave now, and there is another deadline.
		return &RestartError{Result: "refused", Err: errStopping}
	}
	s.end(current)
	s.restarted("cold", "succeeded", cause.Error())
	return errAnew
}

// retire looks after a predecessor, which its successor ends, until it is gone.
func (s *Supervisor) retire(p *process) {
	s.retired.Go(func() { s.inherit(p) })
	s.retired.Go(func() {
		if s.outlives(p, s.options.DrainTime) {
			// Those that still wait for something, or for nothing, are told to go.
			if err := s.options.Dir.press(p.epoch); err != nil {
				s.options.Log.Warn("Could not hurry the predecessor's connections", "error", err)
			}
		}
		if s.outlives(p, max(0, s.options.ParentShutdownTime-s.options.DrainTime)+overdue) {
			s.options.Log.Warn("The predecessor did not end when it should", "epoch", p.epoch, "pid", p.pid)
		}
		select {
		case <-p.done:
		default:
			s.end(p)
		}
	})
}

// inherit has Envoy take over what the predecessor counts as long as it counts. Envoy
// does so when it flushes its statistics, which it does when it is asked for some.
func (s *Supervisor) inherit(predecessor *process) {
	tick := time.NewTicker(inheritInterval)
	defer tick.Stop()
	for {
		asking, cancel := context.WithTimeout(context.Background(), adminTimeout)
		// If nobody answers, there is nobody to inherit, or the next time does.
		_, _ = s.admin.Statistic(asking, parentConnections)
		cancel()
		select {
		case <-tick.C:
		case <-predecessor.done:
			return
		case <-s.leaving:
			return
		}
	}
}

// parentConnections is how many connections the predecessor has.
const parentConnections = "server.parent_connections"

// outlives waits, and returns true if the process is still there then and may be.
func (s *Supervisor) outlives(p *process, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-p.done:
		return false
	case <-s.leaving:
		return false
	case <-timer.C:
		return true
	}
}

// restarted notes what became of a restart.
func (s *Supervisor) restarted(kind, result, reason string) {
	s.options.Count.Restarted(kind, result)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.LastRestart = &Restart{Kind: kind, Result: result, Reason: reason, At: time.Now()}
}
