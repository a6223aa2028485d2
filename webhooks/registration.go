package webhooks

import (
	"context"
	"fmt"
	"log/slog"
	"net"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/pki"
)

const (
	// Name is the name of the ValidatingWebhookConfiguration.
	Name = "fairlead"
	// ServiceName is the name of the Service by which the API server reaches the webhooks.
	ServiceName = "fairlead-webhooks"
	// webhookName is what kubectl shows of a refusal.
	webhookName = "validate.mesh.fairlead.dev"
	// fieldManager owns what is applied.
	fieldManager = "fairlead-manager"
	// timeoutSeconds is how long the API server waits for an answer.
	timeoutSeconds = 5
)

// Registration keeps the webhooks registered, as they are to be and with the roots that are
// trusted now: the API server verifies their certificate by these. The leader does it.
type Registration struct {
	Client client.Client
	Source *pki.Source
	// URL is where the API server finds the webhooks; empty: by the Service in Namespace.
	URL, Namespace string
	Log            *slog.Logger
}

// URL returns where an API server on the same machine reaches the listener; empty if the
// listener takes connections from elsewhere.
func URL(listener net.Addr) string {
	address, ok := listener.(*net.TCPAddr)
	if !ok || !address.IP.IsLoopback() {
		return ""
	}
	return "https://" + address.String() + validationPath
}

// Names are the names that the webhooks' certificate has to have.
func Names(namespace string) []string {
	return []string{ServiceName + "." + namespace + ".svc", "localhost", "127.0.0.1", "::1"}
}

// Cached makes a manager's cache read of all registrations only this one.
func Cached() map[client.Object]cache.ByObject {
	return map[client.Object]cache.ByObject{
		&admissionv1.ValidatingWebhookConfiguration{}: {Field: fields.OneTermEqualSelector(metav1.ObjectNameField, Name)},
	}
}

// Setup adds the controller to a manager, whose scheme has admissionregistration.k8s.io/v1.
func (r *Registration) Setup(m ctrl.Manager) error {
	changed := make(chan event.GenericEvent)
	err := ctrl.NewControllerManagedBy(m).Named("webhooks").
		For(&admissionv1.ValidatingWebhookConfiguration{}).
		WatchesRawSource(source.Channel(changed, &handler.EnqueueRequestForObject{})).
		Complete(r)
	if err != nil {
		return fmt.Errorf("add the controller of the webhooks' registration: %w", err)
	}
	return m.Add(manager.RunnableFunc(func(ctx context.Context) error { return r.follow(ctx, changed) }))
}

// follow tells the controller of the authority as it is at first and of each change.
func (r *Registration) follow(ctx context.Context, changed chan<- event.GenericEvent) error {
	own := event.GenericEvent{Object: &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: Name}}}
	for {
		next := r.Source.Changes()
		select {
		case changed <- own:
		case <-ctx.Done():
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return nil
		}
	}
}

// Reconcile implements reconcile.Reconciler.
func (r *Registration) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	authority := r.Source.Get()
	if request.Name != Name || authority == nil {
		return ctrl.Result{}, nil
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(r.configuration(authority.Bundle()))
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("ValidatingWebhookConfiguration %s: %w", Name, err)
	}
	object := &unstructured.Unstructured{Object: content}
	err = r.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner(fieldManager), client.ForceOwnership)
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("apply ValidatingWebhookConfiguration %s: %w", Name, err)
	}
	r.Log.Debug("Registered the webhooks", "url", r.URL, "roots", len(authority.Trusted))
	return ctrl.Result{}, nil
}

// configuration is the registration as it is to be. The mesh must not keep anybody from
// working while no manager answers, so failures are ignored.
func (r *Registration) configuration(bundle []byte) *admissionv1.ValidatingWebhookConfiguration {
	target := admissionv1.WebhookClientConfig{CABundle: bundle}
	if r.URL != "" {
		target.URL = &r.URL
	} else {
		target.Service = &admissionv1.ServiceReference{Namespace: r.Namespace, Name: ServiceName, Path: new(validationPath)}
	}
	return &admissionv1.ValidatingWebhookConfiguration{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "ValidatingWebhookConfiguration"},
		ObjectMeta: metav1.ObjectMeta{
			Name:   Name,
			Labels: map[string]string{"app.kubernetes.io/name": "fairlead", "app.kubernetes.io/managed-by": fieldManager},
		},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name:                    webhookName,
			ClientConfig:            target,
			FailurePolicy:           new(admissionv1.Ignore),
			SideEffects:             new(admissionv1.SideEffectClassNone),
			MatchPolicy:             new(admissionv1.Equivalent),
			TimeoutSeconds:          new(int32(timeoutSeconds)),
			AdmissionReviewVersions: []string{"v1"},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
				Rule: admissionv1.Rule{
					APIGroups:   []string{v1alpha1.GroupName},
					APIVersions: []string{v1alpha1.Version},
					Resources:   []string{"destinationrules", "meshcertificates", "routerules", "serviceentries", "virtualservices"},
				},
			}},
		}},
	}
}
