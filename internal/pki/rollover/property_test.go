package rollover

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Agents lag, restart, fall silent and come new, replicas are late, the manager dies, states
// are lost, and people ask for changes and abandon them, all at random. At no time are there two
// proxies of which one does not trust the other, and nothing is dropped that anybody depends on
// (world looks after both); and once it is quiet, all ends well.
func TestWhateverHappensAllCanSpeakToEachOther(t *testing.T) {
	const worlds = 300
	seen := map[Phase]int{}
	for seed := range uint64(worlds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, 12)
			w.random = rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // repeatable
			w.lag = time.Duration(w.random.IntN(7)) * time.Minute
			for range 600 {
				w.something()
				w.pass()
				w.settle()
			}
			for _, a := range w.agents {
				a.silent, a.raw, a.slow = false, 0, 0
			}
			w.killAt, w.policy.Paused = 0, false
			w.run(24*time.Hour, "rest", func() bool { return w.state.Phase == Stable && w.state.Next == 0 && len(w.generations) == 1 })
			for _, phase := range w.phases {
				seen[phase]++
			}
		})
	}
	t.Logf("phases entered in %d worlds: %v", worlds, seen)
	for _, phase := range allPhases {
		if seen[phase] < worlds {
			t.Errorf("phase %s was entered %d times only: these worlds show little", phase, seen[phase])
		}
	}
}

// something happens to a world, or nothing does.
func (w *world) something() {
	names := slices.Sorted(maps.Keys(w.agents))
	one := w.agents[names[w.random.IntN(len(names))]]
	switch w.random.IntN(60) {
	case 0:
		w.rotate = w.now.String()
	case 1:
		if w.random.IntN(3) == 0 {
			w.abandon = w.now.String()
		}
	case 2:
		w.killAt, w.killAfter = w.effects+1+w.random.IntN(4), w.random.IntN(2) == 0
	case 3:
		if w.random.IntN(4) == 0 {
			w.state = State{}
		}
	case 4:
		one.silent = true
	case 5, 6, 7:
		for _, a := range w.agents {
			a.silent = false
		}
	case 8:
		w.join().slow = w.random.IntN(10)
	case 9:
		if len(names) > 6 {
			delete(w.agents, names[0])
		}
	case 10:
		one.slow = w.random.IntN(20)
	case 11:
		one.raw = one.serves
	case 12, 13:
		one.raw = 0
	case 14:
		w.wanted = Source{Name: "builtin"}
	case 15:
		w.wanted = Source{Name: "files", Root: fmt.Sprint("brought ", w.random.IntN(3))}
	case 16:
		w.policy.Paused = !w.policy.Paused
	}
}
