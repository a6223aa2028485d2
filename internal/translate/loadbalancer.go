package translate

import (
	"cmp"
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"fairlead.dev/fairlead/internal/mesh"
)

// ringSize is the least number of entries of a ring where none is given; Istio's and Envoy's.
const ringSize = 1024

// applyBalancer says how a cluster chooses among its endpoints.
func applyBalancer(cluster *clusterv3.Cluster, balancer *mesh.LoadBalancer) {
	if balancer == nil {
		balancer = &mesh.LoadBalancer{Algorithm: mesh.LeastRequest} // Istio's default too
	}
	warm := slowStart(balancer.Warmup)
	switch balancer.Algorithm {
	case mesh.RoundRobin:
		cluster.LbPolicy = clusterv3.Cluster_ROUND_ROBIN
		if warm != nil {
			cluster.LbConfig = &clusterv3.Cluster_RoundRobinLbConfig_{RoundRobinLbConfig: &clusterv3.Cluster_RoundRobinLbConfig{SlowStartConfig: warm}}
		}
	case mesh.Random:
		cluster.LbPolicy = clusterv3.Cluster_RANDOM
	case mesh.Passthrough:
		cluster.LbPolicy = clusterv3.Cluster_CLUSTER_PROVIDED
		cluster.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_ORIGINAL_DST}
		cluster.EdsClusterConfig = nil
	case mesh.RingHash:
		cluster.LbPolicy = clusterv3.Cluster_RING_HASH
		cluster.LbConfig = &clusterv3.Cluster_RingHashLbConfig_{RingHashLbConfig: &clusterv3.Cluster_RingHashLbConfig{
			MinimumRingSize: wrapperspb.UInt64(cmp.Or(balancer.TableSize, ringSize)),
		}}
	case mesh.MaglevHash:
		cluster.LbPolicy = clusterv3.Cluster_MAGLEV
		if balancer.TableSize > 0 {
			cluster.LbConfig = &clusterv3.Cluster_MaglevLbConfig_{MaglevLbConfig: &clusterv3.Cluster_MaglevLbConfig{TableSize: wrapperspb.UInt64(balancer.TableSize)}}
		}
	default:
		cluster.LbPolicy = clusterv3.Cluster_LEAST_REQUEST
		if warm != nil {
			cluster.LbConfig = &clusterv3.Cluster_LeastRequestLbConfig_{LeastRequestLbConfig: &clusterv3.Cluster_LeastRequestLbConfig{SlowStartConfig: warm}}
		}
	}
	if balancer.Locality.Weighs() {
		commonLB(cluster).LocalityConfigSpecifier = &clusterv3.Cluster_CommonLbConfig_LocalityWeightedLbConfig_{
			LocalityWeightedLbConfig: &clusterv3.Cluster_CommonLbConfig_LocalityWeightedLbConfig{},
		}
	}
}

func (t target) isPassthrough() bool {
	return t.Traffic.LoadBalancer != nil && t.Traffic.LoadBalancer.Algorithm == mesh.Passthrough
}

// withoutPassthrough has the endpoints chosen by the proxy: a caller that calls its proxy by
// address has chosen none.
func withoutPassthrough(traffic mesh.Traffic) mesh.Traffic {
	if (target{Traffic: traffic}).isPassthrough() {
		traffic.LoadBalancer = &mesh.LoadBalancer{Algorithm: mesh.LeastRequest}
	}
	return traffic
}

func slowStart(warmup *mesh.Warmup) *clusterv3.Cluster_SlowStartConfig {
	if warmup == nil {
		return nil
	}
	return &clusterv3.Cluster_SlowStartConfig{
		SlowStartWindow:  durationpb.New(warmup.Duration),
		MinWeightPercent: &typev3.Percent{Value: warmup.MinimumPercent},
		Aggression:       &corev3.RuntimeDouble{DefaultValue: warmup.Aggression, RuntimeKey: "mesh.warmup_aggression"},
	}
}

// hash has the requests that follow a route hashed by what the policy of a destination says;
// several destinations may say the same.
func (p *portRoutes) hash(action *routev3.RouteAction, d *mesh.Destination) {
	port, problem := p.destinationPort(d)
	if problem != nil {
		return
	}
	said := p.policy(d.Host)
	balancer := said.For(d.Subset, port).LoadBalancer
	if balancer == nil || balancer.Hash == nil {
		return
	}
	p.owners = append(p.owners, said.Origin.ObjectID)
	policy := hashPolicy(balancer.Hash)
	if !slices.ContainsFunc(action.HashPolicy, func(other *routev3.RouteAction_HashPolicy) bool { return proto.Equal(other, policy) }) {
		action.HashPolicy = append(action.HashPolicy, policy)
	}
}

func hashPolicy(hash *mesh.Hash) *routev3.RouteAction_HashPolicy {
	type policy = routev3.RouteAction_HashPolicy
	switch {
	case hash.Header != "":
		return &policy{PolicySpecifier: &routev3.RouteAction_HashPolicy_Header_{Header: &routev3.RouteAction_HashPolicy_Header{HeaderName: hash.Header}}}
	case hash.Query != "":
		return &policy{PolicySpecifier: &routev3.RouteAction_HashPolicy_QueryParameter_{QueryParameter: &routev3.RouteAction_HashPolicy_QueryParameter{Name: hash.Query}}}
	case hash.Cookie != nil:
		cookie := &routev3.RouteAction_HashPolicy_Cookie{Name: hash.Cookie.Name, Path: hash.Cookie.Path}
		if hash.Cookie.TTL != nil {
			cookie.Ttl = durationpb.New(*hash.Cookie.TTL)
		}
		for _, attribute := range hash.Cookie.Attributes {
			cookie.Attributes = append(cookie.Attributes, &routev3.RouteAction_HashPolicy_CookieAttribute{Name: attribute.Name, Value: attribute.Value})
		}
		return &policy{PolicySpecifier: &routev3.RouteAction_HashPolicy_Cookie_{Cookie: cookie}}
	}
	return &policy{PolicySpecifier: &routev3.RouteAction_HashPolicy_ConnectionProperties_{
		ConnectionProperties: &routev3.RouteAction_HashPolicy_ConnectionProperties{SourceIp: true},
	}}
}

// applyTCP has a proxy of bytes do what the policy of its destination says of connections.
func applyTCP(proxy *tcpproxyv3.TcpProxy, traffic mesh.Traffic) {
	if pool := traffic.Connections; pool != nil {
		if pool.TCPIdle != nil {
			proxy.IdleTimeout = durationpb.New(*pool.TCPIdle)
		}
		if pool.MaxDuration > 0 {
			proxy.MaxDownstreamConnectionDuration = durationpb.New(pool.MaxDuration)
		}
	}
	if balancer := traffic.LoadBalancer; balancer != nil && balancer.Hash != nil && balancer.Hash.SourceIP {
		proxy.HashPolicy = []*typev3.HashPolicy{{PolicySpecifier: &typev3.HashPolicy_SourceIp_{SourceIp: &typev3.HashPolicy_SourceIp{}}}}
	}
	if tunnel := traffic.Tunnel; tunnel != nil {
		proxy.TunnelingConfig = &tcpproxyv3.TcpProxy_TunnelingConfig{Hostname: tunnel.Target, UsePost: tunnel.Post}
	}
}
