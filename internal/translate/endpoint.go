package translate

import (
	"cmp"
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// mutualMetadata is what Envoy finds the transport socket of an endpoint by.
var mutualMetadata = &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"envoy.transport_socket_match": mutualEndpoint}}

// endpoints builds the load assignments of the unit's host. Each of its clusters has
// one, if only an empty one: Envoy waits for it before it uses the cluster.
func (b *build) endpoints() {
	service := b.service(b.unit.Host)
	if service == nil || service.ByName() {
		return
	}
	all := b.view.Endpoints(service.Key())
	if service.Selector != nil && len(all) == 0 {
		b.find(message.NothingSelected(service.Origin.ObjectID, "spec.workloadSelector", service.Host))
	}
	for _, t := range b.targets(service) {
		b.checkTLS(all, t)
		if t.isPassthrough() {
			continue // the caller chose the address
		}
		assigned := assignment(t.Name, b.preferenceOf(service, t).groups(usable(all, t)))
		b.checked(assigned, service, t)
		if b.forGRPC() {
			endpointsForGRPC(assigned)
		}
		b.add(Resource{TypeURL: EndpointType, Name: t.Name, Message: assigned, Owners: t.Owners})
	}
}

// checkTLS finds an endpoint to which callers do not speak as a policy wants it.
func (b *build) checkTLS(all []mesh.Endpoint, t target) {
	if t.Traffic.TLS == nil {
		return
	}
	object := b.policy(b.unit.Host).Origin.ObjectID
	for _, e := range all {
		switch {
		case !t.has(e):
			continue
		case t.Traffic.Mode() == mesh.TLSDisable && e.MTLS == mesh.MTLSStrict:
			b.find(message.PlaintextRefused(object, t.Traffic.TLS.Path+".mode", b.unit.Host, e.Workload))
		case t.Traffic.Mode() == mesh.TLSMesh && (e.MTLS == "" || e.MTLS == mesh.MTLSDisable && !t.Port.Protocol.IsHTTP()):
			b.find(message.NoMutualTLS(object, t.Traffic.TLS.Path+".mode", b.unit.Host, netip.AddrPortFrom(e.Address, e.Port).String()))
		default:
			continue
		}
		return // one is enough to tell of
	}
}

// has reports whether an endpoint is one of the target's, if it is ready.
func (t target) has(e mesh.Endpoint) bool {
	return e.PortName == t.Port.Name && mesh.Selects(t.Labels, e.Labels) && (t.Hostname == "" || t.Hostname == e.Hostname)
}

// usable returns the endpoints of a target that are ready or, where none is, those that
// still serve while they terminate, as kube-proxy does (KEP-1669). Those that terminate
// beside ready ones are left out, not told to be draining: then Envoy finishes what it has
// sent there and closes the connections, for which a proxy that is to end waits. To a host
// that is DRAINING it keeps them.
func usable(all []mesh.Endpoint, t target) []mesh.Endpoint {
	var ready, leaving []mesh.Endpoint
	for _, e := range all {
		if !t.has(e) {
			continue
		}
		switch {
		case e.Ready:
			ready = append(ready, e)
		case e.Serving && e.Terminating:
			leaving = append(leaving, e)
		}
	}
	if len(ready) == 0 {
		return leaving
	}
	return ready
}

// assignment lists groups of endpoints.
func assignment(name string, groups []*group) *endpointv3.ClusterLoadAssignment {
	assigned := &endpointv3.ClusterLoadAssignment{ClusterName: name}
	for _, g := range groups {
		built := &endpointv3.LocalityLbEndpoints{Priority: uint32(g.priority), LoadBalancingWeight: wrapperspb.UInt32(g.weight)}
		if g.locality != (mesh.Locality{}) {
			built.Locality = &corev3.Locality{Region: g.locality.Region, Zone: g.locality.Zone, SubZone: g.locality.Subzone}
		}
		for _, e := range g.endpoints {
			built.LbEndpoints = append(built.LbEndpoints, lbEndpoint(e))
		}
		assigned.Endpoints = append(assigned.Endpoints, built)
	}
	return assigned
}

func lbEndpoint(e mesh.Endpoint) *endpointv3.LbEndpoint {
	endpoint := &endpointv3.LbEndpoint{
		HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
			Address: endpointAddress(e),
		}},
	}
	if e.MTLS == mesh.MTLSStrict || e.MTLS == mesh.MTLSPermissive {
		endpoint.Metadata = mutualMetadata
	}
	if e.Weight > 0 {
		endpoint.LoadBalancingWeight = wrapperspb.UInt32(e.Weight)
	}
	return endpoint
}

func compareLocalities(a, b mesh.Locality) int {
	return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.Subzone, b.Subzone))
}
