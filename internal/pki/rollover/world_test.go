package rollover

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var (
	start  = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	policy = Policy{
		Settle: 10 * time.Minute, ConnectionAge: 65 * time.Minute, RawDeadline: 24 * time.Hour, Silence: 12 * time.Minute,
	}
)

const (
	tick = 3 * time.Minute
	year = 365 * 24 * time.Hour
)

// world is a mesh as it really is: what agents serve and trust, and connections. The engine of
// the tests sees of it what it would see of a real one.
type world struct {
	t      *testing.T
	random *rand.Rand
	now    time.Time
	policy Policy

	state       State // in the status of mesh-root
	generations []Generation
	active      int
	trusted     []int
	wanted      Source

	rotate, abandon string
	agents          map[string]*agent
	joined          int
	// lag is by how long other replicas, which sign for agents, may be late.
	lag time.Duration
	was []authority

	waiting  Waiting
	phases   []Phase
	warnings []string
	// effects counts what was written; the one with number killAt is not, or is and its
	// success not heard of.
	effects, killAt int
	killAfter       bool
	// forced: somebody was left behind in a last call, so not all can speak to each other.
	forced bool
}

type authority struct {
	at      time.Time
	active  int
	trusted []int
}

// agent is one proxy with its agent.
type agent struct {
	// serves and trusts are what its proxy really does; given is what the agent gave it, and
	// has not proven yet unless they are equal.
	serves int
	trusts []int
	given  authority
	// last is when it last served a generation, and so opened connections by it.
	last map[int]time.Time
	// raw is the generation by which a raw TCP connection of it was opened; 0: it has none.
	raw    int
	silent bool
	// slow is how many ticks it takes for a step, in the mean.
	slow int

	report *Dependent
}

func newWorld(t *testing.T, agents int) *world {
	w := &world{
		t: t, now: start, policy: policy, random: rand.New(rand.NewPCG(1, 2)), //nolint:gosec // repeatable
		wanted: Source{Name: "builtin"}, agents: map[string]*agent{},
	}
	w.makeFirst()
	w.settle()
	for range agents {
		w.join()
	}
	w.run(2*time.Hour, "the start", w.known)
	w.phases = nil
	return w
}

// makeFirst makes the authority, with its first generation.
func (w *world) makeFirst() {
	w.do(Action{Kind: Prepare, Generation: 1, Source: w.wanted})
	w.do(Action{Kind: Trust, Generation: 1})
	w.do(Action{Kind: Activate, Generation: 1})
}

func (w *world) join() *agent {
	seen := w.replica()
	a := &agent{serves: seen.active, trusts: seen.trusted, given: seen, last: map[int]time.Time{}}
	w.joined++
	w.agents[fmt.Sprintf("Pod shop/p-%04d", w.joined)] = a
	return a
}

// replica is the authority as some replica knows it.
func (w *world) replica() authority {
	late := w.now.Add(-time.Duration(w.random.Int64N(int64(w.lag) + 1)))
	for _, past := range slices.Backward(w.was) {
		if !past.at.After(late) {
			return past
		}
	}
	return w.was[0]
}

// settle asks Step until nothing is to be done, as the engine does, and dies where it is told to.
func (w *world) settle() {
	for range 20 {
		state, action, waiting := Step(w.state, w.facts(), w.policy, w.now)
		w.waiting = waiting
		if waiting.Warning != "" {
			w.warnings = append(w.warnings, waiting.Warning)
		}
		if state != w.state {
			if !w.write(func() {
				if state.Phase != w.state.Phase {
					w.phases = append(w.phases, state.Phase)
				}
				w.state = state
			}) {
				return
			}
		}
		if action == nil || !w.write(func() { w.do(*action) }) {
			return
		}
	}
	w.t.Fatalf("Step never comes to rest: %+v", w.state)
}

// write has one effect, or kills the manager before or after it.
func (w *world) write(effect func()) bool {
	w.effects++
	if w.effects != w.killAt {
		effect()
		return true
	}
	if w.killAfter {
		effect()
	}
	for _, a := range w.agents {
		a.report = nil
	}
	return false
}

func (w *world) do(action Action) {
	index := slices.IndexFunc(w.generations, func(g Generation) bool { return g.Number == action.Generation })
	switch action.Kind {
	case Prepare:
		if index >= 0 {
			return
		}
		root := action.Source.Root
		if root == "" {
			root = fmt.Sprintf("root-%d", action.Generation)
		}
		w.generations = append(w.generations, Generation{
			Number: action.Generation, Source: action.Source.Name, Root: root, NotBefore: w.now, NotAfter: w.now.Add(year),
		})
	case Trust:
		if !slices.Contains(w.trusted, action.Generation) {
			w.trusted = append(slices.Clone(w.trusted), action.Generation)
		}
	case Activate:
		w.active = action.Generation
	case Drop:
		w.beforeDrop(action.Generation)
		w.generations = slices.DeleteFunc(slices.Clone(w.generations), func(g Generation) bool { return g.Number == action.Generation })
		w.trusted = slices.DeleteFunc(slices.Clone(w.trusted), func(n int) bool { return n == action.Generation })
	}
	if w.active != 0 && !slices.ContainsFunc(w.generations, func(g Generation) bool { return g.Number == w.active }) {
		w.t.Fatalf("%s: after %+v, the generation that signs is not there", w.now, action)
	}
	w.was = append(w.was, authority{at: w.now, active: w.active, trusted: w.trusted})
}

// beforeDrop fails if anybody depends on what is to be dropped.
func (w *world) beforeDrop(number int) {
	for _, g := range w.generations {
		if g.Number == number && !w.now.Before(g.NotAfter) {
			return
		}
	}
	for name, a := range w.agents {
		if a.serves == number {
			w.t.Fatalf("%s: generation %d is dropped, but %s serves a certificate of it", w.now, number, name)
		}
		if last, ever := a.last[number]; ever && w.now.Before(last.Add(time.Hour)) {
			w.t.Fatalf("%s: generation %d is dropped, but a connection that %s made with it may be open", w.now, number, name)
		}
		if a.raw == number && w.now.Before(w.movedAt().Add(w.policy.RawDeadline)) {
			w.t.Fatalf("%s: generation %d is dropped, but a raw TCP connection of %s is open", w.now, number, name)
		}
	}
}

// movedAt is the latest time at which any agent still served what it no longer does.
func (w *world) movedAt() time.Time {
	var moved time.Time
	for _, a := range w.agents {
		for number, last := range a.last {
			if number != a.serves && last.After(moved) {
				moved = last
			}
		}
	}
	return moved
}

func (w *world) facts() Facts {
	f := Facts{
		Generations: w.generations, Active: w.active, Trusted: w.trusted, Wanted: w.wanted, Rotate: w.rotate, Abandon: w.abandon,
	}
	for name, a := range w.agents {
		d := Dependent{Name: name}
		if a.report != nil {
			d = *a.report
			d.Name = name
		}
		f.Dependents = append(f.Dependents, d)
	}
	return f
}

// known reports whether all agents have proven what they serve.
func (w *world) known() bool {
	for _, a := range w.agents {
		if a.report == nil || !a.report.Proven {
			return false
		}
	}
	return true
}

// pass is one tick of all agents: they take what they get, some later than others, prove it
// later still, and report.
func (w *world) pass() {
	w.now = w.now.Add(tick)
	for _, name := range slices.Sorted(maps.Keys(w.agents)) {
		a := w.agents[name]
		a.last[a.serves] = w.now
		if a.silent {
			continue
		}
		if seen := w.replica(); w.random.IntN(1+a.slow) == 0 {
			switch {
			case !slices.Equal(a.given.trusted, seen.trusted):
				a.given.trusted = seen.trusted
			case a.given.active != seen.active:
				a.given.active = seen.active
			default:
				a.serves, a.trusts = a.given.active, a.given.trusted
			}
		}
		if w.random.IntN(3) > 0 {
			a.report = &Dependent{
				Heard: w.now, Proven: a.serves == a.given.active && slices.Equal(a.trusts, a.given.trusted),
				Serves: w.root(a.given.active), RawQuiet: a.raw == 0 || a.raw == a.given.active,
			}
			for _, n := range a.given.trusted {
				a.report.Trusts = append(a.report.Trusts, w.root(n))
			}
		}
	}
	w.allSpeak()
}

func (w *world) root(number int) string {
	for _, g := range w.generations {
		if g.Number == number {
			return g.Root
		}
	}
	return fmt.Sprintf("root-%d", number)
}

// allSpeak fails if there are two agents of which one does not trust the other.
func (w *world) allSpeak() {
	if w.forced {
		return
	}
	served := map[int]string{}
	for name, a := range w.agents {
		served[a.serves] = name
	}
	for name, a := range w.agents {
		for number, other := range served {
			if !slices.Contains(a.trusts, number) {
				w.t.Fatalf("%s, %+v: %s trusts %v and cannot speak to %s, which serves generation %d", w.now, w.state, name, a.trusts, other, number)
			}
		}
	}
}

// run lets time pass until what is awaited has come.
func (w *world) run(atMost time.Duration, what string, come func() bool) {
	w.t.Helper()
	for end := w.now.Add(atMost); !come(); {
		if w.now.After(end) {
			w.t.Fatalf("%s has not come after %s: %+v\n%+v", what, atMost, w.state, w.waiting)
		}
		w.pass()
		w.settle()
	}
}

func (w *world) stableAt(generation int) func() bool {
	return func() bool {
		return w.state.Phase == Stable && w.state.Next == 0 && w.active == generation && len(w.generations) == 1
	}
}

func (w *world) at(phase Phase) func() bool { return func() bool { return w.state.Phase == phase } }

// idle lets time pass.
func (w *world) idle(d time.Duration) {
	w.t.Helper()
	end := w.now.Add(d)
	w.run(d+time.Hour, "time", func() bool { return !w.now.Before(end) })
}
