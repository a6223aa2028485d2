package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// RouteRule says how requests to one service are routed. Its spec has the shape of the
// historic config.istio.io/v1alpha2 RouteRule.
//
// All RouteRules of a service apply together: those with a higher precedence are tried first,
// and what none of them takes goes to the service. A VirtualService that names the service
// stands in for them: they are not used then, and say so in their status.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=fairlead
// +kubebuilder:printcolumn:name="Destination",type=string,JSONPath=`.spec.destination.name`,description="The service that it routes"
// +kubebuilder:printcolumn:name="Precedence",type=integer,JSONPath=`.spec.precedence`,description="Higher ones are tried first"
// +kubebuilder:printcolumn:name="Live",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="Whether every proxy concerned runs this generation"
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,description="Why it is live, or is not"
// +kubebuilder:printcolumn:name="Acknowledged",type=integer,JSONPath=`.status.proxies.acknowledged`,description="Proxies that run this generation"
// +kubebuilder:printcolumn:name="Concerned",type=integer,JSONPath=`.status.proxies.concerned`,description="Proxies that this generation concerns"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type RouteRule struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What is wanted.
	// +required
	Spec RouteRuleSpec `json:"spec"`

	// What has become of it.
	// +optional
	Status Status `json:"status,omitempty,omitzero"`
}

// RouteRuleList is a list of RouteRules.
//
// +kubebuilder:object:root=true
type RouteRuleList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []RouteRule `json:"items"`
}

// RouteRuleSpec is what a RouteRule asks for.
//
// +kubebuilder:validation:XValidation:rule="!has(self.redirect) || !(has(self.route) || has(self.rewrite) || has(self.httpFault) || has(self.mirror))",message="remove route, rewrite, httpFault and mirror: a redirect forwards nothing"
// +kubebuilder:validation:XValidation:rule="!has(self.destination.labels)",message="remove destination.labels: route[].labels say which Pods get requests"
type RouteRuleSpec struct {
	// The service whose requests are routed. It has no labels.
	// +required
	Destination RouteRuleService `json:"destination"`

	// Rules with a higher one are tried first, and among equals the oldest. Unset: 0.
	// +optional
	Precedence int32 `json:"precedence,omitempty"`

	// The requests that it takes. Unset: all.
	// +optional
	Match *RouteRuleMatch `json:"match,omitempty"`

	// Forward to these, shared out by weight. Unset: to the destination.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Route []RouteRuleDestination `json:"route,omitempty"`

	// Answer with a redirect, with the status 301.
	// +optional
	Redirect *RouteRuleRedirect `json:"redirect,omitempty"`

	// Change path or authority before forwarding.
	// +optional
	Rewrite *RouteRuleRewrite `json:"rewrite,omitempty"`

	// Whether requests may upgrade to WebSocket. Unset: true.
	// +optional
	// +nullable
	WebsocketUpgrade *bool `json:"websocketUpgrade,omitempty"`

	// How long the whole answer may take. Unset: no limit.
	// +optional
	HTTPReqTimeout *RouteRuleTimeout `json:"httpReqTimeout,omitempty"`

	// When and how often to try again. Unset: the mesh's policy.
	// +optional
	HTTPReqRetries *RouteRuleRetries `json:"httpReqRetries,omitempty"`

	// Delays and errors made on purpose, in the caller's proxy.
	// +optional
	HTTPFault *RouteRuleHTTPFault `json:"httpFault,omitempty"`

	// Slow connections made on purpose, in the caller's proxy.
	// +optional
	L4Fault *RouteRuleL4Fault `json:"l4Fault,omitempty"`

	// Send a copy of each request here too; its answer is dropped.
	// +optional
	Mirror *RouteRuleService `json:"mirror,omitempty"`

	// Cross-origin resource sharing.
	// +optional
	CORSPolicy *CORSPolicy `json:"corsPolicy,omitempty"`

	// Headers that are added to requests, by name.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	AppendHeaders map[string]string `json:"appendHeaders,omitempty"`
}

// RouteRuleService names a service.
//
// +kubebuilder:validation:XValidation:rule="has(self.name) != has(self.service)",message="set exactly one of name and service"
// +kubebuilder:validation:XValidation:rule="!has(self.service) || !(has(self.__namespace__) || has(self.domain))",message="remove namespace and domain: service is a full name"
type RouteRuleService struct {
	// Its short name.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// Its namespace. Unset: the object's own.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`

	// What ends its name. Unset: svc and the cluster's domain, as in svc.cluster.local.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Domain string `json:"domain,omitempty"`

	// Its full name, in place of name, namespace and domain.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Service string `json:"service,omitempty"`

	// The labels of its Pods that are meant. Unset: all.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=32
	Labels map[string]string `json:"labels,omitempty"`
}

// RouteRuleMatch matches a request when all that is set does.
type RouteRuleMatch struct {
	// The caller: a workload behind this service, or one with these labels.
	// +optional
	Source *RouteRuleSource `json:"source,omitempty"`

	// What the request says.
	// +optional
	Request *RouteRuleRequest `json:"request,omitempty"`

	// Not implemented: connections of TCP.
	// +optional
	TCP *RouteRuleL4Match `json:"tcp,omitempty"`

	// Not implemented: packets of UDP.
	// +optional
	UDP *RouteRuleL4Match `json:"udp,omitempty"`
}

// RouteRuleSource says which workloads a rule is for.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.name) && has(self.service))",message="set one of name and service"
// +kubebuilder:validation:XValidation:rule="has(self.name) || !has(self.domain)",message="remove domain, or set name"
type RouteRuleSource struct {
	// The short name of a service that the caller is behind.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// The caller's namespace. Unset: beside name the object's own, else any.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`

	// What ends the service's name, as in a destination.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Domain string `json:"domain,omitempty"`

	// The service's full name, in place of name and domain.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Service string `json:"service,omitempty"`

	// The caller's labels.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	Labels map[string]string `json:"labels,omitempty"`
}

// RouteRuleRequest matches requests by their headers.
type RouteRuleRequest struct {
	// Headers by lower-case name; all must match. The names uri, scheme, method and authority
	// stand for the path and what else is no header of HTTP/1.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	Headers map[string]StringMatch `json:"headers,omitempty"`
}

// RouteRuleL4Match matches by address.
type RouteRuleL4Match struct {
	// Addresses of callers.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	SourceSubnet []string `json:"sourceSubnet,omitempty"`

	// Addresses that are called.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	DestinationSubnet []string `json:"destinationSubnet,omitempty"`
}

// RouteRuleDestination is a destination with its share of requests.
type RouteRuleDestination struct {
	// Where to. It has no labels. Unset: the rule's destination.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.labels)",message="move labels beside destination"
	Destination *RouteRuleService `json:"destination,omitempty"`

	// The labels of the Pods that get requests. Unset: all.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=32
	Labels map[string]string `json:"labels,omitempty"`

	// Its share, in proportion to the sum of all weights of the rule; 0: none. Unset: 0
	// beside other destinations, all when it is alone.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Weight *int32 `json:"weight,omitempty"`
}
