package convert

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
)

// Service returns the mesh's value of a Service, nil for one that names a host elsewhere
// (ExternalName) and has no port by which that is called. Ports of other protocols than TCP are left out.
func Service(service *corev1.Service, options Options) *mesh.Service {
	value := &mesh.Service{
		Origin:    origin(KindService, service),
		Host:      mesh.ServiceHost(service.Name, service.Namespace, options.ClusterDomain),
		Name:      service.Name,
		Namespace: service.Namespace,
		Headless:  service.Spec.ClusterIP == corev1.ClusterIPNone,
		ExportTo:  exportTo(namespaces(service.Annotations[v1alpha1.ExportToAnnotation]), service.Namespace),
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
	if service.Spec.Type == corev1.ServiceTypeExternalName && !isElsewhere(value, service, options) {
		return nil
	}
	slices.SortStableFunc(value.Ports, func(a, b mesh.ServicePort) int { return cmp.Compare(a.Number, b.Number) })
	value.Prefer = preferred(orElse(service.Spec.TrafficDistribution, ""))
	return value
}

// preferred returns the labels by which endpoints near to the caller are preferred. Where the
// nearest circle has none, there is the next.
func preferred(distribution string) []string {
	switch distribution {
	case corev1.ServiceTrafficDistributionPreferSameNode:
		return []string{mesh.LabelRegion, mesh.LabelZone, mesh.LabelNode}
	case corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameZone:
		return []string{mesh.LabelRegion, mesh.LabelZone}
	}
	return nil
}

// isElsewhere makes a service a name for a host elsewhere, if it has ports by which it can be
// called: another service of the mesh, or what the DNS finds.
func isElsewhere(value *mesh.Service, service *corev1.Service, options Options) bool {
	name := strings.ToLower(strings.TrimSuffix(service.Spec.ExternalName, "."))
	value.Resolution = mesh.ByDNS
	if strings.HasSuffix(name, ".svc."+cmp.Or(options.ClusterDomain, mesh.DefaultClusterDomain)) {
		value.AliasOf = name
	}
	for _, port := range value.Ports {
		one := mesh.Endpoint{PortName: port.Name, Port: port.Number, Ready: true, Serving: true, Name: name}
		if address, err := netip.ParseAddr(name); err == nil {
			one.Address, one.Name = address.Unmap(), ""
		}
		value.Endpoints = append(value.Endpoints, one)
	}
	return len(value.Ports) > 0
}

// namespaces reads a list with commas.
func namespaces(text string) []string {
	if text == "" {
		return nil
	}
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

// Namespace returns the mesh's value of a Namespace.
func Namespace(namespace *corev1.Namespace) *mesh.Namespace {
	// What cannot be read is left out; controllers log MTLSMode's error.
	mode, _ := MTLSMode(namespace.Annotations)
	return &mesh.Namespace{Name: namespace.Name, Meshed: namespace.Labels[injectionLabel] == injectionEnabled, MTLS: mode,
		Sees: namespaces(namespace.Annotations[v1alpha1.SeesAnnotation])}
}

// protocols are the words for protocols in appProtocol, and in port names before the
// first hyphen, as Istio reads them.
var protocols = map[string]mesh.Protocol{
	"http":     mesh.HTTP,
	"http2":    mesh.HTTP2,
	"grpc":     mesh.GRPC,
	"grpc-web": mesh.HTTP, // a translation of gRPC for browsers, over HTTP/1.1 or HTTP/2
	// The words that Kubernetes itself defines, KEP-3726.
	"kubernetes.io/h2c": mesh.HTTP2,
	"kubernetes.io/ws":  mesh.HTTP,

	"tcp": mesh.TCP,
	// TLS that is passed through.
	"https": mesh.TLS,
	"tls":   mesh.TLS,
	// Others that Istio reads.
	"mongo": mesh.TCP,
	"mysql": mesh.TCP,
	"redis": mesh.TCP,
	// Servers of these speak first, and would wait for their clients to say nothing.
	"ftp":  mesh.TCP,
	"imap": mesh.TCP,
	"pop3": mesh.TCP,
	"smtp": mesh.TCP,
	"ssh":  mesh.TCP,
}

// protocolOf returns the protocol of a port: appProtocol decides where it is set, else the
// port's name ("http", "grpc-admin"). Names are for people, so that one which is not
// listed says nothing; appProtocol is for protocols only, so that it says not HTTP.
func protocolOf(appProtocol *string, name string) mesh.Protocol {
	if appProtocol != nil && *appProtocol != "" {
		return cmp.Or(protocols[protocolWord(*appProtocol)], mesh.TCP)
	}
	return cmp.Or(protocols[protocolWord(name)], mesh.Unknown)
}

func protocolWord(text string) string {
	text = strings.ToLower(text)
	if strings.HasPrefix(text, "grpc-web") {
		return "grpc-web"
	}
	word, _, _ := strings.Cut(text, "-")
	return word
}

// isTCP reports whether a port is one of TCP, which is also what an empty protocol means.
func isTCP(protocol corev1.Protocol) bool { return protocol == "" || protocol == corev1.ProtocolTCP }

func portNumber(number int32) (uint16, bool) {
	return uint16(number), number >= 1 && number <= 65535
}
