package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// DestinationRule says how traffic reaches a host once it has been routed there: its
// subsets, load balancing, connection pools, outlier detection and TLS. Its spec has the
// shape of Istio's networking.istio.io/v1 DestinationRule.
//
// Fields that the schema does not know are pruned by the API server unless the client
// validates strictly, as kubectl does.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=fairlead
// +kubebuilder:printcolumn:name="Host",type=string,JSONPath=`.spec.host`,description="The host it is for"
// +kubebuilder:printcolumn:name="Live",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="Whether every proxy concerned runs this generation"
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,description="Why it is live, or is not"
// +kubebuilder:printcolumn:name="Acknowledged",type=integer,JSONPath=`.status.proxies.acknowledged`,description="Proxies that run this generation"
// +kubebuilder:printcolumn:name="Concerned",type=integer,JSONPath=`.status.proxies.concerned`,description="Proxies that this generation concerns"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type DestinationRule struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What is wanted.
	// +required
	Spec DestinationRuleSpec `json:"spec"`

	// What has become of it.
	// +optional
	Status Status `json:"status,omitempty,omitzero"`
}

// DestinationRuleList is a list of DestinationRules.
//
// +kubebuilder:object:root=true
type DestinationRuleList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []DestinationRule `json:"items"`
}

// DestinationRuleSpec is what a DestinationRule asks for.
type DestinationRuleSpec struct {
	// The host it is for: a fully qualified name, a short one (completed with the object's
	// namespace), or one with a leading wildcard ("*.local").
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^((\*|(\*-?)?[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+)$`
	Host string `json:"host"`

	// Named parts of the host's endpoints, for VirtualServices to route to.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	Subsets []Subset `json:"subsets,omitempty"`

	// How traffic reaches the host, where no port or subset says otherwise.
	// +optional
	TrafficPolicy *TrafficPolicy `json:"trafficPolicy,omitempty"`

	// The namespaces whose proxies see this object: names, "." for its own, "*" for all,
	// "~" for none. Unset: the mesh's setting.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:Pattern=`^([.*~]|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$`
	ExportTo []string `json:"exportTo,omitempty"`

	// The calling workloads of the object's namespace to which it applies. Unset: all.
	// +optional
	WorkloadSelector *WorkloadSelector `json:"workloadSelector,omitempty"`
}

// Subset is a named part of a host's endpoints.
type Subset struct {
	// Its name: letters, digits and hyphens, at most 63.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$`
	Name string `json:"name"`

	// The labels that its Pods have. Unset: all endpoints.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	Labels map[string]string `json:"labels,omitempty"`

	// How traffic reaches the subset. Each group of settings that is unset here is taken
	// from the host's policy.
	// +optional
	TrafficPolicy *TrafficPolicy `json:"trafficPolicy,omitempty"`
}

// WorkloadSelector selects workloads by their labels.
type WorkloadSelector struct {
	// Labels that the Pods must all have, with exactly these values.
	// +optional
	// +kubebuilder:validation:MaxProperties=128
	MatchLabels map[string]SelectorValue `json:"matchLabels,omitempty"`
}

// SelectorValue is a label's value, at most 63 characters, without wildcards.
//
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$`
type SelectorValue string
