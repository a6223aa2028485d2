package workload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// probeSoon is how often a workload is probed that is not ready yet, probeLater one
	// that is.
	probeSoon, probeLater = 25 * time.Millisecond, time.Second
	// finishTimeout bounds what is asked of the API server at the end.
	finishTimeout = 5 * time.Second
	// agentGrace is above the time that the agent is told to have, for a drain and for Envoy.
	agentGrace = 8 * time.Second
	// watchRetry is how soon a watch is opened again that broke.
	watchRetry = 500 * time.Millisecond
)

// attend keeps the Pod's status until something ends the workload, and then ends the
// rest of it.
func (w *workload) attend(ctx context.Context) (int, error) {
	inner, cancel := context.WithCancel(context.Background())
	tasks := newTasks(inner)
	tasks.run(func(ctx context.Context) {
		keepToken(ctx, w.client, w.pod.DeepCopy(), w.dir, w.folder, w.renewal, w.Say)
	})
	deleted := make(chan struct{})
	watched := w.pod.DeepCopy()
	tasks.run(func(ctx context.Context) { awaitDeletion(ctx, w.client, watched, deleted) })
	forwarded := forwardedSignals()
	defer signal.Stop(forwarded)

	status := statusKeeper{workload: w, prober: newProber(w.folder, w.apps), started: w.pod.Status.StartTime.Time}
	timer := time.NewTimer(0)
	defer timer.Stop()
	end := func() {
		cancel()
		tasks.wait()
	}
	for {
		select {
		case <-timer.C:
			timer.Reset(status.observe(inner))
		case s := <-forwarded:
			if w.command == nil { // there is none to make something of it
				w.Say("stopping %s/%s: %s", w.Namespace, w.Name, s)
				end()
				return w.stop()
			}
			w.command.Signal(s.(syscall.Signal))
		case <-w.commandDone():
			end()
			return w.commandEnded()
		case <-w.agent.Done():
			end()
			return w.agentEnded()
		case <-ctx.Done():
			w.Say("stopping %s/%s", w.Namespace, w.Name)
			end()
			return w.stop()
		case <-deleted:
			w.Say("stopping %s/%s: its Pod was deleted", w.Namespace, w.Name)
			end()
			return w.stop()
		}
	}
}

// forwardedSignals are those that mean something to the command only.
func forwardedSignals() chan os.Signal {
	forwarded := make(chan os.Signal, 8)
	signal.Notify(forwarded, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	return forwarded
}

// statusKeeper turns probes into the Pod's status.
type statusKeeper struct {
	*workload
	prober  *prober
	started time.Time
	// announced: the person was told that it is ready.
	announced bool
	// complaint is the last that the person was told.
	complaint string
}

// observe probes once and returns how long to wait until the next time.
func (k *statusKeeper) observe(ctx context.Context) time.Duration {
	o := observed{address: k.address, started: *k.pod.Status.StartTime, appRunning: true}
	proxyErr, appErr := k.prober.proxy(ctx), k.prober.app(ctx)
	o.proxyReady, o.appReady = proxyErr == nil, appErr == nil
	switch {
	case proxyErr != nil:
		o.reason, o.message = "ProxyNotReady", proxyErr.Error()
	case appErr != nil:
		o.reason, o.message = "CommandNotReady", appErr.Error()
	}
	err := k.updateStatus(ctx, o)
	if err != nil && err.Error() != k.complaint {
		k.complaint = err.Error()
		k.Say("%s", k.complaint)
	}
	ready := o.proxyReady && o.appReady
	if err != nil || !ready {
		if time.Since(k.started) > time.Minute {
			return probeLater
		}
		return probeSoon
	}
	if !k.announced {
		k.announced = true
		where := ""
		if k.Gateway {
			where = ", where it serves the ports of the Gateways that select it"
		}
		k.Say("%s/%s is ready at %s%s", k.Namespace, k.Name, k.address.local, where)
	}
	return probeLater
}

// commandEnded ends the rest after the command ended by itself.
func (w *workload) commandEnded() (int, error) {
	exit := w.command.Exit()
	phase, reason := corev1.PodSucceeded, "Completed"
	if exit.Status() != 0 {
		phase, reason = corev1.PodFailed, "Error"
	}
	message := fmt.Sprintf("the command ended with exit status %d", exit.Status())
	// First, so that callers hear of it while the proxy still answers them.
	err := w.finish(phase, reason, message)
	w.stopAgent()
	return exit.Status(), err
}

// agentEnded ends the rest after the agent ended, which it should not have.
func (w *workload) agentEnded() (int, error) {
	exit := w.agent.Exit()
	err := w.finish(corev1.PodFailed, "ProxyFailed", fmt.Sprintf("the agent ended with exit status %d", exit.Status()))
	if w.command != nil {
		w.command.Stop(syscall.SIGTERM, w.Grace)
	}
	return 0, errors.Join(exit, err)
}

// stop ends a workload that was told to, so that its callers see no error: they are
// moved to others first, then the command ends, then the proxy, and the Pod at last.
func (w *workload) stop() (int, error) {
	w.drain()
	if w.command != nil && w.command.Stop(syscall.SIGTERM, w.Grace) {
		w.Say("the command did not end within %s and was killed", w.Grace)
	}
	w.stopAgent()
	err := w.finish(corev1.PodSucceeded, "Stopped", "`fairlead run` was told to stop")
	// Ended by the very signal that it was sent: as it should be.
	if w.command == nil || w.command.Exit().Signal == syscall.SIGTERM {
		return 0, err
	}
	return w.command.Exit().Status(), err
}

func (w *workload) stopAgent() {
	if w.agent.Stop(syscall.SIGTERM, agentGrace) {
		w.Say("the agent did not end within %s and was killed; its log is %s", agentGrace, w.agent.Log)
	}
}

// awaitDeletion closes the channel when somebody deletes the Pod.
func awaitDeletion(ctx context.Context, c client.WithWatch, pod *corev1.Pod, deleted chan<- struct{}) {
	for ctx.Err() == nil {
		if watchDeletion(ctx, c, pod) {
			close(deleted)
			return
		}
		// The watch broke, because `fairlead up` is being restarted, say.
		timer := time.NewTimer(watchRetry)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// watchDeletion returns whether the Pod is to end; false if it could not be watched on.
func watchDeletion(ctx context.Context, c client.WithWatch, pod *corev1.Pod) bool {
	watcher, err := c.Watch(ctx, &corev1.PodList{}, client.InNamespace(pod.Namespace),
		client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("metadata.name", pod.Name)})
	if err != nil {
		return false
	}
	defer watcher.Stop()
	for event := range watcher.ResultChan() {
		seen, ok := event.Object.(*corev1.Pod)
		if !ok {
			return false
		}
		if event.Type == watch.Deleted || seen.UID != pod.UID || seen.DeletionTimestamp != nil {
			return true
		}
	}
	return false
}

func equalStatus(a, b *corev1.Pod) bool { return equality.Semantic.DeepEqual(a.Status, b.Status) }
