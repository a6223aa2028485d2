package controllers

import (
	"context"
	"net/netip"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/internal/mesh"
)

// ServiceCIDRReconciler keeps the ranges that Services get their addresses from. Without them
// the listener of outbound traffic lists every Service's address, and changes with them.
type ServiceCIDRReconciler struct {
	Reader client.Reader
	Store  *mesh.Store
}

// Reconcile implements reconcile.Reconciler. There are one or two ranges: all are read anew.
func (r *ServiceCIDRReconciler) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	var all networkingv1.ServiceCIDRList
	if err := r.Reader.List(ctx, &all); err != nil {
		return ctrl.Result{}, err
	}
	var ranges []netip.Prefix
	for i := range all.Items {
		for _, text := range all.Items[i].Spec.CIDRs {
			if prefix, err := netip.ParsePrefix(text); err == nil { // the API server has checked it
				ranges = append(ranges, prefix.Masked())
			}
		}
	}
	r.Store.SetServiceRanges(ranges)
	return ctrl.Result{}, nil
}

// offersServiceCIDRs reports whether the API server has the kind, as Kubernetes 1.33 and newer.
func offersServiceCIDRs(manager ctrl.Manager) (bool, error) {
	kind := schema.GroupKind{Group: networkingv1.GroupName, Kind: "ServiceCIDR"}
	_, err := manager.GetRESTMapper().RESTMapping(kind, networkingv1.SchemeGroupVersion.Version)
	if meta.IsNoMatchError(err) {
		return false, nil
	}
	return err == nil, err
}
