package controllers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"fairlead.dev/fairlead/internal/pki"
)

const (
	// AuthoritySecret is the name of the Secret in the manager's namespace that holds the
	// mesh's authority, as pki.Authority encodes it.
	AuthoritySecret = "fairlead-authority"
	// TrustConfigMap is the name of the ConfigMap beside it whose TrustKey is PEM of the roots
	// that are trusted. By these an agent knows the manager that has no certificate yet.
	TrustConfigMap = "fairlead-trust"
	TrustKey       = "root-cert.pem"

	// keepRetry is the pause after the authority could not be written.
	keepRetry = 5 * time.Second
)

// AuthorityOptions are what an Authority needs. All fields are required.
type AuthorityOptions struct {
	// Namespace is the manager's.
	Namespace string
	// Source is set to what the Secret holds.
	Source *pki.Source
	// First makes the mesh's first generation, where there is no Secret.
	First func(now time.Time) (*pki.Generation, error)
	Clock clock.WithTicker
	Log   *slog.Logger
}

// Authority is the Secret with the mesh's authority. Every replica reads it. The leader makes
// it where it is missing, from what the replica still knows if that is anything, and keeps
// the ConfigMap with the roots like it. What it holds changes by Replace only; a Secret that
// cannot be read is left to the person who made it so, and what was read before stays in use.
type Authority struct {
	options AuthorityOptions
	// secrets has the one Secret, with its keys; configMaps is the manager's cache.
	secrets, configMaps cache.Cache
	reader              client.Reader // past every cache
	writer              client.Writer
	// stirred says that one of the objects has changed.
	stirred chan struct{}

	mu sync.Mutex
	// taken is the resource version of the Secret that was read last.
	taken string
}

// NewAuthority adds the authority to a manager.
func NewAuthority(m ctrl.Manager, options AuthorityOptions) (*Authority, error) {
	secrets, err := cache.New(m.GetConfig(), cache.Options{
		HTTPClient: m.GetHTTPClient(), Scheme: m.GetScheme(), Mapper: m.GetRESTMapper(),
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{&corev1.Secret{}: {Namespaces: map[string]cache.Config{
			options.Namespace: {FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, AuthoritySecret)},
		}}},
	})
	if err != nil {
		return nil, fmt.Errorf("watch the mesh's authority: %w", err)
	}
	a := &Authority{
		options: options, secrets: secrets, configMaps: m.GetCache(), reader: m.GetAPIReader(), writer: m.GetClient(),
		stirred: make(chan struct{}, 1),
	}
	for _, r := range []manager.Runnable{onEveryReplica(secrets.Start), onEveryReplica(a.read), manager.RunnableFunc(a.keep)} {
		if err := m.Add(r); err != nil {
			return nil, fmt.Errorf("add the mesh's authority: %w", err)
		}
	}
	return a, nil
}

// onEveryReplica is a function that a manager runs whether it leads or not.
type onEveryReplica func(context.Context) error

func (f onEveryReplica) Start(ctx context.Context) error { return f(ctx) }
func (onEveryReplica) NeedLeaderElection() bool          { return false }

// read takes in the Secret whenever it changes, until the context ends.
func (a *Authority) read(ctx context.Context) error {
	stir := func(any) {
		select {
		case a.stirred <- struct{}{}:
		default:
		}
	}
	take := func(object any) {
		a.take(object.(*corev1.Secret))
		stir(object)
	}
	err := errors.Join(
		listen(ctx, a.secrets, &corev1.Secret{}, toolscache.ResourceEventHandlerFuncs{
			AddFunc: take, UpdateFunc: func(_, after any) { take(after) }, DeleteFunc: stir,
		}),
		listen(ctx, a.configMaps, &corev1.ConfigMap{}, toolscache.ResourceEventHandlerFuncs{
			UpdateFunc: func(_, after any) { stir(after) }, DeleteFunc: stir,
		}),
	)
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("watch the mesh's authority: %w", err)
	}
	<-ctx.Done()
	return nil
}

func listen(ctx context.Context, objects cache.Cache, kind client.Object, handler toolscache.ResourceEventHandler) error {
	informer, err := objects.GetInformer(ctx, kind)
	if err == nil {
		_, err = informer.AddEventHandler(handler)
	}
	return err
}

// take takes in a state of the Secret, unless it knows a later one: what Replace wrote comes
// again by the watch, after what was there before.
func (a *Authority) take(secret *corev1.Secret) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if order, err := resourceversion.CompareResourceVersion(secret.ResourceVersion, a.taken); err == nil && order < 0 {
		return
	}
	a.taken = secret.ResourceVersion
	authority, err := pki.DecodeAuthority(secret.Data)
	if err != nil {
		a.options.Log.Error("Could not read the mesh's authority: what was read before stays in use",
			"secret", client.ObjectKeyFromObject(secret), "error", err)
		return
	}
	a.options.Source.Set(authority)
}

// keep makes what is missing, until the context ends.
func (a *Authority) keep(ctx context.Context) error {
	if !a.secrets.WaitForCacheSync(ctx) {
		return nil
	}
	for failure := ""; ; {
		changed := a.options.Source.Changes()
		var again <-chan time.Time
		err := errors.Join(a.restore(ctx), a.tell(ctx))
		if err != nil && ctx.Err() == nil {
			if err.Error() != failure {
				a.options.Log.Error("Could not keep the mesh's authority: it is tried again and again", "every", keepRetry, "error", err)
			}
			again = a.options.Clock.After(keepRetry)
		}
		failure = fmt.Sprint(err)
		select {
		case <-changed:
		case <-a.stirred:
		case <-again:
		case <-ctx.Done():
			return nil
		}
	}
}

// restore makes the Secret if there is none. If another replica makes it at the same time, its
// authority is the mesh's.
func (a *Authority) restore(ctx context.Context) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: a.options.Namespace, Name: AuthoritySecret}}
	key := client.ObjectKeyFromObject(secret)
	if err := a.secrets.Get(ctx, key, secret); !apierrors.IsNotFound(err) {
		return err
	}
	authority, made := a.options.Source.Get(), "again, as it was"
	if authority == nil {
		made = "with a new root"
		first, err := a.options.First(a.options.Clock.Now())
		if err != nil {
			return fmt.Errorf("make the mesh's authority: %w", err)
		}
		if authority, err = pki.NewAuthority(first); err != nil {
			return fmt.Errorf("make the mesh's authority: %w", err)
		}
	}
	var err error
	if secret.Data, err = authority.Encode(); err != nil {
		return fmt.Errorf("write the mesh's authority: %w", err)
	}
	err = a.writer.Create(ctx, secret)
	switch {
	case err == nil:
		a.options.Log.Info("Made the mesh's authority "+made, "secret", key, "generation", authority.Active)
	case !apierrors.IsAlreadyExists(err):
		return fmt.Errorf("create Secret %s: %w", key, err)
	}
	return nil
}

// tell writes the trusted roots where those read them who do not trust anybody yet.
func (a *Authority) tell(ctx context.Context) error {
	authority := a.options.Source.Get()
	if authority == nil {
		return nil
	}
	roots := string(authority.Bundle())
	told := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: a.options.Namespace, Name: TrustConfigMap}}
	key := client.ObjectKeyFromObject(told)
	err := a.configMaps.Get(ctx, key, told)
	switch {
	case apierrors.IsNotFound(err):
		told.Data = map[string]string{TrustKey: roots}
		err = a.writer.Create(ctx, told)
	case err == nil && told.Data[TrustKey] != roots:
		told = told.DeepCopy()
		told.Data = map[string]string{TrustKey: roots}
		err = a.writer.Update(ctx, told)
	}
	if err != nil {
		return fmt.Errorf("write the trusted roots to ConfigMap %s: %w", key, err)
	}
	return nil
}

// Replace puts another authority in the place of the one that is known to be there: two who both
// believe to lead must not undo each other's work. It is in the Source once it is in the Secret;
// the other replicas have it a little later.
func (a *Authority) Replace(ctx context.Context, before, after *pki.Authority) error {
	key := client.ObjectKey{Namespace: a.options.Namespace, Name: AuthoritySecret}
	secret := &corev1.Secret{}
	err := a.reader.Get(ctx, key, secret)
	if err == nil {
		var there *pki.Authority
		if there, err = pki.DecodeAuthority(secret.Data); err == nil && !there.Equal(before) {
			err = errors.New("it is not as this manager knows it: it is read again")
		}
	}
	if err == nil {
		secret.Data, err = after.Encode()
	}
	if err == nil {
		err = a.writer.Update(ctx, secret)
	}
	if err != nil {
		return fmt.Errorf("change the authority in Secret %s: %w", key, err)
	}
	a.take(secret)
	return nil
}
