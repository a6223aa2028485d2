package controllers

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/hold"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// specReconciler keeps what the objects of one of our kinds say.
type specReconciler[T meshObject] struct {
	*specs
	kind string
	// object makes an empty object.
	object func() T
	// read returns what puts an object's spec into the store, nil if the spec is refused.
	read   func(T) (set func(), findings []message.Finding)
	remove func(mesh.ObjectID)
}

// specKind is a kind of ours: read makes a value of an object, or none if its spec is
// refused; set and remove keep it in the store.
func specKind[O, V any, T interface {
	*O
	meshObject
}](
	s *specs, options convert.Options, name string, list client.ObjectList,
	read func(T, convert.Options) (*V, []message.Finding), set func(*V), remove func(mesh.ObjectID),
) kind {
	return kind{object: T(new(O)), list: list, watch: ownRevisions, reconciler: &specReconciler[T]{
		specs: s, kind: name, remove: remove,
		object: func() T { return new(O) },
		read: func(object T) (func(), []message.Finding) {
			value, findings := read(object, options)
			if value == nil {
				return nil, findings
			}
			return func() { set(value) }, findings
		},
	}}
}

// Reconcile implements reconcile.Reconciler.
func (r *specReconciler[T]) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	id := mesh.ObjectID{Kind: r.kind, Namespace: request.Namespace, Name: request.Name}
	object := r.object()
	err := r.reader.Get(ctx, request.NamespacedName, object)
	switch {
	case apierrors.IsNotFound(err):
		r.table.Forget(id)
		r.holder.Gone(id)
		return ctrl.Result{}, nil
	case err != nil:
		return ctrl.Result{}, err
	}
	written, err := r.written(ctx, id, object)
	if err != nil {
		return ctrl.Result{}, err
	}
	spec, findings := r.spec(object)
	r.observe(id, object, findings)
	r.holder.Observe(hold.Observation{
		Object: id, UID: object.GetUID(), Generation: object.GetGeneration(),
		Spec: spec, Remove: func() { r.remove(id) }, Written: written,
	})
	return ctrl.Result{}, nil
}

// spec returns the object's spec, nil if it is refused.
func (r *specReconciler[T]) spec(object T) (*hold.Spec, []message.Finding) {
	set, findings := r.read(object)
	if set == nil {
		return nil, findings
	}
	return &hold.Spec{Generation: object.GetGeneration(), Set: set, Object: object}, findings
}

// written returns what is written down of an object, with the contents that the holder does not
// know and may need. Where what was accepted once is refused by now, it has no spec.
func (r *specReconciler[T]) written(ctx context.Context, id mesh.ObjectID, object T) ([]hold.Record, error) {
	records, err := r.recordsOf(ctx, object)
	if err != nil {
		return nil, fmt.Errorf("list the ControllerRevisions of %s: %w", id, err)
	}
	for i := range records {
		record := &records[i]
		current := record.Generation == object.GetGeneration()
		if current != (record.State == hold.Refused) || r.holder.Knows(id, object.GetUID(), *record) {
			continue
		}
		data, err := r.contents(ctx, id, object, *record)
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return nil, fmt.Errorf("read generation %d of %s: %w", record.Generation, id, err)
		case record.State == hold.Refused:
			record.Rejection = &data.Rejection
		default:
			record.Spec = r.restored(object, record.Generation, data.Spec)
		}
	}
	return records, nil
}

// restored returns an earlier spec of an object.
func (r *specReconciler[T]) restored(object T, generation int64, spec json.RawMessage) *hold.Spec {
	earlier := r.object()
	if json.Unmarshal(fmt.Appendf(nil, `{"spec":%s}`, spec), earlier) != nil {
		return nil
	}
	earlier.SetNamespace(object.GetNamespace())
	earlier.SetName(object.GetName())
	earlier.SetUID(object.GetUID())
	earlier.SetCreationTimestamp(object.GetCreationTimestamp())
	earlier.SetGeneration(generation)
	restored, _ := r.spec(earlier)
	return restored
}
