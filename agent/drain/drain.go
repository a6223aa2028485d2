// Package drain decides how long a proxy that was told to stop goes on, so that nobody's
// request is cut off, and that it is gone in time.
//
// It knows a proxy only by what it can be asked and told, and never ends it itself: it
// returns when the proxy may be ended. Inbound connections are drained at once;
// outbound ones are served until the application has ended, where that can be known.
package drain

import (
	"context"
	"time"
)

// interval is how often the proxy is asked what still goes on.
const interval = 100 * time.Millisecond

// Proxy is what is drained.
type Proxy interface {
	// DrainInbound makes the proxy tell its callers, with each answer, that connections
	// end, while it goes on taking new ones.
	DrainInbound(context.Context) error
	// Press makes the proxy end idle connections as well, and say so on those that have
	// long streams only.
	Press() error
	// Connections is what goes on.
	Connections(context.Context) (inbound, outbound int, err error)
}

// Options say what to wait for.
type Options struct {
	Proxy Proxy
	// Minimum is how long callers may still come, because they have not heard yet.
	Minimum time.Duration
	// Deadline is when the proxy must be ended whatever goes on.
	Deadline time.Duration
	// ApplicationEnded tells whether the application is gone, and so will call nobody any
	// more. It is nil where that cannot be known.
	ApplicationEnded func(context.Context) bool
	// Hurry ends the wait when it is closed.
	Hurry <-chan struct{}
}

// Result is how a drain ended.
type Result string

const (
	// Complete: nothing was left.
	Complete Result = "complete"
	// Deadline: the time was over.
	Deadline Result = "deadline"
	// Hurried: somebody could not wait.
	Hurried Result = "hurried"
)

// Outcome is what a drain came to.
type Outcome struct {
	Result Result
	// Inbound and Outbound are what was left: requests and streams that are cut off.
	Inbound, Outbound int
	// Known is false if the proxy could not be asked what is left.
	Known bool
	Took  time.Duration
	// Trouble is why something could not be asked or told; the drain went on without.
	Trouble error
}

// Run drains the proxy and returns when it may be ended.
func Run(ctx context.Context, o Options) Outcome {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, o.Deadline)
	defer cancel()
	d := drain{Options: o}
	d.note(o.Proxy.DrainInbound(ctx))
	// Before that, callers leave with each answer; whoever is idle has time to hear of it.
	press := time.NewTimer(o.Minimum / 2)
	defer press.Stop()
	minimum := time.NewTimer(o.Minimum)
	defer minimum.Stop()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var pressed, heard bool
	for {
		select {
		case <-press.C:
			d.note(o.Proxy.Press())
			pressed = true
		case <-minimum.C:
			heard = true
		case <-tick.C:
		case <-o.Hurry:
			return d.outcome(Hurried, began)
		case <-ctx.Done():
			return d.outcome(Deadline, began)
		}
		if pressed && heard && d.finished(ctx) {
			return d.outcome(Complete, began)
		}
	}
}

type drain struct {
	Options
	inbound, outbound int
	known             bool
	trouble           error
}

// note keeps the first trouble: those that follow come from it.
func (d *drain) note(err error) {
	if d.trouble == nil && err != nil {
		d.trouble = err
	}
}

// finished tells whether nothing goes on that somebody waits for.
func (d *drain) finished(ctx context.Context) bool {
	var err error
	d.inbound, d.outbound, err = d.Proxy.Connections(ctx)
	if ctx.Err() != nil {
		return false
	}
	d.known = err == nil
	d.note(err)
	if !d.known || d.inbound > 0 || d.outbound > 0 {
		return false
	}
	// An application that is there may call somebody any time. It is asked last: a question
	// may be a connection that it sees.
	return d.ApplicationEnded == nil || d.ApplicationEnded(ctx)
}

func (d *drain) outcome(result Result, began time.Time) Outcome {
	return Outcome{
		Result: result, Inbound: d.inbound, Outbound: d.outbound, Known: d.known,
		Took: time.Since(began), Trouble: d.trouble,
	}
}
