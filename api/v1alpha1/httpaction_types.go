package v1alpha1

// The values of HTTPRedirect.DerivePort.
const (
	// FromProtocolDefault redirects to the scheme's own port.
	FromProtocolDefault = "FROM_PROTOCOL_DEFAULT"
	// FromRequestPort redirects to the port that the request came to.
	FromRequestPort = "FROM_REQUEST_PORT"
)

// HTTPRedirect answers with a redirect; what is unset stays as in the request.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.uri) && has(self.prefixRewrite))",message="set redirect.uri or redirect.prefixRewrite, not both"
// +kubebuilder:validation:XValidation:rule="!(has(self.port) && has(self.derivePort))",message="set redirect.port or redirect.derivePort, not both"
// +kubebuilder:validation:XValidation:rule="has(self.uri) || has(self.prefixRewrite) || has(self.authority) || has(self.port) || has(self.derivePort) || has(self.scheme)",message="a redirect must change something: set uri, prefixRewrite, authority, port, derivePort or scheme"
type HTTPRedirect struct {
	// The new path, in place of the whole old one.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	URI string `json:"uri,omitempty"`

	// The new beginning of the path, in place of the prefix that matched.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	PrefixRewrite string `json:"prefixRewrite,omitempty"`

	// The new host.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Authority string `json:"authority,omitempty"`

	// The new port, 1 to 65535.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`

	// Where to take the new port from: the scheme's default (80 or 443), or the request.
	// +optional
	// +kubebuilder:validation:Enum=FROM_PROTOCOL_DEFAULT;FROM_REQUEST_PORT
	DerivePort string `json:"derivePort,omitempty"`

	// The new scheme.
	// +optional
	// +kubebuilder:validation:Enum=http;https
	Scheme string `json:"scheme,omitempty"`

	// The status code. Unset: 301.
	// +optional
	// +kubebuilder:validation:Enum=301;302;303;307;308
	RedirectCode int32 `json:"redirectCode,omitempty"`
}

// HTTPDirectResponse answers without forwarding.
type HTTPDirectResponse struct {
	// The status code, 200 to 599.
	// +required
	// +kubebuilder:validation:Minimum=200
	// +kubebuilder:validation:Maximum=599
	Status int32 `json:"status"`

	// The body. Unset: empty. Its content type is set with headers.response.
	// +optional
	Body *HTTPBody `json:"body,omitempty"`
}

// HTTPBody is the content of a response, at most 1 MiB.
//
// +kubebuilder:validation:XValidation:rule="has(self.string) != has(self.bytes)",message="set exactly one of body.string and body.bytes"
type HTTPBody struct {
	// The content as text.
	// +optional
	// +kubebuilder:validation:MaxLength=1048576
	String *string `json:"string,omitempty"`

	// The content in base64.
	// +optional
	// +kubebuilder:validation:MaxLength=1398104
	Bytes []byte `json:"bytes,omitempty"`
}

// HTTPRewrite changes a request before it is forwarded.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.uri) && has(self.uriRegexRewrite))",message="set rewrite.uri or rewrite.uriRegexRewrite, not both"
// +kubebuilder:validation:XValidation:rule="has(self.uri) || has(self.uriRegexRewrite) || has(self.authority)",message="a rewrite must change something: set uri, uriRegexRewrite or authority"
type HTTPRewrite struct {
	// The new path. Where uri.prefix matched, it takes the prefix's place only.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	URI string `json:"uri,omitempty"`

	// A substitution on the path.
	// +optional
	URIRegexRewrite *RegexRewrite `json:"uriRegexRewrite,omitempty"`

	// The new Host header.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Authority string `json:"authority,omitempty"`
}

// RegexRewrite replaces what an expression matches.
type RegexRewrite struct {
	// An RE2 expression.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Match string `json:"match"`

	// What to put in its place; \1 to \9 stand for its groups.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Rewrite string `json:"rewrite,omitempty"`
}

// HTTPRetry says when and how often a request is tried again.
//
// +kubebuilder:validation:XValidation:rule="!has(self.attempts) || self.attempts > 0 || !(has(self.perTryTimeout) || has(self.retryOn) || has(self.backoff) || has(self.retryRemoteLocalities))",message="retries.attempts 0 turns retries off: remove the other fields of retries, or raise attempts"
type HTTPRetry struct {
	// Tries after the first; 0: none. Unset: 2.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Attempts *int32 `json:"attempts,omitempty"`

	// How long each try may take. Unset: the route's timeout.
	// +optional
	PerTryTimeout *Duration `json:"perTryTimeout,omitempty"`

	// Envoy's retry conditions and status codes, with commas between. Unset:
	// connect-failure,refused-stream,unavailable,cancelled.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	RetryOn string `json:"retryOn,omitempty"`

	// Whether to try endpoints of other localities. Unset: false.
	// +optional
	// +nullable
	RetryRemoteLocalities *bool `json:"retryRemoteLocalities,omitempty"`

	// Whether to avoid endpoints that were tried already. Unset: true.
	// +optional
	// +nullable
	RetryIgnorePreviousHosts *bool `json:"retryIgnorePreviousHosts,omitempty"`

	// The shortest pause between tries; it grows exponentially. Unset: 25ms.
	// +optional
	Backoff *Duration `json:"backoff,omitempty"`
}

// HTTPFaultInjection delays or fails requests on purpose.
//
// +kubebuilder:validation:XValidation:rule="has(self.delay) || has(self.abort)",message="set fault.delay, fault.abort or both"
type HTTPFaultInjection struct {
	// Hold requests back before forwarding.
	// +optional
	Delay *HTTPFaultDelay `json:"delay,omitempty"`

	// Fail requests instead of forwarding.
	// +optional
	Abort *HTTPFaultAbort `json:"abort,omitempty"`
}

// HTTPFaultDelay holds requests back.
//
// +kubebuilder:validation:XValidation:rule="has(self.fixedDelay) != has(self.exponentialDelay)",message="set exactly one of delay.fixedDelay and delay.exponentialDelay"
type HTTPFaultDelay struct {
	// The share of requests held back. Unset: all.
	// +optional
	Percentage *Percent `json:"percentage,omitempty"`

	// The older way to say percentage, which wins. In percent, 0 to 100.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Percent *int32 `json:"percent,omitempty"`

	// For how long.
	// +optional
	FixedDelay *Duration `json:"fixedDelay,omitempty"`

	// The mean of an exponentially distributed delay.
	// +optional
	ExponentialDelay *Duration `json:"exponentialDelay,omitempty"`
}

// HTTPFaultAbort fails requests.
//
// +kubebuilder:validation:XValidation:rule="[has(self.httpStatus), has(self.grpcStatus), has(self.http2Error)].exists_one(x, x)",message="set exactly one of abort.httpStatus, abort.grpcStatus and abort.http2Error"
type HTTPFaultAbort struct {
	// The share of requests failed. Unset: all.
	// +optional
	Percentage *Percent `json:"percentage,omitempty"`

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

	// Reset the stream with this HTTP/2 error code.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	HTTP2Error string `json:"http2Error,omitempty"`
}

// CORSPolicy is the answer to browsers that ask whether another origin's page may call.
type CORSPolicy struct {
	// The older way to say allowOrigins, which wins. Origins in full, or "*" for all.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=1024
	AllowOrigin []string `json:"allowOrigin,omitempty"`

	// Origins that may call: those that match any of these.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	AllowOrigins []StringMatch `json:"allowOrigins,omitempty"`

	// Methods they may use.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	AllowMethods []string `json:"allowMethods,omitempty"`

	// Request headers they may send.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=256
	AllowHeaders []string `json:"allowHeaders,omitempty"`

	// Response headers that scripts may read.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=256
	ExposeHeaders []string `json:"exposeHeaders,omitempty"`

	// How long browsers may keep the answer, in whole seconds.
	// +optional
	MaxAge *Duration `json:"maxAge,omitempty"`

	// Whether credentials may be sent.
	// +optional
	// +nullable
	AllowCredentials *bool `json:"allowCredentials,omitempty"`

	// What becomes of preflight requests from other origins: FORWARD to the destination
	// (also when unset), or IGNORE.
	// +optional
	// +kubebuilder:validation:Enum=UNSPECIFIED;FORWARD;IGNORE
	UnmatchedPreflights string `json:"unmatchedPreflights,omitempty"`
}

// Headers are changes to the headers of requests and responses.
type Headers struct {
	// Changes before a request is forwarded.
	// +optional
	Request *HeaderOperations `json:"request,omitempty"`

	// Changes before a response is returned.
	// +optional
	Response *HeaderOperations `json:"response,omitempty"`
}

// HeaderOperations change headers: remove first, then set, then add.
type HeaderOperations struct {
	// Headers to overwrite, by name.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	Set map[string]string `json:"set,omitempty"`

	// Values to append, by name.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	Add map[string]string `json:"add,omitempty"`

	// Names of headers to remove.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	Remove []string `json:"remove,omitempty"`
}
