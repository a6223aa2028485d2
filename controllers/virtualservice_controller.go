package controllers

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/mesh"
)

// VirtualServiceReconciler keeps what VirtualServices say about routing.
type VirtualServiceReconciler struct {
	Reader  client.Reader
	Store   *mesh.Store
	Options convert.Options
	specs   *specs
}

// Reconcile implements reconcile.Reconciler.
func (r *VirtualServiceReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	id := mesh.ObjectID{Kind: convert.KindVirtualService, Namespace: request.Namespace, Name: request.Name}
	remove := func() { r.Store.DeleteRouteTable(id) }

	var object v1alpha1.VirtualService
	err := r.Reader.Get(ctx, request.NamespacedName, &object)
	switch {
	case apierrors.IsNotFound(err):
		r.specs.gone(id, remove)
		return ctrl.Result{}, nil
	case err != nil:
		return ctrl.Result{}, err
	}

	table, findings := convert.RouteTable(&object, r.Options)
	r.specs.observe(id, &object, findings)
	r.specs.store(id, &object, table != nil, func() { r.Store.SetRouteTable(table) }, remove)
	return ctrl.Result{}, nil
}
