package translate

import (
	"fmt"
	"math"
	"slices"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// connectTimeout is Istio's default.
const connectTimeout = 10 * time.Second

// ClusterName returns the name of a cluster and of its load assignment.
func ClusterName(host string, port uint16, subset string) string {
	return fmt.Sprintf("outbound|%d|%s|%s", port, subset, host)
}

// target is what one cluster leads to: those endpoints of a service's port that carry
// some labels.
type target struct {
	Name   string
	Port   mesh.ServicePort
	Labels map[string]string
	Owners []mesh.ObjectID
	// Traffic is what the host's policy says of it.
	Traffic mesh.Traffic
}

// targets returns all clusters of a host: for each port one of all its endpoints, one
// for each subset of its policy and one for each set of labels that some route selects.
func (b *build) targets(service *mesh.Service) []target {
	var all []target
	owner := service.Origin.ObjectID
	var policy mesh.Policy
	if found := b.policy(service.Host); found != nil {
		policy = *found
	}
	selected := b.view.LabelSubsets(service.Host)
	for _, port := range service.Ports {
		named := map[string]struct{}{}
		add := func(subset string, labels map[string]string, traffic mesh.Traffic, owners ...mesh.ObjectID) {
			name := ClusterName(service.Host, port.Number, subset)
			if _, found := named[name]; !found {
				named[name] = struct{}{}
				if !traffic.IsZero() {
					owners = append(slices.Clone(owners), policy.Origin.ObjectID)
				}
				all = append(all, target{name, port, labels, append(owners, owner), traffic})
			}
		}
		general := policy.For("", port.Number)
		add("", nil, general)
		for _, subset := range policy.Subsets {
			add(subset.Name, subset.Labels, policy.For(subset.Name, port.Number), policy.Origin.ObjectID)
		}
		for _, subset := range selected {
			add(mesh.LabelText(subset.Labels), subset.Labels, general, subset.Selectors...)
		}
	}
	return all
}

// clusters builds the clusters of the unit's host, and says what is wrong with its policies.
func (b *build) clusters() {
	host := b.unit.Host
	service := b.view.Service(host)
	b.findPolicies(service)
	if service == nil {
		return
	}
	age := durationpb.New(b.view.Settings().MaxConnectionAge * callersAge / 100)
	secure := b.secure()
	for _, t := range b.targets(service) {
		cluster := b.discoveredCluster(t.Name, t.Port.Protocol, age)
		secure(cluster, t.Traffic.Mode())
		b.add(Resource{
			TypeURL: ClusterType,
			Name:    t.Name,
			Message: cluster,
			Owners:  t.Owners,
		})
	}
}

// findPolicies says what is wrong with the policies of the unit's host. Those of one
// namespace are for the same callers.
func (b *build) findPolicies(service *mesh.Service) {
	first := map[string]*mesh.Policy{}
	for _, policy := range b.view.Policies(b.unit.Host) {
		id := policy.Origin.ObjectID
		if policy.Host != b.unit.Host {
			continue // it has a unit of its own
		}
		if winner := first[id.Namespace]; winner == nil {
			first[id.Namespace] = policy
		} else if mesh.Eclipses(winner.ExportTo, policy.ExportTo) {
			b.find(message.HostConflict(id, "spec.host", policy.Host, winner.Origin.ObjectID))
		}
		if service == nil && !mesh.IsWildcard(policy.Host) {
			b.find(message.HostNotFound(id, "spec.host", policy.Host))
		}
	}
}

// discoveredCluster returns a cluster that gets its endpoints by its own name.
func (b *build) discoveredCluster(name string, protocol mesh.Protocol, age *durationpb.Duration) *clusterv3.Cluster {
	cluster := &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig:     &clusterv3.Cluster_EdsClusterConfig{EdsConfig: b.configSource()},
		ConnectTimeout:       durationpb.New(connectTimeout),
		// Istio's default too.
		LbPolicy:        clusterv3.Cluster_LEAST_REQUEST,
		CircuitBreakers: noCircuitBreakers,
	}
	if protocol == mesh.TCP {
		return cluster
	}
	type explicit = upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig
	speaks := &explicit{ProtocolConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{}}
	if protocol.UsesHTTP2() {
		// From the first byte, as gRPC does.
		speaks.ProtocolConfig = &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
			Http2ProtocolOptions: &corev3.Http2ProtocolOptions{},
		}
	}
	cluster.TypedExtensionProtocolOptions = map[string]*anypb.Any{httpProtocolOptions: packed(&upstreamhttpv3.HttpProtocolOptions{
		// An idle connection is closed at this age, and one in use after its last answer: by
		// the side that knows whether a request is on its way.
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{MaxConnectionDuration: age},
		UpstreamProtocolOptions:   &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: speaks},
	})}
	return cluster
}

// secure returns what has a cluster of the unit's host speak mutual TLS as it should.
func (b *build) secure() func(*clusterv3.Cluster, mesh.TLSMode) {
	socket := towardsNobody
	accounts := b.view.Accounts(b.unit.Host)
	able := b.unit.Certified && len(accounts) > 0
	if able {
		socket = towards(accounts, b.view.Settings().TrustDomain)
	}
	return func(cluster *clusterv3.Cluster, mode mesh.TLSMode) {
		switch {
		case mode == mesh.TLSMesh:
			cluster.TransportSocket = socket
		case mode == "" && able:
			cluster.TransportSocketMatches = []*clusterv3.Cluster_TransportSocketMatch{{
				Name: "mutual", Match: mutualEndpoint, TransportSocket: socket,
			}}
		}
	}
}

// httpProtocolOptions is the key of a cluster's HTTP options.
const httpProtocolOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

// mutualEndpoint tells the endpoints that are called by mutual TLS from those that are not.
var mutualEndpoint = &structpb.Struct{Fields: map[string]*structpb.Value{"tls": structpb.NewStringValue("mutual")}}

// noCircuitBreakers lifts Envoy's defaults (1,024 connections and requests, 3 retries):
// a limit is for somebody to ask for.
var noCircuitBreakers = &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
	MaxConnections:     wrapperspb.UInt32(math.MaxUint32),
	MaxPendingRequests: wrapperspb.UInt32(math.MaxUint32),
	MaxRequests:        wrapperspb.UInt32(math.MaxUint32),
	MaxRetries:         wrapperspb.UInt32(math.MaxUint32),
}}}
