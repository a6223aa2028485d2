package translate

import (
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"fairlead.dev/fairlead/internal/mesh"
)

// resolved changes a cluster that gets its endpoints by its own name into one that finds them
// as the service says. A proxy that is called by address was told no other address than the
// name's, which is what it finds then.
func (b *build) resolved(cluster *clusterv3.Cluster, service *mesh.Service, t target) {
	switch {
	case t.Labels == nil && b.isAlias(service, t.Port.Number):
		// The endpoints of the service that it is a name for.
		cluster.EdsClusterConfig.ServiceName = ClusterName(service.AliasOf, t.Port.Number, "")
	case t.Direct:
		asCalled(cluster)
	case service.Resolution == mesh.ByAddress:
	case service.Resolution == mesh.AsCalled && !b.unit.Explicit:
		asCalled(cluster)
		if to := t.Port.TargetPort; to != 0 {
			cluster.LbConfig = &clusterv3.Cluster_OriginalDstLbConfig_{OriginalDstLbConfig: &clusterv3.Cluster_OriginalDstLbConfig{
				UpstreamPortOverride: wrapperspb.UInt32(uint32(to)),
			}}
		}
	default:
		kind := clusterv3.Cluster_STRICT_DNS
		if service.Resolution == mesh.ByOneOfDNS {
			kind = clusterv3.Cluster_LOGICAL_DNS
		}
		cluster.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: kind}
		cluster.EdsClusterConfig = nil
		cluster.LoadAssignment = assignment(t.Name, b.preferenceOf(service, t).groups(usable(service.Endpoints, t)))
		cluster.DnsLookupFamily = clusterv3.Cluster_V4_PREFERRED
	}
}

// asCalled has a cluster lead to the address that the client called.
func asCalled(cluster *clusterv3.Cluster) {
	cluster.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_ORIGINAL_DST}
	cluster.EdsClusterConfig, cluster.LoadBalancingPolicy, cluster.LbConfig, cluster.CommonLbConfig = nil, nil, nil, nil
	cluster.LbPolicy = clusterv3.Cluster_CLUSTER_PROVIDED
}

// isAlias reports whether a service's port is that of another one of the mesh.
func (b *build) isAlias(service *mesh.Service, port uint16) bool {
	if service.AliasOf == "" {
		return false
	}
	of := b.service(service.AliasOf)
	if of == nil || of.ByName() {
		return false
	}
	_, has := of.Port(port)
	return has
}

// endpointAddress is where an endpoint is: an address, a name or a socket.
func endpointAddress(e mesh.Endpoint) *corev3.Address {
	path, isSocket := strings.CutPrefix(e.Name, "unix://")
	switch {
	case isSocket:
		return &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: path}}}
	case e.Name != "":
		return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: e.Name, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(e.Port)},
		}}}
	}
	return socketAddress(mesh.LoopbackAddress(e.Address), e.Port)
}

// withNames has servers with certificates of their own show one of some names, where nothing
// else is said.
func withNames(traffic mesh.Traffic, names []string) mesh.Traffic {
	if len(names) == 0 || traffic.TLS == nil || len(traffic.TLS.Names) > 0 {
		return traffic
	}
	tls := *traffic.TLS
	tls.Names = names
	traffic.TLS = &tls
	return traffic
}
