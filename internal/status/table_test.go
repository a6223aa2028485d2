package status_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	testingclock "k8s.io/utils/clock/testing"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/delivery"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
	"fairlead.dev/fairlead/internal/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	start  = time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	object = mesh.ObjectID{Kind: "VirtualService", Namespace: "prod", Name: "reviews"}
	older  = mesh.ObjectID{Kind: "VirtualService", Namespace: "prod", Name: "older"}

	invalid     = message.Invalid(object, "spec.http[0].timeout", "is not a duration", "write 5s")
	conflict    = message.HostConflict(object, "spec.hosts[0]", "reviews.prod.svc.cluster.local", older)
	lostHost    = message.HostNotFound(object, "spec.http[0].route[0].destination.host", "ratings.prod.svc.cluster.local")
	lostSubset  = message.SubsetNotFound(object, "spec.http[1].route[0].destination.subset", "reviews.prod.svc.cluster.local", "v9", nil)
	isTrue      = metav1.ConditionTrue
	isFalse     = metav1.ConditionFalse
	isUnknown   = metav1.ConditionUnknown
	accepted    = v1alpha1.ConditionAccepted
	resolved    = v1alpha1.ConditionResolvedRefs
	programmed  = v1alpha1.ConditionProgrammed
	ready       = v1alpha1.ConditionReady
	allFour     = []string{accepted, resolved, programmed, ready}
	theRejected = delivery.Rejection{Node: "prod/front-1", Resource: "route reviews.prod:9080", Message: "no argument for repetition operator: *"}
)

// bench is a table with the API server played by fields: what the writer wrote last.
type bench struct {
	*WithT
	clock   *testingclock.FakePassiveClock
	table   *status.Table
	uid     types.UID
	version int
	stored  v1alpha1.Status
}

func newBench(t *testing.T) *bench {
	clock := testingclock.NewFakePassiveClock(start)
	return &bench{WithT: NewWithT(t), clock: clock, table: status.NewTable(clock), uid: "first", version: 100}
}

// restarted is a second replica, or the same one started again, with the same API server.
func (b *bench) restarted() *bench {
	again := *b
	again.table = status.NewTable(b.clock)
	return &again
}

func (b *bench) pass(d time.Duration) { b.clock.SetTime(b.clock.Now().Add(d)) }

// observe hands the object over as the API server holds it.
func (b *bench) observe(generation int64, findings ...message.Finding) {
	b.table.Observe(status.Observation{
		Object: object, UID: b.uid, Generation: generation, ResourceVersion: fmt.Sprint(b.version),
		Findings: findings, Existing: *b.stored.DeepCopy(),
	})
}

// deliver reports on the object.
func (b *bench) deliver(generation int64, concerned, acknowledged int) {
	b.table.Delivered(delivery.Report{Object: object, Generation: generation, Concerned: concerned, Acknowledged: acknowledged, Settled: true})
}

// write does what the writer does, and reports whether there was something to write.
func (b *bench) write() bool {
	unwritten, open := b.table.Unwritten(object)
	if !open {
		return false
	}
	b.Expect(unwritten.ResourceVersion).To(Equal(fmt.Sprint(b.version)), "the write is on top of the newest version")
	b.version++
	b.stored = unwritten.Status
	b.table.Written(unwritten, fmt.Sprint(b.version))
	return true
}

func (b *bench) status() v1alpha1.Status {
	s, uid, found := b.table.Status(object)
	b.Expect(found).To(BeTrue())
	b.Expect(uid).To(Equal(b.uid))
	var present []string
	for _, c := range s.Conditions {
		present = append(present, c.Type)
		b.Expect(c.ObservedGeneration).To(Equal(s.ObservedGeneration), c.Type)
		b.Expect(c.LastTransitionTime.IsZero()).To(BeFalse(), c.Type)
		b.Expect(c.Message).NotTo(BeEmpty(), c.Type)
	}
	b.Expect(present).To(Equal(allFour))
	return s
}

func (b *bench) condition(conditionType string) metav1.Condition {
	s := b.status()
	return *meta.FindStatusCondition(s.Conditions, conditionType)
}

// expect checks status and reason of a condition, "True/Programmed".
func (b *bench) expect(conditionType, want string) {
	c := b.condition(conditionType)
	b.Expect(string(c.Status)+"/"+c.Reason).To(Equal(want), "%s: %s", conditionType, c.Message)
}

func TestANewGenerationIsTracedToItsProxies(t *testing.T) {
	b := newBench(t)
	b.observe(1)
	b.expect(accepted, "Unknown/Pending")
	b.expect(resolved, "Unknown/Pending")
	b.expect(programmed, "False/Pending")
	b.expect(ready, "False/Pending")
	b.Expect(b.status().Proxies).To(BeNil())

	b.deliver(1, 3, 0)
	b.expect(accepted, "True/Accepted")
	b.expect(resolved, "True/ResolvedRefs")
	b.expect(programmed, "False/Pending")
	b.expect(ready, "False/Pending")
	b.Expect(b.status().Proxies).To(Equal(&v1alpha1.ProxyCounts{Concerned: 3}))

	b.deliver(1, 3, 2)
	b.expect(programmed, "False/Pending")
	b.deliver(1, 3, 3)
	b.expect(programmed, "True/Programmed")
	b.expect(ready, "True/Ready")
}

func TestProgrammedIsLatched(t *testing.T) {
	b := newBench(t)
	b.observe(1)
	b.deliver(1, 3, 3)
	b.deliver(1, 4, 3) // a proxy joins
	b.expect(programmed, "True/Programmed")
	b.expect(ready, "True/Ready")
	b.Expect(b.status().Proxies).To(Equal(&v1alpha1.ProxyCounts{Concerned: 4, Acknowledged: 3}))

	b.observe(2)
	b.expect(programmed, "False/Pending")
	b.deliver(1, 4, 4) // late news of the generation before
	b.expect(programmed, "False/Pending")
	b.expect(accepted, "Unknown/Pending")
	b.deliver(2, 4, 3)
	b.expect(programmed, "False/Pending")
	b.deliver(2, 4, 4)
	b.expect(programmed, "True/Programmed")
}

func TestNoProxyTellsSomethingOnlyOnceSettled(t *testing.T) {
	b := newBench(t)
	b.observe(1)
	b.table.Delivered(delivery.Report{Object: object, Generation: 1})
	b.expect(accepted, "True/Accepted")
	b.expect(programmed, "False/Pending")
	b.deliver(1, 0, 0)
	b.expect(programmed, "True/NoProxies")
	b.expect(ready, "True/Ready")
	b.deliver(1, 1, 0) // the first proxy joins, and starts with this generation
	b.expect(programmed, "True/Programmed")
	b.deliver(1, 0, 0)
	b.expect(programmed, "True/NoProxies")
}

func TestARejectionIsTold(t *testing.T) {
	b := newBench(t)
	report := delivery.Report{
		Object: object, Generation: 1, Concerned: 2, Acknowledged: 1, Rejected: 1, Settled: true,
		Rejections: []delivery.Rejection{theRejected},
	}
	b.observe(1)
	b.table.Delivered(report)
	b.expect(programmed, "False/Rejected")
	b.expect(ready, "False/Rejected")
	b.Expect(b.condition(programmed).Message).To(SatisfyAll(
		ContainSubstring("prod/front-1"), ContainSubstring("route reviews.prod:9080"),
		ContainSubstring("no argument for repetition operator"), ContainSubstring("correct what it names")))
	b.Expect(b.status().Rejections).To(Equal([]v1alpha1.Rejection{{
		Node: "prod/front-1", Resource: "route reviews.prod:9080", Message: "no argument for repetition operator: *",
	}}))

	// Acknowledged by all, it stays programmed when a proxy that joins refuses it; but it
	// is not served everywhere, and says so.
	b.observe(2)
	b.deliver(2, 2, 2)
	report.Generation, report.Concerned, report.Acknowledged = 2, 3, 2
	b.table.Delivered(report)
	b.expect(programmed, "True/Programmed")
	b.Expect(b.condition(programmed).Message).To(ContainSubstring("prod/front-1 refused"))
	b.expect(ready, "False/Rejected")
}

func TestAnObjectThatIsNotAcceptedIsNotProgrammed(t *testing.T) {
	b := newBench(t)
	b.observe(1)
	b.deliver(1, 3, 3)
	b.observe(2, invalid, message.NotImplemented(object, "spec.http[0].fault"))
	b.expect(accepted, "False/Invalid")
	b.expect(resolved, "Unknown/NotAccepted")
	b.expect(programmed, "False/NotAccepted")
	b.expect(ready, "False/Invalid")
	b.Expect(b.condition(accepted).Message).To(Equal(
		"FL0002 spec.http[0].fault: this field is not implemented yet; remove it; docs/compatibility.md lists what is implemented\n" +
			"FL0001 spec.http[0].timeout: is not a duration; write 5s"))
	b.Expect(b.status().Proxies).To(BeNil())
	b.deliver(1, 3, 3) // of the spec that is kept
	b.expect(programmed, "False/NotAccepted")

	b.observe(3)
	b.expect(accepted, "Unknown/Pending")
	b.deliver(3, 3, 3)
	b.expect(ready, "True/Ready")
}

func TestAHostConflictThatComesAndGoes(t *testing.T) {
	b := newBench(t)
	b.observe(1)
	b.deliver(1, 3, 3)
	b.expect(ready, "True/Ready")

	b.table.Findings(object, []message.Finding{conflict})
	b.expect(accepted, "False/HostConflict")
	b.expect(programmed, "False/NotAccepted")
	b.expect(ready, "False/HostConflict")
	b.Expect(b.condition(accepted).Message).To(ContainSubstring("VirtualService prod/older"))
	b.Expect(b.status().Proxies).To(BeNil())
	b.deliver(1, 0, 0) // nothing that is served comes from it

	// The other object goes. The last report is one of the time when it lost.
	b.table.Findings(object, nil)
	b.expect(accepted, "True/Accepted")
	b.expect(programmed, "False/Pending")
	b.Expect(b.status().Proxies).To(BeNil())
	b.deliver(1, 3, 0)
	b.expect(programmed, "False/Pending")
	b.deliver(1, 3, 3)
	b.expect(ready, "True/Ready")
}

func TestFindingsOfTheGenerationBeforeAreNotToldOfTheNext(t *testing.T) {
	b := newBench(t)
	b.observe(1)
	b.table.Findings(object, []message.Finding{lostHost, conflict})
	b.deliver(1, 0, 0)
	b.expect(accepted, "False/HostConflict")
	b.expect(resolved, "False/HostNotFound")

	b.observe(2)
	b.expect(accepted, "Unknown/Pending")
	b.expect(resolved, "Unknown/Pending")
	b.table.Findings(object, nil)
	b.deliver(2, 1, 1)
	b.expect(accepted, "True/Accepted")
	b.expect(resolved, "True/ResolvedRefs")
	b.expect(programmed, "True/Programmed")
}

func TestWhatIsMissingLeavesTheRestInUse(t *testing.T) {
	b := newBench(t)
	b.observe(1)
	b.table.Findings(object, []message.Finding{lostHost})
	b.deliver(1, 2, 2)
	b.expect(accepted, "True/Accepted")
	b.expect(resolved, "False/HostNotFound")
	b.expect(programmed, "True/Programmed")
	b.expect(ready, "False/HostNotFound")
	b.Expect(b.condition(ready).Message).To(ContainSubstring("create the Service"))

	b.table.Findings(object, []message.Finding{lostSubset, lostHost})
	b.expect(resolved, "False/HostNotFound")
	b.expect(ready, "False/RefsNotResolved")
	b.table.Findings(object, nil)
	b.expect(ready, "True/Ready")
}

func TestTransitionTimesMoveWithTheStatusOnly(t *testing.T) {
	b := newBench(t)
	b.observe(1)
	b.deliver(1, 2, 2)
	b.write()
	b.pass(time.Minute)
	b.table.Findings(object, []message.Finding{lostHost})
	at := func(conditionType string) time.Time { return b.condition(conditionType).LastTransitionTime.UTC() }
	b.Expect(at(accepted)).To(Equal(start))
	b.Expect(at(programmed)).To(Equal(start))
	b.Expect(at(resolved)).To(Equal(start.Add(time.Minute)))

	b.pass(time.Minute)
	b.table.Findings(object, []message.Finding{lostSubset}) // another reason, the same status
	b.Expect(at(resolved)).To(Equal(start.Add(time.Minute)))
	b.observe(2) // programmed no more, for this generation
	b.Expect(at(programmed)).To(Equal(start.Add(2 * time.Minute)))

	// After a restart, times are those that the API server holds.
	b.write()
	again := b.restarted()
	again.pass(time.Hour)
	again.observe(2)
	again.deliver(2, 1, 0)
	again.Expect(again.condition(programmed).LastTransitionTime.UTC()).To(Equal(start.Add(2 * time.Minute)))
}

func TestMessagesFitTheSchema(t *testing.T) {
	b := newBench(t)
	var findings []message.Finding
	for i := range 40 {
		findings = append(findings, message.Invalid(object, fmt.Sprintf("spec.http[%02d]", i), strings.Repeat("ü", 5000), "fix it"))
	}
	b.observe(1, findings...)
	text := b.condition(accepted).Message
	b.Expect([]rune(text)).To(HaveLen(32768))

	b.observe(2)
	rejections := slices.Repeat([]delivery.Rejection{{Node: "a/b", Resource: strings.Repeat("r", 2000), Message: strings.Repeat("ä", 9000) + "\xff"}}, 12)
	b.table.Delivered(delivery.Report{Object: object, Generation: 2, Concerned: 12, Rejected: 12, Rejections: rejections})
	b.Expect(b.status().Rejections).To(HaveLen(10))
	b.Expect([]rune(b.status().Rejections[0].Message)).To(HaveLen(4096))
	b.Expect([]rune(b.status().Rejections[0].Resource)).To(HaveLen(1024))
}

// What is held is told in the same words whoever tells it: the holder that took it back, or the
// one that finds it written down after a restart, before anything is translated.
func TestWhatIsHeldIsToldOverARestart(t *testing.T) {
	b := newBench(t)
	held := delivery.Report{Object: object, Generation: 2, Settled: true, Held: true, Serving: 1, Rejected: 1, Rejections: []delivery.Rejection{theRejected}}
	b.observe(2)
	b.table.Findings(object, []message.Finding{lostHost})
	b.deliver(2, 3, 1)
	b.table.Delivered(held)
	b.expect(accepted, "True/Accepted")
	b.expect(resolved, "Unknown/Rejected")
	b.expect(programmed, "False/Rejected")
	b.expect(ready, "False/Rejected")
	b.Expect(b.condition(ready).Message).To(Equal("FL0160 route reviews.prod:9080: proxy prod/front-1 refused it: " +
		"no argument for repetition operator: *; correct what it names in the spec, until then proxies keep generation 1"))
	b.Expect(b.status().Proxies).To(BeNil())
	b.deliver(1, 3, 3) // what proxies have in its place
	b.expect(programmed, "False/Rejected")
	b.Expect(b.write()).To(BeTrue())

	again := b.restarted()
	again.observe(2)
	again.table.Delivered(held)
	again.Expect(again.write()).To(BeFalse(), "the API server shows it already")
	again.observe(3)
	again.deliver(3, 3, 3)
	again.expect(programmed, "True/Programmed")

	held.Serving = 0
	b.table.Delivered(held)
	b.Expect(b.condition(programmed).Message).To(HaveSuffix("until then it is left out, since no earlier generation was taken by a proxy"))
}
