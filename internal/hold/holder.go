package hold

import (
	"log/slog"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/internal/delivery"
	"fairlead.dev/fairlead/internal/mesh"
)

// Spec is one generation of an object that was accepted.
type Spec struct {
	Generation int64
	// Set puts it into the store.
	Set func()
	// Object is the object that it stood in, for whoever writes it down.
	Object any
}

// Observation is an object as a reconciler saw it.
type Observation struct {
	Object     mesh.ObjectID
	UID        types.UID
	Generation int64
	// Spec is nil if the generation is not accepted.
	Spec *Spec
	// Remove takes the object's spec out of the store.
	Remove func()
	// Written is what is written down of the object.
	Written []Record
}

// Options are what a Holder needs.
type Options struct {
	Clock clock.WithDelayedExecution
	Log   *slog.Logger
	// Report receives what is to be told of objects. It must not call back.
	Report func(delivery.Report)
}

// Holder holds which spec of each object is in use. It is safe for concurrent use, and takes no
// lock of others but the store's and those of Report.
type Holder struct {
	options Options

	mu      sync.Mutex
	objects map[mesh.ObjectID]*object
	dispute dispute
	changed map[mesh.ObjectID]struct{}
	wake    chan struct{}
}

// object is what is known of one object.
type object struct {
	id     mesh.ObjectID
	uid    types.UID
	remove func()
	// newest is the generation that there is, accepted or not.
	newest int64
	// latest is the newest spec that was accepted, proven the newest that every proxy
	// concerned took; nil if there is none.
	latest, proven *Spec
	// idle is true once it is certain that latest concerns no proxy.
	idle bool
	// refused is the refusal for which latest is held.
	refused *delivery.Rejection
	// questioned is true while latest is taken back because it may be at fault.
	questioned bool
	// inUse is the generation that is in the store, zero for none; moving is true until that is
	// published.
	inUse  int64
	moving bool
	// tried is true once the proxies have judged latest, or there is none to do so.
	tried bool

	written []Record
}

// New returns a holder that knows no object.
func New(options Options) *Holder {
	return &Holder{
		options: options, objects: map[mesh.ObjectID]*object{},
		changed: map[mesh.ObjectID]struct{}{}, wake: make(chan struct{}, 1),
	}
}

// Observe takes in an object as it is now. The status table is told of it before.
func (h *Holder) Observe(seen Observation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.objects[seen.Object]
	if o != nil && o.uid != seen.UID {
		// Another object of the same name.
		h.forget(o)
		o = nil
	}
	if o == nil {
		o = &object{id: seen.Object, uid: seen.UID, remove: seen.Remove}
		h.objects[seen.Object] = o
	}
	o.newest, o.written = seen.Generation, seen.Written
	o.take(seen.Spec)
	refusal := o.recall()
	h.apply(o)
	if refusal {
		h.tellHeld(o)
	}
	h.settle()
}

// take makes a spec the latest, if it is newer.
func (o *object) take(spec *Spec) {
	switch {
	case spec == nil:
	case o.latest == nil || o.latest.Generation < spec.Generation:
		o.latest, o.refused, o.questioned, o.idle, o.tried = spec, nil, false, false, false
	case o.latest.Generation == spec.Generation:
		// What an object looks like changes with its status; the older copy can go.
		o.latest.Object = spec.Object
	}
}

// recall takes in what is written down, and reports whether the latest spec turns out to be held
// by it. Another replica, or this one before it was started again, knew more.
func (o *object) recall() bool {
	var refused *delivery.Rejection
	for _, record := range o.written {
		switch {
		case record.State == Accepted && o.latest == nil && record.Spec != nil:
			o.latest = record.Spec
		case record.State == Refused && o.latest != nil && record.Generation == o.latest.Generation:
			refused = record.Rejection
		}
	}
	for _, record := range o.written {
		switch {
		case record.State != Proven:
		case o.latest != nil && record.Generation == o.latest.Generation:
			o.proven, o.refused, o.questioned = o.latest, nil, false
			return false
		case record.Spec == nil:
		case o.proven == nil, o.proven.Generation < record.Generation, refused != nil && o.proven == o.latest:
			o.proven = record.Spec
		}
	}
	if refused == nil || o.refused != nil {
		return false
	}
	if o.proven == o.latest {
		o.proven = nil
	}
	o.refused, o.questioned = refused, false
	return true
}

// Knows reports whether the holder has the contents of a record of an object, so that they need
// not be read.
func (h *Holder) Knows(id mesh.ObjectID, uid types.UID, record Record) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.objects[id]
	if o == nil || o.uid != uid {
		return false
	}
	if record.State == Refused {
		return o.refused != nil && o.latest.Generation == record.Generation
	}
	return slices.ContainsFunc([]*Spec{o.latest, o.proven}, func(s *Spec) bool { return s != nil && s.Generation == record.Generation })
}

// Gone forgets an object. What is written of it is deleted with it.
func (h *Holder) Gone(id mesh.ObjectID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if o := h.objects[id]; o != nil {
		h.forget(o)
		h.settle()
	}
}

func (h *Holder) forget(o *object) {
	if o.inUse != 0 {
		o.remove()
	}
	delete(h.objects, o.id)
	delete(h.changed, o.id)
}

// effective returns the spec that is to be in use.
func (o *object) effective() *Spec {
	if o.latest != nil && o.refused == nil && !o.questioned {
		return o.latest
	}
	return o.proven
}

// isProven reports whether every proxy concerned took the latest spec.
func (o *object) isProven() bool {
	return o.proven != nil && o.latest != nil && o.proven.Generation == o.latest.Generation
}

// apply puts the spec that is to be in use into the store.
func (h *Holder) apply(o *object) {
	h.note(o)
	spec := o.effective()
	switch {
	case spec == nil && o.inUse != 0:
		o.inUse, o.moving = 0, true
		o.remove()
	case spec != nil && o.inUse != spec.Generation:
		o.inUse, o.moving = spec.Generation, true
		spec.Set()
	}
}

// Delivered takes in what proxies did with an object, and hands it on.
func (h *Holder) Delivered(report delivery.Report) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.objects[report.Object]
	if o == nil {
		h.options.Report(report)
		return
	}
	if report.Generation == mesh.DeletedGeneration && o.inUse == 0 {
		o.moving = false
	}
	if report.Generation == o.inUse {
		o.moving = false
		if h.judge(report) {
			report.Rejected, report.Rejections = 0, nil
		}
		o.prove(report)
		h.note(o)
		if report.Generation == o.inUse && report.Generation == o.newest {
			h.options.Report(report)
		}
	}
	h.settle()
}

// prove notes what a report says for the latest spec, if that is the one in use.
func (o *object) prove(report delivery.Report) {
	if o.latest == nil || report.Generation != o.latest.Generation || o.inUse != report.Generation {
		return
	}
	switch {
	case report.Concerned == 0:
		o.idle, o.tried = report.Settled, true
	case report.Rejected == 0 && report.Acknowledged >= report.Concerned:
		o.proven, o.tried = o.latest, true
	}
}

// tellHeld reports that the latest spec is held.
func (h *Holder) tellHeld(o *object) {
	h.options.Report(delivery.Report{
		Object: o.id, Generation: o.latest.Generation, Settled: true, Held: true, Serving: o.inUse,
		Rejected: 1, Rejections: []delivery.Rejection{*o.refused},
	})
}
