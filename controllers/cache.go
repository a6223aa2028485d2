package controllers

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
)

// CacheOptions make a manager's cache hold of every object only what is read of it, and
// hand it out without copying: nothing here changes what it read. With many Pods the
// cache is what the manager's memory goes to. Of Secrets it has those that Fairlead wrote, and
// of these no key. ConfigMaps are read in the manager's own
// namespace only.
func CacheOptions(namespace string) cache.Options {
	shared := true
	return cache.Options{
		DefaultTransform:             transform(stripMetadata),
		DefaultUnsafeDisableDeepCopy: &shared,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.ConfigMap{}:          {Namespaces: map[string]cache.Config{namespace: {}}},
			&corev1.Pod{}:                {Transform: transform(stripPod)},
			&corev1.Node{}:               {Transform: transform(stripNode)},
			&corev1.Namespace{}:          {Transform: transform(stripNamespace)},
			&corev1.Service{}:            {Transform: transform(stripService)},
			&discoveryv1.EndpointSlice{}: {Transform: transform(stripEndpointSlice)},
			&corev1.ServiceAccount{}:     {Transform: transform(stripServiceAccount)},
			&appsv1.ControllerRevision{}: {Label: revisions, Transform: transform(stripRevision)},
			&corev1.Secret{}:             {Label: certificates, Transform: transform(stripSecret)},
		},
	}
}

// certificates are the Secrets that Fairlead wrote.
var certificates = labels.NewSelector().Add(must(labels.NewRequirement(v1alpha1.CertificateLabel, selection.Exists, nil)))

// must returns the requirement of a selector that is a constant.
func must(r *labels.Requirement, err error) labels.Requirement {
	if err != nil {
		panic(err)
	}
	return *r
}

// transform makes an informer's transform of a function that strips one type; objects of
// other types, such as the informer's tombstones, pass.
func transform[T metav1.Object](strip func(T)) toolscache.TransformFunc {
	return func(object any) (any, error) {
		if typed, ok := object.(T); ok {
			strip(typed)
		}
		return object, nil
	}
}

// stripMetadata drops what the API server keeps for clients that write.
func stripMetadata(object metav1.Object) {
	object.SetManagedFields(nil)
	if annotations := object.GetAnnotations(); annotations[corev1.LastAppliedConfigAnnotation] != "" {
		delete(annotations, corev1.LastAppliedConfigAnnotation)
	}
}

// stripPod keeps identity, labels, our annotations, node, account and ports, and of the
// status phase, addresses and readiness.
func stripPod(pod *corev1.Pod) {
	pod.ManagedFields = nil
	pod.Annotations = keep(pod.Annotations, v1alpha1.ModeAnnotation, v1alpha1.OutboundTCPAnnotation, v1alpha1.MTLSAnnotation)
	pod.Spec = corev1.PodSpec{
		NodeName:           pod.Spec.NodeName,
		HostNetwork:        pod.Spec.HostNetwork,
		ServiceAccountName: pod.Spec.ServiceAccountName,
		Containers:         onlyPorts(pod.Spec.Containers),
		InitContainers:     onlyPorts(pod.Spec.InitContainers),
	}
	pod.Status = corev1.PodStatus{
		Phase:      pod.Status.Phase,
		PodIP:      pod.Status.PodIP,
		PodIPs:     pod.Status.PodIPs,
		Conditions: onlyReady(pod.Status.Conditions),
	}
}

// onlyPorts keeps of containers what they declare to serve, and whether they run beside
// the others (the restart policy of a native sidecar).
func onlyPorts(containers []corev1.Container) []corev1.Container {
	var kept []corev1.Container
	for i := range containers {
		if len(containers[i].Ports) > 0 {
			kept = append(kept, corev1.Container{
				Name: containers[i].Name, Ports: containers[i].Ports, RestartPolicy: containers[i].RestartPolicy,
			})
		}
	}
	return kept
}

func onlyReady(conditions []corev1.PodCondition) []corev1.PodCondition {
	for _, condition := range conditions {
		if condition.Type == corev1.PodReady {
			return []corev1.PodCondition{{Type: condition.Type, Status: condition.Status}}
		}
	}
	return nil
}

// stripNode keeps the labels that say where the node is.
func stripNode(node *corev1.Node) {
	node.ManagedFields = nil
	node.Annotations = nil
	node.Labels = keep(node.Labels, corev1.LabelTopologyRegion, corev1.LabelTopologyZone)
	node.Spec = corev1.NodeSpec{}
	node.Status = corev1.NodeStatus{}
}

// stripNamespace keeps the labels and our annotations.
func stripNamespace(namespace *corev1.Namespace) {
	namespace.ManagedFields = nil
	namespace.Annotations = keep(namespace.Annotations, v1alpha1.MTLSAnnotation, v1alpha1.SeesAnnotation)
}

// stripService keeps labels, our annotation and spec.
func stripService(service *corev1.Service) {
	service.ManagedFields = nil
	service.Annotations = keep(service.Annotations, v1alpha1.ExportToAnnotation)
	service.Status = corev1.ServiceStatus{}
}

// stripServiceAccount keeps labels and our annotation.
func stripServiceAccount(account *corev1.ServiceAccount) {
	account.ManagedFields = nil
	account.Annotations = keep(account.Annotations, v1alpha1.RenewAnnotation)
	account.Secrets, account.ImagePullSecrets = nil, nil
}

// stripEndpointSlice keeps labels, endpoints and ports.
func stripEndpointSlice(slice *discoveryv1.EndpointSlice) {
	slice.ManagedFields = nil
	slice.Annotations = nil
	slice.OwnerReferences = nil
}

// keep returns the entries with the given keys, nil if there is none.
func keep(entries map[string]string, keys ...string) map[string]string {
	var kept map[string]string
	for _, key := range keys {
		if value, found := entries[key]; found {
			if kept == nil {
				kept = map[string]string{}
			}
			kept[key] = value
		}
	}
	return kept
}
