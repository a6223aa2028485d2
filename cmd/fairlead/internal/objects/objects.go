// Package objects is what `fairlead up` and `fairlead run` agree on about the objects at
// the API server: the Node's name, how a Pod of ours is known, and how its end is told.
package objects

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// NodeName names the one Node, which stands for this machine.
const NodeName = "fairlead"

// ManagerNamespace is where config/ puts the manager and what is its own.
const ManagerNamespace = "fairlead-system"

// TrustName names the ConfigMap with the mesh's roots, TrustKey its entry: PEM.
const (
	TrustName = "fairlead-trust"
	TrustKey  = "root-cert.pem"
)

// Pods of `fairlead run` have this label with this value.
const (
	ManagedByLabel = "app.kubernetes.io/managed-by"
	ManagedByRun   = "fairlead-run"
)

// PodLock is what the lock file of a Pod says.
type PodLock struct {
	PID int `json:"pid"`
	// Address names the workload's folder.
	Address string `json:"address,omitempty"`
}

// Mapper knows the core kinds that both programs use, so that no discovery is needed.
// More may be added to it.
func Mapper() *meta.DefaultRESTMapper {
	mapper := meta.NewDefaultRESTMapper(nil)
	for _, kind := range []string{"Namespace", "Node"} {
		mapper.Add(corev1.SchemeGroupVersion.WithKind(kind), meta.RESTScopeRoot)
	}
	for _, kind := range []string{"ConfigMap", "Pod", "ServiceAccount"} {
		mapper.Add(corev1.SchemeGroupVersion.WithKind(kind), meta.RESTScopeNamespace)
	}
	mapper.Add(discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice"), meta.RESTScopeNamespace)
	return mapper
}

// Scheme has Kubernetes' own kinds.
func Scheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	return scheme
}

// Finish tells by the Pod's status how it ended, and removes the Pod. It is fine if the
// Pod is gone already.
func Finish(ctx context.Context, c client.Client, pod *corev1.Pod, phase corev1.PodPhase, reason, message string) error {
	if pod.Status.Phase != phase {
		before := pod.DeepCopy()
		pod.Status.Phase, pod.Status.Reason, pod.Status.Message = phase, reason, message
		now := metav1.Now()
		for i := range pod.Status.Conditions {
			c := &pod.Status.Conditions[i]
			if (c.Type == corev1.PodReady || c.Type == corev1.ContainersReady) && c.Status != corev1.ConditionFalse {
				c.Status, c.Reason, c.LastTransitionTime = corev1.ConditionFalse, reason, now
			}
		}
		if err := c.Status().Patch(ctx, pod, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("status of Pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
	}
	// Nobody else would end it: there is no kubelet.
	err := c.Delete(ctx, pod, client.GracePeriodSeconds(0), client.Preconditions{UID: ptr.To(pod.UID)})
	// A conflict: another Pod has the name by now.
	if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete Pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}
