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
		if client.IgnoreNotFound(err) != nil {
			w.Say("could not tell callers of the end: %v", err)
		}
		return
	}
	known, err := awaitTerminating(ctx, w.client, w.pod)
	if err != nil {
		w.Say("callers may not have heard of the end: %v", err)
	}
	// Nobody calls a workload that no Service has.
	if known {
		time.Sleep(w.Drain)
	}
}

// awaitTerminating returns once no EndpointSlice has the Pod as ready, and whether any
// has it at all.
func awaitTerminating(ctx context.Context, c client.Client, pod *corev1.Pod) (known bool, err error) {
	ticker := time.NewTicker(drainInterval)
	defer ticker.Stop()
	for {
		var slices discoveryv1.EndpointSliceList
		if err := c.List(ctx, &slices, client.InNamespace(pod.Namespace)); err != nil {
			return known, err
		}
		listed, ready := find(slices.Items, pod)
		known = known || listed
		if !ready {
			return known, nil
		}
		select {
		case <-ctx.Done():
			return known, context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

func find(slices []discoveryv1.EndpointSlice, pod *corev1.Pod) (listed, ready bool) {
	for i := range slices {
		for _, endpoint := range slices[i].Endpoints {
			if endpoint.TargetRef != nil && endpoint.TargetRef.UID == pod.UID {
				listed = true
				// Unknown means ready.
				ready = ready || ptr.Deref(endpoint.Conditions.Ready, true)
			}
		}
	}
	return listed, ready
}

// tasks are what goes on beside the workload.
type tasks struct {
	ctx   context.Context
	group sync.WaitGroup
}

func newTasks(ctx context.Context) *tasks { return &tasks{ctx: ctx} }

func (t *tasks) run(f func(context.Context)) { t.group.Go(func() { f(t.ctx) }) }

func (t *tasks) wait() { t.group.Wait() }
