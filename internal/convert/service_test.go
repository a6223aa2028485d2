package convert_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/mesh"
)

// decode reads an object as a person writes it.
func decode[T any](t *testing.T, text string) *T {
	t.Helper()
	object := new(T)
	if err := yaml.UnmarshalStrict([]byte(text), object); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return object
}

// same compares mesh values; addresses compare by value.
func same(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("wanted (-), got (+):\n%s", diff)
	}
}

func addresses(texts ...string) []netip.Addr {
	var all []netip.Addr
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

func TestService(t *testing.T) {
	for name, test := range map[string]struct {
		spec string
		want *mesh.Service
	}{
		"of two ports, by number": {
			spec: `{clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7], ports: [{name: grpc-admin, port: 9090}, {name: http, port: 80, protocol: TCP}]}`,
			want: &mesh.Service{
				Addresses: addresses("10.96.0.7"),
				Ports: []mesh.ServicePort{
					{Name: "http", Number: 80, Protocol: mesh.HTTP},
					{Name: "grpc-admin", Number: 9090, Protocol: mesh.GRPC},
				},
			},
		},
		"of two address families": {
			spec: `{clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7, "fd00::7"], ports: [{port: 5432}]}`,
			want: &mesh.Service{
				Addresses: addresses("10.96.0.7", "fd00::7"),
				Ports:     []mesh.ServicePort{{Number: 5432, Protocol: mesh.Unknown}},
			},
		},
		"without a virtual address": {
			spec: `{clusterIP: None, clusterIPs: [None], ports: [{name: http, port: 80}]}`,
			want: &mesh.Service{
				Headless: true,
				Ports:    []mesh.ServicePort{{Name: "http", Number: 80, Protocol: mesh.HTTP}},
			},
		},
		"with its address still to come": {
			spec: `{ports: [{name: http, port: 80}]}`,
			want: &mesh.Service{Ports: []mesh.ServicePort{{Name: "http", Number: 80, Protocol: mesh.HTTP}}},
		},
		"with ports that are not TCP, and one number in two protocols": {
			spec: `{clusterIP: 10.96.0.10, ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}, {name: s, port: 54, protocol: SCTP}]}`,
			want: &mesh.Service{
				Addresses: addresses("10.96.0.10"),
				Ports:     []mesh.ServicePort{{Name: "dns-tcp", Number: 53, Protocol: mesh.Unknown}},
			},
		},
		"without ports": {
			spec: `{clusterIP: None}`,
			want: &mesh.Service{Headless: true},
		},
		"that only names another host": {
			spec: `{type: ExternalName, externalName: db.example.com}`,
			want: nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			service := decode[corev1.Service](t, `{metadata: {name: reviews, namespace: prod}, spec: `+test.spec+`}`)
			if test.want != nil {
				test.want.Origin.ObjectID = mesh.ObjectID{Kind: "Service", Namespace: "prod", Name: "reviews"}
				test.want.Host, test.want.Name, test.want.Namespace = "reviews.prod.svc.example.org", "reviews", "prod"
			}
			same(t, convert.Service(service, convert.Options{ClusterDomain: "example.org"}), test.want)
		})
	}
}

func TestServiceOfTheUsualDomain(t *testing.T) {
	service := convert.Service(decode[corev1.Service](t, `{metadata: {name: reviews, namespace: prod}}`), convert.Options{})
	if service.Host != "reviews.prod.svc.cluster.local" {
		t.Errorf("host %s", service.Host)
	}
}

func TestPortProtocol(t *testing.T) {
	for _, test := range []struct {
		port string
		want mesh.Protocol
	}{
		{`name: http`, mesh.HTTP},
		{`name: http-web`, mesh.HTTP},
		{`name: HTTP`, mesh.HTTP},
		{`name: httpweb`, mesh.Unknown},
		{`name: https`, mesh.TLS},
		{`name: https-web`, mesh.TLS},
		{`name: http2`, mesh.HTTP2},
		{`name: http2-web`, mesh.HTTP2},
		{`name: grpc`, mesh.GRPC},
		{`name: grpc-admin`, mesh.GRPC},
		{`name: grpc-web`, mesh.HTTP},
		{`name: grpc-web-x`, mesh.HTTP},
		{`name: tcp`, mesh.TCP},
		{`name: tls`, mesh.TLS},
		{`name: mongo`, mesh.TCP},
		{`name: mysql-primary`, mesh.TCP},
		{`name: SMTP`, mesh.TCP},
		{`name: ""`, mesh.Unknown},
		{`name: web`, mesh.Unknown},
		{`name: x, appProtocol: http`, mesh.HTTP},
		{`name: x, appProtocol: HTTP`, mesh.HTTP},
		{`name: x, appProtocol: http2`, mesh.HTTP2},
		{`name: x, appProtocol: grpc`, mesh.GRPC},
		{`name: x, appProtocol: kubernetes.io/h2c`, mesh.HTTP2},
		{`name: x, appProtocol: kubernetes.io/ws`, mesh.HTTP},
		{`name: x, appProtocol: kubernetes.io/wss`, mesh.TCP},
		{`name: x, appProtocol: https`, mesh.TLS},
		{`name: http, appProtocol: tcp`, mesh.TCP},
		{`name: http, appProtocol: redis`, mesh.TCP},
		{`name: http, appProtocol: mysql`, mesh.TCP},
		{`name: http, appProtocol: example.com/private`, mesh.TCP},
		{`name: http, appProtocol: ""`, mesh.HTTP},
	} {
		t.Run(test.port, func(t *testing.T) {
			service := convert.Service(decode[corev1.Service](t, `{spec: {ports: [{port: 80, `+test.port+`}]}}`), convert.Options{})
			if got := service.Ports[0].Protocol; got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestNamespace(t *testing.T) {
	for labels, want := range map[string]bool{
		`{mesh.fairlead.dev/injection: enabled}`:  true,
		`{mesh.fairlead.dev/injection: disabled}`: false,
		`{}`: false,
	} {
		namespace := decode[corev1.Namespace](t, `{metadata: {name: prod, labels: `+labels+`}}`)
		same(t, convert.Namespace(namespace), &mesh.Namespace{Name: "prod", Meshed: want})
	}
}

func TestEndpoints(t *testing.T) {
	const host = "reviews.prod.svc.cluster.local"
	pod := mesh.NamespacedName{Namespace: "prod", Name: "reviews-v1"}
	for name, test := range map[string]struct {
		slice string
		host  string
		want  []mesh.Endpoint
	}{
		"of a Pod": {
			slice: `addressType: IPv4, ports: [{name: http, port: 9080, protocol: TCP}], endpoints: [{addresses: [10.1.0.7],
				conditions: {ready: true, serving: true, terminating: false}, zone: west-1a, targetRef: {kind: Pod, name: reviews-v1, namespace: prod}}]`,
			host: host,
			want: []mesh.Endpoint{{
				Address: netip.MustParseAddr("10.1.0.7"), PortName: "http", Port: 9080, Ready: true, Serving: true,
				Locality: mesh.Locality{Zone: "west-1a"}, Workload: pod,
			}},
		},
		"whose conditions are unknown": {
			slice: `addressType: IPv4, ports: [{port: 9080}], endpoints: [{addresses: [10.1.0.7]}]`,
			host:  host,
			want:  []mesh.Endpoint{{Address: netip.MustParseAddr("10.1.0.7"), Port: 9080, Ready: true, Serving: true}},
		},
		"that ends, and still serves": {
			slice: `addressType: IPv4, ports: [{port: 9080}], endpoints: [{addresses: [10.1.0.7], conditions: {ready: false, serving: true, terminating: true}}]`,
			host:  host,
			want:  []mesh.Endpoint{{Address: netip.MustParseAddr("10.1.0.7"), Port: 9080, Serving: true, Terminating: true}},
		},
		"with several ports and addresses: each port, the first address": {
			slice: `addressType: IPv4, ports: [{name: a, port: 1}, {name: b, port: 2}], endpoints: [{addresses: [10.1.0.7, 10.1.0.8]}]`,
			host:  host,
			want: []mesh.Endpoint{
				{Address: netip.MustParseAddr("10.1.0.7"), PortName: "a", Port: 1, Ready: true, Serving: true},
				{Address: netip.MustParseAddr("10.1.0.7"), PortName: "b", Port: 2, Ready: true, Serving: true},
			},
		},
		"of IPv6": {
			slice: `addressType: IPv6, ports: [{port: 1}], endpoints: [{addresses: ["fd00::7"]}]`,
			host:  host,
			want:  []mesh.Endpoint{{Address: netip.MustParseAddr("fd00::7"), Port: 1, Ready: true, Serving: true}},
		},
		"whose Pod's namespace is left out": {
			slice: `addressType: IPv4, ports: [{port: 1}], endpoints: [{addresses: [10.1.0.7], targetRef: {kind: Pod, name: reviews-v1}}]`,
			host:  host,
			want:  []mesh.Endpoint{{Address: netip.MustParseAddr("10.1.0.7"), Port: 1, Ready: true, Serving: true, Workload: pod}},
		},
		"that are no Pods": {
			slice: `addressType: IPv4, ports: [{port: 1}], endpoints: [{addresses: [10.1.0.7], targetRef: {kind: Node, name: n}}]`,
			host:  host,
			want:  []mesh.Endpoint{{Address: netip.MustParseAddr("10.1.0.7"), Port: 1, Ready: true, Serving: true}},
		},
		"with nothing to connect to": {
			slice: `addressType: IPv4, ports: [{port: 53, protocol: UDP}, {name: all}], endpoints: [{addresses: [10.1.0.7]}, {addresses: []}]`,
			host:  host,
		},
		"by name": {
			slice: `addressType: FQDN, ports: [{port: 1}], endpoints: [{addresses: [db.example.com]}]`,
			host:  host,
		},
	} {
		t.Run(name, func(t *testing.T) {
			slice := decode[discoveryv1.EndpointSlice](t, `{metadata: {name: s, namespace: prod, labels: {kubernetes.io/service-name: reviews}}, `+test.slice+`}`)
			host, endpoints := convert.Endpoints(slice, convert.Options{})
			if host != test.host {
				t.Errorf("host %q, want %q", host, test.host)
			}
			same(t, endpoints, test.want)
		})
	}
}

func TestEndpointsOfNoService(t *testing.T) {
	slice := decode[discoveryv1.EndpointSlice](t, `{metadata: {namespace: prod}, addressType: IPv4, ports: [{port: 1}], endpoints: [{addresses: [10.1.0.7]}]}`)
	if host, endpoints := convert.Endpoints(slice, convert.Options{}); host != "" || endpoints != nil {
		t.Errorf("%q: %v", host, endpoints)
	}
}
