package translate

import (
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"fairlead.dev/fairlead/internal/mesh"
)

// podHost is the host of one Pod of a headless service, as the DNS of Kubernetes has it.
func podHost(pod string, service *mesh.Service) string { return pod + "." + service.Host }

// namesIn returns the names by which clients in a namespace call a service.
func namesIn(service *mesh.Service, namespace string) []string {
	if service.Name == "" {
		return []string{service.Host}
	}
	return service.AliasesIn(namespace)
}

// podNames returns the names by which clients in a namespace call one Pod.
func podNames(pod string, service *mesh.Service, namespace string) []string {
	names := namesIn(service, namespace)
	pods := make([]string, len(names))
	for i, name := range names {
		pods[i] = pod + "." + name
	}
	return pods
}

// ofPod returns the routes of one Pod of the host: whoever calls it by name wants no other.
func (r *hostRoutes) ofPod(pod string) *hostRoutes {
	of := *r
	of.host, of.table = podHost(pod, r.service), nil
	return &of
}

// podScopes adds the routes of the Pods of a headless service that have names, for proxies
// that are called by address.
func (b *build) podScopes(r *hostRoutes) {
	if r.service == nil || !r.service.Headless || !b.unit.Explicit {
		return
	}
	for _, pod := range b.view.Hostnames(r.service.Key()) {
		of := r.ofPod(pod)
		for _, port := range r.service.Ports {
			if !port.Protocol.IsHTTP() {
				continue
			}
			name := RouteName(of.host, port.Number)
			configuration, requires, owners := of.configuration(port)
			b.add(Resource{TypeURL: RouteType, Name: name, Message: configuration, Requires: requires, Owners: owners})
			for _, key := range keysOf(podNames(pod, r.service, b.unit.Namespace), port.Number) {
				b.add(Resource{TypeURL: ScopedRouteType, Name: key, Message: scope(key, name), Owners: r.origin()})
			}
		}
	}
}

// directCluster is the name of the cluster that leads to the address of a headless service's
// endpoint that was called, by mutual TLS. No subset has such a name.
func directCluster(service *mesh.Service, port uint16) string {
	return ClusterName(service.Host, port, "*")
}

// podTargets returns the clusters of single Pods of a headless service's port, which is that
// of another target.
func (b *build) podTargets(service *mesh.Service, like target) []target {
	if !service.Headless {
		return nil
	}
	var all []target
	for _, pod := range b.view.Hostnames(service.Key()) {
		one := like
		one.Name, one.Hostname = ClusterName(podHost(pod, service), like.Port.Number, ""), pod
		all = append(all, one)
	}
	return all
}

// clusterTargets returns what clusters there are: targets with endpoints of their own, and
// for ports of a headless service those by which its endpoints are called by address.
func (b *build) clusterTargets(service *mesh.Service) []target {
	all := b.targets(service)
	if !service.Headless || b.unit.Explicit || !b.unit.Certified {
		return all
	}
	for _, t := range all {
		if t.Name == ClusterName(service.Host, t.Port.Number, "") && !t.Port.Protocol.IsHTTP() {
			t.Name, t.Direct = directCluster(service, t.Port.Number), true
			all = append(all, t)
		}
	}
	return all
}

// endpointListeners builds a listener for each endpoint of a headless service's port that is
// not HTTP: by its address clients choose it, and nothing else tells that it is mutual TLS
// that it wants, or that routes lead elsewhere.
func (b *build) endpointListeners(service *mesh.Service, port mesh.ServicePort) {
	registryOnly := b.view.Settings().RegistryOnly
	done := map[netip.AddrPort]bool{}
	for _, e := range b.view.Endpoints(service.Key()) {
		called := netip.AddrPortFrom(e.Address, e.Port)
		mutual := b.unit.Certified && (e.MTLS == mesh.MTLSStrict || e.MTLS == mesh.MTLSPermissive)
		if e.PortName != port.Name || done[called] || e.Address.Is6() && !b.unit.IPv6 || !b.isHolder(service, e) {
			continue
		}
		done[called] = true
		cluster := outboundPassthrough
		if mutual {
			cluster = directCluster(service, port.Number)
		}
		name := "outbound|" + called.String()
		resource := Resource{TypeURL: ListenerType, Name: name, Requires: []string{cluster}, Owners: []mesh.ObjectID{service.Origin.ObjectID}}
		chains := b.outboundChains(service, port, b.labels, at(e.Address), nil, &resource)
		if !mutual && !registryOnly && len(chains) == 0 {
			continue // it passes through as it is
		}
		listener := listenerOf(name, e.Address, e.Port, corev3.TrafficDirection_OUTBOUND)
		listener.BindToPort = wrapperspb.Bool(false)
		listener.FilterChains = filterChains(chains)
		listener.DefaultFilterChain = &listenerv3.FilterChain{Name: "tcp", Filters: tcpChain(statName("outbound", port.Number), cluster)}
		lookForNames(listener)
		resource.Message = listener
		b.add(resource)
	}
}

// isHolder reports whether the listener of an endpoint is this service's, of several headless
// ones that the workload is behind by the same port.
func (b *build) isHolder(service *mesh.Service, e mesh.Endpoint) bool {
	for _, serving := range b.view.Serving(e.Workload) {
		other := b.service(serving.Host)
		if serving.TargetPort == e.Port && !serving.Port.Protocol.IsHTTP() && other != nil && other.Headless {
			return other == service
		}
	}
	return true
}
