package v1alpha1

import (
	"encoding/json"
	"time"
)

// Duration is a length of time of at least 1ms: decimal numbers with a unit of h, m, s or
// ms, as in "5s", "1.5s" or "1m30s".
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$`
// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1ms')",message="must be a duration of at least 1ms, such as 250ms, 5s or 1m30s"
type Duration string

// Parse returns the duration that the text stands for. It is text here, since one
// malformed value must not keep a client from reading all the others.
func (d Duration) Parse() (time.Duration, error) { return time.ParseDuration(string(d)) }

// DurationOrZero is a Duration that may also be zero ("0s"); each field says what zero
// means.
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$`
// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s')",message="must be a duration such as 0s, 250ms, 5s or 1m30s"
type DurationOrZero string

// Parse returns the duration that the text stands for.
func (d DurationOrZero) Parse() (time.Duration, error) { return time.ParseDuration(string(d)) }

// Double is a floating-point number, as the source schemas have for percentages. It has a
// name since controller-gen refuses bare floats.
// +kubebuilder:validation:Type=number
// +kubebuilder:validation:Format=double
type Double float64

// MarshalJSON writes the number in Go's shortest form. It must exist for controller-gen to
// take the type from the marker above.
func (d Double) MarshalJSON() ([]byte, error) { return json.Marshal(float64(d)) }

// Percent is a share in percent.
type Percent struct {
	// From 0.0 to 100.0; proxies resolve it to a ten-thousandth of a percent.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Value Double `json:"value"`
}

// StringMatch compares a text in one of three ways, always case-sensitively.
// +kubebuilder:validation:XValidation:rule="has(self.exact) ? !has(self.prefix) && !has(self.regex) : !has(self.prefix) || !has(self.regex)",message="set only one of exact, prefix and regex"
type StringMatch struct {
	// The whole text; may be empty.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Exact *string `json:"exact,omitempty"`

	// How the text begins.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Prefix string `json:"prefix,omitempty"`

	// An RE2 expression that the whole text must match.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Regex string `json:"regex,omitempty"`
}

// PortSelector names a port of a service.
type PortSelector struct {
	// The service's port, 1 to 65535.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Number int32 `json:"number"`
}

// Destination is a service, or a part of its endpoints, that traffic is sent to.
// +kubebuilder:validation:XValidation:rule="!(has(self.subset) && has(self.labels))",message="set subset or labels, not both: a subset has its labels in a DestinationRule"
type Destination struct {
	// The service's name: a fully qualified one, or a short one that is completed with the
	// object's own namespace ("reviews" in namespace prod is reviews.prod.svc.cluster.local).
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+)$`
	Host string `json:"host"`

	// A subset of the service, defined in a DestinationRule for the same host.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Subset string `json:"subset,omitempty"`

	// The labels of the Pods to send to: a subset on the spot, without a DestinationRule.
	// Fairlead's own extension.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=32
	Labels map[string]string `json:"labels,omitempty"`

	// The service's port. Needed only where the service has several.
	// +optional
	Port *PortSelector `json:"port,omitempty"`
}
