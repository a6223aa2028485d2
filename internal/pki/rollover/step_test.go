package rollover

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var allPhases = []Phase{Prepared, TrustDistributed, Activated, LeavesMoved, Revoked, Stable}

func TestARootIsChangedByHandThroughAllPhases(t *testing.T) {
	w := newWorld(t, 20)
	w.rotate = "now"
	w.run(6*time.Hour, "generation 2", w.stableAt(2))
	if !slices.Equal(w.phases, allPhases) {
		t.Errorf("the phases were %v, want %v", w.phases, allPhases)
	}
	w.idle(24 * time.Hour)
	if w.active != 2 {
		t.Errorf("one request was followed twice: generation %d", w.active)
	}
	if len(w.warnings) > 0 {
		t.Errorf("a change in peace warns: %q", w.warnings)
	}
}

func TestARootIsReplacedInTheLastThirdOfItsLife(t *testing.T) {
	w := newWorld(t, 3)
	if want := start.Add(year * 2 / 3); !w.waiting.Until.Equal(want) {
		t.Errorf("a mesh at rest is looked at again at %s, want %s", w.waiting.Until, want)
	}
	w.now = start.Add(year*2/3 - time.Hour)
	w.idle(30 * time.Minute)
	if w.state.Phase != Stable {
		t.Errorf("it begins too early: %+v", w.state)
	}
	w.run(6*time.Hour, "generation 2", w.stableAt(2))
}

// The manager dies before and after each single effect that a change has, which is a state or
// an authority that is written, and forgets every report.
func TestAManagerThatDiesAnywhereEndsTheChange(t *testing.T) {
	changes := map[string]struct {
		begin func(*world)
		end   int
	}{
		"forward": {func(w *world) { w.rotate = "now" }, 2},
		"abandoned before it signs": {func(w *world) {
			w.rotate = "now"
			w.run(6*time.Hour, "trust", w.at(TrustDistributed))
			w.abandon = "now"
		}, 1},
		"abandoned once it signs": {func(w *world) {
			w.rotate = "now"
			w.run(6*time.Hour, "activation", func() bool { return w.active == 2 })
			w.abandon = "now"
		}, 1},
		"another source": {func(w *world) { w.wanted = Source{Name: "files", Root: "brought"} }, 2},
	}
	for name, change := range changes {
		for _, after := range []bool{false, true} {
			for point, last := 1, 100; point <= last; point++ {
				w := newWorld(t, 5)
				change.begin(w)
				before := w.effects
				w.killAt, w.killAfter = before+point, after
				w.run(12*time.Hour, fmt.Sprintf("%s, killed at %d (%t): the end", name, point, after), w.stableAt(change.end))
				last = w.effects - before - 1
			}
		}
	}
}

func TestAStateThatIsLostCostsTimeOnly(t *testing.T) {
	for _, phase := range allPhases[:4] {
		w := newWorld(t, 5)
		w.rotate = "now"
		w.run(6*time.Hour, string(phase), w.at(phase))
		w.state = State{}
		w.run(6*time.Hour, "generation 2 after a state lost in "+string(phase), w.stableAt(2))
		w.idle(6 * time.Hour)
		if w.active != 2 {
			t.Errorf("lost in %s: the request was followed twice", phase)
		}
	}
}

func TestAChangeIsAbandonedFromEveryPhase(t *testing.T) {
	for _, phase := range allPhases[:4] {
		w := newWorld(t, 5)
		w.rotate = "now"
		w.run(6*time.Hour, string(phase), w.at(phase))
		w.abandon = "now"
		w.settle()
		if w.active != 1 {
			t.Errorf("abandoned in %s: generation %d still signs", phase, w.active)
		}
		w.run(6*time.Hour, "generation 1 after "+string(phase), w.stableAt(1))
		w.idle(6 * time.Hour)
		if w.active != 1 {
			t.Errorf("abandoned in %s, it starts again by itself", phase)
		}
		w.rotate = "again"
		w.run(6*time.Hour, "a new generation", w.stableAt(3))
	}
}

func TestWhatIsRevokedIsNotBroughtBack(t *testing.T) {
	w := newWorld(t, 5)
	w.rotate = "now"
	w.run(6*time.Hour, "old leaves gone", w.at(LeavesMoved))
	w.now = w.now.Add(w.policy.ConnectionAge)
	for _, a := range w.agents {
		a.report.Heard = w.now
	}
	revoked, action, _ := Step(w.state, w.facts(), w.policy, w.now)
	if revoked.Phase != Revoked || action == nil || action.Kind != Drop {
		t.Fatalf("it is not revoked: %+v %v", revoked, action)
	}
	w.abandon = "now"
	state, action, waiting := Step(revoked, w.facts(), w.policy, w.now)
	if action == nil || action.Kind != Drop || state.Next != 2 || !strings.Contains(waiting.Warning, "too late") {
		t.Errorf("it is abandoned after the end: %+v %v %q", state, action, waiting.Warning)
	}
}

func TestAnAbandonedChangeStartsAgainInTime(t *testing.T) {
	w := newWorld(t, 3)
	w.now = start.Add(year * 2 / 3)
	w.run(6*time.Hour, "activation", w.at(Activated))
	w.abandon = "it did not work"
	w.run(6*time.Hour, "generation 1", w.stableAt(1))
	w.now = start.Add(year * 5 / 6).Add(-time.Hour)
	w.idle(30 * time.Minute)
	if w.state.Phase != Stable {
		t.Fatalf("it starts before half of what was left is over: %+v", w.state)
	}
	w.run(12*time.Hour, "the next try", w.stableAt(3))
}

func TestASourceThatIsNoLongerWantedIsWithdrawnBeforeItSigns(t *testing.T) {
	w := newWorld(t, 5)
	w.wanted = Source{Name: "ClusterIssuer/mesh", Root: "theirs"}
	w.run(6*time.Hour, "trust", w.at(TrustDistributed))
	w.wanted = Source{Name: "builtin"}
	w.run(6*time.Hour, "generation 1", w.stableAt(1))
	w.wanted = Source{Name: "ClusterIssuer/mesh", Root: "theirs"}
	w.run(6*time.Hour, "the issuer's generation", w.stableAt(3))
	w.wanted.Root = "their next"
	w.run(6*time.Hour, "the issuer's next root", w.stableAt(4))
}

// What root an issuer gives has to be learnt anew by a manager that starts.
func TestAnAbandonedIssuerIsLeftAloneOverARestart(t *testing.T) {
	w := newWorld(t, 5)
	w.wanted = Source{Name: "ClusterIssuer/theirs", Root: "their root"}
	w.run(6*time.Hour, "trust", w.at(TrustDistributed))
	w.abandon = "now"
	w.run(6*time.Hour, "the way back", w.stableAt(1))
	w.wanted.Root = ""
	w.idle(6 * time.Hour)
	if w.active != 1 || w.state.Next != 0 {
		t.Errorf("it began again: %+v", w.state)
	}
}

func TestRawConnectionsAreWaitedForUntilADeadline(t *testing.T) {
	for name, end := range map[string]bool{"they end": true, "they do not end": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 5)
			old := w.join()
			old.raw = 1
			w.rotate = "now"
			w.run(6*time.Hour, "old leaves gone", w.at(LeavesMoved))
			w.idle(12 * time.Hour)
			if w.state.Phase != LeavesMoved || len(w.waiting.For) != 1 || !strings.Contains(w.waiting.For[0].Reason, "raw TCP") {
				t.Fatalf("the raw connection is not waited for: %+v %+v", w.state, w.waiting)
			}
			moved := w.state.Since
			if end {
				old.raw = 0
			}
			w.run(13*time.Hour, "generation 2", w.stableAt(2))
			if early := w.now.Before(moved.Add(w.policy.RawDeadline)); early != end {
				t.Errorf("it ended %s after the leaves had moved", w.now.Sub(moved))
			}
		})
	}
}

func TestAPausedChangeStandsStill(t *testing.T) {
	w := newWorld(t, 3)
	w.rotate = "now"
	w.run(6*time.Hour, "trust", w.at(TrustDistributed))
	w.policy.Paused = true
	w.idle(6 * time.Hour)
	if w.active != 1 || w.waiting.Message == "" {
		t.Errorf("a paused change went on: %+v", w.state)
	}
	w.policy.Paused = false
	w.run(6*time.Hour, "generation 2", w.stableAt(2))
}

// Somebody who was not there to be asked is found to be behind: what was proven is not true.
func TestEvidenceThatIsContradictedIsGatheredAnew(t *testing.T) {
	for proven, fallen := range map[Phase]Phase{TrustDistributed: Prepared, LeavesMoved: Activated} {
		w := newWorld(t, 5)
		w.rotate = "now"
		w.run(6*time.Hour, string(proven), w.at(proven))
		w.now = w.now.Add(time.Minute)
		f := w.facts()
		f.Dependents = append(f.Dependents, Dependent{Name: "Pod shop/new", Heard: w.now, Serves: "root-1", Trusts: []string{"root-1"}})
		state, action, waiting := Step(w.state, f, w.policy, w.now)
		if state.Phase != fallen || !state.Since.Equal(w.now) || action != nil || len(waiting.For) != 1 {
			t.Errorf("%s: %+v %v %+v", proven, state, action, waiting)
		}
	}
}

func TestASecretIsWhatItHolds(t *testing.T) {
	w := newWorld(t, 1)
	w.rotate = "now"
	w.run(6*time.Hour, "activation", w.at(Activated))
	f := w.facts()
	f.Dependents = []Dependent{{Name: "Secret shop/fairlead.a", Stored: true, Serves: "root-1"}, {Name: "Secret shop/fairlead.b", Stored: true, Serves: "root-2"}}
	state, _, waiting := Step(w.state, f, w.policy, w.now)
	want := Missing{Name: "Secret shop/fairlead.a", Reason: "still has a certificate of generation 1"}
	if state.Phase != Activated || !slices.Equal(waiting.For, []Missing{want}) {
		t.Errorf("%+v %+v", state, waiting)
	}
	f.Dependents[0].Serves = "root-2"
	if state, _, _ = Step(w.state, f, w.policy, w.now); state.Phase != LeavesMoved {
		t.Errorf("%+v", state)
	}
}

// While a third generation is abandoned, the change from the first to the second goes on.
func TestOfThreeGenerationsOnlyTheAbandonedOneGoes(t *testing.T) {
	w := newWorld(t, 5)
	w.rotate = "now"
	w.run(6*time.Hour, "activation", func() bool { return w.active == 2 })
	late := w.join()
	late.silent, late.serves, late.given.active = true, 1, 1
	w.now = start.Add(year * 2 / 3).Add(12 * time.Hour)
	w.idle(tick)
	w.abandon = "now"
	w.settle()
	if len(w.generations) != 2 || w.active != 2 || w.state.Phase != Activated {
		t.Fatalf("%+v", w.state)
	}
	late.silent = false
	w.run(6*time.Hour, "generation 2", w.stableAt(2))
}
