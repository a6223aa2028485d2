package translate

import (
	"maps"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"fairlead.dev/fairlead/internal/mesh"
)

// gRPC's own client reads what is meant for proxies, and refuses some of what Envoy takes: a
// refusal would be held against an object that is right. What it cannot do is left out here, as
// its documents (gRFC A27 and those that go on from it) say. What is called, xds:///NAME:PORT,
// it asks for as a listener of that name.

// apiListener leads a client that calls a name to a route configuration.
func (b *build) apiListener(name, configuration string) *listenerv3.Listener {
	return &listenerv3.Listener{Name: name, ApiListener: &listenerv3.ApiListener{ApiListener: packed(&hcmv3.HttpConnectionManager{
		StatPrefix: "outbound",
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{
			ConfigSource: b.configSource(), RouteConfigName: configuration,
		}},
		HttpFilters: []*hcmv3.HttpFilter{httpFilter(faultFilter, &faultv3.HTTPFault{}), router},
	})}}
}

// routesForGRPC changes what the client would not understand: deadlines have another field, and
// of the filters it knows that for faults only.
func routesForGRPC(configuration *routev3.RouteConfiguration) {
	for _, host := range configuration.GetVirtualHosts() {
		for _, route := range host.GetRoutes() {
			maps.DeleteFunc(route.TypedPerFilterConfig, func(name string, _ *anypb.Any) bool { return name != faultFilter })
			if action := route.GetRoute(); action.GetTimeout().AsDuration() > 0 {
				action.MaxStreamDuration = &routev3.RouteAction_MaxStreamDuration{MaxStreamDuration: action.GetTimeout()}
			}
		}
	}
}

// clusterForGRPC reports whether the client can be told of a cluster. It has no certificates that
// we know of: where TLS is asked for, it is to get no further rather than to speak plaintext.
func clusterForGRPC(cluster *clusterv3.Cluster) bool {
	if cluster.GetTransportSocket() != nil || cluster.GetType() != clusterv3.Cluster_EDS {
		return false
	}
	switch cluster.GetLbPolicy() {
	case clusterv3.Cluster_ROUND_ROBIN, clusterv3.Cluster_LEAST_REQUEST, clusterv3.Cluster_RING_HASH:
	case clusterv3.Cluster_MAGLEV:
		cluster.LbPolicy, cluster.LbConfig = clusterv3.Cluster_RING_HASH, nil
	default:
		cluster.LbPolicy, cluster.LbConfig = clusterv3.Cluster_ROUND_ROBIN, nil
	}
	cluster.LoadBalancingPolicy = nil
	return true
}

// endpointsForGRPC names the locality of endpoints of which none is known: the client wants one.
func endpointsForGRPC(assignment *endpointv3.ClusterLoadAssignment) {
	for _, group := range assignment.GetEndpoints() {
		if group.Locality == nil {
			group.Locality = &corev3.Locality{}
		}
	}
}

func (b *build) forGRPC() bool { return b.unit.Transport == mesh.TransportGRPC }
