package convert

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
)

const (
	injectionLabel   = v1alpha1.InjectionLabel
	injectionEnabled = "enabled"
)

// Workload returns the mesh's value of a Pod, nil for one that has no proxy of its own or
// none any more: on the host's network, finished, or without an address yet. The node, if
// it is known, gives the locality.
func Workload(pod *corev1.Pod, node *corev1.Node) *mesh.Workload {
	address, err := netip.ParseAddr(pod.Status.PodIP)
	finished := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	if err != nil || finished || pod.Spec.HostNetwork {
		return nil
	}
	value := &mesh.Workload{
		Namespace:      pod.Namespace,
		Name:           pod.Name,
		ServiceAccount: cmp.Or(pod.Spec.ServiceAccountName, "default"),
		Labels:         pod.Labels,
		Address:        address.Unmap(),
		HasIPv6:        hasIPv6(pod),
		Node:           pod.Spec.NodeName,
		Ready:          isReady(pod),
		Gateway:        pod.Annotations[v1alpha1.ModeAnnotation] == v1alpha1.ModeGateway,
		Explicit:       pod.Annotations[v1alpha1.ModeAnnotation] == v1alpha1.ModeExplicit,
		Ports:          containerPorts(pod),

		HasCertificates: pod.Labels[v1alpha1.TLSModeLabel] == v1alpha1.TLSModeMutual,
	}
	if value.Gateway {
		value.Explicit = mesh.PodRange().Contains(value.Address) // without a cluster
	}
	// What cannot be read is left out; controllers log MTLSMode's error.
	value.MTLS, _ = MTLSMode(pod.Annotations)
	if node != nil {
		value.Locality = Locality(node)
	}
	if value.Explicit {
		// What cannot be read is left out; controllers log OutboundTCP's error.
		value.OutboundTCP, _ = OutboundTCP(pod.Annotations[v1alpha1.OutboundTCPAnnotation])
	}
	return value
}

// MTLSMode reads the mode in the annotations of a Pod or Namespace, if there is one.
func MTLSMode(annotations map[string]string) (mesh.MTLSMode, error) {
	text := annotations[v1alpha1.MTLSAnnotation]
	mode := mesh.MTLSMode(strings.ToUpper(text))
	switch mode {
	case "", mesh.MTLSStrict, mesh.MTLSPermissive, mesh.MTLSDisable:
		return mode, nil
	}
	return "", fmt.Errorf("annotation %s is %q: write STRICT, PERMISSIVE or DISABLE", v1alpha1.MTLSAnnotation, text)
}

// Locality returns where a node is, by Kubernetes' own labels and, within a zone, by Istio's.
func Locality(node *corev1.Node) mesh.Locality {
	return mesh.Locality{
		Region:  node.Labels[mesh.LabelRegion],
		Zone:    node.Labels[mesh.LabelZone],
		Subzone: node.Labels[mesh.LabelSubzone],
	}
}

func isReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(condition corev1.PodCondition) bool {
		return condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue
	})
}

// hasIPv6 looks at all of a Pod's addresses: in a dual-stack cluster it has one of each
// family, and which comes first is the cluster's choice.
func hasIPv6(pod *corev1.Pod) bool {
	isIPv6 := func(text string) bool {
		address, err := netip.ParseAddr(text)
		return err == nil && address.Unmap().Is6()
	}
	return isIPv6(pod.Status.PodIP) ||
		slices.ContainsFunc(pod.Status.PodIPs, func(ip corev1.PodIP) bool { return isIPv6(ip.IP) })
}

// containerPorts returns the TCP ports that the containers declare, by number.
func containerPorts(pod *corev1.Pod) []mesh.WorkloadPort {
	var ports []mesh.WorkloadPort
	for i := range pod.Spec.Containers {
		for _, port := range pod.Spec.Containers[i].Ports {
			if number, valid := portNumber(port.ContainerPort); valid && isTCP(port.Protocol) {
				ports = append(ports, mesh.WorkloadPort{Number: number, Protocol: protocolOf(nil, port.Name)})
			}
		}
	}
	slices.SortStableFunc(ports, func(a, b mesh.WorkloadPort) int { return cmp.Compare(a.Number, b.Number) })
	return slices.CompactFunc(ports, func(a, b mesh.WorkloadPort) bool { return a.Number == b.Number })
}

// OutboundTCP reads the annotation of the listeners that an explicit workload wants:
// "<fqdn>:<port>=<listen port>", comma-separated. It returns the entries that can be used,
// by listen port, and an error that names the others.
func OutboundTCP(annotation string) ([]mesh.OutboundTCP, error) {
	var wanted []mesh.OutboundTCP
	var faults []error
	for entry := range strings.SplitSeq(annotation, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		one, err := outboundTCP(entry)
		if err == nil && slices.ContainsFunc(wanted, func(other mesh.OutboundTCP) bool { return other.ListenPort == one.ListenPort }) {
			err = fmt.Errorf("port %d is taken by an earlier entry", one.ListenPort)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("annotation %s: entry %q: %w", v1alpha1.OutboundTCPAnnotation, entry, err))
			continue
		}
		wanted = append(wanted, one)
	}
	slices.SortFunc(wanted, func(a, b mesh.OutboundTCP) int { return cmp.Compare(a.ListenPort, b.ListenPort) })
	return wanted, errors.Join(faults...)
}

func outboundTCP(entry string) (mesh.OutboundTCP, error) {
	const form = "write <fqdn>:<port>=<listen port>"
	target, listen, found := strings.Cut(entry, "=")
	host, port, alsoFound := strings.Cut(target, ":")
	if !found || !alsoFound || host == "" {
		return mesh.OutboundTCP{}, errors.New(form)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return mesh.OutboundTCP{}, fmt.Errorf("%q is not a port: %s", port, form)
	}
	listenNumber, err := strconv.ParseUint(listen, 10, 16)
	if err != nil || listenNumber == 0 {
		return mesh.OutboundTCP{}, fmt.Errorf("%q is not a port: %s", listen, form)
	}
	return mesh.OutboundTCP{Host: strings.ToLower(host), Port: uint16(number), ListenPort: uint16(listenNumber)}, nil
}
