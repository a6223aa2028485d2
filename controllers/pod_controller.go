package controllers

import (
	"context"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/mesh"
)

// podNodeField is the index of Pods by the node that they run on.
const podNodeField = "spec.nodeName"

// PodReconciler keeps the mesh's workloads. It reads Nodes too, for where a Pod runs: in
// one reconciler, so that a Pod and its Node that change together cannot overtake each other.
type PodReconciler struct {
	Reader client.Reader
	Store  *mesh.Store
	Log    *slog.Logger
}

// Reconcile implements reconcile.Reconciler.
func (r *PodReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var pod corev1.Pod
	var workload *mesh.Workload
	if err := r.Reader.Get(ctx, request.NamespacedName, &pod); err == nil {
		node, err := r.nodeOf(ctx, &pod)
		if err != nil {
			return ctrl.Result{}, err
		}
		workload = convert.Workload(&pod, node)
		r.checkAnnotations(&pod)
	} else if !apierrors.IsNotFound(err) {
		return ctrl.Result{}, err
	}
	if workload == nil { // gone, finished, or without a proxy of its own
		r.Store.DeleteWorkload(mesh.NamespacedName{Namespace: request.Namespace, Name: request.Name})
		return ctrl.Result{}, nil
	}
	r.Store.SetWorkload(workload)
	return ctrl.Result{}, nil
}

// nodeOf returns the node that a Pod runs on, nil if it has none or that is not known; the
// Pod is read again when the node turns up.
func (r *PodReconciler) nodeOf(ctx context.Context, pod *corev1.Pod) (*corev1.Node, error) {
	if pod.Spec.NodeName == "" {
		return nil, nil
	}
	var node corev1.Node
	err := r.Reader.Get(ctx, types.NamespacedName{Name: pod.Spec.NodeName}, &node)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &node, nil
}

// checkAnnotations tells of what conversion has to leave out of a Pod: Pods have no status
// of ours to tell it in.
func (r *PodReconciler) checkAnnotations(pod *corev1.Pod) {
	if _, err := convert.OutboundTCP(pod.Annotations[v1alpha1.OutboundTCPAnnotation]); err != nil {
		r.Log.Warn("Left out TCP listeners that a Pod asks for", "pod", client.ObjectKeyFromObject(pod), "err", err)
	}
	if _, err := convert.MTLSMode(pod.Annotations); err != nil {
		r.Log.Warn("Ignored a Pod's mTLS mode", "pod", client.ObjectKeyFromObject(pod), "err", err)
	}
}

// onNode returns the Pods that run on a node.
func (r *PodReconciler) onNode(ctx context.Context, node client.Object) []ctrl.Request {
	var pods corev1.PodList
	if err := r.Reader.List(ctx, &pods, client.MatchingFields{podNodeField: node.GetName()}); err != nil {
		r.Log.Error("Could not list the Pods of a node", "node", node.GetName(), "err", err)
		return nil
	}
	requests := make([]ctrl.Request, 0, len(pods.Items))
	for i := range pods.Items {
		requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&pods.Items[i])})
	}
	return requests
}

// podNode is the value of podNodeField.
func podNode(object client.Object) []string {
	if pod, ok := object.(*corev1.Pod); ok && pod.Spec.NodeName != "" {
		return []string{pod.Spec.NodeName}
	}
	return nil
}

// localityChanged lets through the events of nodes that change where Pods are: a node's
// heartbeat does not.
var localityChanged = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok1 := e.ObjectOld.(*corev1.Node)
		after, ok2 := e.ObjectNew.(*corev1.Node)
		return !ok1 || !ok2 || convert.Locality(before) != convert.Locality(after)
	},
}
