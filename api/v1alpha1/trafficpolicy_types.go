package v1alpha1

// TrafficPolicy says how traffic reaches a host or a subset.
//
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:XValidation:rule="!(has(self.tunnel) && has(self.proxyProtocol))",message="set tunnel or proxyProtocol, not both"
type TrafficPolicy struct {
	// How an endpoint is chosen.
	// +optional
	LoadBalancer *LoadBalancerSettings `json:"loadBalancer,omitempty"`

	// Limits on connections and requests.
	// +optional
	ConnectionPool *ConnectionPoolSettings `json:"connectionPool,omitempty"`

	// When failing endpoints are taken out for a while. Unset: never.
	// +optional
	OutlierDetection *OutlierDetection `json:"outlierDetection,omitempty"`

	// TLS towards the host.
	// +optional
	TLS *ClientTLSSettings `json:"tls,omitempty"`

	// Ask endpoints how they are, and use those that say well. Fairlead's own extension.
	// Unset: what Kubernetes says of them.
	// +optional
	ActiveHealthCheck *ActiveHealthCheck `json:"activeHealthCheck,omitempty"`

	// Policies for single ports. A group of settings that a port's policy leaves unset has
	// its built-in values there; it is not taken from the policy around it.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="self.all(p, self.exists_one(q, q.port.number == p.port.number))",message="portLevelSettings must name each port once: merge the two entries"
	PortLevelSettings []PortTrafficPolicy `json:"portLevelSettings,omitempty"`

	// Carry TCP connections within HTTP requests.
	// +optional
	Tunnel *TunnelSettings `json:"tunnel,omitempty"`

	// Put a PROXY protocol header before each connection.
	// +optional
	ProxyProtocol *ProxyProtocol `json:"proxyProtocol,omitempty"`

	// A limit on concurrent retries that follows the number of requests.
	// +optional
	RetryBudget *RetryBudget `json:"retryBudget,omitempty"`
}

// PortTrafficPolicy says how traffic reaches one port.
type PortTrafficPolicy struct {
	// The port of the service.
	// +required
	Port PortSelector `json:"port"`

	// How an endpoint is chosen.
	// +optional
	LoadBalancer *LoadBalancerSettings `json:"loadBalancer,omitempty"`

	// Limits on connections and requests.
	// +optional
	ConnectionPool *ConnectionPoolSettings `json:"connectionPool,omitempty"`

	// When failing endpoints are taken out for a while. Unset: never.
	// +optional
	OutlierDetection *OutlierDetection `json:"outlierDetection,omitempty"`

	// TLS towards the port.
	// +optional
	TLS *ClientTLSSettings `json:"tls,omitempty"`

	// Ask endpoints how they are, and use those that say well. Fairlead's own extension.
	// Unset: what Kubernetes says of them.
	// +optional
	ActiveHealthCheck *ActiveHealthCheck `json:"activeHealthCheck,omitempty"`
}

// ConnectionPoolSettings limit connections and requests, per calling proxy.
type ConnectionPoolSettings struct {
	// For all connections.
	// +optional
	TCP *TCPSettings `json:"tcp,omitempty"`

	// For HTTP/1.1, HTTP/2 and gRPC.
	// +optional
	HTTP *HTTPSettings `json:"http,omitempty"`
}

// TCPSettings are limits for all connections.
type TCPSettings struct {
	// Connections to the host at one time. 0 or unset: no limit.
	// +optional
	// +kubebuilder:validation:Minimum=0
	MaxConnections int32 `json:"maxConnections,omitempty"`

	// How long connecting may take. Unset: 10s.
	// +optional
	ConnectTimeout *Duration `json:"connectTimeout,omitempty"`

	// TCP keep-alive. Unset: off.
	// +optional
	TCPKeepalive *TCPKeepalive `json:"tcpKeepalive,omitempty"`

	// How long a connection may live. Unset: no limit.
	// +optional
	MaxConnectionDuration *Duration `json:"maxConnectionDuration,omitempty"`

	// How long a connection may be silent; 0s: no limit. Unset: no limit where bytes are
	// carried, http.idleTimeout for requests.
	// +optional
	IdleTimeout *DurationOrZero `json:"idleTimeout,omitempty"`
}

// TCPKeepalive probes silent connections.
type TCPKeepalive struct {
	// Probes without an answer before the connection counts as dead. 0 or unset: the
	// system's setting (Linux: 9).
	// +optional
	// +kubebuilder:validation:Minimum=0
	Probes int32 `json:"probes,omitempty"`

	// Silence before the first probe. Unset: the system's setting (Linux: 2h).
	// +optional
	Time *Duration `json:"time,omitempty"`

	// Time between probes. Unset: the system's setting (Linux: 75s).
	// +optional
	Interval *Duration `json:"interval,omitempty"`
}

// HTTPSettings are limits for HTTP connections.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.useClientProtocol) && self.useClientProtocol && has(self.h2UpgradePolicy) && self.h2UpgradePolicy == 'UPGRADE')",message="useClientProtocol keeps the client's protocol: remove h2UpgradePolicy UPGRADE, or useClientProtocol"
type HTTPSettings struct {
	// Requests that may wait for a connection, HTTP/2 included. 0 or unset: no limit.
	// +optional
	// +kubebuilder:validation:Minimum=0
	HTTP1MaxPendingRequests int32 `json:"http1MaxPendingRequests,omitempty"`

	// Requests at one time, HTTP/1.1 included. 0 or unset: no limit.
	// +optional
	// +kubebuilder:validation:Minimum=0
	HTTP2MaxRequests int32 `json:"http2MaxRequests,omitempty"`

	// Requests on one connection before it is closed; 1: no keep-alive. 0 or unset: no limit.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=536870912
	MaxRequestsPerConnection int32 `json:"maxRequestsPerConnection,omitempty"`

	// Retries under way at one time. 0 or unset: no limit.
	// +optional
	// +kubebuilder:validation:Minimum=0
	MaxRetries int32 `json:"maxRetries,omitempty"`

	// How long a connection may be without requests. Unset: tcp.idleTimeout, or else 1h.
	// +optional
	IdleTimeout *Duration `json:"idleTimeout,omitempty"`

	// Whether HTTP/1.1 requests go on as HTTP/2. DEFAULT or unset: only to
	// ports that are said to speak it.
	// +optional
	// +kubebuilder:validation:Enum=DEFAULT;DO_NOT_UPGRADE;UPGRADE
	H2UpgradePolicy string `json:"h2UpgradePolicy,omitempty"`

	// Use the protocol that the client used.
	// +optional
	UseClientProtocol bool `json:"useClientProtocol,omitempty"`

	// Streams at one time on one HTTP/2 connection. 0 or unset: 2^31-1.
	// +optional
	// +kubebuilder:validation:Minimum=0
	MaxConcurrentStreams int32 `json:"maxConcurrentStreams,omitempty"`

	// HTTP/2 PING frames that keep connections checked. Unset: none.
	// +optional
	HTTP2KeepAlive *HTTP2KeepAlive `json:"http2KeepAlive,omitempty"`
}

// HTTP2KeepAlive checks HTTP/2 connections with PING frames.
type HTTP2KeepAlive struct {
	// Time between PINGs.
	// +required
	Interval Duration `json:"interval"`

	// How long the answer may take before the connection is closed.
	// +required
	Timeout Duration `json:"timeout"`
}

// OutlierDetection takes failing endpoints out of load balancing for a while.
type OutlierDetection struct {
	// The older form of consecutiveGatewayErrors, which wins. 0 or unset: off.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ConsecutiveErrors int32 `json:"consecutiveErrors,omitempty"`

	// Whether errors made locally, such as failing to connect, are counted apart.
	// +optional
	SplitExternalLocalOriginErrors bool `json:"splitExternalLocalOriginErrors,omitempty"`

	// Local errors in a row before ejection, if they are counted apart; 0: off. Unset: 5.
	// +optional
	// +nullable
	// +kubebuilder:validation:Minimum=0
	ConsecutiveLocalOriginFailures *int32 `json:"consecutiveLocalOriginFailures,omitempty"`

	// Answers 502, 503 or 504 in a row before ejection. 0 or unset: off.
	// +optional
	// +nullable
	// +kubebuilder:validation:Minimum=0
	ConsecutiveGatewayErrors *int32 `json:"consecutiveGatewayErrors,omitempty"`

	// Answers 5xx in a row before ejection; 0: off. Unset: 5.
	// +optional
	// +nullable
	// +kubebuilder:validation:Minimum=0
	Consecutive5xxErrors *int32 `json:"consecutive5xxErrors,omitempty"`

	// Time between sweeps. Unset: 10s.
	// +optional
	Interval *Duration `json:"interval,omitempty"`

	// How long the first ejection lasts; the n-th lasts n times as long. Unset: 30s.
	// +optional
	BaseEjectionTime *Duration `json:"baseEjectionTime,omitempty"`

	// The largest share of endpoints out at one time, in percent. 0 or unset: 10, but always
	// one.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	MaxEjectionPercent int32 `json:"maxEjectionPercent,omitempty"`

	// Below this share of healthy endpoints, in percent, all are used. 0 or unset: off.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	MinHealthPercent int32 `json:"minHealthPercent,omitempty"`

	// The status codes, 100 to 599, that count as errors. Unset: 5xx.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=500
	// +kubebuilder:validation:items:Minimum=100
	// +kubebuilder:validation:items:Maximum=599
	OutlierDetectionHTTPErrorCodes []int32 `json:"outlierDetectionHttpErrorCodes,omitempty"`
}

// ActiveHealthCheck has proxies ask each endpoint how it is, at the port that it serves.
//
// +kubebuilder:validation:XValidation:rule="!has(self.path) || self.protocol == 'HTTP'",message="activeHealthCheck.path is for protocol HTTP: remove it, or change protocol"
// +kubebuilder:validation:XValidation:rule="!has(self.service) || self.protocol == 'GRPC'",message="activeHealthCheck.service is for protocol GRPC: remove it, or change protocol"
// +kubebuilder:validation:XValidation:rule="!has(self.by) || self.by != 'HDS' || self.protocol != 'GRPC'",message="by: HDS is for protocols HTTP and TCP: proxies do not check by GRPC for others"
type ActiveHealthCheck struct {
	// Who asks. CALLERS: each calling proxy, for itself. HDS: a few proxies for all callers,
	// by Envoy's health discovery service. Unset: CALLERS.
	// +optional
	// +kubebuilder:validation:Enum=CALLERS;HDS
	By string `json:"by,omitempty"`

	// HTTP: a GET that is to be answered 200; GRPC: gRPC's health service; TCP: a
	// connection.
	// +required
	// +kubebuilder:validation:Enum=HTTP;GRPC;TCP
	Protocol string `json:"protocol"`

	// The path to ask for, by HTTP. Unset: /.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Path string `json:"path,omitempty"`

	// The service to ask for, by GRPC. Unset: the server as a whole.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Service string `json:"service,omitempty"`

	// Time between two checks of an endpoint. Unset: 10s.
	// +optional
	Interval *Duration `json:"interval,omitempty"`

	// How long the answer may take. Unset: 1s.
	// +optional
	Timeout *Duration `json:"timeout,omitempty"`

	// Good answers in a row until an endpoint is used again; a new one is used after the
	// first. 0 or unset: 1.
	// +optional
	// +kubebuilder:validation:Minimum=0
	HealthyThreshold int32 `json:"healthyThreshold,omitempty"`

	// Failures in a row until an endpoint is not used any more. 0 or unset: 3.
	// +optional
	// +kubebuilder:validation:Minimum=0
	UnhealthyThreshold int32 `json:"unhealthyThreshold,omitempty"`
}

// HealthByHDS is a value of ActiveHealthCheck.By.
const HealthByHDS = "HDS"

// Values of ClientTLSSettings.Mode.
const (
	TLSDisable     = "DISABLE"
	TLSSimple      = "SIMPLE"
	TLSMutual      = "MUTUAL"
	TLSIstioMutual = "ISTIO_MUTUAL"
	TLSMeshMutual  = "MESH_MUTUAL"
)

// ClientTLSSettings are the TLS settings of the calling proxy.
//
// +kubebuilder:validation:XValidation:rule="!has(self.mode) || self.mode != 'MUTUAL' || has(self.credentialName) || (has(self.clientCertificate) && has(self.privateKey))",message="tls.mode MUTUAL needs clientCertificate and privateKey, or credentialName"
// +kubebuilder:validation:XValidation:rule="!has(self.mode) || !(self.mode in ['ISTIO_MUTUAL', 'MESH_MUTUAL']) || !(has(self.clientCertificate) || has(self.privateKey) || has(self.caCertificates) || has(self.caCrl) || has(self.credentialName))",message="tls.mode ISTIO_MUTUAL uses the mesh's own certificates: remove clientCertificate, privateKey, caCertificates, caCrl and credentialName"
// +kubebuilder:validation:XValidation:rule="!has(self.credentialName) || !(has(self.clientCertificate) || has(self.privateKey) || has(self.caCertificates) || has(self.caCrl))",message="set tls.credentialName or file paths, not both"
// +kubebuilder:validation:XValidation:rule="!has(self.insecureSkipVerify) || self.insecureSkipVerify != true || !(has(self.caCertificates) || has(self.subjectAltNames))",message="tls.insecureSkipVerify turns verification off: remove caCertificates and subjectAltNames, or insecureSkipVerify"
type ClientTLSSettings struct {
	// DISABLE (also when unset): no TLS; SIMPLE: verify the server; MUTUAL: also present
	// the given certificate; ISTIO_MUTUAL, or MESH_MUTUAL: present the mesh's own, and
	// take nothing else than it from the server.
	// +optional
	// +kubebuilder:validation:Enum=DISABLE;SIMPLE;MUTUAL;ISTIO_MUTUAL;MESH_MUTUAL
	Mode string `json:"mode,omitempty"`

	// File with the client's certificate chain, PEM.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	ClientCertificate string `json:"clientCertificate,omitempty"`

	// File with the client's key, PEM.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	PrivateKey string `json:"privateKey,omitempty"`

	// File with the authorities that verify the server, PEM. Unset: the system's.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	CACertificates string `json:"caCertificates,omitempty"`

	// File with a revocation list, PEM.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	CACRL string `json:"caCrl,omitempty"`

	// Secret with certificate, key and authorities, in the proxy's namespace.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	CredentialName string `json:"credentialName,omitempty"`

	// Names of which the server's certificate must carry one: DNS names, IP addresses or
	// URIs. Unset: sni, or else the request's host; with the mesh's own certificates, the
	// service accounts of the host's Pods.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=2048
	SubjectAltNames []string `json:"subjectAltNames,omitempty"`

	// Server name to ask for. Unset: the request's host, or the policy's where there are no
	// requests; with the mesh's own certificates, none.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	SNI string `json:"sni,omitempty"`

	// Do not verify the server's certificate at all. Unset: false.
	// +optional
	// +nullable
	InsecureSkipVerify *bool `json:"insecureSkipVerify,omitempty"`
}

// TunnelSettings carry TCP within HTTP.
type TunnelSettings struct {
	// The HTTP method. Unset: CONNECT.
	// +optional
	// +kubebuilder:validation:Enum=CONNECT;POST
	Protocol string `json:"protocol,omitempty"`

	// The host at the far end: a full name or an IP address.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	TargetHost string `json:"targetHost"`

	// The port at the far end, 1 to 65535.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	TargetPort int32 `json:"targetPort"`
}

// ProxyProtocol puts a PROXY protocol header before each connection.
type ProxyProtocol struct {
	// V1 is text, V2 binary. Unset: V1.
	// +optional
	// +kubebuilder:validation:Enum=V1;V2
	Version string `json:"version,omitempty"`
}

// RetryBudget limits concurrent retries in proportion to requests.
type RetryBudget struct {
	// Retries per active or pending request, in percent. Unset: 20.
	// +optional
	// +nullable
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Percent *Double `json:"percent,omitempty"`

	// Retries that are always allowed. 0 or unset: 3.
	// +optional
	// +kubebuilder:validation:Minimum=0
	MinRetryConcurrency int32 `json:"minRetryConcurrency,omitempty"`

	// Also count requests of this much past. 0s or unset: only present ones.
	// +optional
	BudgetInterval *DurationOrZero `json:"budgetInterval,omitempty"`
}
