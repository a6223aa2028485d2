package translate

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"fairlead.dev/fairlead/internal/mesh"
)

// XDSCluster is the cluster of agent/bootstrap by which a proxy reaches the manager: what does
// not come by the aggregated stream names it.
const XDSCluster = "fairlead-xds"

// pollInterval is how often a proxy that polls asks for what it was referred to.
const pollInterval = time.Second

// configSource is where everything comes from that a resource of the unit refers to by name:
// the transport by which the resource itself comes.
func (b *build) configSource() *corev3.ConfigSource {
	source := &corev3.ConfigSource{ResourceApiVersion: corev3.ApiVersion_V3}
	from := &corev3.ApiConfigSource{TransportApiVersion: corev3.ApiVersion_V3}
	switch b.unit.Transport {
	case mesh.TransportStreams:
		from.ApiType = corev3.ApiConfigSource_GRPC
	case mesh.TransportDelta:
		from.ApiType = corev3.ApiConfigSource_DELTA_GRPC
	case mesh.TransportREST:
		from.ApiType = corev3.ApiConfigSource_REST
		from.ClusterNames = []string{XDSCluster}
		from.RefreshDelay = durationpb.New(pollInterval)
	default:
		source.ConfigSourceSpecifier = &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}}
		return source
	}
	if b.unit.Transport != mesh.TransportREST {
		from.GrpcServices = []*corev3.GrpcService{{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
			EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: XDSCluster, RetryPolicy: &corev3.RetryPolicy{
				// As in the bootstrap.
				RetryBackOff: &corev3.BackoffStrategy{BaseInterval: durationpb.New(200 * time.Millisecond), MaxInterval: durationpb.New(5 * time.Second)},
			}},
		}}}
	}
	source.ConfigSourceSpecifier = &corev3.ConfigSource_ApiConfigSource{ApiConfigSource: from}
	return source
}

// configSourceWithoutEnd waits for the first answer as long as it takes, so that a proxy that
// knows no routes never says that it is ready. Single routes and endpoints keep Envoy's
// 15 s: one of them that is held back must not keep a proxy from starting.
func (b *build) configSourceWithoutEnd() *corev3.ConfigSource {
	source := b.configSource()
	source.InitialFetchTimeout = durationpb.New(0)
	return source
}
