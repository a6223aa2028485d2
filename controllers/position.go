package controllers

import (
	"context"
	"strconv"
	"sync/atomic"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
)

// Position is how far the cache has followed the API server: the largest resource version that
// it has seen. They are ordered (KEP-5504), and those of one API server are of one sequence.
type Position struct {
	informers atomic.Pointer[[]cache.Informer]
}

// watch follows the informers of some kinds.
func (p *Position) watch(ctx context.Context, informers cache.Informers, kinds []kind) error {
	var all []cache.Informer
	for _, k := range kinds {
		informer, err := informers.GetInformer(ctx, k.object, cache.BlockUntilSynced(false))
		if err != nil {
			return err
		}
		all = append(all, informer)
	}
	p.informers.Store(&all)
	return nil
}

// Get returns the position; zero before anything was read.
func (p *Position) Get() uint64 {
	informers := p.informers.Load()
	if informers == nil {
		return 0
	}
	var furthest uint64
	for _, informer := range *informers {
		if follows, ok := informer.(toolscache.SharedInformer); ok {
			if version, err := strconv.ParseUint(follows.LastSyncResourceVersion(), 10, 64); err == nil {
				furthest = max(furthest, version)
			}
		}
	}
	return furthest
}
