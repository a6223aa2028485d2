package workload

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/cmd/fairlead/internal/datadir"
	"fairlead.dev/fairlead/cmd/fairlead/internal/objects"
)

const (
	// connectWait is for a `fairlead up` that is still starting, startWait for one that
	// was started together with this `run`.
	connectWait     = 60 * time.Second
	startWait       = 2 * time.Second
	connectInterval = 50 * time.Millisecond
)

// connect returns a client once `fairlead up` has the Node, without which no controller
// takes notice of a Pod, and the manager serves proxies: an Envoy that asks before would
// wait for seconds before it asks again. It fails soon if no `fairlead up` is running.
func connect(ctx context.Context, dir datadir.Dir) (client.WithWatch, error) {
	ctx, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	began := time.Now()
	ticker := time.NewTicker(connectInterval)
	defer ticker.Stop()
	for {
		running, err := datadir.IsHeld(dir.ClusterLock())
		if err != nil {
			return nil, err
		}
		if !running && time.Since(began) > startWait {
			return nil, fmt.Errorf("no `fairlead up` is running on the data folder %s: start it with `fairlead up --data %s`", dir.Path(), dir.Path())
		}
		c, err := tryConnect(ctx, dir)
		if err == nil {
			return c, nil
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil, fmt.Errorf("`fairlead up` on %s does not get ready: %w", dir.Path(), err)
			}
			return nil, context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// tryConnect reads the kubeconfig each time: it is another one after a start.
func tryConnect(ctx context.Context, dir datadir.Dir) (client.WithWatch, error) {
	config, err := clientcmd.BuildConfigFromFlags("", dir.Kubeconfig())
	if err != nil {
		return nil, err
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: objects.Scheme(), Mapper: objects.Mapper()})
	if err != nil {
		return nil, err
	}
	if err := c.Get(ctx, client.ObjectKey{Name: objects.NodeName}, &corev1.Node{}); err != nil {
		return nil, err
	}
	if _, err := meshOf(ctx, c, dir); err != nil {
		return nil, err
	}
	return c, nil
}

// register creates the Pod with its address, and fetches its token.
func (w *workload) register(ctx context.Context) error {
	if err := w.ensureServiceAccount(ctx); err != nil {
		return err
	}
	if err := w.ensureMeshed(ctx); err != nil {
		return err
	}
	w.pod = newPod(w.request, w.outbound)
	if err := w.createPod(ctx); err != nil {
		return err
	}
	now := metav1.NewTime(time.Now())
	err := w.updateStatus(ctx, observed{address: w.address, started: now, reason: "Starting", message: "proxy and command are being started"})
	if err == nil {
		err = os.MkdirAll(w.folder, 0o700)
	}
	if err == nil {
		w.closers = append(w.closers, func() error { return os.RemoveAll(w.folder) })
		w.mesh, err = meshOf(ctx, w.client, w.dir)
	}
	if err == nil {
		err = w.mesh.writeRoots(w.folder)
	}
	if err == nil {
		w.renewal, err = fetchToken(ctx, w.client, w.pod, w.folder, now.Time)
	}
	if err != nil {
		return errors.Join(err, w.finish(corev1.PodFailed, "NotStarted", err.Error()))
	}
	return nil
}

// ensureServiceAccount creates it where it is missing, since a Pod cannot be without.
func (w *workload) ensureServiceAccount(ctx context.Context) error {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: w.ServiceAccount}}
	err := w.client.Get(ctx, client.ObjectKeyFromObject(account), account)
	if !apierrors.IsNotFound(err) {
		return err
	}
	err = w.client.Create(ctx, account)
	switch {
	case apierrors.IsAlreadyExists(err):
		return nil
	case apierrors.IsNotFound(err):
		return fmt.Errorf("namespace %q does not exist: create it with `kubectl create namespace %s`", w.Namespace, w.Namespace)
	case err != nil:
		return fmt.Errorf("create service account %s/%s: %w", w.Namespace, w.ServiceAccount, err)
	}
	w.Say("created service account %s/%s", w.Namespace, w.ServiceAccount)
	return nil
}

// ensureMeshed makes the namespace one of the mesh, unless somebody has said that it is not
// to be: its service accounts have certificates then, whose renewal can be asked for.
func (w *workload) ensureMeshed(ctx context.Context) error {
	namespace := &corev1.Namespace{}
	if err := w.client.Get(ctx, client.ObjectKey{Name: w.Namespace}, namespace); err != nil {
		return fmt.Errorf("namespace %q: %w", w.Namespace, err)
	}
	if _, said := namespace.Labels[v1alpha1.InjectionLabel]; said {
		return nil
	}
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"labels":{%q:"enabled"}}}`, v1alpha1.InjectionLabel))
	if err := w.client.Patch(ctx, namespace, patch); err != nil {
		return fmt.Errorf("make namespace %q one of the mesh: %w", w.Namespace, err)
	}
	return nil
}

// createPod also takes over from a `run` of the same name that was killed, if
// `fairlead up` has not come to it yet.
func (w *workload) createPod(ctx context.Context) error {
	fresh := w.pod.DeepCopy()
	err := w.client.Create(ctx, w.pod)
	if !apierrors.IsAlreadyExists(err) {
		return explainCreate(w.pod, err)
	}
	old := &corev1.Pod{}
	if err := w.client.Get(ctx, client.ObjectKeyFromObject(fresh), old); client.IgnoreNotFound(err) != nil {
		return explainCreate(fresh, err)
	} else if err == nil {
		if old.Labels[objects.ManagedByLabel] != objects.ManagedByRun {
			return fmt.Errorf("a Pod %s/%s exists that `fairlead run` did not create: choose another --name", fresh.Namespace, fresh.Name)
		}
		if err := objects.Finish(ctx, w.client, old, corev1.PodFailed, "RunGone", "another `fairlead run` took over"); err != nil {
			return err
		}
	}
	w.pod = fresh
	return explainCreate(w.pod, w.client.Create(ctx, w.pod))
}

func explainCreate(pod *corev1.Pod, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("create Pod %s/%s: %w", pod.Namespace, pod.Name, err)
}

// updateStatus writes the Pod's status if it differs from the last one.
func (w *workload) updateStatus(ctx context.Context, o observed) error {
	before := w.pod.DeepCopy()
	setStatus(w.pod, o, metav1.NewTime(time.Now()))
	if equalStatus(before, w.pod) {
		return nil
	}
	if err := w.client.Status().Patch(ctx, w.pod, client.MergeFrom(before)); err != nil {
		// To be tried again with the next observation.
		w.pod = before
		return fmt.Errorf("status of Pod %s/%s: %w", w.Namespace, w.Name, err)
	}
	return nil
}

// finish removes the Pod. Where there is no API server any more, the next `fairlead up`
// does: it finds that nobody holds the Pod's lock.
func (w *workload) finish(phase corev1.PodPhase, reason, message string) error {
	ctx, cancel := context.WithTimeout(context.Background(), finishTimeout)
	defer cancel()
	err := objects.Finish(ctx, w.client, w.pod, phase, reason, message)
	if upIsGone(err) {
		w.Say("`fairlead up` is gone: its next start removes Pod %s/%s", w.Namespace, w.Name)
		return nil
	}
	return err
}

// upIsGone reports whether nobody answers for the API server of the data folder: its port is
// closed, or the `fairlead up` of another folder has taken it since.
func upIsGone(err error) bool {
	_, another := errors.AsType[*tls.CertificateVerificationError](err)
	return another || errors.Is(err, syscall.ECONNREFUSED)
}
