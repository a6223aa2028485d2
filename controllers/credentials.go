package controllers

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/mesh"
)

// Credentials keeps what Secrets hold for TLS in the store: of those that are wanted, and of no
// others. Each is watched by its name; none is in the manager's cache.
type Credentials struct {
	Store *mesh.Store
	Log   *slog.Logger

	client client.WithWatch

	mu      sync.Mutex
	begin   func(*credential) // nil before Start and after its end
	names   []mesh.NamespacedName
	watched map[mesh.NamespacedName]*credential
}

// NewCredentials makes Credentials that read the manager's API server.
func NewCredentials(manager ctrl.Manager, store *mesh.Store, log *slog.Logger) (*Credentials, error) {
	uncached, err := client.NewWithWatch(manager.GetConfig(), client.Options{
		HTTPClient: manager.GetHTTPClient(), Scheme: manager.GetScheme(), Mapper: manager.GetRESTMapper(),
	})
	if err != nil {
		return nil, fmt.Errorf("make a client for Secrets: %w", err)
	}
	return &Credentials{Store: store, Log: log, client: uncached}, nil
}

// NeedLeaderElection says that followers serve Secrets too.
func (c *Credentials) NeedLeaderElection() bool { return false }

// Want says which Secrets are wanted from now on. It does not wait.
func (c *Credentials) Want(names []mesh.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names = names
	c.follow()
}

// Start watches until the context ends.
func (c *Credentials) Start(ctx context.Context) error {
	var running sync.WaitGroup
	c.mu.Lock()
	c.watched = map[mesh.NamespacedName]*credential{}
	c.begin = func(one *credential) {
		var own context.Context
		own, one.end = context.WithCancel(ctx)
		running.Go(func() { one.watch(own) })
	}
	c.follow()
	c.mu.Unlock()
	<-ctx.Done()
	c.mu.Lock()
	c.begin = nil
	c.mu.Unlock()
	running.Wait()
	return nil
}

// follow begins to watch what is wanted, and ends to watch the rest.
func (c *Credentials) follow() {
	if c.begin == nil {
		return
	}
	wanted := map[mesh.NamespacedName]struct{}{}
	for _, name := range c.names {
		wanted[name] = struct{}{}
		if c.watched[name] == nil {
			c.watched[name] = &credential{Credentials: c, name: name}
			c.begin(c.watched[name])
		}
	}
	for name, one := range c.watched {
		if _, still := wanted[name]; !still {
			one.end()
			delete(c.watched, name)
			c.Store.ForgetCredential(name)
		}
	}
}

// credential puts what is observed of one Secret into the store. It is a toolscache.ReflectorStore.
type credential struct {
	*Credentials
	name mesh.NamespacedName
	end  context.CancelFunc
	last *mesh.Credential
}

func (c *credential) watch(ctx context.Context) {
	narrow := func(options *metav1.ListOptions) []client.ListOption {
		options.FieldSelector = fields.OneTermEqualSelector("metadata.name", c.name.Name).String()
		return []client.ListOption{client.InNamespace(c.name.Namespace), &client.ListOptions{Raw: options}}
	}
	toolscache.NewReflectorWithOptions(&toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			list := &corev1.SecretList{}
			return list, c.client.List(ctx, list, narrow(&options)...)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return c.client.Watch(ctx, &corev1.SecretList{}, narrow(&options)...)
		},
	}, &corev1.Secret{}, c, toolscache.ReflectorOptions{Name: "credential"}).RunWithContext(ctx)
}

// Add implements toolscache.ReflectorStore.
func (c *credential) Add(object any) error { return c.observe(object) }

// Update implements toolscache.ReflectorStore.
func (c *credential) Update(object any) error { return c.observe(object) }

// Delete implements toolscache.ReflectorStore.
func (c *credential) Delete(any) error { return c.observe(nil) }

// Resync implements toolscache.ReflectorStore.
func (c *credential) Resync() error { return nil }

// Replace implements toolscache.ReflectorStore.
func (c *credential) Replace(objects []any, _ string) error {
	if len(objects) == 0 {
		return c.observe(nil)
	}
	return c.observe(objects[0])
}

func (c *credential) observe(object any) error {
	secret, _ := object.(*corev1.Secret)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watched[c.name] != c {
		return nil // not wanted any more
	}
	c.last = convert.Credential(c.name, secret, c.last)
	c.Store.SetCredential(c.last)
	if c.last.Problem == "" {
		c.Log.Info("Read a Secret for TLS", "secret", c.name.String())
	}
	return nil
}
