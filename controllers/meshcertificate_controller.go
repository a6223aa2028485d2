package controllers

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/agents"
	"fairlead.dev/fairlead/internal/pki/rollover"
	"fairlead.dev/fairlead/internal/rotation"
	"fairlead.dev/fairlead/internal/settings"
)

const meshCertificateKind = "MeshCertificate"

const (
	// statusInterval is the time between two writes of one object's status that change no
	// condition.
	statusInterval = 3 * time.Second
	// silence is how long a proxy may say nothing: the agents report three times meanwhile.
	silence = 3*agents.DefaultReportInterval + 10*time.Second
	// rootSettle is longer than a replica's watch of the authority may lag.
	rootSettle = 10 * time.Second
)

// MeshCertificateReconciler writes the status of MeshCertificates, and tells the engine what
// mesh-root says of the authority. It makes mesh-root where there is none.
type MeshCertificateReconciler struct {
	Client   client.Client
	Engine   *rotation.Engine
	Settings *settings.Holder
	Claims   *claims
	Clock    clock.PassiveClock
	// Namespace is the manager's.
	Namespace string

	// root is held over each write of mesh-root's status, and wrote is the state of the root's
	// change that it has: the engine goes by it only afterwards.
	root  sync.Mutex
	wrote *rollover.State

	mu sync.Mutex
	// written is when each object's status was last written.
	written map[types.NamespacedName]time.Time
}

// Reconcile implements reconcile.Reconciler.
func (r *MeshCertificateReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	isRoot := request.NamespacedName == r.rootName()
	if isRoot {
		r.root.Lock()
		defer r.root.Unlock()
	}
	object, err := r.read(ctx, request.NamespacedName)
	if err != nil || object == nil {
		if isRoot && err == nil {
			err = r.createRoot(ctx)
		}
		return ctrl.Result{}, err
	}
	if isRoot {
		r.Engine.SetRoot(r.rootTerms(object), rootState(object.Status.Phase))
	} else if _, known := r.Claims.get(object.Namespace, object.Name); !known && !object.Spec.IsCA {
		return ctrl.Result{}, nil // its namespace is being looked at
	}
	status := r.status(object)
	if isRoot && r.wrote != nil && status.Phase != nil && (status.Phase.Name != string(r.wrote.Phase) || status.Phase.Next != int64(r.wrote.Next)) {
		status.Phase = phase(*r.wrote, rollover.Waiting{}) // never a step back
	}
	if equality.Semantic.DeepEqual(status, &object.Status) {
		return ctrl.Result{}, nil
	}
	if early := r.early(request.NamespacedName, status, &object.Status); early > 0 {
		return ctrl.Result{RequeueAfter: early}, nil
	}
	return ctrl.Result{}, r.write(ctx, object, status)
}

func (r *MeshCertificateReconciler) rootName() types.NamespacedName {
	return types.NamespacedName{Namespace: r.Namespace, Name: v1alpha1.RootCertificateName}
}

// read returns an object, nil if there is none.
func (r *MeshCertificateReconciler) read(ctx context.Context, key types.NamespacedName) (*v1alpha1.MeshCertificate, error) {
	object := &v1alpha1.MeshCertificate{}
	if err := r.Client.Get(ctx, key, object); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	return object, nil
}

func (r *MeshCertificateReconciler) createRoot(ctx context.Context) error {
	root := &v1alpha1.MeshCertificate{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: v1alpha1.RootCertificateName},
		Spec:       v1alpha1.MeshCertificateSpec{IsCA: true},
	}
	if err := r.Client.Create(ctx, root, client.FieldOwner(FieldManager)); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create MeshCertificate %s: %w", r.rootName(), err)
	}
	return nil
}

// early is how long a write that changes only counts has to wait yet.
func (r *MeshCertificateReconciler) early(key types.NamespacedName, status, told *v1alpha1.MeshCertificateStatus) time.Duration {
	same := slices.EqualFunc(status.Conditions, told.Conditions, func(a, b metav1.Condition) bool {
		return a.Type == b.Type && a.Status == b.Status && a.Reason == b.Reason
	})
	if !same || told.ObservedGeneration != status.ObservedGeneration {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.written[key].Add(statusInterval).Sub(r.Clock.Now())
}

// write applies a status. The UID is a precondition: it never reaches another object of the
// same name.
func (r *MeshCertificateReconciler) write(ctx context.Context, object *v1alpha1.MeshCertificate, status *v1alpha1.MeshCertificateStatus) error {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(status)
	if err != nil {
		return fmt.Errorf("status of MeshCertificate %s/%s: %w", object.Namespace, object.Name, err)
	}
	applied := &unstructured.Unstructured{Object: map[string]any{"status": fields}}
	applied.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(meshCertificateKind))
	applied.SetNamespace(object.Namespace)
	applied.SetName(object.Name)
	applied.SetUID(object.UID)
	err = r.Client.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(applied), client.FieldOwner(FieldManager), client.ForceOwnership)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.written == nil {
		r.written = map[types.NamespacedName]time.Time{}
	}
	r.written[client.ObjectKeyFromObject(object)] = r.Clock.Now()
	return client.IgnoreNotFound(err)
}

// writeRoot writes the state of the root's change, with all the rest of mesh-root's status.
func (r *MeshCertificateReconciler) writeRoot(ctx context.Context, state rollover.State) error {
	r.root.Lock()
	defer r.root.Unlock()
	object, err := r.read(ctx, r.rootName())
	if err != nil {
		return err
	}
	if object == nil {
		return fmt.Errorf("MeshCertificate %s, which the phase is remembered in, is gone: it is made anew", r.rootName())
	}
	status := r.status(object)
	status.Phase = phase(state, rollover.Waiting{})
	err = r.write(ctx, object, status)
	if err == nil {
		r.wrote = &state
	}
	return err
}

// rootTerms are what mesh-root and the settings say of the authority. A connection may end a
// little later than its age, by the time it drains.
func (r *MeshCertificateReconciler) rootTerms(object *v1alpha1.MeshCertificate) rotation.RootTerms {
	s := r.Settings.Get()
	terms, faults := s.Terms(&object.Spec)
	if len(faults) > 0 {
		terms, _ = s.Terms(&v1alpha1.MeshCertificateSpec{IsCA: true})
	}
	return rotation.RootTerms{
		TrustDomain: s.TrustDomain, Lifetime: terms.Lifetime, Object: objectOf(object),
		Rotate: object.Annotations[v1alpha1.RenewAnnotation], Abandon: object.Annotations[v1alpha1.AbandonAnnotation],
		Policy: rollover.Policy{
			Before: terms.Policy.Before, Settle: rootSettle, Silence: silence, Paused: terms.Policy.Paused,
			ConnectionAge: s.MaxConnectionAge + s.MaxConnectionAge/10 + 10*time.Second,
			RawDeadline:   s.Certificates.RawConnectionDeadline,
		},
	}
}

// rootState reads what phase wrote.
func rootState(p *v1alpha1.RootPhase) rollover.State {
	if p == nil {
		return rollover.State{}
	}
	state := rollover.State{
		Phase: rollover.Phase(p.Name), Since: p.Since.Time, Generation: int(p.Generation), Next: int(p.Next),
		Last: int(p.Last), Signed: int(p.Signed), Rotate: p.Renew, Abandon: p.Abandon,
	}
	if p.Hold != nil {
		state.Hold = rollover.Hold{For: rollover.Source{Name: p.Hold.Source, Root: p.Hold.Root}, Until: p.Hold.Until.Time}
	}
	return state
}

// phase is the state of the root's change as status shows it.
func phase(state rollover.State, waiting rollover.Waiting) *v1alpha1.RootPhase {
	if state.Phase == "" {
		return nil
	}
	p := &v1alpha1.RootPhase{
		Name: string(state.Phase), Since: metav1.NewTime(state.Since), Generation: int64(state.Generation), Next: int64(state.Next),
		Last: int64(state.Last), Signed: int64(state.Signed), Renew: state.Rotate, Abandon: state.Abandon,
	}
	if state.Hold != (rollover.Hold{}) {
		p.Hold = &v1alpha1.RootHold{Source: state.Hold.For.Name, Root: state.Hold.For.Root, Until: metav1.NewTime(state.Hold.Until)}
	}
	if waiting.Message != "" {
		p.WaitingFor = append(p.WaitingFor, waiting.Message)
	}
	for _, missing := range waiting.For {
		if len(p.WaitingFor) == 20 { // the schema's limit
			break
		}
		p.WaitingFor = append(p.WaitingFor, missing.Name+" "+missing.Reason)
	}
	return p
}

func objectOf(object *v1alpha1.MeshCertificate) rotation.Object {
	return rotation.Object{Kind: meshCertificateKind, Namespace: object.Namespace, Name: object.Name}
}
