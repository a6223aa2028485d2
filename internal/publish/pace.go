package publish

import (
	"time"

	"k8s.io/utils/clock"
)

const (
	// shortestQuiet is the first pause between two publications: the objects of one
	// `kubectl apply` arrive within a few milliseconds of each other.
	shortestQuiet = 5 * time.Millisecond
	// longestQuiet bounds how stale a proxy may become under a storm of changes.
	longestQuiet = 200 * time.Millisecond
)

// pace lets a lone change pass at once and spaces publications under a storm: each one
// that had to wait doubles the pause before the next, and a pause without change ends it.
type pace struct {
	clock  clock.PassiveClock
	last   time.Time
	quiet  time.Duration
	waited bool
}

// next returns how long to wait before the publication that is due now.
func (p *pace) next() time.Duration {
	if p.quiet == 0 {
		p.quiet = shortestQuiet
	}
	since := p.clock.Since(p.last)
	p.waited = since < p.quiet
	if !p.waited {
		p.quiet = shortestQuiet
		return 0
	}
	return p.quiet - since
}

// done notes that a publication ended.
func (p *pace) done() {
	p.last = p.clock.Now()
	if p.waited {
		p.quiet = min(2*p.quiet, longestQuiet)
	}
}
