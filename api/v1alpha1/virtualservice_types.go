package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// VirtualService says how requests to one or more hosts are routed. Its spec has the shape
// of Istio's networking.istio.io/v1 VirtualService, and `labels` in a destination beside it.
//
// For sidecars, the oldest of several VirtualServices with one host is used and the others
// say so in their status; at gateways they are merged. Fields that the schema does not know
// are pruned by the API server unless the client validates strictly, as kubectl does.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=fairlead
// +kubebuilder:printcolumn:name="Hosts",type=string,JSONPath=`.spec.hosts`,description="The hosts it routes"
// +kubebuilder:printcolumn:name="Live",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="Whether every proxy concerned runs this generation"
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,description="Why it is live, or is not"
// +kubebuilder:printcolumn:name="Acknowledged",type=integer,JSONPath=`.status.proxies.acknowledged`,description="Proxies that run this generation"
// +kubebuilder:printcolumn:name="Concerned",type=integer,JSONPath=`.status.proxies.concerned`,description="Proxies that this generation concerns"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type VirtualService struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What is wanted.
	// +required
	Spec VirtualServiceSpec `json:"spec"`

	// What has become of it.
	// +optional
	Status Status `json:"status,omitempty,omitzero"`
}

// VirtualServiceList is a list of VirtualServices.
//
// +kubebuilder:object:root=true
type VirtualServiceList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []VirtualService `json:"items"`
}

// VirtualServiceSpec is what a VirtualService asks for.
//
// +kubebuilder:validation:XValidation:rule="(has(self.http) && size(self.http) > 0) || (has(self.tls) && size(self.tls) > 0) || (has(self.tcp) && size(self.tcp) > 0)",message="set at least one route in http, tls or tcp"
// +kubebuilder:validation:XValidation:rule="has(self.hosts) || !(has(self.gateways) || has(self.tls) || has(self.tcp))",message="set hosts; only a delegate goes without, and a delegate has neither gateways nor tls nor tcp"
type VirtualServiceSpec struct {
	// The hosts that this object routes: fully qualified names, short names (completed with
	// the object's namespace), names with a leading wildcard ("*.example.com", "*"), or IP
	// addresses. Without hosts the object is a delegate that another VirtualService includes.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^((\*|(\*-?)?[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+)$`
	// +kubebuilder:validation:XValidation:rule="self.all(h, self.exists_one(other, other == h))",message="hosts must not repeat: remove the second mention"
	Hosts []string `json:"hosts,omitempty"`

	// Where the routes apply: names of Gateways ("name" or "namespace/name") and the
	// reserved word "mesh" for all sidecars. Unset: mesh.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=317
	// +kubebuilder:validation:items:Pattern=`^(([a-z0-9]([-a-z0-9]*[a-z0-9])?|\.)/)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Gateways []string `json:"gateways,omitempty"`

	// Routes for HTTP, HTTP/2 and gRPC, and for HTTPS that a gateway terminates. The first
	// that matches is used.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=512
	HTTP []HTTPRoute `json:"http,omitempty"`

	// Routes for TLS that is passed through, chosen by server name (SNI). The first that
	// matches is used.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=512
	TLS []TLSRoute `json:"tls,omitempty"`

	// Routes for every other port, chosen by port and address. The first that matches is used.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=512
	TCP []TCPRoute `json:"tcp,omitempty"`

	// The namespaces whose proxies see this object: names, "." for its own, "*" for all,
	// "~" for none. Unset: the mesh's setting.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:Pattern=`^([.*~]|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$`
	ExportTo []string `json:"exportTo,omitempty"`
}

// TLSRoute sends TLS connections that are not terminated to destinations.
type TLSRoute struct {
	// The connections it takes: those that match any of these.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Match []TLSMatchAttributes `json:"match"`

	// Where they go.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Route []RouteDestination `json:"route"`
}

// TLSMatchAttributes match a connection when all that are set do.
type TLSMatchAttributes struct {
	// Server names, exact or with a leading wildcard. Each must lie within spec.hosts.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	SNIHosts []string `json:"sniHosts"`

	// Destination addresses: IPv4 or IPv6, with or without a prefix length.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=64
	DestinationSubnets []string `json:"destinationSubnets,omitempty"`

	// The port of the listener or service, 1 to 65535.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`

	// Labels of the workload that opens the connection. A match with any takes
	// nothing at a gateway, which does not know who calls.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	SourceLabels map[string]string `json:"sourceLabels,omitempty"`

	// Gateways to which this match is confined, in place of spec.gateways.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=317
	Gateways []string `json:"gateways,omitempty"`

	// The namespace of the workload that opens the connection.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	SourceNamespace string `json:"sourceNamespace,omitempty"`
}

// TCPRoute sends connections to destinations without looking inside.
type TCPRoute struct {
	// The connections it takes: those that match any of these. Unset: all.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Match []L4MatchAttributes `json:"match,omitempty"`

	// Where they go.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Route []RouteDestination `json:"route"`
}

// L4MatchAttributes match a connection when all that are set do.
type L4MatchAttributes struct {
	// Destination addresses: IPv4 or IPv6, with or without a prefix length.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=64
	DestinationSubnets []string `json:"destinationSubnets,omitempty"`

	// The port of the listener or service, 1 to 65535.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`

	// The address of the caller: IPv4 or IPv6, with or without a prefix length.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	SourceSubnet string `json:"sourceSubnet,omitempty"`

	// Labels of the workload that opens the connection. A match with any takes
	// nothing at a gateway, which does not know who calls.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	SourceLabels map[string]string `json:"sourceLabels,omitempty"`

	// Gateways to which this match is confined, in place of spec.gateways.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=317
	Gateways []string `json:"gateways,omitempty"`

	// The namespace of the workload that opens the connection.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	SourceNamespace string `json:"sourceNamespace,omitempty"`
}

// RouteDestination is a destination of a TLS or TCP route with its share of connections.
type RouteDestination struct {
	// Where to.
	// +required
	Destination Destination `json:"destination"`

	// Its share, in proportion to the sum of all weights of the route; 0: none. Unset: 0
	// beside other destinations, all when it is alone.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Weight *int32 `json:"weight,omitempty"`
}
