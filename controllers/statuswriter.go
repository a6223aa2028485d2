package controllers

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/status"
)

// FieldManager is the name under which status is applied.
const FieldManager = "fairlead-manager"

// How status is paced. Conditions never wait for counts.
const (
	// soonDelay is how long a status that only says that an answer is awaited is held.
	soonDelay = 100 * time.Millisecond
	// countInterval is the time between two writes of one object that change only counts.
	countInterval = 3 * time.Second
	// countRate and countBurst bound such writes over all objects: one proxy that joins
	// changes the counts of every object that concerns it.
	countRate  = rate.Limit(20)
	countBurst = 60
	// statusWriters is how many objects are written at a time.
	statusWriters = 4
	// writeTimeout bounds one write, so that an API server that hangs costs one attempt.
	writeTimeout = 10 * time.Second
	// A write that failed is tried again after 5 ms, then after twice the time, up to 30 s.
	firstRetry = 5 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// StatusWriter writes the table's statuses to the API server: one server-side apply for
// each object, on the leader only. What an earlier leader did not come to write is still
// open in this replica's own table.
type StatusWriter struct {
	Table  *status.Table
	Client client.Client
	Clock  clock.WithTicker
	Log    *slog.Logger
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (w *StatusWriter) NeedLeaderElection() bool { return true }

// Start implements manager.Runnable.
func (w *StatusWriter) Start(ctx context.Context) error {
	queue := newWriteQueue(w.Clock)
	budget := rate.NewLimiter(countRate, countBurst)
	var writers sync.WaitGroup
	for range statusWriters {
		writers.Go(func() {
			for w.writeNext(ctx, queue, budget) {
			}
		})
	}
	defer writers.Wait()
	defer queue.ShutDown()
	for {
		for id, urgency := range w.Table.TakeChanged() {
			switch urgency {
			case status.Now:
				queue.Add(id)
			case status.Soon:
				queue.AddAfter(id, soonDelay)
			case status.Later:
				queue.AddAfter(id, countInterval)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-w.Table.Changes():
		}
	}
}

// newWriteQueue holds the objects that something is to be written of, and tries again what failed.
func newWriteQueue(by clock.WithTicker) workqueue.TypedRateLimitingInterface[mesh.ObjectID] {
	return workqueue.NewTypedRateLimitingQueueWithConfig(
		workqueue.NewTypedItemExponentialFailureRateLimiter[mesh.ObjectID](firstRetry, lastRetry),
		workqueue.TypedRateLimitingQueueConfig[mesh.ObjectID]{Clock: by},
	)
}

// writeNext writes the next object of the queue; it returns false once the queue is shut.
func (w *StatusWriter) writeNext(ctx context.Context, queue workqueue.TypedRateLimitingInterface[mesh.ObjectID], budget *rate.Limiter) bool {
	id, shut := queue.Get()
	if shut {
		return false
	}
	defer queue.Done(id)
	unwritten, open := w.Table.Unwritten(id)
	if !open {
		queue.Forget(id)
		return true
	}
	if unwritten.Urgency == status.Later {
		now := w.Clock.Now()
		if early := unwritten.LastWrite.Add(countInterval).Sub(now); early > 0 {
			queue.AddAfter(id, early)
			return true
		}
		if !budget.AllowN(now, 1) {
			queue.AddAfter(id, countInterval)
			return true
		}
	}
	switch err := w.write(ctx, unwritten); {
	case err == nil, apierrors.IsNotFound(err), ctx.Err() != nil:
		// What is gone is forgotten by its reconciler.
		queue.Forget(id)
	case apierrors.IsConflict(err):
		// The object changed since it was last seen here; the event is on its way.
		w.Log.Debug("Object changed before its status was written", "object", id)
		queue.AddRateLimited(id)
	default:
		w.Log.Warn("Could not write a status", "object", id, "attempts", queue.NumRequeues(id)+1, "err", err)
		queue.AddRateLimited(id)
	}
	return true
}

// write applies one status. UID and resource version are preconditions: a status never
// reaches another object of the same name, and never overwrites what another leader wrote
// in the meantime.
func (w *StatusWriter) write(ctx context.Context, unwritten status.Unwritten) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&unwritten.Status)
	if err != nil {
		return fmt.Errorf("status of %s: %w", unwritten.Object, err)
	}
	object := &unstructured.Unstructured{Object: map[string]any{"status": fields}}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(unwritten.Object.Kind))
	object.SetNamespace(unwritten.Object.Namespace)
	object.SetName(unwritten.Object.Name)
	object.SetUID(unwritten.UID)
	object.SetResourceVersion(unwritten.ResourceVersion)
	err = w.Client.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(object),
		client.FieldOwner(FieldManager), client.ForceOwnership)
	if err != nil {
		return err
	}
	w.Table.Written(unwritten, object.GetResourceVersion())
	return nil
}
