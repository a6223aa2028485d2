package drain

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// proxy is what a drain sees, on the clock of the test.
type proxy struct {
	began               time.Time
	inbound, outbound   time.Duration
	mute                bool
	drained, pressed    bool
	drainedAt, pressAt  time.Duration
	connectionsWereRead int
}

func (p *proxy) DrainInbound(context.Context) error {
	p.drained, p.drainedAt = true, time.Since(p.began)
	if p.mute {
		return errors.New("nobody answers")
	}
	return nil
}

func (p *proxy) Press() error {
	p.pressed, p.pressAt = true, time.Since(p.began)
	return nil
}

func (p *proxy) Connections(context.Context) (inbound, outbound int, err error) {
	p.connectionsWereRead++
	if p.mute {
		return 0, 0, errors.New("nobody answers")
	}
	since := time.Since(p.began)
	if since < p.inbound {
		inbound = 3
	}
	if since < p.outbound {
		outbound = 2
	}
	return inbound, outbound, nil
}

func TestHowLongADrainTakes(t *testing.T) {
	const never = time.Hour
	endsAfter := func(end time.Duration) func(time.Time) func(context.Context) bool {
		return func(began time.Time) func(context.Context) bool {
			return func(context.Context) bool { return time.Since(began) >= end }
		}
	}
	for name, test := range map[string]struct {
		minimum, deadline time.Duration
		inbound, outbound time.Duration
		mute              bool
		application       func(time.Time) func(context.Context) bool
		hurry             time.Duration

		result Result
		took   time.Duration
		left   [2]int
	}{
		"nobody is there": {deadline: time.Minute, result: Complete},
		"nobody is there, but may come": {minimum: 5 * time.Second, deadline: time.Minute,
			result: Complete, took: 5 * time.Second},
		"requests end": {minimum: time.Second, deadline: time.Minute, inbound: 7 * time.Second,
			result: Complete, took: 7 * time.Second},
		"what the application called ends last": {deadline: time.Minute, inbound: time.Second, outbound: 3 * time.Second,
			result: Complete, took: 3 * time.Second},
		"an application that is there may call any time": {deadline: time.Minute, application: endsAfter(20 * time.Second),
			result: Complete, took: 20 * time.Second},
		"what an application leaves open when it ends is waited for": {deadline: time.Minute, outbound: 9 * time.Second, application: endsAfter(time.Second),
			result: Complete, took: 9 * time.Second},
		"a stream without an end": {minimum: time.Second, deadline: 24 * time.Second, inbound: never, outbound: never,
			result: Deadline, took: 24 * time.Second, left: [2]int{3, 2}},
		"an application without an end": {deadline: 24 * time.Second, application: endsAfter(never),
			result: Deadline, took: 24 * time.Second},
		"a proxy that does not answer": {deadline: 24 * time.Second, mute: true,
			result: Deadline, took: 24 * time.Second},
		"the minimum does not outlast the deadline": {minimum: time.Minute, deadline: 24 * time.Second,
			result: Deadline, took: 24 * time.Second},
		"somebody cannot wait": {minimum: time.Second, deadline: time.Minute, inbound: never, hurry: 3 * time.Second,
			result: Hurried, took: 3 * time.Second, left: [2]int{3, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				p := &proxy{began: began, inbound: test.inbound, outbound: test.outbound, mute: test.mute}
				o := Options{Proxy: p, Minimum: test.minimum, Deadline: test.deadline}
				if test.application != nil {
					o.ApplicationEnded = test.application(began)
				}
				if test.hurry > 0 {
					hurry := make(chan struct{})
					time.AfterFunc(test.hurry, func() { close(hurry) })
					o.Hurry = hurry
				}
				got := Run(t.Context(), o)
				// It looks every tenth of a second.
				if got.Result != test.result || got.Took < test.took || got.Took > test.took+interval {
					t.Errorf("%s after %s, want %s after %s", got.Result, got.Took, test.result, test.took)
				}
				if left := [2]int{got.Inbound, got.Outbound}; left != test.left {
					t.Errorf("left %v, want %v", left, test.left)
				}
				if got.Known == test.mute && p.connectionsWereRead > 0 || (got.Trouble != nil) != test.mute {
					t.Errorf("known %t, trouble %v", got.Known, got.Trouble)
				}
				if !p.drained || p.drainedAt != 0 {
					t.Errorf("draining began after %s", p.drainedAt)
				}
				if want := test.minimum / 2; want < test.deadline && (!p.pressed || p.pressAt != want) {
					t.Errorf("pressed %t after %s, want %s", p.pressed, p.pressAt, want)
				}
			})
		})
	}
}

// Without anybody left to tell, the drain ends with its context: the proxy has ended.
func TestAProxyThatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		time.AfterFunc(2*time.Second, cancel)
		got := Run(ctx, Options{Proxy: &proxy{began: began, inbound: time.Hour}, Deadline: time.Minute})
		if got.Took != 2*time.Second {
			t.Errorf("took %s", got.Took)
		}
	})
}
