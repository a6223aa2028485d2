package workload

import (
	"fmt"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	meshv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/cmd/fairlead/internal/objects"
	"fairlead.dev/fairlead/internal/mesh"
)

// The names of the Pod's containers.
const (
	appContainer   = "app"
	proxyContainer = "fairlead-proxy"
)

// newPod describes the workload. Nobody pulls its images: the API server asks for some.
func newPod(r request, outbound []outboundListener) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: r.Namespace,
			Name:      r.Name,
			Labels: map[string]string{
				meshv1alpha1.WorkloadLabel: r.Name,
				// The agent gets a certificate from the manager.
				meshv1alpha1.TLSModeLabel: meshv1alpha1.TLSModeMutual,
			},
			Annotations: map[string]string{meshv1alpha1.ModeAnnotation: meshv1alpha1.ModeExplicit},
		},
		Spec: corev1.PodSpec{
			NodeName:           objects.NodeName,
			ServiceAccountName: r.ServiceAccount,
			RestartPolicy:      corev1.RestartPolicyNever,
			// The token goes into the run folder, for the agent alone.
			AutomountServiceAccountToken: ptr.To(false),
			// The whole of a stop: nobody enforces it, but kubectl shows it.
			TerminationGracePeriodSeconds: ptr.To(int64((r.Drain + r.Grace).Seconds()) + 1),
			Containers:                    []corev1.Container{{Name: proxyContainer, Image: "fairlead.local/agent"}},
		},
	}
	for key, value := range r.labels {
		pod.Labels[key] = value
	}
	pod.Labels[objects.ManagedByLabel] = objects.ManagedByRun
	if r.Gateway {
		pod.Annotations[meshv1alpha1.ModeAnnotation] = meshv1alpha1.ModeGateway
		return pod
	}
	// Without arguments, which may hold secrets.
	app := corev1.Container{Name: appContainer, Image: "fairlead.local/run", Command: []string{filepath.Base(r.Command[0])}}
	named := map[mesh.Protocol]bool{}
	for _, p := range r.ports {
		name := string(p.protocol)
		// Names are unique, at most 15 long, and begin with the protocol.
		if named[p.protocol] {
			name = fmt.Sprintf("%s-%d", p.protocol, p.number)
		}
		named[p.protocol] = true
		app.Ports = append(app.Ports, corev1.ContainerPort{Name: name, ContainerPort: int32(p.number), Protocol: corev1.ProtocolTCP})
	}
	pod.Spec.Containers = append([]corev1.Container{app}, pod.Spec.Containers...)
	var listeners []string
	for _, o := range outbound {
		listeners = append(listeners, fmt.Sprintf("%s:%d=%d", o.host, o.port, o.listen.Port()))
	}
	if len(listeners) > 0 {
		pod.Annotations[meshv1alpha1.OutboundTCPAnnotation] = strings.Join(listeners, ",")
	}
	return pod
}

// observed is what the status is made of.
type observed struct {
	address *address
	started metav1.Time
	// appReady: every port of the command accepts connections. appRunning: it was started.
	appReady, appRunning bool
	proxyReady           bool
	// reason says why the workload is not ready.
	reason, message string
}

// setStatus writes what was observed into the Pod. Times of conditions move only when
// what they say changes.
func setStatus(pod *corev1.Pod, o observed, now metav1.Time) {
	status := &pod.Status
	status.Phase = corev1.PodRunning
	status.PodIP = o.address.pod.String()
	status.PodIPs = []corev1.PodIP{{IP: status.PodIP}}
	status.StartTime = &o.started
	ready := o.appReady && o.proxyReady
	for _, condition := range []struct {
		kind corev1.PodConditionType
		is   bool
	}{
		{corev1.PodScheduled, true},
		{corev1.PodInitialized, true},
		{corev1.ContainersReady, ready},
		{corev1.PodReady, ready},
	} {
		c := corev1.PodCondition{Type: condition.kind, Status: corev1.ConditionTrue, LastTransitionTime: now}
		if !condition.is {
			c.Status, c.Reason, c.Message = corev1.ConditionFalse, o.reason, o.message
		}
		setCondition(status, c)
	}
	status.ContainerStatuses = nil
	for _, c := range pod.Spec.Containers {
		running, ready := o.appRunning, o.appReady
		if c.Name == proxyContainer {
			running, ready = true, o.proxyReady
		}
		status.ContainerStatuses = append(status.ContainerStatuses, containerStatus(c, running, ready, o.started))
	}
}

func setCondition(status *corev1.PodStatus, c corev1.PodCondition) {
	for i := range status.Conditions {
		if existing := &status.Conditions[i]; existing.Type == c.Type {
			if existing.Status == c.Status {
				c.LastTransitionTime = existing.LastTransitionTime
			}
			*existing = c
			return
		}
	}
	status.Conditions = append(status.Conditions, c)
}

func containerStatus(c corev1.Container, running, ready bool, started metav1.Time) corev1.ContainerStatus {
	status := corev1.ContainerStatus{Name: c.Name, Image: c.Image, Ready: ready, Started: &running}
	if running {
		status.State.Running = &corev1.ContainerStateRunning{StartedAt: started}
	} else {
		status.State.Waiting = &corev1.ContainerStateWaiting{Reason: "NotStarted"}
	}
	return status
}
