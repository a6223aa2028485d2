package controllers

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/internal/hold"
	"fairlead.dev/fairlead/internal/mesh"
)

const (
	// provenDelay is how long it takes until a spec that proxies took is written down: of those
	// that follow each other more quickly, the last is enough.
	provenDelay = time.Second
	// revisionRate and revisionBurst bound such writes over all objects.
	revisionRate  = rate.Limit(20)
	revisionBurst = 60
)

// RevisionWriter writes down what a restart is to find of specs. The leader does; what was refused
// is written by the replica whose proxy did it, as that is how the others learn of it. Whoever
// writes a refusal gives it the same name.
type RevisionWriter struct {
	Holder *hold.Holder
	Client client.Client
	// Elected is closed once this replica leads.
	Elected <-chan struct{}
	Clock   clock.WithTicker
	Log     *slog.Logger
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (w *RevisionWriter) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (w *RevisionWriter) Start(ctx context.Context) error {
	queue := newWriteQueue(w.Clock)
	budget := rate.NewLimiter(revisionRate, revisionBurst)
	var writer sync.WaitGroup
	writer.Go(func() {
		for w.writeNext(ctx, queue, budget) {
		}
	})
	defer writer.Wait()
	defer queue.ShutDown()
	elected := w.Elected
	for {
		for _, id := range w.Holder.TakeChanged() {
			if work, _ := w.Holder.Work(id); slices.ContainsFunc(work.Missing, isRefused) {
				queue.Add(id)
			} else {
				queue.AddAfter(id, provenDelay)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-elected:
			elected = nil
			for _, id := range w.Holder.Open() {
				queue.Add(id)
			}
		case <-w.Holder.Changes():
		}
	}
}

func isRefused(record hold.Record) bool { return record.State == hold.Refused }

// writeNext writes what is open of the next object of the queue; it returns false once the queue
// is shut.
func (w *RevisionWriter) writeNext(ctx context.Context, queue workqueue.TypedRateLimitingInterface[mesh.ObjectID], budget *rate.Limiter) bool {
	id, shut := queue.Get()
	if shut {
		return false
	}
	defer queue.Done(id)
	work, open := w.Holder.Work(id)
	if open && !w.leads() {
		work.Missing = slices.DeleteFunc(work.Missing, func(r hold.Record) bool { return !isRefused(r) })
		work.Superfluous = nil
	}
	if len(work.Missing)+len(work.Superfluous) == 0 {
		queue.Forget(id)
		return true
	}
	if !slices.ContainsFunc(work.Missing, isRefused) && !budget.AllowN(w.Clock.Now(), 1) {
		queue.AddAfter(id, provenDelay)
		return true
	}
	if err := w.write(ctx, work); err != nil && ctx.Err() == nil {
		w.Log.Warn("Could not write down which spec of an object to keep", "object", id.String(), "attempts", queue.NumRequeues(id)+1, "err", err)
		queue.AddRateLimited(id)
		return true
	}
	queue.Forget(id)
	return true
}

func (w *RevisionWriter) leads() bool {
	select {
	case <-w.Elected:
		return true
	default:
		return false
	}
}

// write creates what is missing, and only then deletes what it makes superfluous.
func (w *RevisionWriter) write(ctx context.Context, work hold.Work) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	for _, record := range work.Missing {
		revision, err := revisionOf(work, record)
		if err != nil {
			return err
		}
		err = w.Client.Create(ctx, revision)
		switch {
		case apierrors.IsNotFound(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
			return nil // The object goes, too.
		case err != nil && !apierrors.IsAlreadyExists(err):
			return err
		}
	}
	for _, record := range work.Superfluous {
		revision := &appsv1.ControllerRevision{}
		revision.Namespace, revision.Name = work.Object.Namespace, revisionName(work.Object, work.UID, record)
		if err := w.Client.Delete(ctx, revision); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}
