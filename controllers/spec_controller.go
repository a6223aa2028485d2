package controllers

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// specReconciler keeps what the objects of one of our kinds say.
type specReconciler[T meshObject] struct {
	kind   string
	reader client.Reader
	specs  *specs
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
	s *specs, reader client.Reader, options convert.Options, name string, list client.ObjectList,
	read func(T, convert.Options) (*V, []message.Finding), set func(*V), remove func(mesh.ObjectID),
) kind {
	return kind{object: T(new(O)), list: list, reconciler: &specReconciler[T]{
		kind: name, reader: reader, specs: s, remove: remove,
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
	remove := func() { r.remove(id) }

	object := r.object()
	err := r.reader.Get(ctx, request.NamespacedName, object)
	switch {
	case apierrors.IsNotFound(err):
		r.specs.gone(id, remove)
		return ctrl.Result{}, nil
	case err != nil:
		return ctrl.Result{}, err
	}

	set, findings := r.read(object)
	r.specs.observe(id, object, findings)
	r.specs.store(id, object, set, remove)
	return ctrl.Result{}, nil
}
