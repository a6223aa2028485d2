package envoy

import "time"

// Rescue is how often, and how soon, an Envoy that ended by itself is started again.
//
// The n-th start in a row waits 2^(n-1) × Delay: an Envoy that fails for a reason
// outside of it would otherwise be started in a tight loop. There is no jitter, so the
// schedule is the documented one; each agent has its own Envoy, and nothing is shared
// that a herd could trample.
type Rescue struct {
	// Tokens is how many starts there are. 0 gives up at the first end.
	Tokens int
	// Delay is what the first start waits.
	Delay time.Duration
	// Refill is how long Envoy has to be live without interruption until all tokens are
	// there again.
	Refill time.Duration
}

// budget counts the tokens of one agent.
type budget struct {
	Rescue
	spent int
}

// left is how many tokens there are.
func (b *budget) left() int { return b.Tokens - b.spent }

// spend takes a token and returns how long to wait before it is used; false if there is
// none.
func (b *budget) spend() (time.Duration, bool) {
	if b.left() <= 0 {
		return 0, false
	}
	b.spent++
	return b.Delay << (b.spent - 1), true
}

func (b *budget) refill() { b.spent = 0 }
