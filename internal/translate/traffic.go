package translate

import (
	"cmp"
	"math"
	"strconv"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	matcherconfigv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"fairlead.dev/fairlead/internal/mesh"
)

// clusterOf returns a target's cluster, without what secures its connections.
func (b *build) clusterOf(t target) *clusterv3.Cluster {
	traffic := t.Traffic
	cluster := &clusterv3.Cluster{
		Name:                 t.Name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig:     &clusterv3.Cluster_EdsClusterConfig{EdsConfig: b.configSource()},
		ConnectTimeout:       durationpb.New(connectTimeout),
		CircuitBreakers:      circuitBreakers(traffic),
		OutlierDetection:     outlierDetection(traffic.Outliers),
	}
	applyBalancer(cluster, traffic.LoadBalancer)
	if check := t.healthCheck(); check != nil && !check.ForAll {
		cluster.HealthChecks = []*corev3.HealthCheck{HealthCheck(check, b.unit.Host, t.speaksHTTP2())}
	}
	if traffic.Outliers != nil || traffic.HealthCheck != nil {
		// Envoy would use all endpoints again when half of them are out: that is a share for
		// somebody to ask for.
		percent := 0.0
		if traffic.Outliers != nil {
			percent = float64(traffic.Outliers.MinHealthPercent)
		}
		commonLB(cluster).HealthyPanicThreshold = &typev3.Percent{Value: percent}
	}
	if pool := traffic.Connections; pool != nil {
		if pool.ConnectTimeout > 0 {
			cluster.ConnectTimeout = durationpb.New(pool.ConnectTimeout)
		}
		if keep := pool.Keepalive; keep != nil {
			cluster.UpstreamConnectionOptions = &clusterv3.UpstreamConnectionOptions{TcpKeepalive: &corev3.TcpKeepalive{
				KeepaliveProbes: unlessZero(keep.Probes), KeepaliveTime: unlessZero(uint32(keep.Time / time.Second)),
				KeepaliveInterval: unlessZero(uint32(keep.Interval / time.Second)),
			}}
		}
	}
	if !t.Port.Protocol.IsBytes() || traffic.Tunnel != nil {
		cluster.TypedExtensionProtocolOptions = map[string]*anypb.Any{httpProtocolOptions: packed(b.httpOptions(t))}
	}
	return cluster
}

// speaksHTTP2 reports whether connections to the target do, whatever the client speaks.
func (t target) speaksHTTP2() bool {
	return t.Port.Protocol.UsesHTTP2() || t.Traffic.Connections != nil && t.Traffic.Connections.Upgrade
}

// httpOptions says how the target speaks HTTP.
func (b *build) httpOptions(t target) *upstreamhttpv3.HttpProtocolOptions {
	pool := mesh.Connections{}
	if t.Traffic.Connections != nil {
		pool = *t.Traffic.Connections
	}
	// An idle connection is closed at this age, and one in use after its last answer: by
	// the side that knows whether a request is on its way.
	age := b.view.Settings().MaxConnectionAge * callersAge / 100
	if pool.MaxDuration > 0 {
		age = min(age, pool.MaxDuration)
	}
	options := &upstreamhttpv3.HttpProtocolOptions{
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{
			MaxConnectionDuration: durationpb.New(age), MaxRequestsPerConnection: unlessZero(pool.MaxRequestsPerConnection),
		},
	}
	switch {
	case pool.HTTPIdle > 0:
		options.CommonHttpProtocolOptions.IdleTimeout = durationpb.New(pool.HTTPIdle)
	case pool.TCPIdle != nil:
		options.CommonHttpProtocolOptions.IdleTimeout = durationpb.New(*pool.TCPIdle)
	}
	http1, http2 := &corev3.Http1ProtocolOptions{}, &corev3.Http2ProtocolOptions{MaxConcurrentStreams: unlessZero(pool.MaxStreams)}
	if pool.Ping != nil {
		http2.ConnectionKeepalive = &corev3.KeepaliveSettings{
			Interval: durationpb.New(pool.Ping.Interval), Timeout: durationpb.New(pool.Ping.Timeout),
		}
	}
	type explicit = upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig
	speaks := func(config *explicit) {
		options.UpstreamProtocolOptions = &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: config}
	}
	switch {
	case pool.ClientProtocol:
		options.UpstreamProtocolOptions = &upstreamhttpv3.HttpProtocolOptions_UseDownstreamProtocolConfig{
			UseDownstreamProtocolConfig: &upstreamhttpv3.HttpProtocolOptions_UseDownstreamHttpConfig{
				HttpProtocolOptions: http1, Http2ProtocolOptions: http2,
			},
		}
	case t.speaksHTTP2(): // from the first byte, as gRPC does
		speaks(&explicit{ProtocolConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: http2}})
	default:
		speaks(&explicit{ProtocolConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{}})
	}
	if o := t.Traffic.Outliers; o != nil && len(o.Codes) > 0 {
		options.OutlierDetection = &upstreamhttpv3.HttpProtocolOptions_OutlierDetection{ErrorMatcher: statusIn(o.Codes)}
	}
	if tls := t.Traffic.TLS; !t.Port.Protocol.IsBytes() && tls.Own() {
		options.UpstreamHttpProtocolOptions = &corev3.UpstreamHttpProtocolOptions{
			AutoSni: tls.SNI == "", AutoSanValidation: tls.SNI == "" && len(tls.Names) == 0 && !tls.SkipVerify,
		}
	}
	return options
}

// statusIn matches answers with one of some statuses.
func statusIn(codes []int32) *matcherconfigv3.MatchPredicate {
	words := make([]string, len(codes))
	for i, code := range codes {
		words[i] = strconv.Itoa(int(code))
	}
	return &matcherconfigv3.MatchPredicate{Rule: &matcherconfigv3.MatchPredicate_HttpResponseHeadersMatch{
		HttpResponseHeadersMatch: &matcherconfigv3.HttpHeadersMatch{Headers: []*routev3.HeaderMatcher{{
			Name: ":status",
			HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
				MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: regex(strings.Join(words, "|"))},
			}},
		}}},
	}}
}

// circuitBreakers holds what is asked for and lifts Envoy's other defaults (1,024 connections
// and requests, 3 retries): a limit is for somebody to ask for.
func circuitBreakers(traffic mesh.Traffic) *clusterv3.CircuitBreakers {
	pool := mesh.Connections{}
	if traffic.Connections != nil {
		pool = *traffic.Connections
	}
	limit := func(given uint32) *wrapperspb.UInt32Value { return wrapperspb.UInt32(cmp.Or(given, math.MaxUint32)) }
	thresholds := &clusterv3.CircuitBreakers_Thresholds{
		MaxConnections: limit(pool.MaxConnections), MaxPendingRequests: limit(pool.MaxPending),
		MaxRequests: limit(pool.MaxRequests), MaxRetries: limit(pool.MaxRetries),
	}
	if budget := traffic.RetryBudget; budget != nil {
		thresholds.RetryBudget = &clusterv3.CircuitBreakers_Thresholds_RetryBudget{
			BudgetPercent:       &typev3.Percent{Value: budget.Percent},
			MinRetryConcurrency: wrapperspb.UInt32(budget.MinConcurrency),
		}
		if budget.Interval > 0 {
			thresholds.RetryBudget.BudgetInterval = durationpb.New(budget.Interval)
		}
	}
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{thresholds}}
}

// outlierDetection ejects by errors in a row only: by comparison of success rates, as Envoy
// would too, nobody asked for.
func outlierDetection(o *mesh.OutlierDetection) *clusterv3.OutlierDetection {
	if o == nil {
		return nil
	}
	enforced := func(errors uint32) *wrapperspb.UInt32Value {
		if errors == 0 {
			return wrapperspb.UInt32(0)
		}
		return wrapperspb.UInt32(100)
	}
	built := &clusterv3.OutlierDetection{
		Consecutive_5Xx: unlessZero(o.Consecutive5xx), EnforcingConsecutive_5Xx: enforced(o.Consecutive5xx),
		ConsecutiveGatewayFailure: unlessZero(o.ConsecutiveGateway), EnforcingConsecutiveGatewayFailure: enforced(o.ConsecutiveGateway),
		EnforcingSuccessRate: wrapperspb.UInt32(0), MaxEjectionPercent: unlessZero(o.MaxEjectionPercent),
	}
	if o.MaxEjectionPercent == 0 {
		// A tenth of less than ten endpoints is none.
		built.AlwaysEjectOneHost = wrapperspb.Bool(true)
	}
	if o.SplitLocal {
		built.SplitExternalLocalOriginErrors = true
		built.ConsecutiveLocalOriginFailure = unlessZero(o.ConsecutiveLocal)
		built.EnforcingConsecutiveLocalOriginFailure = enforced(o.ConsecutiveLocal)
		built.EnforcingLocalOriginSuccessRate = wrapperspb.UInt32(0)
	}
	if o.Interval > 0 {
		built.Interval = durationpb.New(o.Interval)
	}
	if o.BaseEjection > 0 {
		built.BaseEjectionTime = durationpb.New(o.BaseEjection)
	}
	return built
}

// HealthCheck is how a proxy asks the endpoints of a host.
func HealthCheck(check *mesh.HealthCheck, host string, http2 bool) *corev3.HealthCheck {
	built := &corev3.HealthCheck{
		Interval: durationpb.New(check.Interval), Timeout: durationpb.New(check.Timeout),
		// Envoy would ask once a minute as long as nobody calls.
		NoTrafficInterval: durationpb.New(check.Interval),
		HealthyThreshold:  wrapperspb.UInt32(check.Healthy), UnhealthyThreshold: wrapperspb.UInt32(check.Unhealthy),
	}
	switch check.Protocol {
	case mesh.HealthHTTP:
		codec := typev3.CodecClientType_HTTP1
		if http2 {
			codec = typev3.CodecClientType_HTTP2
		}
		built.HealthChecker = &corev3.HealthCheck_HttpHealthCheck_{HttpHealthCheck: &corev3.HealthCheck_HttpHealthCheck{
			Host: host, Path: check.Path, CodecClientType: codec,
			// Otherwise one wrong answer would be enough, whatever the threshold.
			RetriableStatuses: []*typev3.Int64Range{{Start: 100, End: 600}},
		}}
	case mesh.HealthGRPC:
		built.HealthChecker = &corev3.HealthCheck_GrpcHealthCheck_{GrpcHealthCheck: &corev3.HealthCheck_GrpcHealthCheck{
			ServiceName: check.Service, Authority: host,
		}}
	default:
		built.HealthChecker = &corev3.HealthCheck_TcpHealthCheck_{TcpHealthCheck: &corev3.HealthCheck_TcpHealthCheck{}}
	}
	return built
}

func unlessZero(value uint32) *wrapperspb.UInt32Value {
	if value == 0 {
		return nil
	}
	return wrapperspb.UInt32(value)
}

func commonLB(cluster *clusterv3.Cluster) *clusterv3.Cluster_CommonLbConfig {
	if cluster.CommonLbConfig == nil {
		cluster.CommonLbConfig = &clusterv3.Cluster_CommonLbConfig{}
	}
	return cluster.CommonLbConfig
}
