package envoy

import (
	"context"
	"errors"
	"syscall"
	"time"

	"fairlead.dev/fairlead/agent/drain"
)

// adminTimeout is for an answer from this very machine, by a main thread that may be
// busy with a large configuration.
const adminTimeout = 2 * time.Second

// draining is one epoch as package drain sees it.
type draining struct {
	supervisor *Supervisor
	epoch      int
}

func (d draining) DrainInbound(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	return d.supervisor.admin.drainInbound(ctx)
}

func (d draining) Press() error { return d.supervisor.options.Dir.press(d.epoch) }

func (d draining) Connections(ctx context.Context) (inbound, outbound int, err error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	open, err := d.supervisor.admin.Connections(ctx)
	return open.Inbound, open.Outbound, err
}

// stop drains the epoch that serves and ends it. A predecessor, which drains already, is
// ended with it.
func (s *Supervisor) stop(serving *process, cause error) {
	s.become(Draining, "told to stop: "+cause.Error(), serving)
	if s.served {
		s.drain(serving, drain.Options{
			Minimum: s.options.MinDrain, Deadline: s.options.DrainDeadline, ApplicationEnded: s.options.ApplicationEnded, Hurry: s.options.Hurry,
		})
	}
	s.end(serving)
	s.become(Draining, "Envoy has stopped: "+cause.Error(), nil)
}

// drain returns when the process may be ended, or has ended.
func (s *Supervisor) drain(p *process, limits drain.Options) {
	o := s.options
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-p.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	limits.Proxy = draining{s, p.epoch}
	outcome := drain.Run(ctx, limits)
	if ctx.Err() != nil {
		o.Log.Warn("Envoy ended while it drained", "epoch", p.epoch, "pid", p.pid)
		return
	}
	o.Count.Drained(string(outcome.Result))
	if outcome.Trouble != nil {
		o.Log.Warn("Could not drain Envoy as it should be", "epoch", p.epoch, "error", outcome.Trouble)
	}
	attrs := []any{"result", string(outcome.Result), "after", outcome.Took.Round(time.Millisecond).String()}
	if outcome.Known {
		attrs = append(attrs, "inboundLeft", outcome.Inbound, "outboundLeft", outcome.Outbound)
	}
	if outcome.Result == drain.Complete {
		o.Log.Info("Drained Envoy", attrs...)
	} else {
		o.Log.Warn("Stopped draining Envoy before all was done", attrs...)
	}
}

// end ends a process within StopTimeout.
func (s *Supervisor) end(p *process) {
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
	s.options.Log.Info("Stopped Envoy", "epoch", p.epoch, "pid", p.pid, "after", p.exit.Uptime.String())
}

// errStopping is why something that takes a while was not finished.
var errStopping = errors.New("the agent was told to stop")
