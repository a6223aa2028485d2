package controllers

import (
	"context"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/mesh"
)

// NamespaceReconciler keeps the mesh's namespaces.
type NamespaceReconciler struct {
	Reader client.Reader
	Store  *mesh.Store
	Log    *slog.Logger
}

// Reconcile implements reconcile.Reconciler.
func (r *NamespaceReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var namespace corev1.Namespace
	err := r.Reader.Get(ctx, request.NamespacedName, &namespace)
	switch {
	case apierrors.IsNotFound(err):
		r.Store.DeleteNamespace(request.Name)
		return ctrl.Result{}, nil
	case err != nil:
		return ctrl.Result{}, err
	}
	if _, err := convert.MTLSMode(namespace.Annotations); err != nil {
		r.Log.Warn("Ignored a Namespace's mTLS mode", "namespace", namespace.Name, "err", err)
	}
	r.Store.SetNamespace(convert.Namespace(&namespace))
	return ctrl.Result{}, nil
}
