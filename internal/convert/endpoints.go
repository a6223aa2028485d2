package convert

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"fairlead.dev/fairlead/internal/mesh"
)

// Endpoints returns the endpoints of a slice and the host that they serve; the host is
// empty for a slice that belongs to no Service. Labels and the region come later: the
// Store takes them from the Pod that an endpoint names.
func Endpoints(slice *discoveryv1.EndpointSlice, options Options) (host string, endpoints []mesh.Endpoint) {
	service := slice.Labels[discoveryv1.LabelServiceName]
	if service == "" {
		return "", nil
	}
	host = mesh.ServiceHost(service, slice.Namespace, options.ClusterDomain)
	if slice.AddressType == discoveryv1.AddressTypeFQDN {
		return host, nil // deprecated in Kubernetes, and nothing to connect to
	}
	for i := range slice.Endpoints {
		endpoints = append(endpoints, endpointsOf(slice, &slice.Endpoints[i])...)
	}
	return host, endpoints
}

// endpointsOf returns one endpoint for each port of the slice.
func endpointsOf(slice *discoveryv1.EndpointSlice, endpoint *discoveryv1.Endpoint) []mesh.Endpoint {
	if len(endpoint.Addresses) == 0 {
		return nil
	}
	// All addresses of an endpoint reach the same; clients may use the first alone.
	address, err := netip.ParseAddr(endpoint.Addresses[0])
	if err != nil {
		return nil
	}
	common := mesh.Endpoint{
		Address: address.Unmap(),
		// Unset means true, true and false, as the API's documentation has it.
		Ready:       orElse(endpoint.Conditions.Ready, true),
		Serving:     orElse(endpoint.Conditions.Serving, true),
		Terminating: orElse(endpoint.Conditions.Terminating, false),
		Hostname:    orElse(endpoint.Hostname, ""),
		Locality:    mesh.Locality{Zone: orElse(endpoint.Zone, "")},
		Node:        orElse(endpoint.NodeName, ""),
	}
	if pod := endpoint.TargetRef; pod != nil && pod.Kind == "Pod" {
		common.Workload = mesh.NamespacedName{Namespace: slice.Namespace, Name: pod.Name}
		if pod.Namespace != "" {
			common.Workload.Namespace = pod.Namespace
		}
	}
	var endpoints []mesh.Endpoint
	for _, port := range slice.Ports {
		// A port without a number would mean all of them, which no Service has.
		number, valid := portNumber(orElse(port.Port, 0))
		if !isTCP(orElse(port.Protocol, corev1.ProtocolTCP)) || !valid {
			continue
		}
		one := common
		one.Port, one.PortName = number, orElse(port.Name, "")
		endpoints = append(endpoints, one)
	}
	return endpoints
}

func orElse[V any](value *V, unset V) V {
	if value == nil {
		return unset
	}
	return *value
}
