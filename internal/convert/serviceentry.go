package convert

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
	"fairlead.dev/fairlead/internal/validate"
)

// Entry returns the hosts that the object adds, and what is wrong with it. There is no entry
// where a finding of topic Acceptance is among them.
func Entry(object *v1alpha1.ServiceEntry, options Options) (*mesh.Entry, []message.Finding) {
	findings := validate.ServiceEntry(object, options)
	if refused(findings) {
		return nil, findings
	}
	entry := &mesh.Entry{Origin: origin(KindServiceEntry, object)}
	for _, host := range object.Spec.Hosts {
		entry.Services = append(entry.Services, entryService(object, entry.Origin, strings.ToLower(host)))
	}
	return entry, findings
}

var resolutions = map[v1alpha1.ServiceEntryResolution]mesh.Resolution{
	"":                               mesh.AsCalled,
	v1alpha1.ResolutionNone:          mesh.AsCalled,
	v1alpha1.ResolutionStatic:        mesh.ByAddress,
	v1alpha1.ResolutionDNS:           mesh.ByDNS,
	v1alpha1.ResolutionDNSRoundRobin: mesh.ByOneOfDNS,
}

func entryService(object *v1alpha1.ServiceEntry, from mesh.Origin, host string) *mesh.Service {
	spec := &object.Spec
	service := &mesh.Service{
		Origin:          from,
		Host:            host,
		Namespace:       object.Namespace,
		ExportTo:        exportTo(spec.ExportTo, object.Namespace),
		Resolution:      resolutions[spec.Resolution],
		External:        spec.Location != v1alpha1.MeshInternal,
		SubjectAltNames: spec.SubjectAltNames,
	}
	for _, text := range spec.Addresses {
		if address, err := netip.ParseAddr(text); err == nil {
			service.Addresses = append(service.Addresses, address.Unmap())
		} else if prefix, err := netip.ParsePrefix(text); err == nil && prefix.IsSingleIP() {
			service.Addresses = append(service.Addresses, prefix.Addr().Unmap())
		} else if err == nil {
			service.Ranges = append(service.Ranges, prefix.Masked())
		}
	}
	for i := range spec.Ports {
		port := &spec.Ports[i]
		service.Ports = append(service.Ports, mesh.ServicePort{
			Name: port.Name, Number: uint16(port.Number), TargetPort: uint16(port.TargetPort),
			Protocol: protocolOf(&port.Protocol, port.Name),
		})
	}
	slices.SortStableFunc(service.Ports, func(a, b mesh.ServicePort) int { return cmp.Compare(a.Number, b.Number) })
	if selector := spec.WorkloadSelector; selector != nil {
		// Pods are found by address, whatever the resolution.
		service.Resolution, service.Selector = mesh.ByAddress, map[string]string{}
		for name, value := range selector.Labels {
			service.Selector[name] = string(value)
		}
		return service
	}
	for i := range spec.Endpoints {
		service.Endpoints = append(service.Endpoints, entryEndpoints(service, &spec.Endpoints[i])...)
	}
	if service.Resolution != mesh.ByAddress && len(spec.Endpoints) == 0 && !mesh.IsWildcard(host) {
		service.Endpoints = entryEndpoints(service, &v1alpha1.WorkloadEndpoint{Address: host})
	}
	return service
}

// entryEndpoints returns one endpoint for each port of the service.
func entryEndpoints(service *mesh.Service, from *v1alpha1.WorkloadEndpoint) []mesh.Endpoint {
	common := mesh.Endpoint{Labels: from.Labels, Weight: uint32(from.Weight), Ready: true, Serving: true}
	if address, err := netip.ParseAddr(from.Address); err == nil {
		common.Address = address.Unmap()
	} else {
		common.Name = from.Address
	}
	parts := append(strings.Split(from.Locality, "/"), "", "")
	common.Locality = mesh.Locality{Region: parts[0], Zone: parts[1], Subzone: parts[2]}
	if from.Labels[v1alpha1.TLSModeLabel] == v1alpha1.TLSModeMutual && !service.External {
		common.MTLS = mesh.MTLSPermissive
		common.Account = mesh.NamespacedName{Namespace: service.Namespace, Name: cmp.Or(from.ServiceAccount, "default")}
	}
	var endpoints []mesh.Endpoint
	for _, port := range service.Ports {
		one := common
		one.PortName = port.Name
		one.Port = cmp.Or(uint16(from.Ports[port.Name]), port.TargetPort, port.Number)
		endpoints = append(endpoints, one)
	}
	return endpoints
}
