package convert_test

import (
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/mesh"
)

func TestWorkload(t *testing.T) {
	node := decode[corev1.Node](t, `{metadata: {name: n, labels: {topology.kubernetes.io/region: west, topology.kubernetes.io/zone: west-1a}}}`)
	for name, test := range map[string]struct {
		pod  string
		node *corev1.Node
		want *mesh.Workload
	}{
		"that is ready, with its ports by number": {
			pod: `metadata: {name: reviews-v1, namespace: prod, labels: {app: reviews}},
				spec: {serviceAccountName: reviews, containers: [
					{ports: [{containerPort: 9081, name: grpc}, {containerPort: 9080, name: http-web}]},
					{ports: [{containerPort: 9080}, {containerPort: 53, protocol: UDP}, {containerPort: 5432, name: tcp}]}]},
				status: {phase: Running, podIP: 10.1.0.7, conditions: [{type: Ready, status: "True"}]}`,
			node: node,
			want: &mesh.Workload{
				Namespace: "prod", Name: "reviews-v1", ServiceAccount: "reviews", Labels: map[string]string{"app": "reviews"},
				Address: netip.MustParseAddr("10.1.0.7"), Locality: mesh.Locality{Region: "west", Zone: "west-1a"}, Ready: true,
				Ports: []mesh.WorkloadPort{{Number: 5432, Protocol: mesh.TCP}, {Number: 9080, Protocol: mesh.HTTP}, {Number: 9081, Protocol: mesh.GRPC}},
			},
		},
		"that is not ready, on an unknown node": {
			pod:  `metadata: {name: p, namespace: prod}, status: {podIP: "fd00::7", conditions: [{type: Ready, status: "False"}, {type: Initialized, status: "True"}]}`,
			want: &mesh.Workload{Namespace: "prod", Name: "p", ServiceAccount: "default", Address: netip.MustParseAddr("fd00::7"), HasIPv6: true},
		},
		"with an address of each family": {
			pod:  `metadata: {name: p, namespace: prod}, status: {podIP: 10.1.0.7, podIPs: [{ip: 10.1.0.7}, {ip: "fd00::7"}]}`,
			want: &mesh.Workload{Namespace: "prod", Name: "p", ServiceAccount: "default", Address: netip.MustParseAddr("10.1.0.7"), HasIPv6: true},
		},
		"with two addresses of one family, one of them mapped": {
			pod:  `metadata: {name: p, namespace: prod}, status: {podIP: 10.1.0.7, podIPs: [{ip: 10.1.0.7}, {ip: "::ffff:10.2.0.7"}]}`,
			want: &mesh.Workload{Namespace: "prod", Name: "p", ServiceAccount: "default", Address: netip.MustParseAddr("10.1.0.7")},
		},
		"whose proxy is called by address": {
			pod: `metadata: {name: p, namespace: prod, annotations: {mesh.fairlead.dev/mode: explicit,
				mesh.fairlead.dev/outbound-tcp: "db.prod.svc.cluster.local:5432=15432"}}, status: {podIP: 198.18.0.7}`,
			want: &mesh.Workload{
				Namespace: "prod", Name: "p", ServiceAccount: "default", Address: netip.MustParseAddr("198.18.0.7"), Explicit: true,
				OutboundTCP: []mesh.OutboundTCP{{Host: "db.prod.svc.cluster.local", Port: 5432, ListenPort: 15432}},
			},
		},
		"that ends, as long as it is there": {
			pod:  `metadata: {name: p, namespace: prod, deletionTimestamp: "2026-01-01T00:00:00Z"}, status: {phase: Running, podIP: 10.1.0.7}`,
			want: &mesh.Workload{Namespace: "prod", Name: "p", ServiceAccount: "default", Address: netip.MustParseAddr("10.1.0.7")},
		},
		"without an address yet":  {pod: `metadata: {name: p}, status: {phase: Pending}`},
		"on the host's network":   {pod: `metadata: {name: p}, spec: {hostNetwork: true, containers: []}, status: {podIP: 10.0.0.1}`},
		"that has ended":          {pod: `metadata: {name: p}, status: {phase: Succeeded, podIP: 10.1.0.7}`},
		"that has ended in error": {pod: `metadata: {name: p}, status: {phase: Failed, podIP: 10.1.0.7}`},
	} {
		t.Run(name, func(t *testing.T) {
			same(t, convert.Workload(decode[corev1.Pod](t, "{"+test.pod+"}"), test.node), test.want)
		})
	}
}

func TestOutboundTCP(t *testing.T) {
	for annotation, test := range map[string]struct {
		want   []mesh.OutboundTCP
		faults []string
	}{
		"": {},
		"db.prod.svc.cluster.local:5432=15432": {
			want: []mesh.OutboundTCP{{Host: "db.prod.svc.cluster.local", Port: 5432, ListenPort: 15432}},
		},
		" B.svc:2=20 , a.svc:1=10,": {
			want: []mesh.OutboundTCP{{Host: "a.svc", Port: 1, ListenPort: 10}, {Host: "b.svc", Port: 2, ListenPort: 20}},
		},
		"a.svc:1=10,b.svc:1=10": {
			want:   []mesh.OutboundTCP{{Host: "a.svc", Port: 1, ListenPort: 10}},
			faults: []string{`entry "b.svc:1=10": port 10 is taken`},
		},
		"a.svc,a.svc:1,a.svc=1,:1=1,a.svc:0=1,a.svc:1=0,a.svc:65536=1,a.svc:1=x,ok.svc:1=2": {
			want: []mesh.OutboundTCP{{Host: "ok.svc", Port: 1, ListenPort: 2}},
			faults: []string{
				`entry "a.svc": write`, `entry "a.svc:1": write`, `entry "a.svc=1": write`, `entry ":1=1": write`,
				`"0" is not a port`, `entry "a.svc:1=0"`, `"65536" is not a port`, `"x" is not a port`,
			},
		},
	} {
		t.Run(annotation, func(t *testing.T) {
			wanted, err := convert.OutboundTCP(annotation)
			same(t, wanted, test.want)
			if (err != nil) != (len(test.faults) > 0) {
				t.Fatalf("error %v, want one of %v", err, test.faults)
			}
			for _, fault := range test.faults {
				if !strings.Contains(err.Error(), fault) || !strings.Contains(err.Error(), "mesh.fairlead.dev/outbound-tcp") {
					t.Errorf("%v does not say %s", err, fault)
				}
			}
		})
	}
}
