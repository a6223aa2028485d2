package hold_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"fairlead.dev/fairlead/internal/delivery"
	"fairlead.dev/fairlead/internal/hold"
	"fairlead.dev/fairlead/internal/mesh"
)

// both runs a test in both variants of the protocol.
func both(t *testing.T, test func(w *world, delta bool)) {
	for name, delta := range map[string]bool{"delta": true, "state of the world": false} {
		t.Run(name, func(t *testing.T) { test(newWorld(t), delta) })
	}
}

func TestWhatAProxyRefusesIsHeldAtWhatAllTookLast(t *testing.T) {
	both(t, func(w *world, delta bool) {
		front := w.connect("default/front", delta, "a@2")
		w.connect("default/other", delta)
		w.write("a@1", "b@1")
		w.runs("a@1", "b@1")
		w.write("a@2", "b@2")
		w.holds("a@2", 1)
		w.runs("b@2")
		w.Expect(w.last("a").Rejections).To(Equal([]delivery.Rejection{
			{Node: "default/front", Resource: "listener a", Message: "no a@2"},
		}))
		w.Eventually(func() string { w.mu.Lock(); defer w.mu.Unlock(); return fmt.Sprint(w.inUse) }).Should(Equal("map[a:1 b:2]"))
		w.Expect(front.running("a")).To(Equal("a@1"))

		w.write("a@3")
		w.runs("a@3")
	})
}

func TestOneCulpritAmongTenThatChangeInTheSameInstant(t *testing.T) {
	both(t, func(w *world, delta bool) {
		w.connect("default/front", delta, "x/7@2")
		w.connect("default/other", delta, "x/7@2")
		first, second := versions("x", 10, 1), versions("x", 10, 2)
		w.write(first...)
		w.runs(first...)
		w.write(second...)
		w.holds("x/7@2", 1)
		w.runs(slices.DeleteFunc(second, func(v string) bool { return v == "x/7@2" })...)

		// Nobody else was said to be at fault at any time.
		for i := range 10 {
			for _, report := range w.told[fmt.Sprint("x/", i)] {
				w.Expect(report.Rejected == 0 || i == 7).To(BeTrue(), "%+v", report)
			}
		}
	})
}

func versions(group string, n int, generation int64) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("%s/%d@%d", group, i, generation))
	}
	return all
}

func (p *proxy) running(listener string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.runs[listener]
}

func TestTwoThatOnlyTogetherAreRefused(t *testing.T) {
	both(t, func(w *world, delta bool) {
		w.connect("default/front", delta, "x/0@2+x/1@2")
		w.write("x/0@1", "x/1@1", "x/2@1")
		w.runs("x/0@1", "x/1@1", "x/2@1")
		w.write("x/0@2", "x/1@2", "x/2@2")
		w.runs("x/0@2", "x/2@2")
		w.holds("x/1@2", 1)
	})
}

func TestWithoutAnEarlierVersionItIsLeftOut(t *testing.T) {
	both(t, func(w *world, delta bool) {
		front := w.connect("default/front", delta, "x/1@1")
		w.write("x/0@1", "x/1@1", "y@1")
		w.holds("x/1@1", 0)
		w.runs("x/0@1", "y@1")
		w.Eventually(func() string { return front.running("x") }).Should(Equal("x/0@1"))
	})
}

func TestWhatAllTookIsNotHeldForOneThatComesLater(t *testing.T) {
	both(t, func(w *world, delta bool) {
		w.connect("default/front", delta)
		w.write("a@1")
		w.runs("a@1")
		w.connect("default/old", delta, "a@1")
		w.Eventually(func() int { return w.last("a").Rejected }).Should(Equal(1))
		w.Expect(w.last("a").Held).To(BeFalse())
		w.Expect(w.last("a").Acknowledged).To(Equal(1))
	})
}

// Random objects in random groups change in waves, several of them to what is refused: whatever
// the order, the culprits are held and nobody else is.
func TestExactlyTheCulpritsAreHeld(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			w := newWorld(t)
			const waves = 4
			var names, bad []string
			good := map[string]int64{}
			for i := range 12 {
				names = append(names, fmt.Sprintf("g%d/%d", i%3, i))
			}
			for wave := range int64(waves) {
				for _, name := range names {
					if random.IntN(5) == 0 {
						bad = append(bad, fmt.Sprintf("%s@%d", name, wave+1))
					}
				}
			}
			w.connect("default/one", true, bad...)
			w.connect("default/two", false, bad...)
			for wave := range int64(waves) {
				generation := wave + 1
				var all []string
				for _, name := range names {
					all = append(all, fmt.Sprintf("%s@%d", name, generation))
				}
				random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
				w.write(all...)
				for _, version := range all {
					name, _, _ := strings.Cut(version, "@")
					if slices.Contains(bad, version) {
						w.holds(version, good[name])
						continue
					}
					w.runs(version)
					good[name] = generation
				}
			}
		})
	}
}

// The rest is of the holder alone: the test plays delivery.
type holderAlone struct {
	*WithT
	*world
	clock *clocktesting.FakeClock
}

// steppedClock runs what was due in goroutines of its own, as the real clock does.
type steppedClock struct{ *clocktesting.FakeClock }

func (c steppedClock) AfterFunc(d time.Duration, do func()) clock.Timer {
	return c.FakeClock.AfterFunc(d, func() { go do() })
}

func newHolder(t *testing.T) *holderAlone {
	h := &holderAlone{
		WithT: NewWithT(t), clock: clocktesting.NewFakeClock(time.Unix(1e9, 0)),
		world: &world{T: t, inUse: map[string]int64{}, touched: map[mesh.ObjectID]int64{}, told: map[string][]delivery.Report{}, wake: make(chan struct{}, 1)},
	}
	h.restart()
	return h
}

// restart has a new process begin with an empty store.
func (h *holderAlone) restart() {
	h.inUse = map[string]int64{}
	h.holder = hold.New(hold.Options{Clock: steppedClock{h.clock}, Log: slog.New(slog.DiscardHandler), Report: func(r delivery.Report) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.told[r.Object.Name] = append(h.told[r.Object.Name], r)
	}})
}

func (h *holderAlone) use(name string) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.inUse[name]
}

func (h *holderAlone) deliver(name string, generation int64, concerned, acknowledged int, rejections ...delivery.Rejection) {
	h.holder.Delivered(delivery.Report{Object: named(name), Generation: generation, Concerned: concerned,
		Acknowledged: acknowledged, Rejected: len(rejections), Rejections: rejections, Settled: true})
}

func refusal(suspects ...delivery.Version) delivery.Rejection {
	return delivery.Rejection{Node: "default/front", Resource: "listener x", Message: "no", Suspects: suspects}
}

func at(name string, generation int64) delivery.Version {
	return delivery.Version{Object: named(name), Generation: generation}
}

// work is what is to be written down of an object, "+2 proven, -1 proven".
func (h *holderAlone) work(name string) string {
	work, _ := h.holder.Work(named(name))
	var all []string
	for _, r := range work.Missing {
		all = append(all, fmt.Sprintf("+%d %s", r.Generation, r.State))
	}
	for _, r := range work.Superfluous {
		all = append(all, fmt.Sprintf("-%d %s", r.Generation, r.State))
	}
	return strings.Join(all, ", ")
}

func TestWhatIsWrittenDown(t *testing.T) {
	h := newHolder(t)
	h.holder.Observe(h.observation("a", 1))
	h.Expect(h.work("a")).To(BeEmpty(), "nothing is known of it")
	h.deliver("a", 1, 0, 0)
	h.Expect(h.work("a")).To(Equal("+1 accepted"))
	h.deliver("a", 1, 2, 1)
	h.deliver("a", 1, 2, 2)
	h.Expect(h.work("a")).To(Equal("+1 proven"))
	proven := hold.Record{Generation: 1, State: hold.Proven}
	h.holder.Observe(h.observation("a", 1, proven))
	h.Expect(h.work("a")).To(BeEmpty())

	h.holder.Observe(h.observation("a", 2, proven))
	h.Expect(h.work("a")).To(BeEmpty(), "generation 2 is under way")
	h.deliver("a", 2, 2, 1, refusal(at("a", 2)))
	h.Expect(h.work("a")).To(Equal("+2 refused"))
	h.Expect(h.use("a")).To(BeEquivalentTo(1))
	refused := hold.Record{Generation: 2, State: hold.Refused, Rejection: &delivery.Rejection{Node: "default/front", Message: "no"}}
	h.holder.Observe(h.observation("a", 2, proven, refused))
	h.Expect(h.work("a")).To(BeEmpty())

	h.holder.Observe(h.observation("a", 3, proven, refused))
	h.Expect(h.work("a")).To(Equal("-2 refused"))
	h.deliver("a", 3, 2, 2)
	h.Expect(h.work("a")).To(Equal("+3 proven, -1 proven, -2 refused"))

	invalid := h.observation("a", 4, hold.Record{Generation: 3, State: hold.Proven})
	invalid.Spec = nil
	h.holder.Observe(invalid)
	h.Expect(h.work("a")).To(BeEmpty())
	h.Expect(h.use("a")).To(BeEquivalentTo(3))

	h.holder.Observe(h.observation("b", 1))
	invalid = h.observation("b", 2)
	invalid.Spec = nil
	h.holder.Observe(invalid)
	h.Expect(h.work("b")).To(Equal("+1 accepted"), "it is in use, and nothing newer is to be")
}

func TestWhatIsHeldStaysSoOverARestart(t *testing.T) {
	h := newHolder(t)
	refused := hold.Record{Generation: 2, State: hold.Refused, Rejection: &delivery.Rejection{Node: "default/front", Message: "no"}}
	seen := h.observation("a", 2, hold.Record{Generation: 1, State: hold.Proven, Spec: h.spec("a", 1)}, refused)
	h.holder.Observe(seen)
	h.Expect(h.use("a")).To(BeEquivalentTo(1))
	h.Expect(h.last("a")).To(And(HaveField("Held", true), HaveField("Generation", int64(2)), HaveField("Serving", int64(1)),
		HaveField("Rejections", HaveLen(1))))
	h.Expect(h.work("a")).To(BeEmpty())

	// Another object of the name has nothing to do with it.
	again := h.observation("a", 1)
	again.UID = "of another a"
	h.holder.Observe(again)
	h.Expect(h.use("a")).To(BeEquivalentTo(1))
	h.deliver("a", 1, 1, 1)
	h.Expect(h.work("a")).To(Equal("+1 proven"))

	h.restart()
	invalid := h.observation("a", 5, hold.Record{Generation: 3, State: hold.Proven, Spec: h.spec("a", 3)}, hold.Record{Generation: 4, State: hold.Accepted, Spec: h.spec("a", 4)})
	invalid.Spec = nil
	h.holder.Observe(invalid)
	h.Expect(h.use("a")).To(BeEquivalentTo(4), "the last accepted one is served")
	h.holder.Gone(named("a"))
	h.Expect(h.use("a")).To(BeZero())
}

// Whichever replica finds it first, both hold the same.
func TestWhatAnotherReplicaFoundIsTakenOver(t *testing.T) {
	h := newHolder(t)
	h.holder.Observe(h.observation("a", 1))
	h.deliver("a", 1, 1, 1)
	proven := hold.Record{Generation: 1, State: hold.Proven}
	refused := hold.Record{Generation: 2, State: hold.Refused, Rejection: &delivery.Rejection{Node: "default/other", Message: "no"}}
	h.holder.Observe(h.observation("a", 2, proven))
	h.deliver("a", 2, 1, 1)
	h.holder.Observe(h.observation("a", 2, hold.Record{Generation: 1, State: hold.Proven, Spec: h.spec("a", 1)}, refused))
	h.Expect(h.use("a")).To(BeEquivalentTo(1))
	h.Expect(h.last("a").Held).To(BeTrue())

	// What the leader has as proven already goes before what a follower's proxy says later.
	h.holder.Observe(h.observation("a", 2, hold.Record{Generation: 2, State: hold.Proven}))
	h.Expect(h.use("a")).To(BeEquivalentTo(2))
}

func TestAProxyThatHangsKeepsNobodyBack(t *testing.T) {
	h := newHolder(t)
	for _, name := range []string{"a", "b"} {
		h.holder.Observe(h.observation(name, 1))
		h.deliver(name, 1, 2, 2)
		h.holder.Observe(h.observation(name, 2))
		h.deliver(name, 2, 2, 0)
	}
	h.deliver("a", 2, 2, 1, refusal(at("a", 2), at("b", 2)))
	h.Expect([]int64{h.use("a"), h.use("b")}).To(Equal([]int64{1, 1}), "both are taken back")
	h.deliver("a", 2, 2, 0, refusal(at("a", 2), at("b", 2))) // said before that was published
	h.deliver("a", 1, 2, 2)
	h.Expect([]int64{h.use("a"), h.use("b")}).To(Equal([]int64{1, 1}), "b is not published yet")
	h.deliver("b", 1, 2, 2)
	h.Expect([]int64{h.use("a"), h.use("b")}).To(Equal([]int64{2, 1}), "a is tried")
	h.deliver("a", 2, 2, 1)
	h.clock.Step(time.Minute)
	h.Eventually(func() []int64 { return []int64{h.use("a"), h.use("b")} }).Should(Equal([]int64{2, 2}))
}
