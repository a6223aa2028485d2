package controllers

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/hold"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/settings"
	"fairlead.dev/fairlead/internal/status"
)

// Options are what the controllers work with.
type Options struct {
	Store   *mesh.Store
	Table   *status.Table
	Holder  *hold.Holder
	Convert convert.Options
	Clock   clock.WithTicker
	Log     *slog.Logger
	// Namespace is the manager's own; Settings holds what its ConfigMap says.
	Namespace string
	Settings  *settings.Holder
	// Metrics is where gauges are registered; nil: nowhere.
	Metrics prometheus.Registerer
	// Position is told of the kinds that are followed; nil: nobody asks.
	Position *Position
}

// kind is a kind of objects with the reconciler that reads it.
type kind struct {
	object     client.Object
	list       client.ObjectList
	reconciler reconcile.Reconciler
	// watch adds to what makes the reconciler run, if it reads more than its own kind.
	watch func(*builder.Builder)
}

// Setup adds the reconcilers, the status writer and the primer to a manager, and returns
// the primer. The manager's cache has to be made with CacheOptions.
func Setup(ctx context.Context, manager ctrl.Manager, options Options) (*Primer, error) {
	reader := manager.GetClient()
	if err := manager.GetFieldIndexer().IndexField(ctx, &corev1.Pod{}, podNodeField, podNode); err != nil {
		return nil, fmt.Errorf("index Pods by node: %w", err)
	}
	if err := manager.GetFieldIndexer().IndexField(ctx, &appsv1.ControllerRevision{}, revisionOwnerField, revisionOwner); err != nil {
		return nil, fmt.Errorf("index ControllerRevisions by owner: %w", err)
	}
	spec := &specs{table: options.Table, holder: options.Holder, reader: reader, direct: manager.GetAPIReader()}
	pods := &PodReconciler{Reader: reader, Store: options.Store, Log: options.Log}
	// As they were read at the start: what the ConfigMap says may be unusable.
	options.Store.SetSettings(inNamespace(options.Settings.Get(), options.Namespace))
	refused := NewSettingsRefused()
	if options.Metrics != nil {
		options.Metrics.MustRegister(refused)
	}
	// In the order in which the primer reads them; what others refer to comes first.
	kinds := []kind{
		{object: &corev1.ConfigMap{}, list: &corev1.ConfigMapList{}, reconciler: &SettingsReconciler{
			Reader: reader, Store: options.Store, Holder: options.Settings, Namespace: options.Namespace,
			Events: manager.GetEventRecorder("fairlead-manager"), Refused: refused, Clock: options.Clock, Log: options.Log,
		}},
		{object: &corev1.Namespace{}, list: &corev1.NamespaceList{}, reconciler: &NamespaceReconciler{Reader: reader, Store: options.Store, Log: options.Log}},
		{object: &corev1.Pod{}, list: &corev1.PodList{}, reconciler: pods, watch: func(b *builder.Builder) {
			b.Watches(&corev1.Node{}, handler.EnqueueRequestsFromMapFunc(pods.onNode), builder.WithPredicates(localityChanged))
		}},
		{object: &corev1.Service{}, list: &corev1.ServiceList{}, reconciler: &ServiceReconciler{Reader: reader, Store: options.Store, Options: options.Convert}},
		{object: &discoveryv1.EndpointSlice{}, list: &discoveryv1.EndpointSliceList{}, reconciler: NewEndpointSliceReconciler(reader, options.Store, options.Convert)},
		specKind(spec, options.Convert, convert.KindServiceEntry, &v1alpha1.ServiceEntryList{}, convert.Entry, options.Store.SetEntry, options.Store.DeleteEntry),
		specKind(spec, options.Convert, convert.KindDestinationRule, &v1alpha1.DestinationRuleList{}, convert.Policy, options.Store.SetPolicy, options.Store.DeletePolicy),
		specKind(spec, options.Convert, convert.KindRouteRule, &v1alpha1.RouteRuleList{}, convert.RouteRule, options.Store.SetRouteTable, options.Store.DeleteRouteTable),
		specKind(spec, options.Convert, convert.KindGateway, &v1alpha1.GatewayList{}, convert.Gateway, options.Store.SetGateway, options.Store.DeleteGateway),
		specKind(spec, options.Convert, convert.KindVirtualService, &v1alpha1.VirtualServiceList{}, convert.RouteTable, options.Store.SetRouteTable, options.Store.DeleteRouteTable),
	}

	ranges, err := offersServiceCIDRs(manager)
	if err != nil {
		return nil, fmt.Errorf("ask whether the API server has ServiceCIDRs: %w", err)
	}
	if ranges {
		kinds = append(kinds, kind{
			object: &networkingv1.ServiceCIDR{}, list: &networkingv1.ServiceCIDRList{},
			reconciler: &ServiceCIDRReconciler{Reader: reader, Store: options.Store},
		})
	}

	everyReplica := false
	for i := range kinds {
		k := &kinds[i]
		k.reconciler = &oneByOne{next: k.reconciler}
		b := ctrl.NewControllerManagedBy(manager).For(k.object).
			WithOptions(controller.Options{NeedLeaderElection: &everyReplica})
		if k.watch != nil {
			k.watch(b)
		}
		if err := b.Complete(k.reconciler); err != nil {
			return nil, fmt.Errorf("add the controller of %T: %w", k.object, err)
		}
	}

	if options.Position != nil {
		if err := options.Position.watch(ctx, manager.GetCache(), kinds); err != nil {
			return nil, fmt.Errorf("follow what is read: %w", err)
		}
	}

	primer := newPrimer(reader, kinds, options.Log)
	if err := manager.Add(primer); err != nil {
		return nil, fmt.Errorf("add the primer: %w", err)
	}
	writer := &StatusWriter{Table: options.Table, Client: manager.GetClient(), Clock: options.Clock, Log: options.Log}
	if err := manager.Add(writer); err != nil {
		return nil, fmt.Errorf("add the status writer: %w", err)
	}
	revisions := &RevisionWriter{
		Holder: options.Holder, Client: manager.GetClient(), Elected: manager.Elected(), Clock: options.Clock, Log: options.Log,
	}
	if err := manager.Add(revisions); err != nil {
		return nil, fmt.Errorf("add the writer of revisions: %w", err)
	}
	return primer, nil
}
