package envoy

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// script answers for an Envoy: from each moment after the start on, one way.
type script struct {
	started time.Time
	steps   []step
	asked   int
}

type step struct {
	after     time.Duration
	state     serverState
	connected bool
	// silent: there is no answer, as from a process that hangs or is not up yet.
	silent bool
}

func (s *script) now() step {
	s.asked++
	current := s.steps[0]
	for _, next := range s.steps {
		if time.Since(s.started) >= next.after {
			current = next
		}
	}
	return current
}

func (s *script) state(context.Context) (serverState, error) {
	now := s.now()
	if now.silent {
		return "", errors.New("connection refused")
	}
	return now.state, nil
}

func (s *script) connected(context.Context) (bool, error) { return s.now().connected, nil }

// told runs a watch over the script and returns what it observed, each with the time
// since the start.
func told(t *testing.T, length time.Duration, steps ...step) (seen []string, asked int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), length)
		defer cancel()
		started := time.Now()
		answers := &script{started: started, steps: steps}
		observed := make(chan observation)
		go func() {
			defer close(observed)
			watch{prober: answers, controlPlane: "/run/xds.sock", observed: observed}.run(ctx)
		}()
		for o := range observed {
			seen = append(seen, time.Since(started).String()+" "+string(o.state)+": "+o.reason)
		}
		asked = answers.asked
	})
	return seen, asked
}

func TestWatchTellsEachChangeOnce(t *testing.T) {
	const hour = time.Hour
	for name, test := range map[string]struct {
		steps []step
		want  []string
	}{
		"an Envoy that gets its configuration": {
			steps: []step{
				{silent: true},
				{after: 100 * time.Millisecond, state: serverPreInitializing},
				{after: 200 * time.Millisecond, state: serverInitializing},
				{after: 300 * time.Millisecond, state: serverLive},
			},
			want: []string{
				"0s starting: waiting for Envoy's first answer",
				"100ms starting: Envoy initializes",
				"300ms live: Envoy serves",
			},
		},
		"an Envoy without a control plane, which comes later": {
			steps: []step{
				{state: serverInitializing},
				{after: 3 * time.Second, state: serverInitializing, connected: true},
				// Between two looks of the slower pace.
				{after: 6*time.Second + 10*time.Millisecond, state: serverLive},
			},
			want: []string{
				"0s starting: Envoy initializes",
				"1.05s starting: waiting for the control plane: no stream to /run/xds.sock yet",
				"3s starting: connected to the control plane at /run/xds.sock, waiting for its first clusters and listeners",
				"6.05s live: Envoy serves",
			},
		},
		"a short silence of a busy Envoy is not told": {
			steps: []step{
				{state: serverLive},
				{after: 10 * time.Second, silent: true},
				{after: 14 * time.Second, state: serverLive},
			},
			want: []string{"0s live: Envoy serves"},
		},
		"a long silence is, and so is its end": {
			steps: []step{
				{state: serverLive},
				{after: 10 * time.Second, silent: true},
				{after: 30 * time.Second, state: serverLive},
			},
			want: []string{
				"0s live: Envoy serves",
				"17s unresponsive: Envoy has not answered its administration interface for 5s or more",
				"30s live: Envoy serves",
			},
		},
		"two short silences are not a long one": {
			steps: []step{
				{state: serverLive},
				{after: 10 * time.Second, silent: true},
				{after: 13 * time.Second, state: serverLive},
				{after: 14 * time.Second, silent: true},
				{after: 18 * time.Second, state: serverLive},
			},
			want: []string{"0s live: Envoy serves"},
		},
		"an Envoy that somebody drains": {
			steps: []step{{state: serverLive}, {after: 2 * time.Second, state: serverDraining}},
			want:  []string{"0s live: Envoy serves", "4s draining: Envoy was told to drain"},
		},
		"an Envoy that never answers is starting": {
			steps: []step{{silent: true}},
			want:  []string{"0s starting: waiting for Envoy's first answer"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			seen, _ := told(t, hour, test.steps...)
			if !slices.Equal(seen, test.want) {
				t.Errorf("observed\n  %s\nwant\n  %s", strings.Join(seen, "\n  "), strings.Join(test.want, "\n  "))
			}
		})
	}
}

// The pace is what idle CPU and the time to readiness hang on.
func TestWatchAsksOftenWhileStartingAndSeldomAfterwards(t *testing.T) {
	if _, asked := told(t, time.Minute-time.Millisecond, step{state: serverLive}); asked != 15 {
		t.Errorf("a live Envoy was asked %d times a minute, want 15", asked)
	}
	// 5 s at 50 ms, then 55 s at 200 ms.
	if _, asked := told(t, time.Minute-time.Millisecond, step{silent: true}); asked < 370 || asked > 380 {
		t.Errorf("a starting Envoy was asked %d times in its first minute, want about 376", asked)
	}
}

// What a hung Envoy does to a look is end it after a time, since the real prober obeys
// its context.
func TestWatchBoundsEachLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		observed := make(chan observation)
		done := make(chan struct{})
		go func() {
			defer close(done)
			watch{prober: &hanging{}, observed: observed}.run(ctx)
		}()
		started := time.Now()
		var seen []State
		for range 2 {
			seen = append(seen, (<-observed).state)
		}
		if !slices.Equal(seen, []State{Live, Unresponsive}) {
			t.Errorf("observed %v, want live and then unresponsive", seen)
		}
		if waited := time.Since(started); waited != liveInterval+unresponsiveAfter {
			t.Errorf("a hang from the second look on was told after %s, want %s", waited, liveInterval+unresponsiveAfter)
		}
		cancel()
		<-done
	})
}

// hanging answers once.
type hanging struct{ asked int }

func (h *hanging) state(ctx context.Context) (serverState, error) {
	h.asked++
	if h.asked == 1 {
		return serverLive, nil
	}
	<-ctx.Done()
	return "", ctx.Err()
}

func (h *hanging) connected(context.Context) (bool, error) { return false, nil }

// A restart that did not take place does not make Envoy one that has yet to start.
func TestWatchOfAnEnvoyThatWasLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		observed := make(chan observation)
		done := make(chan struct{})
		go func() {
			defer close(done)
			watch{prober: &script{steps: []step{{silent: true}}}, observed: observed, live: true}.run(ctx)
		}()
		started := time.Now()
		if o := <-observed; o.state != Unresponsive || time.Since(started) != unresponsiveAfter {
			t.Errorf("it is %s after %s, want unresponsive after %s", o.state, time.Since(started), unresponsiveAfter)
		}
		cancel()
		<-done
	})
}
