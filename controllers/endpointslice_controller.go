package controllers

import (
	"context"

	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/mesh"
)

// EndpointSliceReconciler keeps the endpoints of the mesh's services. Its calls must not
// overlap.
type EndpointSliceReconciler struct {
	reader  client.Reader
	store   *mesh.Store
	options convert.Options
	// hosts remembers which host each slice was stored for: a slice that is gone, or whose
	// label was changed, does not tell any more.
	hosts map[types.NamespacedName]string
}

// NewEndpointSliceReconciler returns a reconciler that has stored nothing yet.
func NewEndpointSliceReconciler(reader client.Reader, store *mesh.Store, options convert.Options) *EndpointSliceReconciler {
	return &EndpointSliceReconciler{reader: reader, store: store, options: options, hosts: map[types.NamespacedName]string{}}
}

// Reconcile implements reconcile.Reconciler.
func (r *EndpointSliceReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var slice discoveryv1.EndpointSlice
	var host string
	var endpoints []mesh.Endpoint
	if err := r.reader.Get(ctx, request.NamespacedName, &slice); err == nil {
		host, endpoints = convert.Endpoints(&slice, r.options)
	} else if !apierrors.IsNotFound(err) {
		return ctrl.Result{}, err
	}
	key := request.NamespacedName
	if before, stored := r.hosts[key]; stored && before != host {
		r.store.SetEndpoints(before, request.Name, nil)
		delete(r.hosts, key)
	}
	if host != "" {
		r.store.SetEndpoints(host, request.Name, endpoints)
		r.hosts[key] = host
	}
	return ctrl.Result{}, nil
}
