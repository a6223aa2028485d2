package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Status is what Fairlead reports of an object, the same for every kind. The manager that
// holds the lease writes it; nobody else should.
type Status struct {
	// The generation of the object that this status speaks of. While it is lower than
	// metadata.generation, the newest change has not been looked at.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Accepted, ResolvedRefs, Programmed and their summary Ready.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// How many proxies this generation concerns and what they answered. Absent while the
	// object is not served.
	// +optional
	Proxies *ProxyCounts `json:"proxies,omitempty"`

	// What proxies refused of this object, the first ten by node.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Rejections []Rejection `json:"rejections,omitempty"`
}

// ProxyCounts counts proxies by what they did with an object's current generation.
type ProxyCounts struct {
	// Proxies that are subscribed to something made from the object: connected now, or
	// gone for less than the grace period while their Pod is ready.
	// +required
	// +kubebuilder:validation:Minimum=0
	Concerned int32 `json:"concerned"`

	// Proxies of these that run the current generation.
	// +required
	// +kubebuilder:validation:Minimum=0
	Acknowledged int32 `json:"acknowledged"`

	// Proxies of these that refused it.
	// +required
	// +kubebuilder:validation:Minimum=0
	Rejected int32 `json:"rejected"`

	// Proxies of these that are disconnected and within their grace period.
	// +required
	// +kubebuilder:validation:Minimum=0
	Lost int32 `json:"lost"`
}

// Rejection is one proxy's refusal of one resource.
type Rejection struct {
	// The proxy: "<namespace>/<pod>".
	// +required
	// +kubebuilder:validation:MaxLength=512
	Node string `json:"node"`

	// The refused resource: its short type and name, as in "route reviews.prod:9080".
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Resource string `json:"resource,omitempty"`

	// The proxy's own words.
	// +required
	// +kubebuilder:validation:MaxLength=4096
	Message string `json:"message"`
}

// Condition types. All four are present from the first status on, each with the
// observedGeneration it speaks of.
const (
	// ConditionAccepted: the spec is valid, implemented and not in conflict with another
	// object. False: the object keeps its last accepted spec, or is left out.
	ConditionAccepted = "Accepted"
	// ConditionResolvedRefs: the services, subsets and ports it names exist.
	ConditionResolvedRefs = "ResolvedRefs"
	// ConditionProgrammed: every proxy that the generation concerns has acknowledged it.
	// Once true for a generation it stays so.
	ConditionProgrammed = "Programmed"
	// ConditionReady: the summary, for kstatus and Argo CD.
	ConditionReady = "Ready"
)

// Condition reasons.
const (
	// ReasonAccepted: the spec is taken as it is.
	ReasonAccepted = "Accepted"
	// ReasonInvalid: a rule is broken; the message names the field and the fix.
	ReasonInvalid = "Invalid"
	// ReasonNotImplemented: a field is set that Fairlead does not implement yet.
	ReasonNotImplemented = "NotImplemented"
	// ReasonHostConflict: an older object has the same host.
	ReasonHostConflict = "HostConflict"
	// ReasonNotAccepted: what follows from acceptance has to wait for it.
	ReasonNotAccepted = "NotAccepted"

	// ReasonResolvedRefs: everything that is named exists.
	ReasonResolvedRefs = "ResolvedRefs"
	// ReasonHostNotFound: no service has a host that the object names.
	ReasonHostNotFound = "HostNotFound"
	// ReasonSubsetNotFound: no DestinationRule defines a subset that the object names.
	ReasonSubsetNotFound = "SubsetNotFound"
	// ReasonPortNotFound: a named host has no such port, or several and none is chosen.
	ReasonPortNotFound = "PortNotFound"
	// ReasonRefsNotResolved is Ready's reason while ResolvedRefs is false for several causes.
	ReasonRefsNotResolved = "RefsNotResolved"

	// ReasonProgrammed: every concerned proxy acknowledged the generation.
	ReasonProgrammed = "Programmed"
	// ReasonNoProxies: true, since no proxy is concerned.
	ReasonNoProxies = "NoProxies"
	// ReasonPending: some concerned proxy has not answered.
	ReasonPending = "Pending"
	// ReasonRejected: a proxy refused what the object makes; see status.rejections.
	ReasonRejected = "Rejected"
	// ReasonReady: accepted, resolved and programmed.
	ReasonReady = "Ready"
	// ReasonUnknown: a replica of the manager has not told what its proxies did.
	ReasonUnknown = "Unknown"
)

// GetStatus returns the status to read or to fill in.
func (o *VirtualService) GetStatus() *Status { return &o.Status }

// GetStatus returns the status to read or to fill in.
func (o *DestinationRule) GetStatus() *Status { return &o.Status }

// GetStatus returns the status to read or to fill in.
func (o *Gateway) GetStatus() *Status { return &o.Status }

// GetStatus returns the status to read or to fill in.
func (o *RouteRule) GetStatus() *Status { return &o.Status }

// GetStatus returns the status to read or to fill in.
func (o *ServiceEntry) GetStatus() *Status { return &o.Status }
