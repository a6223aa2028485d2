package rollover

import (
	"slices"
	"testing"
	"time"
)

func TestARootIsChangedByHandThroughAllPhases(t *testing.T) {
	w := newWorld(t, 20)
	w.rotate = "now"
	w.run(6*time.Hour, "generation 2", w.stableAt(2))
	want := []Phase{Prepared, TrustDistributed, Activated, LeavesMoved, Revoked, Stable}
	if !slices.Equal(w.phases, want) {
		t.Errorf("the phases were %v, want %v", w.phases, want)
	}
	w.run(24*time.Hour, "an hour without a change", func() bool { return w.now.After(start.Add(20 * time.Hour)) })
	if w.active != 2 {
		t.Errorf("one request was followed twice: generation %d", w.active)
	}
}
