package status

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/delivery"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// Urgency says how soon a change of status is to be written.
type Urgency int

// The urgencies, the least pressing first.
const (
	// Later: only counts, or the words of a message, changed.
	Later Urgency = iota
	// Soon: conditions changed, but say only that an answer is awaited. Most often it is
	// there a moment later, and one write tells both.
	Soon
	// Now: a condition changed.
	Now
)

// Observation is an object as a reconciler saw it.
type Observation struct {
	Object     mesh.ObjectID
	UID        types.UID
	Generation int64
	// ResourceVersion is that of the object which Existing was read from.
	ResourceVersion string
	// Findings are what validation and conversion found.
	Findings []message.Finding
	// Existing is the status that the API server holds.
	Existing v1alpha1.Status
}

// Table holds the status of every object. It is safe for concurrent use.
type Table struct {
	clock clock.PassiveClock

	mu      sync.Mutex
	entries map[mesh.ObjectID]*entry
	changed map[mesh.ObjectID]Urgency
	wake    chan struct{}
}

// NewTable returns an empty table.
func NewTable(clock clock.PassiveClock) *Table {
	return &Table{
		clock:   clock,
		entries: map[mesh.ObjectID]*entry{},
		changed: map[mesh.ObjectID]Urgency{},
		wake:    make(chan struct{}, 1),
	}
}

// Observe notes an object as it is now. It is called for every event of the object, those
// that only its status caused among them: by these a replica learns what the leader wrote.
func (t *Table) Observe(observation Observation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[observation.Object]
	if e == nil || e.uid != observation.UID {
		e = &entry{object: observation.Object, uid: observation.UID}
		t.entries[observation.Object] = e
	}
	if observation.Generation < e.generation {
		return // an older view of the object than one that was seen already
	}
	if observation.Generation > e.generation {
		e.generation = observation.Generation
		e.programmed = false
		e.suspended = false
	}
	e.validation = message.Sort(slices.Clone(observation.Findings))
	// A cache may still show what was there before the last write; what the writer was
	// answered is newer then.
	if !older(observation.ResourceVersion, e.resourceVersion) {
		e.resourceVersion = observation.ResourceVersion
		e.told = observation.Existing
		if showsProgrammed(&observation.Existing, e.generation) {
			// Written before this replica started, or by another one that leads: it is
			// true for good.
			e.programmed = true
		}
	}
	t.refresh(e)
}

// Forget drops an object that is gone.
func (t *Table) Forget(id mesh.ObjectID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.entries, id)
	delete(t.changed, id)
}

// Findings replaces what translation finds wrong with an object. It is ignored for an
// object that was not observed.
func (t *Table) Findings(id mesh.ObjectID, findings []message.Finding) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[id]
	if e == nil {
		return
	}
	e.translation = message.Sort(slices.Clone(findings))
	t.refresh(e)
}

// Delivered replaces what the proxies did with an object. It is ignored for an object
// that was not observed; a report on another generation than the observed one tells
// nothing of this one.
func (t *Table) Delivered(report delivery.Report) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[report.Object]
	if e == nil || report.Generation != e.generation {
		return
	}
	report.Rejections = slices.Clone(report.Rejections)
	e.report = &report
	e.suspended = false
	t.refresh(e)
}

// Status returns what is to be told of an object now.
func (t *Table) Status(id mesh.ObjectID) (v1alpha1.Status, types.UID, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[id]
	if e == nil {
		return v1alpha1.Status{}, "", false
	}
	return *e.status.DeepCopy(), e.uid, true
}

// Changes returns a channel that receives after a status changed; several changes may be
// told by one receipt.
func (t *Table) Changes() <-chan struct{} { return t.wake }

// TakeChanged returns the objects whose status differs from what the API server shows,
// and forgets them; those that differ again later are returned again.
func (t *Table) TakeChanged() map[mesh.ObjectID]Urgency {
	t.mu.Lock()
	defer t.mu.Unlock()
	taken := t.changed
	t.changed = map[mesh.ObjectID]Urgency{}
	return taken
}

// Unwritten is a status that the API server does not show yet.
type Unwritten struct {
	Object mesh.ObjectID
	UID    types.UID
	// ResourceVersion is the newest that is known: a write on top of it overwrites
	// nothing that was not looked at.
	ResourceVersion string
	Status          v1alpha1.Status
	Urgency         Urgency
	// LastWrite is when a status of the object was last written by this replica.
	LastWrite time.Time
}

// Unwritten returns an object's status if the API server does not show it yet.
func (t *Table) Unwritten(id mesh.ObjectID) (Unwritten, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[id]
	if e == nil {
		return Unwritten{}, false
	}
	urgency, differs := e.urgency()
	if !differs {
		return Unwritten{}, false
	}
	return Unwritten{
		Object: id, UID: e.uid, ResourceVersion: e.resourceVersion,
		Status: *e.status.DeepCopy(), Urgency: urgency, LastWrite: e.lastWrite,
	}, true
}

// Written notes that the API server took a status, and which resource version the object
// has by it.
func (t *Table) Written(written Unwritten, resourceVersion string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[written.Object]
	if e == nil || e.uid != written.UID || older(resourceVersion, e.resourceVersion) {
		return
	}
	e.resourceVersion = resourceVersion
	e.told = written.Status
	e.lastWrite = t.clock.Now()
	t.refresh(e)
}

// refresh computes an entry's status anew and notes whether that is to be written.
func (t *Table) refresh(e *entry) {
	e.compute(t.clock.Now())
	urgency, differs := e.urgency()
	if !differs {
		delete(t.changed, e.object)
		return
	}
	t.changed[e.object] = urgency
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// older reports whether resource version a is known to be older than b.
func older(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order < 0
}
