package bootstrap

import (
	"strconv"
	"time"
)

// The subset of envoy.config.bootstrap.v3.Bootstrap that is used here, with the
// names of its protobuf fields. Envoy rejects an unknown field in a bootstrap, so a
// misspelt one is found by `envoy --mode validate`.
type (
	message struct {
		Node              node             `json:"node"`
		Admin             admin            `json:"admin"`
		DynamicResources  dynamicResources `json:"dynamic_resources"`
		StaticResources   staticResources  `json:"static_resources"`
		StatsConfig       statsConfig      `json:"stats_config"`
		StatsFlushOnAdmin bool             `json:"stats_flush_on_admin"`
		DeferredStats     deferredStats    `json:"deferred_stat_options"`
		OverloadManager   overloadManager  `json:"overload_manager"`
		LayeredRuntime    layeredRuntime   `json:"layered_runtime"`
	}

	node struct {
		ID       string         `json:"id"`
		Cluster  string         `json:"cluster"`
		Locality *Locality      `json:"locality,omitempty"`
		Metadata map[string]any `json:"metadata"`
	}

	admin struct {
		Address               address `json:"address"`
		IgnoreGlobalConnLimit bool    `json:"ignore_global_conn_limit"`
	}

	address struct {
		Pipe          *pipe          `json:"pipe,omitempty"`
		SocketAddress *socketAddress `json:"socket_address,omitempty"`
	}
	pipe struct {
		Path string `json:"path"`
		Mode uint32 `json:"mode,omitempty"`
	}
	socketAddress struct {
		Address   string `json:"address"`
		PortValue uint16 `json:"port_value"`
	}

	dynamicResources struct {
		ADSConfig apiConfigSource `json:"ads_config"`
		LDSConfig configSource    `json:"lds_config"`
		CDSConfig configSource    `json:"cds_config"`
	}
	apiConfigSource struct {
		APIType                   string        `json:"api_type"`
		TransportAPIVersion       string        `json:"transport_api_version"`
		SetNodeOnFirstMessageOnly bool          `json:"set_node_on_first_message_only"`
		GRPCServices              []grpcService `json:"grpc_services"`
	}
	grpcService struct {
		EnvoyGRPC envoyGRPC `json:"envoy_grpc"`
	}
	envoyGRPC struct {
		ClusterName string      `json:"cluster_name"`
		RetryPolicy retryPolicy `json:"retry_policy"`
	}
	retryPolicy struct {
		RetryBackOff backOff `json:"retry_back_off"`
	}
	backOff struct {
		BaseInterval duration `json:"base_interval"`
		MaxInterval  duration `json:"max_interval"`
	}
	configSource struct {
		ADS                 struct{} `json:"ads"`
		ResourceAPIVersion  string   `json:"resource_api_version"`
		InitialFetchTimeout duration `json:"initial_fetch_timeout"`
	}

	staticResources struct {
		Clusters  []cluster  `json:"clusters"`
		Listeners []listener `json:"listeners,omitempty"`
	}
	listener struct {
		Name                  string        `json:"name"`
		StatPrefix            string        `json:"stat_prefix"`
		Address               address       `json:"address"`
		IgnoreGlobalConnLimit bool          `json:"ignore_global_conn_limit"`
		FilterChains          []filterChain `json:"filter_chains"`
	}
	filterChain struct {
		Filters         []typedExtension `json:"filters"`
		TransportSocket *typedExtension  `json:"transport_socket,omitempty"`
	}
	cluster struct {
		Name            string          `json:"name"`
		Type            string          `json:"type,omitempty"`
		ClusterType     *typedExtension `json:"cluster_type,omitempty"`
		ConnectTimeout  duration        `json:"connect_timeout"`
		TransportSocket *typedExtension `json:"transport_socket,omitempty"`
		ProtocolOptions map[string]any  `json:"typed_extension_protocol_options"`
		CircuitBreakers circuitBreakers `json:"circuit_breakers"`
		LoadAssignment  loadAssignment  `json:"load_assignment"`
	}
	circuitBreakers struct {
		Thresholds []thresholds `json:"thresholds"`
	}
	thresholds struct {
		MaxConnections     uint32 `json:"max_connections"`
		MaxPendingRequests uint32 `json:"max_pending_requests"`
		MaxRequests        uint32 `json:"max_requests"`
		MaxRetries         uint32 `json:"max_retries"`
	}
	loadAssignment struct {
		ClusterName string              `json:"cluster_name"`
		Endpoints   []localityEndpoints `json:"endpoints"`
	}
	localityEndpoints struct {
		LBEndpoints []lbEndpoint `json:"lb_endpoints"`
	}
	lbEndpoint struct {
		Endpoint endpoint `json:"endpoint"`
	}
	endpoint struct {
		Address address `json:"address"`
	}

	statsConfig struct {
		UseAllDefaultTags bool         `json:"use_all_default_tags"`
		StatsTags         []statsTag   `json:"stats_tags"`
		StatsMatcher      statsMatcher `json:"stats_matcher"`
	}
	statsTag struct {
		TagName string `json:"tag_name"`
		Regex   string `json:"regex,omitempty"`
	}
	statsMatcher struct {
		InclusionList stringMatchers `json:"inclusion_list"`
	}
	stringMatchers struct {
		Patterns []stringMatcher `json:"patterns"`
	}
	stringMatcher struct {
		Prefix string `json:"prefix,omitempty"`
		Suffix string `json:"suffix,omitempty"`
	}
	deferredStats struct {
		Enable bool `json:"enable_deferred_creation_stats"`
	}

	overloadManager struct {
		RefreshInterval  *duration        `json:"refresh_interval,omitempty"`
		ResourceMonitors []typedExtension `json:"resource_monitors"`
		Actions          []overloadAction `json:"actions,omitempty"`
	}
	overloadAction struct {
		Name        string         `json:"name"`
		Triggers    []trigger      `json:"triggers"`
		TypedConfig map[string]any `json:"typed_config,omitempty"`
	}
	trigger struct {
		Name      string            `json:"name"`
		Threshold *thresholdTrigger `json:"threshold,omitempty"`
		Scaled    *scaledTrigger    `json:"scaled,omitempty"`
	}
	thresholdTrigger struct {
		Value float64 `json:"value"`
	}
	scaledTrigger struct {
		ScalingThreshold    float64 `json:"scaling_threshold"`
		SaturationThreshold float64 `json:"saturation_threshold"`
	}
	typedExtension struct {
		Name        string         `json:"name"`
		TypedConfig map[string]any `json:"typed_config"`
	}

	layeredRuntime struct {
		Layers []runtimeLayer `json:"layers"`
	}
	runtimeLayer struct {
		Name        string         `json:"name"`
		StaticLayer map[string]any `json:"static_layer,omitempty"`
		AdminLayer  *struct{}      `json:"admin_layer,omitempty"`
	}
)

// extension is a message of a type that Envoy is told by name.
func extension(name, messageType string, fields map[string]any) typedExtension {
	return typedExtension{Name: name, TypedConfig: typed(messageType, fields)}
}

// typed adds the message's type to its fields.
func typed(messageType string, fields map[string]any) map[string]any {
	fields["@type"] = typePrefix + messageType
	return fields
}

// duration is written as protobuf's JSON form of google.protobuf.Duration.
type duration time.Duration

func (d duration) MarshalJSON() ([]byte, error) {
	return []byte(`"` + strconv.FormatFloat(time.Duration(d).Seconds(), 'f', -1, 64) + `s"`), nil
}
