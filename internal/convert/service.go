package convert

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/internal/mesh"
)

// Service returns the mesh's value of a Service, nil for one that only names a host
// elsewhere (ExternalName). Ports of other protocols than TCP are left out.
func Service(service *corev1.Service, options Options) *mesh.Service {
	if service.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	value := &mesh.Service{
		Origin:    origin(KindService, service),
		Host:      mesh.ServiceHost(service.Name, service.Namespace, options.ClusterDomain),
		Name:      service.Name,
		Namespace: service.Namespace,
		Headless:  service.Spec.ClusterIP == corev1.ClusterIPNone,
	}
	addresses := service.Spec.ClusterIPs
	if len(addresses) == 0 {
		addresses = []string{service.Spec.ClusterIP} // objects that did not pass the API server
	}
	for _, text := range addresses {
		if address, err := netip.ParseAddr(text); err == nil { // not "None", nor "" before it is allocated
			value.Addresses = append(value.Addresses, address.Unmap())
		}
	}
	for _, port := range service.Spec.Ports {
		number, valid := portNumber(port.Port)
		if !isTCP(port.Protocol) || !valid {
			continue
		}
		value.Ports = append(value.Ports, mesh.ServicePort{
			Name: port.Name, Number: number, Protocol: protocolOf(port.AppProtocol, port.Name),
		})
	}
	slices.SortStableFunc(value.Ports, func(a, b mesh.ServicePort) int { return cmp.Compare(a.Number, b.Number) })
	return value
}

// Namespace returns the mesh's value of a Namespace.
func Namespace(namespace *corev1.Namespace) *mesh.Namespace {
	return &mesh.Namespace{Name: namespace.Name, Meshed: namespace.Labels[injectionLabel] == injectionEnabled}
}

// protocols are the words for protocols in appProtocol, and in port names before the
// first hyphen, as Istio reads them. What is not listed is carried as TCP: TLS that is
// passed through, databases, and everything unknown.
var protocols = map[string]mesh.Protocol{
	"http":     mesh.HTTP,
	"http2":    mesh.HTTP2,
	"grpc":     mesh.GRPC,
	"grpc-web": mesh.HTTP, // a translation of gRPC for browsers, over HTTP/1.1 or HTTP/2
	// The words that Kubernetes itself defines, KEP-3726.
	"kubernetes.io/h2c": mesh.HTTP2,
	"kubernetes.io/ws":  mesh.HTTP,
}

// protocolOf returns the protocol of a port: appProtocol decides where it is set, else the
// port's name ("http", "grpc-admin").
func protocolOf(appProtocol *string, name string) mesh.Protocol {
	word := name
	if appProtocol != nil && *appProtocol != "" {
		word = *appProtocol
	}
	word = strings.ToLower(word)
	if !strings.HasPrefix(word, "grpc-web") {
		word, _, _ = strings.Cut(word, "-")
	} else {
		word = "grpc-web"
	}
	return cmp.Or(protocols[word], mesh.TCP)
}

// isTCP reports whether a port is one of TCP, which is also what an empty protocol means.
func isTCP(protocol corev1.Protocol) bool { return protocol == "" || protocol == corev1.ProtocolTCP }

func portNumber(number int32) (uint16, bool) {
	return uint16(number), number >= 1 && number <= 65535
}
