package bootstrap

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

const (
	typePrefix          = "type.googleapis.com/"
	httpProtocolOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
	connectionLimit     = "envoy.resource_monitors.global_downstream_max_connections"
	connectionLimitType = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
	// maxRegexProgram is the largest compiled size of a regular expression, in instructions.
	maxRegexProgram = 32768
)

// Build returns the bootstrap as indented JSON that ends with a newline.
func Build(c Config) ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = DefaultMaxConnections
	}
	m := message{
		Node:             nodeOf(c),
		Admin:            adminAt(c.AdminSocket),
		DynamicResources: dynamicResourcesOf(c),
		StaticResources:  staticResources{Clusters: clustersOf(c)},
		StatsConfig:      statsConfig{StatsMatcher: statsMatcher{InclusionList: keptStats()}},
		// Counters of a cluster that no request has used yet take no memory. Together
		// with the matcher: 27 KB a cluster instead of 54 (measured, 1.40.0).
		DeferredStats:   deferredStats{Enable: true},
		OverloadManager: overloadManagerOf(c),
		LayeredRuntime: layeredRuntime{Layers: []runtimeLayer{
			{Name: "limits", StaticLayer: map[string]any{
				// Envoy's own limit is 100 instructions, which an expression such as
				// [a-z0-9-]{1,64} exceeds. Istio's limit, so that what works there works here.
				"re2.max_program_size.error_level": maxRegexProgram,
			}},
			// Lets an operator flip a runtime guard by the administration interface;
			// without a layer of this kind Envoy refuses to.
			{Name: "admin", AdminLayer: &struct{}{}},
		}},
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(m); err != nil {
		return nil, fmt.Errorf("encode bootstrap of %s/%s: %w", c.Namespace, c.Pod, err)
	}
	return out.Bytes(), nil
}

// nodeOf keeps the metadata small: it travels with every xDS stream, and the manager
// knows the rest from the Pod that the id names.
func nodeOf(c Config) node {
	metadata := map[string]any{
		"NAME":      c.Pod,
		"NAMESPACE": c.Namespace,
		"WORKLOAD":  c.Workload,
	}
	if c.ServiceAccount != "" {
		metadata["SERVICE_ACCOUNT"] = c.ServiceAccount
	}
	if len(c.Labels) > 0 {
		metadata["LABELS"] = c.Labels
	}
	if c.AgentVersion != "" {
		metadata["AGENT_VERSION"] = c.AgentVersion
	}
	n := node{
		ID:       c.Namespace + "/" + c.Pod,
		Cluster:  c.Workload + "." + c.Namespace,
		Metadata: metadata,
	}
	if c.Locality != (Locality{}) {
		n.Locality = &c.Locality
	}
	return n
}

// adminAt serves the administration interface on a socket that only our own user can
// reach: it can shut Envoy down and shows its configuration. Its connections do not
// count towards the limit, because they are needed most when that is reached.
func adminAt(socket string) admin {
	return admin{
		Address:               address{Pipe: &pipe{Path: socket, Mode: 0o600}},
		IgnoreGlobalConnLimit: true,
	}
}

func dynamicResourcesOf(c Config) dynamicResources {
	apiType := "DELTA_GRPC"
	if c.Protocol == StateOfTheWorld {
		apiType = "GRPC"
	}
	overADS := configSource{ResourceAPIVersion: "V3", InitialFetchTimeout: duration(c.InitialFetchTimeout)}
	return dynamicResources{
		ADSConfig: apiConfigSource{
			APIType:             apiType,
			TransportAPIVersion: "V3",
			// A node is about 61 KB, since Envoy adds the names of all its extensions.
			SetNodeOnFirstMessageOnly: true,
			GRPCServices: []grpcService{{EnvoyGRPC: envoyGRPC{
				ClusterName: XDSCluster,
				// Jittered and exponential. Envoy's own default reaches 30 s, which is
				// how long a proxy would be stale after a manager's restart.
				RetryPolicy: retryPolicy{RetryBackOff: backOff{
					BaseInterval: duration(200 * time.Millisecond),
					MaxInterval:  duration(5 * time.Second),
				}},
			}}},
		},
		LDSConfig: overADS,
		CDSConfig: overADS,
	}
}

func clustersOf(c Config) []cluster {
	clusters := []cluster{xdsCluster(c.XDSSocket)}
	apps := slices.Clone(c.Apps)
	slices.SortFunc(apps, func(a, b App) int { return int(a.Port) - int(b.Port) })
	for _, app := range apps {
		clusters = append(clusters, appCluster(app))
	}
	return clusters
}

func xdsCluster(socket string) cluster {
	return staticCluster(XDSCluster, address{Pipe: &pipe{Path: socket}}, map[string]any{
		"explicit_http_config": map[string]any{
			"http2_protocol_options": map[string]any{
				// A manager that hangs keeps its socket open; only an unanswered ping
				// tells. The server must allow pings this often.
				"connection_keepalive": map[string]any{
					"interval": duration(30 * time.Second),
					"timeout":  duration(10 * time.Second),
				},
			},
		},
	})
}

// appCluster speaks to the application what the caller spoke to the proxy, so that
// one port can serve HTTP/1.1 and gRPC alike, as it could without a mesh.
func appCluster(app App) cluster {
	name := "app|" + strconv.Itoa(int(app.Port))
	endpoint := address{SocketAddress: &socketAddress{
		Address:   app.Address.Addr().String(),
		PortValue: app.Address.Port(),
	}}
	return staticCluster(name, endpoint, map[string]any{
		"use_downstream_protocol_config": map[string]any{
			"http_protocol_options":  map[string]any{},
			"http2_protocol_options": map[string]any{},
		},
	})
}

// staticCluster lifts Envoy's default circuit breakers (1,024 connections and
// requests): the limits of a service are its DestinationRule's to set, on the side of
// the caller, and the application's own queue is the last word here.
func staticCluster(name string, at address, protocol map[string]any) cluster {
	protocol["@type"] = typePrefix + httpProtocolOptions
	return cluster{
		Name:            name,
		Type:            "STATIC",
		ConnectTimeout:  duration(time.Second),
		ProtocolOptions: map[string]any{httpProtocolOptions: protocol},
		CircuitBreakers: circuitBreakers{Thresholds: []thresholds{{
			MaxConnections:     math.MaxUint32,
			MaxPendingRequests: math.MaxUint32,
			MaxRequests:        math.MaxUint32,
			MaxRetries:         math.MaxUint32,
		}}},
		LoadAssignment: loadAssignment{
			ClusterName: name,
			Endpoints:   []localityEndpoints{{LBEndpoints: []lbEndpoint{{Endpoint: endpoint{Address: at}}}}},
		},
	}
}

func overloadManagerOf(c Config) overloadManager {
	return overloadManager{ResourceMonitors: []typedExtension{{
		Name: connectionLimit,
		TypedConfig: map[string]any{
			"@type": typePrefix + connectionLimitType,
			// A 64-bit integer is a string in protobuf's JSON.
			"max_active_downstream_connections": strconv.FormatUint(c.MaxConnections, 10),
		},
	}}}
}

// keptStats is what somebody reads: the agent, a person with a question, or a
// dashboard. All else would cost about a hundred counters for each cluster.
func keptStats() stringMatchers {
	var kept stringMatchers
	for _, prefix := range []string{
		"cluster_manager.",
		"control_plane.",
		"listener_manager.",
		"overload.",
		"runtime.",
		"server.",
		"cluster." + XDSCluster + ".",
	} {
		kept.Patterns = append(kept.Patterns, stringMatcher{Prefix: prefix})
	}
	for _, suffix := range []string{
		"downstream_cx_active",
		"downstream_cx_overflow",
		"downstream_cx_total",
		"downstream_rq_2xx",
		"downstream_rq_3xx",
		"downstream_rq_4xx",
		"downstream_rq_5xx",
		"downstream_rq_active",
		"downstream_rq_time",
		"downstream_rq_total",
		"membership_healthy",
		"membership_total",
		"no_cluster",
		"no_route",
		"update_rejected",
		"upstream_cx_active",
		"upstream_cx_connect_fail",
		"upstream_cx_overflow",
		"upstream_cx_total",
		"upstream_rq_2xx",
		"upstream_rq_4xx",
		"upstream_rq_5xx",
		"upstream_rq_active",
		"upstream_rq_pending_overflow",
		"upstream_rq_retry",
		"upstream_rq_timeout",
		"upstream_rq_total",
		// Deferred counters remember by this gauge that they had been in use when a
		// cluster is replaced; filtered out, they would start again.
		".initialized",
	} {
		kept.Patterns = append(kept.Patterns, stringMatcher{Suffix: suffix})
	}
	return kept
}
