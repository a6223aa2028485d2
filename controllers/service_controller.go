package controllers

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/mesh"
)

// ServiceReconciler keeps the mesh's services.
type ServiceReconciler struct {
	Reader  client.Reader
	Store   *mesh.Store
	Options convert.Options
}

// Reconcile implements reconcile.Reconciler.
func (r *ServiceReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var object corev1.Service
	var service *mesh.Service
	if err := r.Reader.Get(ctx, request.NamespacedName, &object); err == nil {
		service = convert.Service(&object, r.Options)
	} else if !apierrors.IsNotFound(err) {
		return ctrl.Result{}, err
	}
	if service == nil { // gone, or become an alias of a name outside
		r.Store.DeleteService(mesh.ServiceHost(request.Name, request.Namespace, r.Options.ClusterDomain))
		return ctrl.Result{}, nil
	}
	r.Store.SetService(service)
	return ctrl.Result{}, nil
}
