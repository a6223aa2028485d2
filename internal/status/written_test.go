package status_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/delivery"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
	"fairlead.dev/fairlead/internal/status"
)

func TestUrgency(t *testing.T) {
	b := newBench(t)
	changed := func() any { return b.table.TakeChanged()[object] }
	b.observe(1)
	b.Expect(b.table.Changes()).To(Receive())
	b.Expect(changed()).To(Equal(status.Soon), "that an answer is awaited")
	b.write()
	b.deliver(1, 2, 1)
	b.Expect(changed()).To(Equal(status.Now), "Accepted")
	b.write()
	b.deliver(1, 3, 1)
	b.Expect(changed()).To(Equal(status.Later), "counts")
	b.deliver(1, 3, 3)
	b.Expect(changed()).To(Equal(status.Now), "Programmed")
	b.write()
	b.Expect(b.table.TakeChanged()).To(BeEmpty(), "everything is written")
	b.deliver(1, 4, 4)
	b.deliver(1, 3, 3)
	b.Expect(b.table.TakeChanged()).To(BeEmpty(), "back to what is written")
	b.Expect(b.write()).To(BeFalse())
}

func TestAWriteIsNotUndoneByAnOlderCache(t *testing.T) {
	b := newBench(t)
	b.observe(1)
	b.deliver(1, 1, 1)
	before := *b
	b.write()
	before.observe(1) // the cache has not seen the write yet
	b.Expect(b.write()).To(BeFalse())
	b.observe(1) // now it has
	b.Expect(b.write()).To(BeFalse())
	b.Expect(b.table.TakeChanged()).To(BeEmpty())
}

func TestWhatSomebodyElseWrites(t *testing.T) {
	b := newBench(t)
	b.observe(1)
	b.deliver(1, 1, 1)
	b.write()
	foreign := metav1.Condition{Type: "Audited", Status: metav1.ConditionTrue, Reason: "Looked", LastTransitionTime: metav1.NewTime(start)}
	meta.SetStatusCondition(&b.stored.Conditions, foreign)
	b.version++
	b.observe(1)
	b.Expect(b.write()).To(BeFalse(), "a condition of another type is not ours")

	meta.FindStatusCondition(b.stored.Conditions, ready).Status = isUnknown
	b.version++
	b.observe(1)
	b.Expect(b.table.TakeChanged()).To(HaveKeyWithValue(object, status.Now))
	b.Expect(b.write()).To(BeTrue(), "our own condition is set right")
	b.Expect(meta.FindStatusCondition(b.stored.Conditions, ready).Status).To(Equal(isTrue))
}

func TestTheLatchSurvivesARestart(t *testing.T) {
	b := newBench(t)
	b.observe(1)
	b.table.Findings(object, []message.Finding{lostHost})
	b.deliver(1, 2, 2)
	b.write()

	again := b.restarted()
	again.observe(1)
	again.expect(programmed, "True/Programmed")
	again.expect(resolved, "False/HostNotFound")
	again.Expect(again.status()).To(Equal(b.stored))
	again.Expect(again.table.TakeChanged()).To(BeEmpty(), "a restart writes nothing")

	// Proxies are not back yet, then on their way: programmed is programmed.
	again.table.Findings(object, []message.Finding{lostHost})
	again.table.Delivered(delivery.Report{Object: object, Generation: 1})
	again.Expect(again.condition(programmed).Status).To(Equal(isTrue))
	again.deliver(1, 2, 0)
	again.expect(programmed, "True/Programmed")
	again.Expect(again.status().Proxies.Acknowledged).To(BeZero())
}

func TestARestartDoesNotInventAcknowledgements(t *testing.T) {
	b := newBench(t)
	b.observe(1)
	b.deliver(1, 2, 2)
	b.write()
	b.observe(2)
	b.deliver(2, 2, 1)
	b.write()
	b.Expect(meta.IsStatusConditionTrue(b.stored.Conditions, programmed)).To(BeFalse())

	again := b.restarted()
	again.observe(2)
	again.expect(programmed, "False/Pending")
	again.Expect(again.table.TakeChanged()).To(BeEmpty())
	// The generation changed while nobody looked.
	third := b.restarted()
	third.observe(3)
	third.expect(programmed, "False/Pending")
	third.expect(accepted, "Unknown/Pending")
}

func TestANewerManagerJudgesAgainAfterARestart(t *testing.T) {
	b := newBench(t)
	b.observe(1)
	b.deliver(1, 2, 2)
	b.write()
	stricter := b.restarted()
	stricter.observe(1, invalid)
	stricter.expect(accepted, "False/Invalid")
	stricter.write()
	laxer := stricter.restarted()
	laxer.observe(1)
	laxer.expect(accepted, "False/Invalid") // until translation has spoken
	laxer.deliver(1, 2, 2)
	laxer.expect(ready, "True/Ready")
}

func TestANewLeaderFindsWhatTheOldOneHadNotWritten(t *testing.T) {
	leader := newBench(t)
	follower := leader.restarted()
	leader.observe(1)
	follower.observe(1)
	for _, b := range []*bench{leader, follower} {
		b.deliver(1, 0, 0)
	}
	leader.write()

	// The follower sees what was written, and has nothing to add.
	follower.stored, follower.version = leader.stored, leader.version
	follower.observe(1)
	follower.Expect(follower.table.TakeChanged()).To(BeEmpty())

	// Then something changes, and the leader ends before it writes.
	follower.table.Findings(object, []message.Finding{lostHost})
	follower.Expect(follower.table.TakeChanged()).To(HaveKeyWithValue(object, status.Now))
	follower.Expect(follower.write()).To(BeTrue())
}

func TestAFollowerLearnsTheLatchFromTheLeader(t *testing.T) {
	leader := newBench(t)
	follower := leader.restarted()
	leader.observe(1)
	follower.observe(1)
	leader.deliver(1, 2, 2)
	follower.deliver(1, 1, 0) // its own proxy is slower
	follower.expect(programmed, "False/Pending")
	leader.write()
	follower.stored, follower.version = leader.stored, leader.version
	follower.observe(1)
	follower.expect(programmed, "True/Programmed")
}

func TestAnObjectIsRecreated(t *testing.T) {
	b := newBench(t)
	b.observe(1)
	b.deliver(1, 2, 2)
	old, open := b.table.Unwritten(object)
	b.Expect(open).To(BeTrue())

	// Deletion and creation may reach a reconciler as one event.
	b.uid, b.stored, b.version = "second", v1alpha1.Status{}, b.version+10
	b.observe(1)
	b.expect(programmed, "False/Pending")
	b.table.Written(old, fmt.Sprint(b.version+1))
	b.expect(programmed, "False/Pending")
	next, open := b.table.Unwritten(object)
	b.Expect(open).To(BeTrue())
	b.Expect(next.UID).To(Equal(b.uid))
	b.Expect(next.ResourceVersion).To(Equal(fmt.Sprint(b.version)))
}

func TestAnObjectThatIsGoneIsForgotten(t *testing.T) {
	b := newBench(t)
	b.observe(1)
	b.deliver(1, 2, 2)
	unwritten, _ := b.table.Unwritten(object)
	b.table.Forget(object)
	b.table.Findings(object, []message.Finding{lostHost})
	b.deliver(1, 3, 3)
	b.table.Written(unwritten, "200")
	_, _, found := b.table.Status(object)
	b.Expect(found).To(BeFalse())
	_, open := b.table.Unwritten(object)
	b.Expect(open).To(BeFalse())
	b.Expect(b.table.TakeChanged()).To(BeEmpty())
}

// TestAnyOrderOfEvents plays random histories and holds what must be true in all of them.
func TestAnyOrderOfEvents(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			b := newBench(t)
			generation := int64(1)
			b.observe(generation)
			wasProgrammed := false
			for range 40 {
				before := generation
				switch random.IntN(7) {
				case 0:
					generation++
					b.observe(generation)
				case 1:
					b.observe(generation)
				case 2:
					b.table.Findings(object, [][]message.Finding{nil, {lostHost}, {conflict}}[random.IntN(3)])
				case 3, 4:
					concerned := random.IntN(3)
					b.deliver(generation-int64(random.IntN(2)), concerned, random.IntN(concerned+1))
				case 5:
					b.write()
				case 6:
					b = b.restarted()
					b.observe(generation)
				}
				b.pass(time.Second)
				notAccepted := b.condition(accepted).Status == isFalse
				now := b.condition(programmed).Status == isTrue
				if wasProgrammed && !now && generation == before && !notAccepted {
					// Only a restart before the write may forget it.
					if meta.IsStatusConditionTrue(b.stored.Conditions, programmed) && b.stored.ObservedGeneration == generation {
						t.Fatalf("programmed was lost: %+v", b.status())
					}
				}
				if notAccepted && now {
					t.Fatalf("programmed but not accepted: %+v", b.status())
				}
				if b.condition(ready).Status == isTrue && !now {
					t.Fatalf("ready but not programmed: %+v", b.status())
				}
				wasProgrammed = now
			}
			for b.write() {
				b.Expect(b.table.TakeChanged()).To(BeEmpty(), "one write tells everything")
			}
		})
	}
}

func TestTheTableIsSafeForConcurrentUse(t *testing.T) {
	g := NewWithT(t)
	table := status.NewTable(testingclock.NewFakePassiveClock(start))
	var everybody sync.WaitGroup
	const objects, rounds = 20, 50
	id := func(i int) mesh.ObjectID {
		return mesh.ObjectID{Kind: "VirtualService", Namespace: "prod", Name: fmt.Sprint(i % objects)}
	}
	for _, play := range []func(i int){
		func(i int) {
			table.Observe(status.Observation{Object: id(i), UID: "u", Generation: int64(1 + i/objects), ResourceVersion: fmt.Sprint(1 + i)})
		},
		func(i int) { table.Findings(id(i), []message.Finding{lostHost}) },
		func(i int) {
			table.Delivered(delivery.Report{Object: id(i), Generation: int64(1 + i/objects), Concerned: 1, Acknowledged: 1})
		},
		func(int) {
			for id := range table.TakeChanged() {
				if unwritten, open := table.Unwritten(id); open {
					table.Written(unwritten, unwritten.ResourceVersion)
				}
			}
		},
		func(i int) { table.Status(id(i)) },
		func(i int) {
			if i%objects == 7 {
				table.Forget(id(i))
			}
		},
	} {
		everybody.Go(func() {
			for i := range objects * rounds {
				play(i)
			}
		})
	}
	everybody.Wait()
	s, _, found := table.Status(id(0))
	g.Expect(found).To(BeTrue())
	g.Expect(s.ObservedGeneration).To(Equal(int64(rounds)))
}
