package rollover

import (
	"fmt"
	"time"
)

// change is one call of Step on its way.
type change struct {
	State
	Facts
	Policy
	now     time.Time
	waiting Waiting
}

// Step says what to remember, what to do next (nil: nothing), and what is waited for. Ask again
// after every Action, whenever a fact changes, and at Waiting.Until.
func Step(state State, facts Facts, policy Policy, now time.Time) (State, *Action, Waiting) {
	c := &change{State: state, Facts: facts, Policy: policy, now: now}
	c.adopt()
	c.abandon()
	c.begin()
	action := c.advance()
	if c.held(action) {
		action = nil
	}
	return c.State, action, c.waiting
}

// adopt corrects what is remembered by what the authority holds.
func (c *change) adopt() {
	if c.Phase == "" {
		// A request that stands there at the first look was made for another root.
		c.enter(Stable)
		c.State.Rotate = c.Facts.Rotate
	}
	highest := c.Active
	for _, g := range c.Generations {
		highest = max(highest, g.Number)
	}
	c.Last = max(c.Last, highest)
	if c.Signed != 0 || len(c.Generations) == 1 {
		c.Signed = max(c.Signed, c.Active)
	}
	_, there := c.generation(c.Next)
	announced := c.Next == c.Last && c.Next > highest
	switch {
	case len(c.Generations) == 1 && !announced:
		c.enter(Stable)
		c.Next = 0
	case !there && !announced:
		// A change that is not remembered is under way, and so is what was asked for.
		c.Next = highest
		c.State.Rotate = c.Facts.Rotate
	}
	c.Generation = c.left()
}

// left is the highest generation that is not to remain or, if there is no such, the active one.
func (c *change) left() int {
	left := 0
	for _, g := range c.Generations {
		if g.Number != c.Next {
			left = max(left, g.Number)
		}
	}
	if c.Next == 0 || left == 0 {
		return c.Active
	}
	return left
}

// back reports whether a change was abandoned and is being undone.
func (c *change) back() bool { return c.Next != 0 && c.Next < c.Generation }

// abandon turns round where that is asked for by hand, or where the settings no longer want
// the generation that is coming.
func (c *change) abandon() {
	asked := c.Facts.Abandon != c.State.Abandon && c.Facts.Abandon != ""
	c.State.Abandon = c.Facts.Abandon
	next, there := c.generation(c.Next)
	unwanted := there && c.Next != c.Active && !c.matches(next)
	if c.back() || !asked && !unwanted {
		return
	}
	to, possible := c.wayBack()
	switch {
	case c.Next == 0:
		c.waiting.Warning = "there is no change of the root to abandon"
		return
	case !there:
		c.Next = 0
	case c.Phase == Revoked || !possible:
		c.waiting.Warning = fmt.Sprintf("it is too late to abandon the change to generation %d: the one before is revoked or has expired", c.Next)
		return
	default:
		c.Next = to.Number
		c.Generation = c.left()
		c.enter(TrustDistributed)
	}
	if asked {
		active, _ := c.generation(c.Active)
		if possible {
			active = to
		}
		half := active.NotAfter.Sub(c.now) / 2
		c.Hold = Hold{For: c.Wanted, Until: c.now.Add(half).UTC().Truncate(time.Second)}
	}
}

// wayBack is the generation that remains if the change is abandoned.
func (c *change) wayBack() (Generation, bool) {
	var to Generation
	for _, g := range c.Generations {
		if g.Number != c.Next && c.trusts(g) && g.NotAfter.After(c.now) && (g.Number == c.Active || to.Number != c.Active && g.Number > to.Number) {
			to = g
		}
	}
	return to, to.Number != 0
}

// begin starts a change if there is a reason to. A generation that ends soon is replaced even
// while an older one is still being waited for; other reasons have the time.
func (c *change) begin() {
	active, _ := c.generation(c.Active)
	stable := c.Next == 0
	due := !c.now.Before(active.NotAfter.Add(-c.before(active))) && (stable || c.Next == c.Active)
	asked := stable && c.Facts.Rotate != c.State.Rotate && c.Facts.Rotate != ""
	moved := stable && !c.matches(active)
	if coming := !stable && c.Next != c.Active && !c.back(); coming || c.Facts.Rotate == "" {
		// What is asked for is under way.
		c.State.Rotate = c.Facts.Rotate
	}
	if !due && !asked && !moved {
		return
	}
	if !asked && c.holds() && c.now.Before(c.Hold.Until) {
		c.again(c.Hold.Until)
		c.waiting.Message = "the change was abandoned; it starts again at " + c.Hold.Until.UTC().Format(time.RFC3339) + ", by a request or with another source"
		return
	}
	if asked {
		c.State.Rotate = c.Facts.Rotate
	}
	if g, used := c.sourceUsed(); used {
		c.same(g, due && !asked && g.Number == c.Active)
		return
	}
	c.Last++
	c.Next, c.Hold = c.Last, Hold{}
	c.Generation = c.left()
}

// advance goes one step on the way to c.Next.
func (c *change) advance() *Action {
	active, _ := c.generation(c.Active)
	next, there := c.generation(c.Next)
	switch {
	case c.Next == 0:
		c.again(active.NotAfter.Add(-c.before(active)))
		return nil
	case !there:
		if _, used := c.sourceUsed(); used {
			c.Next = 0
			return nil
		}
		return &Action{Kind: Prepare, Generation: c.Next, Source: c.Wanted}
	case !c.trusts(next):
		c.enter(Prepared)
		return &Action{Kind: Trust, Generation: c.Next}
	case c.Next != c.Active:
		return c.distribute(active, next)
	}
	return c.move(next)
}

// distribute waits until everybody trusts the next generation, and has it sign.
func (c *change) distribute(active, next Generation) *Action {
	activate := &Action{Kind: Activate, Generation: next.Number}
	if c.back() {
		// Nobody ever ceased to trust it.
		return activate
	}
	shown := c.trusting(next, c.Silence, c.now)
	switch {
	case c.Phase != Prepared && c.Phase != TrustDistributed, c.Phase == TrustDistributed && shown.contradicted:
		c.enter(Prepared)
	case c.Phase == Prepared && shown.complete():
		c.enter(TrustDistributed)
	}
	settled := c.Since.Add(c.Settle)
	if c.Phase == TrustDistributed && shown.complete() && !c.now.Before(settled) {
		c.Signed = max(c.Signed, next.Number)
		return activate
	}
	call := c.lastCall(active)
	if !c.now.Before(active.NotAfter) || !c.now.Before(call) && !c.now.Before(settled) {
		c.waiting.Warning = fmt.Sprintf("generation %d ends at %s, so generation %d signs although it is not proven that all trust it: %s",
			active.Number, active.NotAfter.UTC().Format(time.RFC3339), next.Number, names(shown.missing))
		c.Signed = max(c.Signed, next.Number)
		return activate
	}
	c.await(shown, fmt.Sprintf("generation %d signs once everybody is proven to trust it", next.Number))
	if shown.complete() || !c.now.Before(call) {
		c.again(settled)
	}
	c.again(call)
	return nil
}

// move waits until nobody depends on any generation but the active one, and drops the others.
func (c *change) move(next Generation) *Action {
	other, _ := c.generation(c.left())
	drop := &Action{Kind: Drop, Generation: other.Number}
	unused := c.Signed != 0 && other.Number > c.Signed
	expired := !c.now.Before(other.NotAfter)
	shown := c.serving(next, c.Silence, c.now)
	if unused || expired || !c.trusts(other) {
		if len(c.Generations) == 2 {
			c.enter(Revoked)
		}
		if expired && !shown.complete() {
			c.waiting.Warning = fmt.Sprintf("generation %d has expired and is dropped although it is not proven that all left it: %s", other.Number, names(shown.missing))
		}
		return drop
	}
	switch {
	case c.Phase != Activated && c.Phase != LeavesMoved && c.Phase != Revoked, c.Phase != Activated && shown.contradicted:
		c.enter(Activated)
	case c.Phase == Activated && shown.complete():
		c.enter(LeavesMoved)
	}
	c.again(other.NotAfter)
	if !shown.complete() {
		c.await(shown, fmt.Sprintf("generation %d is dropped once everybody is proven to serve a certificate of generation %d", other.Number, next.Number))
		return nil
	}
	if c.Phase == Revoked {
		return drop
	}
	if aged := c.Since.Add(c.ConnectionAge); c.now.Before(aged) {
		c.await(shown, fmt.Sprintf("generation %d is dropped once the last connection made with it has reached its greatest age", other.Number))
		c.again(aged)
		return nil
	}
	if raw, deadline := c.raw(), c.Since.Add(c.RawDeadline); len(raw) > 0 && c.now.Before(deadline) {
		c.await(evidence{missing: raw, until: shown.until},
			fmt.Sprintf("generation %d is dropped once raw TCP connections made with it have ended, or at %s", other.Number, deadline.UTC().Format(time.RFC3339)))
		c.again(deadline)
		return nil
	}
	c.enter(Revoked)
	return drop
}
