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

// DestinationRuleReconciler keeps what DestinationRules say about the traffic to a host.
type DestinationRuleReconciler struct {
	Reader  client.Reader
	Store   *mesh.Store
	Options convert.Options
	specs   *specs
}

// Reconcile implements reconcile.Reconciler.
func (r *DestinationRuleReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	id := mesh.ObjectID{Kind: convert.KindDestinationRule, Namespace: request.Namespace, Name: request.Name}
	remove := func() { r.Store.DeletePolicy(id) }

	var object v1alpha1.DestinationRule
	err := r.Reader.Get(ctx, request.NamespacedName, &object)
	switch {
	case apierrors.IsNotFound(err):
		r.specs.gone(id, remove)
		return ctrl.Result{}, nil
	case err != nil:
		return ctrl.Result{}, err
	}

	policy, findings := convert.Policy(&object, r.Options)
	r.specs.observe(id, &object, findings)
	r.specs.store(id, &object, policy != nil, func() { r.Store.SetPolicy(policy) }, remove)
	return ctrl.Result{}, nil
}
