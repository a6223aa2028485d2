package v1alpha1

// RouteRuleRedirect answers with a redirect.
//
// +kubebuilder:validation:XValidation:rule="has(self.uri) || has(self.authority)",message="a redirect must change something: set uri or authority"
type RouteRuleRedirect struct {
	// The new path, in place of the whole old one.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	URI string `json:"uri,omitempty"`

	// The new host.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Authority string `json:"authority,omitempty"`
}

// RouteRuleRewrite changes a request before it is forwarded.
//
// +kubebuilder:validation:XValidation:rule="has(self.uri) || has(self.authority)",message="a rewrite must change something: set uri or authority"
type RouteRuleRewrite struct {
	// The new path. Where a prefix of uri matched, it takes the prefix's place only.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	URI string `json:"uri,omitempty"`

	// The new Host header.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Authority string `json:"authority,omitempty"`
}

// RouteRuleTimeout says how long an answer may take.
type RouteRuleTimeout struct {
	// One limit for every request.
	// +required
	SimpleTimeout RouteRuleSimpleTimeout `json:"simpleTimeout"`
}

// RouteRuleSimpleTimeout is one limit for every request.
type RouteRuleSimpleTimeout struct {
	// The limit.
	// +required
	Timeout Duration `json:"timeout"`

	// Not implemented: a header by which a request has another limit.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	OverrideHeaderName string `json:"overrideHeaderName,omitempty"`
}

// RouteRuleRetries says when and how often a request is tried again.
type RouteRuleRetries struct {
	// One policy for every request.
	// +required
	SimpleRetry RouteRuleSimpleRetry `json:"simpleRetry"`
}

// RouteRuleSimpleRetry is one policy for every request.
//
// +kubebuilder:validation:XValidation:rule="self.attempts > 0 || !has(self.perTryTimeout)",message="attempts 0 turns retries off: remove perTryTimeout, or raise attempts"
type RouteRuleSimpleRetry struct {
	// Tries after the first; 0: none.
	// +required
	// +kubebuilder:validation:Minimum=0
	Attempts int32 `json:"attempts"`

	// How long each try may take. Unset: the rule's timeout.
	// +optional
	PerTryTimeout *Duration `json:"perTryTimeout,omitempty"`

	// Not implemented: a header by which a request has another number of tries.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	OverrideHeaderName string `json:"overrideHeaderName,omitempty"`
}

// RouteRuleHTTPFault delays or fails requests on purpose.
//
// +kubebuilder:validation:XValidation:rule="has(self.delay) || has(self.abort)",message="set httpFault.delay, httpFault.abort or both"
type RouteRuleHTTPFault struct {
	// Hold requests back before forwarding.
	// +optional
	Delay *RouteRuleDelay `json:"delay,omitempty"`

	// Fail requests instead of forwarding.
	// +optional
	Abort *RouteRuleAbort `json:"abort,omitempty"`
}

// RouteRuleDelay holds requests back.
//
// +kubebuilder:validation:XValidation:rule="has(self.fixedDelay) != has(self.exponentialDelay)",message="set exactly one of delay.fixedDelay and delay.exponentialDelay"
type RouteRuleDelay struct {
	// The share of requests held back, in percent. Unset: all.
	// +optional
	// +nullable
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Percent *Double `json:"percent,omitempty"`

	// For how long.
	// +optional
	FixedDelay *Duration `json:"fixedDelay,omitempty"`

	// Not implemented: the mean of an exponentially distributed delay.
	// +optional
	ExponentialDelay *Duration `json:"exponentialDelay,omitempty"`

	// Not implemented: a header by which a request has another delay.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	OverrideHeaderName string `json:"overrideHeaderName,omitempty"`
}

// RouteRuleAbort fails requests.
//
// +kubebuilder:validation:XValidation:rule="[has(self.httpStatus), has(self.grpcStatus), has(self.http2Error)].exists_one(x, x)",message="set exactly one of abort.httpStatus, abort.grpcStatus and abort.http2Error"
type RouteRuleAbort struct {
	// The share of requests failed, in percent. Unset: all.
	// +optional
	// +nullable
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Percent *Double `json:"percent,omitempty"`

	// Answer with this status code, 200 to 599.
	// +optional
	// +kubebuilder:validation:Minimum=200
	// +kubebuilder:validation:Maximum=599
	HTTPStatus int32 `json:"httpStatus,omitempty"`

	// Answer with this gRPC status, by name ("UNAVAILABLE") or number ("14").
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	GRPCStatus string `json:"grpcStatus,omitempty"`

	// Not implemented: reset the stream with this HTTP/2 error code.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	HTTP2Error string `json:"http2Error,omitempty"`

	// Not implemented: a header by which a request has another answer.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	OverrideHeaderName string `json:"overrideHeaderName,omitempty"`
}

// RouteRuleL4Fault slows connections down, or ends them.
type RouteRuleL4Fault struct {
	// Bound how fast answers are returned.
	// +optional
	Throttle *RouteRuleThrottle `json:"throttle,omitempty"`

	// Not implemented: end connections.
	// +optional
	Terminate *RouteRuleTerminate `json:"terminate,omitempty"`
}

// RouteRuleThrottle bounds how fast answers are returned.
type RouteRuleThrottle struct {
	// The share of requests whose answers are slowed down, in percent. Unset: all.
	// +optional
	// +nullable
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Percent *Double `json:"percent,omitempty"`

	// Bits per second from the caller's proxy to the caller, at least 8192; whole KiB per
	// second are used.
	// +optional
	// +kubebuilder:validation:Minimum=8192
	DownstreamLimitBps int64 `json:"downstreamLimitBps,omitempty"`

	// Not implemented: bits per second between the proxy and the destination.
	// +optional
	UpstreamLimitBps int64 `json:"upstreamLimitBps,omitempty"`

	// Not implemented: time before which nothing is slowed down.
	// +optional
	ThrottleAfterPeriod *Duration `json:"throttleAfterPeriod,omitempty"`

	// Not implemented: bytes before which nothing is slowed down.
	// +optional
	ThrottleAfterBytes Double `json:"throttleAfterBytes,omitempty"`

	// Not implemented: for how long.
	// +optional
	ThrottleForPeriod *Duration `json:"throttleForPeriod,omitempty"`
}

// RouteRuleTerminate ends connections.
type RouteRuleTerminate struct {
	// The share of connections, in percent.
	// +optional
	// +nullable
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Percent *Double `json:"percent,omitempty"`

	// After which time.
	// +optional
	TerminateAfterPeriod *Duration `json:"terminateAfterPeriod,omitempty"`
}
