package translate_test

import (
	"slices"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/translate"
)

// checkWhole holds everything that one proxy is served against what Envoy needs of the
// whole: no name twice, and nothing that leads nowhere.
func checkWhole(tb testing.TB, resources []translate.Resource) {
	tb.Helper()
	type key struct{ url, name string }
	there := map[key]bool{}
	for _, resource := range resources {
		id := key{resource.TypeURL, resource.Name}
		if there[id] {
			tb.Errorf("%v is there twice", id)
		}
		there[id] = true
		if !slices.IsSortedFunc(resource.Owners, mesh.ObjectID.Compare) || len(slices.Compact(slices.Clone(resource.Owners))) != len(resource.Owners) {
			tb.Errorf("%v has the owners %v, not sorted or repeated", id, resource.Owners)
		}
	}
	for _, resource := range resources {
		for _, cluster := range resource.Requires {
			if !there[key{translate.ClusterType, cluster}] {
				tb.Errorf("%s %s requires cluster %s, which is not there", resource.TypeURL, resource.Name, cluster)
			}
		}
		switch message := resource.Message.(type) {
		case *listenerv3.Listener:
			checkChains(tb, message)
		case *routev3.ScopedRouteConfiguration:
			if !there[key{translate.RouteType, message.RouteConfigurationName}] {
				tb.Errorf("scope %s leads to route configuration %s, which is not there", resource.Name, message.RouteConfigurationName)
			}
		case *clusterv3.Cluster:
			name := message.Name
			if given := message.GetEdsClusterConfig().GetServiceName(); given != "" {
				name = given
			}
			if message.GetType() == clusterv3.Cluster_EDS && !there[key{translate.EndpointType, name}] {
				tb.Errorf("cluster %s waits for load assignment %s, which is not there", resource.Name, name)
			}
		}
	}
}

// checkChains finds two filter chains that take the same connections, with which Envoy takes
// no listener.
func checkChains(tb testing.TB, listener *listenerv3.Listener) {
	tb.Helper()
	takenBy := map[string]string{}
	for _, chain := range listener.FilterChains {
		ranges := chain.FilterChainMatch.GetPrefixRanges()
		for i := range max(1, len(ranges)) {
			match := &listenerv3.FilterChainMatch{}
			proto.Merge(match, chain.FilterChainMatch)
			if len(ranges) > 0 {
				match.PrefixRanges = ranges[i : i+1]
			}
			if other, taken := takenBy[match.String()]; taken {
				tb.Errorf("chains %s and %s of listener %s take the same: %v", other, chain.Name, listener.Name, match)
			}
			takenBy[match.String()] = chain.Name
		}
	}
}
