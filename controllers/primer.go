package controllers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Primer reconciles every object once, as soon as the caches are filled. Until it has
// signalled, the store holds a part of the mesh only, and a proxy that were served from
// it would lose routes and endpoints that it had.
type Primer struct {
	reader client.Reader
	kinds  []kind
	log    *slog.Logger
	primed chan struct{}
}

func newPrimer(reader client.Reader, kinds []kind, log *slog.Logger) *Primer {
	return &Primer{reader: reader, kinds: kinds, log: log, primed: make(chan struct{})}
}

// Primed returns a channel that is closed once every object is in the store.
func (p *Primer) Primed() <-chan struct{} { return p.primed }

// NeedLeaderElection implements manager.LeaderElectionRunnable: every replica serves.
func (p *Primer) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (p *Primer) Start(ctx context.Context) error {
	begin := time.Now()
	objects := 0
	for _, k := range p.kinds {
		// The cache answers once it is filled for the kind.
		list := k.list.DeepCopyObject().(client.ObjectList)
		if err := p.reader.List(ctx, list); err != nil {
			return p.failed(ctx, fmt.Errorf("list %T: %w", k.object, err))
		}
		err := meta.EachListItem(list, func(item runtime.Object) error {
			objects++
			key := client.ObjectKeyFromObject(item.(client.Object))
			_, err := k.reconciler.Reconcile(ctx, ctrl.Request{NamespacedName: key})
			return err
		})
		if err != nil {
			return p.failed(ctx, fmt.Errorf("read %T into the mesh: %w", k.object, err))
		}
	}
	p.log.Info("Read the mesh", "objects", objects, "took", time.Since(begin))
	close(p.primed)
	return nil
}

// failed returns the error, or none if it only came from being stopped.
func (p *Primer) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// oneByOne lets one call through at a time. A call reads from the cache and writes to the
// store; if two could overlap, the one that read the older state might write last, and no
// further event would put that right. Primer and controller share it.
type oneByOne struct {
	mu   sync.Mutex
	next reconcile.Reconciler
}

func (o *oneByOne) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.next.Reconcile(ctx, request)
}
