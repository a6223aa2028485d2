package publish

import (
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

// What a publisher does with changes that arrive at a steady interval.
func TestPace(t *testing.T) {
	for _, example := range []struct {
		name   string
		every  time.Duration
		checks map[int]time.Duration // how long the n-th change waits
	}{
		{"lone changes pass at once", time.Second, map[int]time.Duration{0: 0, 1: 0, 9: 0}},
		{"the second of a pair waits a little", time.Millisecond, map[int]time.Duration{0: 0, 1: 4 * time.Millisecond}},
		{"a storm is spaced more and more, up to a bound", 0, map[int]time.Duration{
			0: 0, 1: 5 * time.Millisecond, 2: 10 * time.Millisecond, 3: 20 * time.Millisecond, 9: 200 * time.Millisecond, 20: 200 * time.Millisecond,
		}},
	} {
		t.Run(example.name, func(t *testing.T) {
			clock := clocktesting.NewFakeClock(time.Unix(1000, 0))
			p := pace{clock: clock, last: time.Unix(0, 0)}
			for i := range 21 {
				wait := p.next()
				if want, checked := example.checks[i]; checked && wait != want {
					t.Errorf("change %d waits %s, want %s", i, wait, want)
				}
				clock.Step(wait)
				p.done()
				clock.Step(example.every)
			}
		})
	}
	clock := clocktesting.NewFakeClock(time.Unix(1000, 0))
	p := pace{clock: clock, last: time.Unix(1000, 0)}
	for range 10 {
		clock.Step(p.next())
		p.done()
	}
	clock.Step(time.Second)
	if wait := p.next(); wait != 0 {
		t.Errorf("after a pause a change waits %s", wait)
	}
	p.done()
	if wait := p.next(); wait != shortestQuiet {
		t.Errorf("the storm is not forgotten: the next change waits %s", wait)
	}
}
