package v1alpha1

// HTTPRoute says which requests it takes and what becomes of them.
//
// +kubebuilder:validation:XValidation:rule="[has(self.route), has(self.redirect), has(self.directResponse), has(self.delegate)].exists_one(x, x)",message="set exactly one of route, redirect, directResponse and delegate"
// +kubebuilder:validation:XValidation:rule="!(has(self.redirect) || has(self.directResponse)) || !(has(self.rewrite) || has(self.fault))",message="remove rewrite and fault: they apply to requests that are forwarded, not to redirect or directResponse"
// +kubebuilder:validation:XValidation:rule="!(has(self.mirror) && has(self.mirrors))",message="set mirror or mirrors, not both: move mirror into mirrors"
// +kubebuilder:validation:XValidation:rule="has(self.mirror) || !(has(self.mirrorPercentage) || has(self.mirrorPercent) || has(self.mirror_percent))",message="mirrorPercentage belongs to mirror: set mirror, or put the percentage into mirrors"
// +kubebuilder:validation:XValidation:rule="!has(self.redirect) || !has(self.redirect.prefixRewrite) || (has(self.match) && size(self.match) > 0 && self.match.all(m, has(m.uri) && has(m.uri.prefix)))",message="redirect.prefixRewrite replaces a matched prefix: give every match a uri.prefix, or use redirect.uri"
type HTTPRoute struct {
	// A name for logs and error messages.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// The requests it takes: those that match any of these. Unset: all.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Match []HTTPMatchRequest `json:"match,omitempty"`

	// Forward to these destinations, shared out by weight.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Route []HTTPRouteDestination `json:"route,omitempty"`

	// Answer with a redirect.
	// +optional
	Redirect *HTTPRedirect `json:"redirect,omitempty"`

	// Answer with a fixed response.
	// +optional
	DirectResponse *HTTPDirectResponse `json:"directResponse,omitempty"`

	// Leave the requests to the routes of another VirtualService, which has no hosts. One
	// level only.
	// +optional
	Delegate *Delegate `json:"delegate,omitempty"`

	// Change path or authority before forwarding.
	// +optional
	Rewrite *HTTPRewrite `json:"rewrite,omitempty"`

	// How long the whole answer may take, retries included. Unset: no limit.
	// +optional
	Timeout *Duration `json:"timeout,omitempty"`

	// When and how often to try again. Unset: the mesh's policy.
	// +optional
	Retries *HTTPRetry `json:"retries,omitempty"`

	// Delays and errors made on purpose, in the caller's proxy.
	// +optional
	Fault *HTTPFaultInjection `json:"fault,omitempty"`

	// Send a copy of each request here too; its answer is dropped.
	// +optional
	Mirror *Destination `json:"mirror,omitempty"`

	// Send copies to each of these; their answers are dropped.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Mirrors []HTTPMirrorPolicy `json:"mirrors,omitempty"`

	// The share of requests that mirror copies. Unset: all.
	// +optional
	MirrorPercentage *Percent `json:"mirrorPercentage,omitempty"`

	// The older way to say mirrorPercentage, which wins. In percent, 0 to 100.
	// +optional
	// +nullable
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	MirrorPercent *int32 `json:"mirrorPercent,omitempty"`

	// Another spelling of mirrorPercent, which wins. In percent, 0 to 100.
	// +optional
	// +nullable
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	MirrorPercentUnderscore *int32 `json:"mirror_percent,omitempty"`

	// Cross-origin resource sharing.
	// +optional
	CORSPolicy *CORSPolicy `json:"corsPolicy,omitempty"`

	// Changes to headers, whatever the destination.
	// +optional
	Headers *Headers `json:"headers,omitempty"`
}

// HTTPMatchRequest matches a request when all that is set does.
//
// Names of headers are compared without regard to case; an empty match ({}) asks only that
// the header or parameter is present.
type HTTPMatchRequest struct {
	// A name, appended to the route's in logs and error messages.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// The path, without the query.
	// +optional
	// +kubebuilder:validation:XValidation:rule="has(self.exact) || has(self.prefix) || has(self.regex)",message="set one of uri.exact, uri.prefix and uri.regex"
	URI *StringMatch `json:"uri,omitempty"`

	// The scheme, http or https.
	// +optional
	// +kubebuilder:validation:XValidation:rule="has(self.exact) || has(self.prefix) || has(self.regex)",message="set one of scheme.exact, scheme.prefix and scheme.regex"
	Scheme *StringMatch `json:"scheme,omitempty"`

	// The method, in upper case.
	// +optional
	// +kubebuilder:validation:XValidation:rule="has(self.exact) || has(self.prefix) || has(self.regex)",message="set one of method.exact, method.prefix and method.regex"
	Method *StringMatch `json:"method,omitempty"`

	// The Host header or HTTP/2 :authority.
	// +optional
	// +kubebuilder:validation:XValidation:rule="has(self.exact) || has(self.prefix) || has(self.regex)",message="set one of authority.exact, authority.prefix and authority.regex"
	Authority *StringMatch `json:"authority,omitempty"`

	// Headers by lower-case name; all must match.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	Headers map[string]StringMatch `json:"headers,omitempty"`

	// Headers by lower-case name; none may match.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	WithoutHeaders map[string]StringMatch `json:"withoutHeaders,omitempty"`

	// Query parameters by name; all must match.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	QueryParams map[string]StringMatch `json:"queryParams,omitempty"`

	// Compare uri.exact and uri.prefix without regard to case.
	// +optional
	IgnoreURICase bool `json:"ignoreUriCase,omitempty"`

	// The port that the caller addressed, 1 to 65535.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`

	// Labels of the calling workload. A match with any takes
	// nothing at a gateway, which does not know who calls.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	SourceLabels map[string]string `json:"sourceLabels,omitempty"`

	// The namespace of the calling workload.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	SourceNamespace string `json:"sourceNamespace,omitempty"`

	// Gateways to which this match is confined, in place of spec.gateways.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=317
	Gateways []string `json:"gateways,omitempty"`

	// Prefix for the statistics of this route.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	StatPrefix string `json:"statPrefix,omitempty"`
}

// HTTPRouteDestination is a destination with its share of requests.
type HTTPRouteDestination struct {
	// Where to.
	// +required
	Destination Destination `json:"destination"`

	// Its share, in proportion to the sum of all weights of the route; 0: none. Unset: 0
	// beside other destinations, all when it is alone.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Weight *int32 `json:"weight,omitempty"`

	// Changes to headers for this destination only.
	// +optional
	Headers *Headers `json:"headers,omitempty"`
}

// Delegate names the VirtualService that holds the routes.
type Delegate struct {
	// Its name.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// Its namespace. Unset: the object's own.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
}

// HTTPMirrorPolicy is a destination for copies of requests.
type HTTPMirrorPolicy struct {
	// Where to.
	// +required
	Destination Destination `json:"destination"`

	// The share of requests that is copied. Unset: all.
	// +optional
	Percentage *Percent `json:"percentage,omitempty"`
}
