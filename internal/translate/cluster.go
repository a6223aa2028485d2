package translate

import (
	"fmt"
	"math"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
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
}

// targets returns all clusters of a host: for each port one of all its endpoints, one
// for each subset of its policy and one for each set of labels that some route selects.
func targets(view mesh.View, service *mesh.Service) []target {
	var all []target
	owner := service.Origin.ObjectID
	policies, selected := view.Policies(service.Host), view.LabelSubsets(service.Host)
	for _, port := range service.Ports {
		named := map[string]struct{}{}
		add := func(subset string, labels map[string]string, owners ...mesh.ObjectID) {
			name := ClusterName(service.Host, port.Number, subset)
			if _, found := named[name]; !found {
				named[name] = struct{}{}
				all = append(all, target{name, port, labels, append(owners, owner)})
			}
		}
		add("", nil)
		if len(policies) > 0 {
			for _, subset := range policies[0].Subsets {
				add(subset.Name, subset.Labels, policies[0].Origin.ObjectID)
			}
		}
		for _, subset := range selected {
			add(mesh.LabelText(subset.Labels), subset.Labels, subset.Selectors...)
		}
	}
	return all
}

// clusters builds the clusters of the unit's host, and says what is wrong with its policies.
func (b *build) clusters() {
	host := b.unit.Host
	service, policies := b.view.Service(host), b.view.Policies(host)
	for i, policy := range policies {
		id := policy.Origin.ObjectID
		if i > 0 {
			b.find(message.HostConflict(id, "spec.host", host, policies[0].Origin.ObjectID))
		}
		if service == nil {
			b.find(message.HostNotFound(id, "spec.host", host))
		}
	}
	if service == nil {
		return
	}
	for _, t := range targets(b.view, service) {
		b.add(Resource{
			TypeURL: ClusterType,
			Name:    t.Name,
			Message: discoveredCluster(t.Name, t.Port.Protocol),
			Owners:  t.Owners,
		})
	}
}

// discoveredCluster returns a cluster that gets its endpoints by its own name.
func discoveredCluster(name string, protocol mesh.Protocol) *clusterv3.Cluster {
	cluster := &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig:     &clusterv3.Cluster_EdsClusterConfig{EdsConfig: overADS()},
		ConnectTimeout:       durationpb.New(connectTimeout),
		// Istio's default too.
		LbPolicy:        clusterv3.Cluster_LEAST_REQUEST,
		CircuitBreakers: noCircuitBreakers,
	}
	if protocol.UsesHTTP2() {
		cluster.TypedExtensionProtocolOptions = map[string]*anypb.Any{httpProtocolOptions: http2Upstream}
	}
	return cluster
}

// httpProtocolOptions is the key of a cluster's HTTP options.
const httpProtocolOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

var (
	// http2Upstream speaks HTTP/2 from the first byte, as gRPC does.
	http2Upstream = packed(&upstreamhttpv3.HttpProtocolOptions{
		UpstreamProtocolOptions: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
					Http2ProtocolOptions: &corev3.Http2ProtocolOptions{},
				},
			},
		},
	})
	// noCircuitBreakers lifts Envoy's defaults (1,024 connections and requests, 3 retries):
	// a limit is for somebody to ask for.
	noCircuitBreakers = &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
		MaxConnections:     wrapperspb.UInt32(math.MaxUint32),
		MaxPendingRequests: wrapperspb.UInt32(math.MaxUint32),
		MaxRequests:        wrapperspb.UInt32(math.MaxUint32),
		MaxRetries:         wrapperspb.UInt32(math.MaxUint32),
	}}}
)
