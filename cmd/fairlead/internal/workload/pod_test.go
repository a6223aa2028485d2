package workload

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

func TestPod(t *testing.T) {
	o := valid()
	o.Labels = "app=reviews"
	o.Ports = []string{"9080", "9081", "9082/tcp"}
	o.Command = []string{"/usr/bin/reviews", "--password=secret"}
	r, err := o.understand()
	if err != nil {
		t.Fatal(err)
	}
	pod := newPod(r, []outboundListener{
		{outboundTCP{"db", "db.default.svc.cluster.local", 3306}, netip.MustParseAddrPort("127.18.0.1:15100")},
		{outboundTCP{"mq", "mq.default.svc.cluster.local", 5672}, netip.MustParseAddrPort("127.18.0.1:15101")},
	})
	annotations := map[string]string{
		"mesh.fairlead.dev/mode":         "explicit",
		"mesh.fairlead.dev/outbound-tcp": "db.default.svc.cluster.local:3306=15100,mq.default.svc.cluster.local:5672=15101",
	}
	if diff := cmp.Diff(annotations, pod.Annotations); diff != "" {
		t.Error(diff)
	}
	labels := map[string]string{
		"app": "reviews", "app.kubernetes.io/managed-by": "fairlead-run", "mesh.fairlead.dev/workload": "reviews-v1", "mesh.fairlead.dev/tlsMode": "mutual",
	}
	if diff := cmp.Diff(labels, pod.Labels); diff != "" {
		t.Error(diff)
	}
	var ports []string
	for _, p := range pod.Spec.Containers[0].Ports {
		ports = append(ports, p.Name)
	}
	if diff := cmp.Diff([]string{"http", "http-9081", "tcp"}, ports); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"reviews"}, pod.Spec.Containers[0].Command); diff != "" {
		t.Error("arguments may be secrets", diff)
	}
}

func TestGatewayPodIsAProxyAlone(t *testing.T) {
	o := valid()
	o.Gateway, o.Command, o.Grace = true, nil, 0
	r, err := o.understand()
	if err != nil {
		t.Fatal(err)
	}
	pod := newPod(r, nil)
	if mode := pod.Annotations["mesh.fairlead.dev/mode"]; mode != "gateway" {
		t.Errorf("the mode is %q", mode)
	}
	setStatus(pod, observed{address: &address{pod: netip.MustParseAddr("198.18.0.1")}, proxyReady: true, appReady: true}, metav1.Now())
	if s := pod.Status.ContainerStatuses; len(s) != 1 || s[0].Name != proxyContainer || !s[0].Ready {
		t.Errorf("%+v", s)
	}
}

func TestConditionsMoveOnlyWhenTheyChange(t *testing.T) {
	r, err := valid().understand()
	if err != nil {
		t.Fatal(err)
	}
	pod := newPod(r, nil)
	at := func(seconds int64) metav1.Time { return metav1.NewTime(time.Unix(seconds, 0)) }
	o := observed{address: &address{pod: netip.MustParseAddr("198.18.0.1")}, started: at(1), reason: "ProxyNotReady", message: "why"}
	ready := func() corev1.PodCondition {
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodReady {
				return c
			}
		}
		t.Fatal("no condition Ready")
		return corev1.PodCondition{}
	}
	setStatus(pod, o, at(1))
	if c := ready(); c.Status != corev1.ConditionFalse || c.Reason != "ProxyNotReady" || c.Message != "why" {
		t.Errorf("%+v", c)
	}
	o.message = "another reason"
	setStatus(pod, o, at(2))
	if c := ready(); c.LastTransitionTime != at(1) || c.Message != "another reason" {
		t.Errorf("%+v", c)
	}
	o.proxyReady, o.appReady, o.appRunning = true, true, true
	setStatus(pod, o, at(3))
	if c := ready(); c.Status != corev1.ConditionTrue || c.LastTransitionTime != at(3) || c.Reason != "" {
		t.Errorf("%+v", c)
	}
	if pod.Status.PodIP != "198.18.0.1" || pod.Status.Phase != corev1.PodRunning || !pod.Status.ContainerStatuses[0].Ready {
		t.Errorf("%+v", pod.Status)
	}
}

func TestWhatEndpointSlicesSay(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "this"}}
	of := func(uid types.UID, ready, serving *bool) discoveryv1.EndpointSlice {
		return discoveryv1.EndpointSlice{Endpoints: []discoveryv1.Endpoint{{
			TargetRef:  &corev1.ObjectReference{UID: uid},
			Conditions: discoveryv1.EndpointConditions{Ready: ready, Serving: serving},
		}}}
	}
	for name, test := range map[string]struct {
		slices         []discoveryv1.EndpointSlice
		serving, ready bool
	}{
		"in none":               {nil, false, false},
		"another Pod's":         {[]discoveryv1.EndpointSlice{of("other", ptr.To(true), nil)}, false, false},
		"ready":                 {[]discoveryv1.EndpointSlice{of("this", ptr.To(true), ptr.To(true))}, true, true},
		"unknown means ready":   {[]discoveryv1.EndpointSlice{of("this", nil, nil)}, true, true},
		"terminating":           {[]discoveryv1.EndpointSlice{of("this", ptr.To(false), ptr.To(true))}, true, false},
		"never was ready":       {[]discoveryv1.EndpointSlice{of("this", ptr.To(false), ptr.To(false))}, false, false},
		"one service behind":    {[]discoveryv1.EndpointSlice{of("this", ptr.To(false), ptr.To(true)), of("this", ptr.To(true), ptr.To(true))}, true, true},
		"serving as ready does": {[]discoveryv1.EndpointSlice{of("this", ptr.To(false), nil)}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			serving, ready := find(test.slices, pod)
			if serving != test.serving || ready != test.ready {
				t.Errorf("serving %t, ready %t", serving, ready)
			}
		})
	}
}

func TestTokenIsRenewedInTime(t *testing.T) {
	now := time.Unix(1000, 0)
	if got, want := renewAt(now, now.Add(time.Hour)), now.Add(48*time.Minute); !got.Equal(want) {
		t.Errorf("renewed at %s, not at %s", got, want)
	}
}
