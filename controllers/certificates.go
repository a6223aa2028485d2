package controllers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/rotation"
	"fairlead.dev/fairlead/internal/settings"
)

// How long a namespace, or a status, that is to be looked at waits for more that changes with it.
const (
	namespaceDelay = 50 * time.Millisecond
	statusDelay    = 300 * time.Millisecond
)

// CertificateOptions are what the rotation of certificates works with, beside what all
// controllers do.
type CertificateOptions struct {
	Options
	Source    *pki.Source
	Authority *Authority
	// Issuers are who may sign, and where roots come from.
	Issuers *Issuers
	// Proxies are the agents on the stream.
	Proxies rotation.Proxies
	// Reconnect is how long they have to come back to a new leader before anything is renewed
	// that can wait.
	Reconnect time.Duration
}

// SetupCertificates adds the rotation of certificates to a manager: it works on the leader.
func SetupCertificates(m ctrl.Manager, o CertificateOptions) (*rotation.Engine, error) {
	reader, recorder := m.GetClient(), m.GetEventRecorder(FieldManager)
	subjectQueue, statusQueue := &kick{delay: namespaceDelay}, &kick{delay: statusDelay}
	changed := func(object rotation.Object) { statusQueue.add(object.Namespace, object.Name) }
	statuses := &MeshCertificateReconciler{Client: reader, Settings: o.Settings, Clock: o.Clock, Namespace: o.Namespace}
	engine := rotation.New(rotation.Options{
		Clock: o.Clock, Log: o.Log, Source: o.Source, Issue: o.Issuers.Issue, Sources: o.Issuers, Proxies: o.Proxies,
		Store: &certificateStore{client: reader, live: m.GetAPIReader(), authority: o.Authority, namespace: o.Namespace, root: statuses.writeRoot},
		Pods:  func() map[string]bool { return runningPods(o.Store) }, Settle: o.Reconnect,
		Notify: func(e rotation.Event) { tellEvent(reader, recorder, e) }, Changed: changed,
	})
	o.Issuers.onChange(engine.Reconsider)
	if o.Metrics != nil {
		o.Metrics.MustRegister(engine)
	}
	told := &claims{told: map[string]map[string]told{}, changed: changed}
	statuses.Engine, statuses.Claims = engine, told
	subjects := &SubjectReconciler{
		Reader: reader, Settings: o.Settings, Engine: engine, Issuers: o.Issuers, Claims: told, Namespace: o.Namespace, Clock: o.Clock,
	}
	bySubject, bySecret, byObject := &oneByOne{next: subjects}, &oneByOne{next: &SecretReconciler{Reader: reader, Engine: engine}}, &oneByOne{next: statuses}
	byNamespace := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, object client.Object) []ctrl.Request {
		subjectQueue.add("", object.GetNamespace())
		return nil
	})
	if err := errors.Join(
		ctrl.NewControllerManagedBy(m).Named("certificate-subjects").
			For(&corev1.Namespace{}).
			Watches(&corev1.ServiceAccount{}, byNamespace).
			Watches(&v1alpha1.MeshCertificate{}, byNamespace).
			WatchesRawSource(source.Func(subjectQueue.start)).
			Complete(bySubject),
		ctrl.NewControllerManagedBy(m).Named("certificate-secrets").For(&corev1.Secret{}).Complete(bySecret),
		ctrl.NewControllerManagedBy(m).For(&v1alpha1.MeshCertificate{}).WatchesRawSource(source.Func(statusQueue.start)).Complete(byObject),
	); err != nil {
		return nil, fmt.Errorf("add the controllers of certificates: %w", err)
	}
	begun := o.Clock.Now()
	components := []manager.RunnableFunc{
		func(ctx context.Context) error { return o.Issuers.sweep(ctx, begun) },
		(&certificateStart{
			reader: reader, engine: engine, settings: o.Settings, terms: subjects.termsOf, root: statuses.rootName(), statuses: byObject,
			kick: subjectQueue.add, kickRoot: changed,
			kinds: []kind{
				{object: &corev1.Secret{}, list: &corev1.SecretList{}, reconciler: bySecret},
				{object: &corev1.ServiceAccount{}, list: &corev1.ServiceAccountList{}, reconciler: nothing},
				{object: &v1alpha1.MeshCertificate{}, list: &v1alpha1.MeshCertificateList{}, reconciler: nothing},
				{object: &corev1.Namespace{}, list: &corev1.NamespaceList{}, reconciler: bySubject},
			},
		}).start,
	}
	if folder := o.Issuers.Folder; folder != nil {
		components = append(components, func(ctx context.Context) error { return folder.follow(ctx, engine.Reconsider) })
	}
	for _, c := range components { // a function runs on the leader
		if err := m.Add(c); err != nil {
			return nil, fmt.Errorf("add the rotation of certificates: %w", err)
		}
	}
	return engine, nil
}

// certificateStart lets the engine work once it knows all that there is: what it does not know
// it takes for missing.
type certificateStart struct {
	reader   client.Reader
	engine   *rotation.Engine
	settings *settings.Holder
	// kinds are what is read first, and statuses tells the engine of mesh-root, which is root.
	kinds    []kind
	statuses reconcile.Reconciler
	root     client.ObjectKey
	// terms are those of no object; kick has a namespace looked at again, kickRoot mesh-root.
	terms    func(*v1alpha1.MeshCertificate) (*rotation.Terms, []message.Finding)
	kick     func(namespace, name string)
	kickRoot func(rotation.Object)
}

func (s *certificateStart) start(ctx context.Context) error {
	changes := s.settings.Changes()
	s.setDefaults()
	if err := newPrimer(s.reader, s.kinds, s.engine.Log).Start(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	var kept corev1.ConfigMap
	if err := s.reader.Get(ctx, client.ObjectKey{Namespace: s.root.Namespace, Name: trafficConfigMap}, &kept); err == nil {
		s.engine.SetTraffic(kept.Data)
	}
	if _, err := s.statuses.Reconcile(ctx, ctrl.Request{NamespacedName: s.root}); err != nil && ctx.Err() == nil {
		return err
	}
	var following sync.WaitGroup
	defer following.Wait()
	following.Go(func() { s.follow(ctx, changes) })
	return s.engine.Start(ctx)
}

var nothing = reconcile.Func(func(context.Context, ctrl.Request) (ctrl.Result, error) { return ctrl.Result{}, nil })

// follow has everything looked at again when the settings change.
func (s *certificateStart) follow(ctx context.Context, changes <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-changes:
		}
		changes = s.settings.Changes()
		s.setDefaults()
		s.kickRoot(rotation.Object{Namespace: s.root.Namespace, Name: s.root.Name})
		var namespaces corev1.NamespaceList
		if err := s.reader.List(ctx, &namespaces); err != nil {
			s.engine.Log.Error("Could not list the namespaces after a change of the settings", "err", err)
			continue
		}
		for i := range namespaces.Items {
			s.kick("", namespaces.Items[i].Name)
		}
	}
}

func (s *certificateStart) setDefaults() {
	terms, _ := s.terms(nil)
	s.engine.SetDefaults(terms)
}

// kick adds to a controller's queue, once that has started.
type kick struct {
	delay time.Duration
	mu    sync.Mutex
	queue workqueue.TypedRateLimitingInterface[ctrl.Request]
}

func (k *kick) start(_ context.Context, queue workqueue.TypedRateLimitingInterface[ctrl.Request]) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.queue = queue
	return nil
}

func (k *kick) add(namespace, name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.queue != nil {
		k.queue.AddAfter(ctrl.Request{NamespacedName: client.ObjectKey{Namespace: namespace, Name: name}}, k.delay)
	}
}

// runningPods are the nodes of all Pods that run, and whether each is ready and has a proxy with
// certificates.
func runningPods(store *mesh.Store) map[string]bool {
	pods := map[string]bool{}
	for _, w := range store.Workloads() {
		pods[w.Key().String()] = w.Ready && w.HasCertificates
	}
	return pods
}

// tellEvent makes an event of what happened to an object's certificates.
func tellEvent(reader client.Reader, recorder events.EventRecorder, e rotation.Event) {
	var object client.Object = &v1alpha1.MeshCertificate{}
	if e.Object.Kind == "ServiceAccount" {
		object = &corev1.ServiceAccount{}
	}
	// From the cache: an event names the object by its UID.
	if reader.Get(context.Background(), client.ObjectKey{Namespace: e.Object.Namespace, Name: e.Object.Name}, object) != nil {
		return
	}
	severity := corev1.EventTypeNormal
	if e.Warning {
		severity = corev1.EventTypeWarning
	}
	recorder.Eventf(object, nil, severity, e.Reason, "Rotate", "%s", truncated(e.Message))
}
