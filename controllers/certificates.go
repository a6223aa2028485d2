package controllers

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/rotation"
	"fairlead.dev/fairlead/internal/settings"
)

// How long a namespace, or a status, that is to be looked at waits for more that changes with it.
const (
	namespaceDelay = 50 * time.Millisecond
	statusDelay    = 300 * time.Millisecond
)

// CertificateOptions are what the rotation of certificates works with.
type CertificateOptions struct {
	// Namespace is the manager's own.
	Namespace string
	Settings  *settings.Holder
	Source    *pki.Source
	Authority *Authority
	// Issuers are who may sign, and where roots come from.
	Issuers *Issuers
	// Proxies are the agents on the stream.
	Proxies rotation.Proxies
	// Reconnect is how long they have to come back to a new leader before anything is renewed
	// that can wait.
	Reconnect time.Duration
	// Store is asked which Pods have a proxy.
	Store *mesh.Store
	Clock clock.WithTicker
	Log   *slog.Logger
	// Metrics is where they are registered; nil: nowhere.
	Metrics prometheus.Registerer
}

// SetupCertificates adds the rotation of certificates to a manager: it works on the leader.
func SetupCertificates(m ctrl.Manager, o CertificateOptions) (*rotation.Engine, error) {
	reader := m.GetClient()
	subjectQueue, statusQueue := &kick{delay: namespaceDelay}, &kick{delay: statusDelay}
	changed := func(object rotation.Object) { statusQueue.add(object.Namespace, object.Name) }
	store := &certificateStore{client: m.GetClient(), live: m.GetAPIReader(), authority: o.Authority, namespace: o.Namespace}
	recorder := m.GetEventRecorder(FieldManager)
	engine := rotation.New(rotation.Options{
		Clock: o.Clock, Log: o.Log, Store: store, Source: o.Source, Issuer: o.Issuers.Issuer, Sources: o.Issuers, Proxies: o.Proxies,
		Pods: func() map[string]bool { return runningPods(o.Store) }, Settle: o.Reconnect,
		Notify: func(e rotation.Event) { tellEvent(reader, recorder, e) }, Changed: changed,
	})
	o.Issuers.onChange(engine.Reconsider)
	if o.Metrics != nil {
		o.Metrics.MustRegister(engine)
	}
	told := &claims{told: map[string]map[string]told{}, changed: changed}
	subjects := &SubjectReconciler{Reader: reader, Settings: o.Settings, Engine: engine, Issuers: o.Issuers, Claims: told, Namespace: o.Namespace, Clock: o.Clock}
	secrets := &SecretReconciler{Reader: reader, Engine: engine}
	statuses := &MeshCertificateReconciler{Client: m.GetClient(), Engine: engine, Settings: o.Settings, Claims: told, Clock: o.Clock, Namespace: o.Namespace}
	store.root = statuses.writeRoot

	start := &certificateStart{
		reader: reader, engine: engine, settings: o.Settings, kick: subjectQueue.add, root: statuses.rootName(), kickRoot: changed, subjectTerms: subjects,
		subjects: &oneByOne{next: subjects}, secrets: &oneByOne{next: secrets}, statuses: &oneByOne{next: statuses},
	}
	byNamespace := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, object client.Object) []ctrl.Request {
		subjectQueue.add("", object.GetNamespace())
		return nil
	})
	err := ctrl.NewControllerManagedBy(m).Named("certificate-subjects").
		For(&corev1.Namespace{}).
		Watches(&corev1.ServiceAccount{}, byNamespace).
		Watches(&v1alpha1.MeshCertificate{}, byNamespace).
		WatchesRawSource(source.Func(subjectQueue.start)).
		Complete(start.subjects)
	if err != nil {
		return nil, fmt.Errorf("add the controller of certificates: %w", err)
	}
	if err := ctrl.NewControllerManagedBy(m).Named("certificate-secrets").For(&corev1.Secret{}).Complete(start.secrets); err != nil {
		return nil, fmt.Errorf("add the controller of certificates' Secrets: %w", err)
	}
	err = ctrl.NewControllerManagedBy(m).For(&v1alpha1.MeshCertificate{}).WatchesRawSource(source.Func(statusQueue.start)).Complete(start.statuses)
	if err != nil {
		return nil, fmt.Errorf("add the controller of MeshCertificates: %w", err)
	}
	if folder := o.Issuers.Folder; folder != nil {
		if err := m.Add(onLeader(func(ctx context.Context) error { return folder.follow(ctx, engine.Reconsider) })); err != nil {
			return nil, fmt.Errorf("add the authority that was brought: %w", err)
		}
	}
	if o.Issuers.Client != nil {
		started := o.Clock.Now()
		if err := m.Add(onLeader(func(ctx context.Context) error { return o.Issuers.sweep(ctx, started, o.Clock) })); err != nil {
			return nil, fmt.Errorf("add the removal of old requests: %w", err)
		}
	}
	return engine, m.Add(start)
}

// certificateStart lets the engine work once it knows all that there is: what it does not know
// it takes for missing.
type certificateStart struct {
	reader                      client.Reader
	engine                      *rotation.Engine
	settings                    *settings.Holder
	subjects, secrets, statuses reconcile.Reconciler
	subjectTerms                *SubjectReconciler
	root                        client.ObjectKey
	kick                        func(namespace, name string)
	kickRoot                    func(rotation.Object)
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (s *certificateStart) NeedLeaderElection() bool { return true }

// Start implements manager.Runnable.
func (s *certificateStart) Start(ctx context.Context) error {
	changes := s.settings.Changes()
	s.setDefaults()
	primer := newPrimer(s.reader, []kind{
		{object: &corev1.Secret{}, list: &corev1.SecretList{}, reconciler: s.secrets},
		{object: &corev1.ServiceAccount{}, list: &corev1.ServiceAccountList{}, reconciler: nothing},
		{object: &v1alpha1.MeshCertificate{}, list: &v1alpha1.MeshCertificateList{}, reconciler: nothing},
		{object: &corev1.Namespace{}, list: &corev1.NamespaceList{}, reconciler: s.subjects},
	}, s.engine.Log)
	if err := primer.Start(ctx); err != nil || ctx.Err() != nil {
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
	terms, _ := s.subjectTerms.termsOf(nil)
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
