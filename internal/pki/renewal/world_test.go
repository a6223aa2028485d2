package renewal_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"fairlead.dev/fairlead/internal/pki/renewal"
)

// world has a manager that does what plans say, on a clock of its own, and looks at each step
// after what must never happen.
type world struct {
	*testing.T
	policy   renewal.Policy
	now      time.Time
	lifetime time.Duration
	holders  []renewal.Holder
	byID     map[string]int
	recent   []time.Time
	// proof is how long it takes until a new certificate is proven to be in use.
	proof time.Duration
	// broken ones are never proven; fails has one of so many renewals fail.
	broken map[string]bool
	fails  int
	random *rand.Rand
	// unwell is what the manager knows to be wrong.
	unwell string

	log    []renewed
	plan   renewal.Plan
	lapsed int
	most   int // unproven at once, but for broken ones
	plans  int
}

type renewed struct {
	at time.Time
	ID string
	renewal.Slot
}

// newWorld has certificates that were all issued at the same second, at noon of the day start,
// and begins on the day before they are due.
func newWorld(t *testing.T, p renewal.Policy, count int) *world {
	w := &world{
		T: t, policy: p, now: night.Add(-26 * time.Hour), lifetime: 90 * 24 * time.Hour, byID: map[string]int{}, proof: time.Second,
		broken: map[string]bool{}, random: rand.New(rand.NewPCG(2, 9)), //nolint:gosec // repeatable
	}
	for i := range count {
		h := renewal.Holder{Certificate: renewal.Certificate{ID: fmt.Sprintf("prod/app-%d", i)}}
		h.NotBefore, h.NotAfter = start, start.Add(w.lifetime)
		h.Canary = i < len(p.Canaries)
		w.byID[h.ID] = i
		w.holders = append(w.holders, h)
	}
	return w
}

// berlin is the mesh's default policy there.
func berlin(t testing.TB) renewal.Policy {
	return renewal.Policy{
		Before: 45 * 24 * time.Hour, Jitter: 1, MaxConcurrent: 10,
		Windows: []renewal.Window{mustWindow(t, nil, "02:00", "05:00", "Europe/Berlin")},
	}
}

// run goes on until a time.
func (w *world) run(until time.Time) {
	w.Helper()
	for {
		w.step()
		if !w.now.Before(until) {
			return
		}
		next := w.plan.Wake
		if w.plan.Due == 0 && w.plan.Unproven == 0 && len(w.plan.Slots) > 0 {
			// The plans until then would be the same.
			next = slices.MinFunc(w.plan.Slots, func(a, b renewal.Slot) int { return a.At.Compare(b.At) }).At
		}
		if next.After(until) {
			next = until
		}
		for i := range w.holders {
			if h := &w.holders[i]; !h.Unproven.IsZero() && !w.broken[h.ID] && h.Unproven.Add(w.proof).Before(next) {
				next = h.Unproven.Add(w.proof)
			}
		}
		if !next.After(w.now) {
			w.Fatalf("at %s the next step is at %s", w.now, next)
		}
		w.now = next
	}
}

// step proves what can be proven, and does what is to be done.
func (w *world) step() {
	w.Helper()
	for i := range w.holders {
		h := &w.holders[i]
		if !h.Unproven.IsZero() && !w.broken[h.ID] && !w.now.Before(h.Unproven.Add(w.proof)) {
			h.Unproven = time.Time{}
		}
		if !w.now.Before(h.NotAfter) {
			w.lapsed++
		}
	}
	w.plan = w.policy.Plan(w.now, w.holders, w.unwell, w.recent)
	w.plans++
	for _, i := range w.plan.Now {
		w.renew(&w.holders[i], w.plan.Slots[i])
	}
	unproven := 0
	for i := range w.holders {
		if h := &w.holders[i]; !h.Unproven.IsZero() && !w.broken[h.ID] {
			unproven++
		}
	}
	w.most = max(w.most, unproven)
}

func (w *world) renew(h *renewal.Holder, slot renewal.Slot) {
	w.Helper()
	windowed := slot.Reason == renewal.ReasonWindow || slot.Reason == renewal.ReasonAuthority
	if windowed && !allowed(w.policy, w.now) {
		w.Fatalf("%s is renewed at %s, outside of the windows: %+v", h.ID, w.now, slot)
	}
	w.recent = append(w.recent, w.now)
	if w.fails > 0 && w.random.IntN(w.fails) == 0 {
		return
	}
	h.NotBefore, h.NotAfter = w.now.Add(-5*time.Minute), w.now.Add(w.lifetime)
	h.Forced, h.Moved, h.Unproven = false, false, w.now
	w.log = append(w.log, renewed{w.now, h.ID, slot})
}

// count counts the renewals by reason since a time.
func (w *world) count(since time.Time) map[renewal.Reason]int {
	counts := map[renewal.Reason]int{}
	for _, r := range w.log {
		if !r.at.Before(since) {
			counts[r.Reason]++
		}
	}
	return counts
}

// wants checks the renewals since a time.
func (w *world) wants(since time.Time, what string, want map[renewal.Reason]int) {
	w.Helper()
	if got := w.count(since); fmt.Sprint(got) != fmt.Sprint(want) {
		w.Errorf("%s: renewed %v, want %v; at %s it says %q", what, got, want, w.now, w.plan.Paused)
	}
	if w.lapsed > 0 {
		w.Errorf("%s: certificates lapsed", what)
	}
	if w.policy.MaxConcurrent > 0 && w.most > w.policy.MaxConcurrent {
		w.Errorf("%s: %d were unproven at once, of at most %d", what, w.most, w.policy.MaxConcurrent)
	}
}
