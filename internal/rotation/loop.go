package rotation

import (
	"context"
	"sync"
	"time"
)

const (
	// workers is how many jobs are done at a time: most of one is waiting for the API server.
	// Each issuer besides the built-in one has as many of its own, since it may wait for people.
	workers = 32
	// gather is how long the engine waits after a step for more to change.
	gather = 10 * time.Millisecond
	// clockCheck is the longest sleep while something is planned: clocks are set, and machines
	// sleep.
	clockCheck = 10 * time.Minute
)

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (e *Engine) NeedLeaderElection() bool { return true }

// Start works until the context ends. What the Secrets hold, and which certificates there are
// to be, has to be known by then: what is not known is taken for missing.
func (e *Engine) Start(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { e.onEach(ctx, e.Proxies.Changes, func() { e.news = true }) })
	running.Go(func() {
		e.onEach(ctx, e.Source.Changes, func() {
			e.root.changed = true
			e.touchAll()
		})
	})
	lanes := map[string]chan struct{}{}
	for {
		jobs, change, wake := e.step(e.Clock.Now())
		if change != nil {
			// Not among the workers: it never waits for certificates.
			running.Go(func() { e.finishRoot(*change, e.performRoot(ctx, *change)) })
		}
		for _, j := range jobs {
			name := e.lane(j)
			if lanes[name] == nil {
				lanes[name] = make(chan struct{}, workers)
			}
			lane := lanes[name]
			if name != "" {
				running.Go(func() { e.inLane(ctx, lane, j) })
				continue
			}
			select {
			case lane <- struct{}{}:
				running.Go(func() {
					defer func() { <-lane }()
					e.finish(j, e.perform(ctx, j))
				})
			case <-ctx.Done():
				return nil
			}
		}
		if !e.sleep(ctx, wake) {
			return nil
		}
	}
}

// lane names the issuer that a job may have to wait for; empty: none.
func (e *Engine) lane(j job) string {
	if j.subject == nil || j.reason == reasonTrust || j.reason == reasonUnwanted {
		return ""
	}
	if j.subject.Issuer != "" {
		return j.subject.Issuer
	}
	if authority := e.Source.Get(); authority != nil && authority.Signer().Signing == nil {
		return authority.Signer().Source
	}
	return ""
}

// inLane does a job once the issuer's turn comes to it, unless something else is wanted by then.
func (e *Engine) inLane(ctx context.Context, lane chan struct{}, j job) {
	select {
	case lane <- struct{}{}:
		defer func() { <-lane }()
	case <-ctx.Done():
		return
	}
	if e.dropped(j) {
		return
	}
	e.finish(j, e.perform(ctx, j))
}

// dropped frees the holder of a job that has waited until it was no longer wanted.
func (e *Engine) dropped(j job) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := e.holders[j.key]
	if h == nil || h.subject == j.subject {
		return h == nil
	}
	h.busy = false
	e.touch(h)
	return true
}

// sleep waits until something changes, or until the time given; it returns false at the end.
func (e *Engine) sleep(ctx context.Context, until time.Time) bool {
	var due <-chan time.Time
	if !until.IsZero() {
		timer := e.Clock.NewTimer(max(until.Sub(e.Clock.Now()), gather))
		defer timer.Stop()
		due = timer.C()
	}
	select {
	case <-ctx.Done():
		return false
	case <-due:
		return true
	case <-e.poke:
	}
	// What changes comes in numbers.
	timer := e.Clock.NewTimer(gather)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C():
		return true
	}
}

// onEach notes something now, and whenever changes says so, and wakes the engine.
func (e *Engine) onEach(ctx context.Context, changes func() <-chan struct{}, note func()) {
	for {
		changed := changes()
		e.mu.Lock()
		note()
		e.mu.Unlock()
		e.Poke()
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}
