package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/cmd/fairlead/internal/datadir"
	"fairlead.dev/fairlead/cmd/fairlead/internal/objects"
)

// sweepInterval is how long the Pod of a `run` that was killed is served at most. Only
// lock files are looked at each time; the API server is asked when one was let go.
const sweepInterval = 500 * time.Millisecond

// orphans ends the Pods of those `fairlead run`s that cannot do it any more.
type orphans struct {
	client client.Client
	dir    datadir.Dir
}

// sweepAll ends every Pod of ours that no living `run` answers for: those that died
// while no `fairlead up` was running among them.
func (o *orphans) sweepAll(ctx context.Context) error {
	var pods corev1.PodList
	if err := o.client.List(ctx, &pods, client.MatchingLabels{objects.ManagedByLabel: objects.ManagedByRun}); err != nil {
		return fmt.Errorf("list the Pods of `fairlead run`: %w", err)
	}
	var errs []error
	for i := range pods.Items {
		pod := &pods.Items[i]
		if pod.Spec.NodeName == objects.NodeName {
			_, err := o.end(ctx, pod.Namespace, pod.Name)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// watch looks after the Pods until the context ends.
func (o *orphans) watch(ctx context.Context, say func(string, ...any)) error {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	complaint := ""
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
		var errs []error
		locks, err := o.dir.PodLocks()
		errs = append(errs, err)
		for _, lock := range locks {
			namespace, name, _ := strings.Cut(filepath.Base(lock), "_")
			ended, err := o.end(ctx, namespace, name)
			errs = append(errs, err)
			if ended {
				say("ended Pod %s/%s: its `fairlead run` is gone", namespace, name)
			}
		}
		// Said once, not at every turn.
		if err := errors.Join(errs...); err == nil {
			complaint = ""
		} else if ctx.Err() == nil && err.Error() != complaint {
			complaint = err.Error()
			say("could not look after the Pods: %s", complaint)
		}
	}
}

// end fails and removes the Pod, and what its workload left behind, unless its `run`
// lives.
func (o *orphans) end(ctx context.Context, namespace, name string) (ended bool, err error) {
	path := o.dir.PodLock(namespace, name)
	if held, err := datadir.IsHeld(path); held || err != nil {
		return false, err
	}
	// Held meanwhile, so that no new `run` takes the name.
	lock, err := datadir.Acquire(path)
	if _, held := errors.AsType[*datadir.HeldError](err); held {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var left objects.PodLock
	err = lock.Read(&left)
	if err == nil {
		ended, err = o.endPod(ctx, namespace, name)
	}
	if err == nil && left.Address != "" {
		err = removeWorkload(o.dir.Workload(left.Address))
	}
	if err != nil {
		// The file stays for another try.
		return false, errors.Join(fmt.Errorf("pod %s/%s: %w", namespace, name, err), lock.Release())
	}
	return ended, lock.Remove()
}

func (o *orphans) endPod(ctx context.Context, namespace, name string) (bool, error) {
	pod := &corev1.Pod{}
	err := o.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, pod)
	if err != nil {
		return false, client.IgnoreNotFound(err)
	}
	if pod.Labels[objects.ManagedByLabel] != objects.ManagedByRun {
		return false, nil
	}
	return true, objects.Finish(ctx, o.client, pod, corev1.PodFailed, "RunGone", "the `fairlead run` that served this Pod was killed")
}

// removeWorkload removes a dead workload's folder. The agent's own code opens it first,
// since a killed Envoy leaves shared memory elsewhere; that fails while one is alive.
func removeWorkload(path string) error {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	dir, err := envoy.OpenDir(path)
	if err != nil {
		return err
	}
	if err := dir.Close(); err != nil {
		return err
	}
	return os.RemoveAll(path)
}
