package hold

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/internal/delivery"
	"fairlead.dev/fairlead/internal/mesh"
)

// State says why a generation is written down.
type State string

// The states.
const (
	// Proven: every proxy concerned took it, and it is what to go back to.
	Proven State = "proven"
	// Accepted: it is in use and was not judged, as no proxy is concerned, and goes on being in
	// use while a newer generation is not accepted.
	Accepted State = "accepted"
	// Refused: a proxy refused it, and it is held.
	Refused State = "refused"
)

// Record is a generation of an object that is to outlive this process.
type Record struct {
	Generation int64
	State      State
	// Spec is that of what was proven or accepted; nil where the holder knows it.
	Spec *Spec
	// Rejection is that of what was refused.
	Rejection *delivery.Rejection
}

// same reports whether two records are of one generation and state.
func (r Record) same(other Record) bool {
	return r.Generation == other.Generation && r.State == other.State
}

// wanted returns what is to be written down of an object.
func (o *object) wanted() []Record {
	var records []Record
	if o.proven != nil {
		records = append(records, Record{Generation: o.proven.Generation, State: Proven, Spec: o.proven})
	}
	switch {
	case o.latest == nil:
	case o.refused != nil:
		records = append(records, Record{Generation: o.latest.Generation, State: Refused, Rejection: o.refused})
	case o.isProven():
	case o.idle || o.newest != o.latest.Generation:
		records = append(records, Record{Generation: o.latest.Generation, State: Accepted, Spec: o.latest})
	}
	return records
}

// Work is what is still to be written down of an object: what is missing first, then what is
// superfluous.
type Work struct {
	Object               mesh.ObjectID
	UID                  types.UID
	Missing, Superfluous []Record
}

// Work returns what is still to be written down of an object, if anything is.
func (h *Holder) Work(id mesh.ObjectID) (Work, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.objects[id]
	if o == nil {
		return Work{}, false
	}
	return o.work()
}

func (o *object) work() (Work, bool) {
	if o.questioned {
		return Work{}, false
	}
	wanted := o.wanted()
	work := Work{Object: o.id, UID: o.uid, Missing: without(wanted, o.written), Superfluous: without(o.written, wanted)}
	return work, len(work.Missing)+len(work.Superfluous) > 0
}

// without returns the records that are not among others.
func without(records, others []Record) []Record {
	return slices.DeleteFunc(slices.Clone(records), func(r Record) bool { return slices.ContainsFunc(others, r.same) })
}

// note remembers an object of which something is to be written down.
func (h *Holder) note(o *object) {
	if _, open := o.work(); !open {
		delete(h.changed, o.id)
		return
	}
	h.changed[o.id] = struct{}{}
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Changes returns a channel that receives after something is to be written down; several objects
// may be told by one receipt.
func (h *Holder) Changes() <-chan struct{} { return h.wake }

// TakeChanged returns the objects of which something is to be written down, and forgets them until
// that changes.
func (h *Holder) TakeChanged() []mesh.ObjectID {
	h.mu.Lock()
	defer h.mu.Unlock()
	taken := make([]mesh.ObjectID, 0, len(h.changed))
	for id := range h.changed {
		taken = append(taken, id)
	}
	clear(h.changed)
	return taken
}

// Open returns every object of which something is to be written down.
func (h *Holder) Open() []mesh.ObjectID {
	h.mu.Lock()
	defer h.mu.Unlock()
	var open []mesh.ObjectID
	for id, o := range h.objects {
		if _, is := o.work(); is {
			open = append(open, id)
		}
	}
	return open
}
