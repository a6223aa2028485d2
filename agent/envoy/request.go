package envoy

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// requests are reasons for a hot restart that none has answered yet.
type requests struct {
	// wake is filled when there is a new one.
	wake chan struct{}

	mu      sync.Mutex
	reasons []string
}

func newRequests() *requests { return &requests{wake: make(chan struct{}, 1)} }

func (r *requests) add(reason string) {
	r.keep([]string{reason})
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// keep puts back what was taken in vain, without waking anybody.
func (r *requests) keep(reasons []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, reason := range reasons {
		if !slices.Contains(r.reasons, reason) {
			r.reasons = append(r.reasons, reason)
		}
	}
}

// take empties it.
func (r *requests) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.wake:
	default:
	}
	taken := r.reasons
	r.reasons = nil
	return taken
}

func (r *requests) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.reasons, "; ")
}

// patience is how long to wait before a restart that did not work is tried again.
type patience struct{ wait time.Duration }

// The first try comes soon, since a manager that is being replaced is back in seconds;
// later ones cost a process each and bother nobody.
const firstWait, longestWait = time.Second, time.Minute

func newPatience() *patience { return &patience{wait: firstWait} }

func (p *patience) next() time.Duration {
	wait := p.wait
	p.wait = min(2*p.wait, longestWait)
	return wait
}
