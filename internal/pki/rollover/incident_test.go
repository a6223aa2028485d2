package rollover

import (
	"maps"
	"strings"
	"testing"
	"time"
)

// linkerd2#4287: the old root was taken out of the trust while proxies still served it, which
// was an outage of twelve minutes.
func TestIncidentTheOldRootStaysAsLongAsASilentProxyMayServeIt(t *testing.T) {
	w := newWorld(t, 10)
	late := w.join()
	w.run(time.Hour, "all are known", w.known)
	w.rotate = "now"
	w.run(6*time.Hour, "activation", func() bool { return w.active == 2 })
	late.silent = true
	w.run(3*time.Hour, "all others move", func() bool { return len(w.waiting.For) == 1 })
	w.idle(48 * time.Hour)
	if w.state.Phase != Activated || !strings.Contains(w.waiting.For[0].Reason, "silent since") {
		t.Fatalf("%+v %+v", w.state, w.waiting)
	}
	late.silent = false
	w.run(6*time.Hour, "generation 2", w.stableAt(2))
}

// Pods that start in the middle of it, and ones of which only the Pod is known.
func TestIncidentANewPodWithoutAReportHoldsTheChange(t *testing.T) {
	for _, phase := range []Phase{Prepared, TrustDistributed} {
		w := newWorld(t, 5)
		w.rotate = "now"
		w.run(6*time.Hour, string(phase), w.at(phase))
		mute := w.join()
		mute.silent = true
		w.idle(24 * time.Hour)
		if w.active != 1 || len(w.waiting.For) != 1 || !strings.Contains(w.waiting.For[0].Reason, "not reported") {
			t.Fatalf("in %s: %+v %+v", phase, w.state, w.waiting)
		}
		maps.DeleteFunc(w.agents, func(_ string, a *agent) bool { return a == mute })
		w.run(6*time.Hour, "generation 2", w.stableAt(2))
	}
}

// Strimzi#8402 and #1010: the operator died in the middle of a change and did not know its phase
// any more. That it dies anywhere is TestAManagerThatDiesAnywhereEndsTheChange.
func TestIncidentTwoGenerationsAndNoPhaseAreEnough(t *testing.T) {
	w := newWorld(t, 5)
	w.rotate = "now"
	w.run(6*time.Hour, "activation", w.at(Activated))
	w.state = State{Phase: Stable, Since: start, Generation: 1, Last: 1, Signed: 1}
	w.run(6*time.Hour, "generation 2", w.stableAt(2))
}

// istio#14516: a root expired after a year, and no log had said a word of it.
func TestIncidentARootThatCannotBeReplacedIsToldLongBefore(t *testing.T) {
	w := newWorld(t, 3)
	w.wanted = Source{Name: "builtin", Root: "root-1"}
	w.now = start.Add(year * 2 / 3)
	w.idle(time.Hour)
	if len(w.warnings) == 0 || !strings.Contains(w.warnings[0], "bring a new one") {
		t.Fatalf("four months before the end, the warnings are %q", w.warnings)
	}
	w.wanted.Root = "brought"
	w.run(6*time.Hour, "the new root", w.stableAt(2))
}

// What is brought may be valid for decades: nobody is warned for years.
func TestABroughtRootThatLastsLongIsNotWarnedOfForYears(t *testing.T) {
	w := newWorld(t, 1)
	w.wanted = Source{Name: "files", Root: "root-1"}
	w.generations[0].Source = "files"
	w.generations[0].NotAfter = start.Add(20 * year)
	for _, end := range []time.Duration{2 * longNotice, longNotice + 24*time.Hour} {
		w.now = w.generations[0].NotAfter.Add(-end)
		w.idle(time.Hour)
		if len(w.warnings) != 0 {
			t.Fatalf("%s before the end: %q", end, w.warnings)
		}
	}
	w.idle(25 * time.Hour)
	if len(w.warnings) == 0 {
		t.Error("half a year before the end nobody was warned")
	}
}

// One proxy that never answers must not let the root of all others expire.
func TestIncidentASilentProxyDoesNotLetTheRootExpire(t *testing.T) {
	w := newWorld(t, 5)
	mute := w.join()
	mute.silent = true
	w.now = start.Add(year * 2 / 3)
	w.idle(time.Hour)
	if w.state.Phase != Prepared {
		t.Fatal("it did not begin:", w.state)
	}
	w.now = start.Add(year).Add(-16 * 24 * time.Hour)
	w.idle(time.Hour)
	if w.active != 1 || !strings.Contains(w.waiting.Warning, "nothing replaces it yet") {
		t.Errorf("before the last call: %+v %q", w.state, w.waiting.Warning)
	}
	w.forced = true
	w.now = start.Add(year).Add(-15*24*time.Hour - 8*time.Hour)
	w.idle(9 * time.Hour)
	if w.active != 2 || !strings.Contains(strings.Join(w.warnings, "\n"), "signs although it is not proven that all trust it: Pod shop/p-0006") {
		t.Errorf("in the last call: %+v %q", w.state, w.warnings)
	}
	w.now = start.Add(year).Add(-time.Hour)
	w.run(2*time.Hour, "the expired root to go", w.stableAt(2))
	if w.now.Before(start.Add(year)) {
		t.Error("it was dropped before it had expired")
	}
}

// A proxy that never leaves the old root must not keep the present one from being replaced:
// two changes by hand in a row leave it a year that is nearly over as well.
func TestIncidentTheNextChangeBeginsAlthoughTheLastIsNotOver(t *testing.T) {
	w := newWorld(t, 5)
	w.rotate = "now"
	w.run(6*time.Hour, "activation", func() bool { return w.active == 2 })
	mute := w.join()
	mute.silent, mute.serves, mute.given.active = true, 1, 1
	w.now = start.Add(year * 2 / 3).Add(12 * time.Hour)
	w.idle(time.Hour)
	if len(w.generations) != 3 || w.state.Next != 3 {
		t.Fatalf("the third generation is not there: %+v", w.state)
	}
	mute.silent = false
	w.run(12*time.Hour, "only the third", w.stableAt(3))
}

// The Secret with the authority was deleted while no manager ran that knew it, and another one made.
func TestIncidentTheAuthorityIsGone(t *testing.T) {
	w := newWorld(t, 3)
	w.rotate = "now"
	w.run(6*time.Hour, "generation 2", w.stableAt(2))
	w.generations, w.trusted, w.active, w.forced = nil, nil, 0, true
	w.makeFirst()
	w.run(time.Hour, "rest", w.stableAt(1))
	w.rotate = "once more"
	w.run(6*time.Hour, "a number that was never given", w.stableAt(3))
}
