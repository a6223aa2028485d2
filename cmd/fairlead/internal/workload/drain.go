package workload

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// drainTimeout bounds the wait for the EndpointSlice controller, which takes some
	// milliseconds if it runs at all.
	drainTimeout  = 3 * time.Second
	drainInterval = 10 * time.Millisecond
)

// drain tells callers that the workload ends, by beginning to delete its Pod as kubectl
// does: EndpointSlices then show it as terminating, still serving. It returns once they
// do and callers' proxies had time to follow, or at once if the API server is away.
func (w *workload) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if err := w.client.Delete(ctx, w.pod.DeepCopy(), client.Preconditions{UID: &w.pod.UID}); err != nil {
		// A missing API server is told of at the end.
		if client.IgnoreNotFound(err) != nil && !upIsGone(err) {
			w.Say("could not tell callers of the end: %v", err)
		}
		return
	}
	called, err := awaitTerminating(ctx, w.client, w.pod)
	if err != nil {
		w.Say("callers may not have heard of the end: %v", err)
	}
	if called {
		// Callers' proxies hear of it in milliseconds, but nobody tells us that they have;
		// the command may end sooner meanwhile.
		pause := time.NewTimer(w.Drain)
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-w.commandDone():
		}
	}
}

// awaitTerminating returns once no EndpointSlice has the Pod as ready, and whether one
// had it so until now: nobody calls a workload otherwise.
func awaitTerminating(ctx context.Context, c client.Client, pod *corev1.Pod) (called bool, err error) {
	ticker := time.NewTicker(drainInterval)
	defer ticker.Stop()
	for {
		var slices discoveryv1.EndpointSliceList
		if err := c.List(ctx, &slices, client.InNamespace(pod.Namespace)); err != nil {
			return called, err
		}
		serving, ready := find(slices.Items, pod)
		called = called || serving
		if !ready {
			return called, nil
		}
		select {
		case <-ctx.Done():
			return called, context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// find tells whether the Pod is in EndpointSlices as one that callers may be sent to.
func find(slices []discoveryv1.EndpointSlice, pod *corev1.Pod) (serving, ready bool) {
	for i := range slices {
		for _, endpoint := range slices[i].Endpoints {
			if endpoint.TargetRef != nil && endpoint.TargetRef.UID == pod.UID {
				// Unknown means ready, and serving as ready is.
				isReady := ptr.Deref(endpoint.Conditions.Ready, true)
				ready = ready || isReady
				serving = serving || ptr.Deref(endpoint.Conditions.Serving, isReady)
			}
		}
	}
	return serving, ready
}

// tasks are what goes on beside the workload.
type tasks struct {
	ctx   context.Context
	group sync.WaitGroup
}

func newTasks(ctx context.Context) *tasks { return &tasks{ctx: ctx} }

func (t *tasks) run(f func(context.Context)) { t.group.Go(func() { f(t.ctx) }) }

func (t *tasks) wait() { t.group.Wait() }
