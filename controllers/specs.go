package controllers

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
	"fairlead.dev/fairlead/internal/status"
)

// meshObject is an object of one of our kinds.
type meshObject interface {
	client.Object
	GetStatus() *v1alpha1.Status
}

// specs does what is the same for every kind of our own: it notes objects in the status
// table, and remembers which spec of each was put into the store. Most events only tell
// that a status was written; they must not make anything be translated again.
type specs struct {
	table *status.Table

	mu     sync.Mutex
	stored map[mesh.ObjectID]version
}

// version tells one spec of an object from all others, those of an earlier object with
// the same name among them.
type version struct {
	uid        types.UID
	generation int64
}

func newSpecs(table *status.Table) *specs {
	return &specs{table: table, stored: map[mesh.ObjectID]version{}}
}

// observe notes an object in the status table. It comes before the spec is stored, so
// that whatever is found and delivered of the spec comes after it.
func (s *specs) observe(id mesh.ObjectID, object meshObject, findings []message.Finding) {
	s.table.Observe(status.Observation{
		Object:          id,
		UID:             object.GetUID(),
		Generation:      object.GetGeneration(),
		ResourceVersion: object.GetResourceVersion(),
		Findings:        findings,
		Existing:        *object.GetStatus().DeepCopy(),
	})
}

// store puts an accepted spec in place by set, if it is not there already. set is nil for
// one that is refused: the object keeps its last accepted spec, unless that was one of an
// earlier object with the same name, which remove takes away.
func (s *specs) store(id mesh.ObjectID, object client.Object, set func(), remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, stored := s.stored[id]
	now := version{object.GetUID(), object.GetGeneration()}
	if stored && before.uid != now.uid {
		remove()
		delete(s.stored, id)
		stored = false
	}
	if set == nil || stored && before == now {
		return
	}
	set()
	s.stored[id] = now
}

// gone forgets an object.
func (s *specs) gone(id mesh.ObjectID, remove func()) {
	s.table.Forget(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, stored := s.stored[id]; stored {
		remove()
		delete(s.stored, id)
	}
}
