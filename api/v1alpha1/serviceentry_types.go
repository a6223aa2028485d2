package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ServiceEntry adds hosts to those that the mesh knows: services outside the cluster, and
// servers that no Service selects. Its spec has the shape of Istio's networking.istio.io/v1
// ServiceEntry.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=fairlead,path=serviceentries
// +kubebuilder:printcolumn:name="Hosts",type=string,JSONPath=`.spec.hosts`,description="The hosts that it adds"
// +kubebuilder:printcolumn:name="Live",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="Whether every proxy concerned runs this generation"
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,description="Why it is live, or is not"
// +kubebuilder:printcolumn:name="Acknowledged",type=integer,JSONPath=`.status.proxies.acknowledged`,description="Proxies that run this generation"
// +kubebuilder:printcolumn:name="Concerned",type=integer,JSONPath=`.status.proxies.concerned`,description="Proxies that this generation concerns"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ServiceEntry struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What is wanted.
	// +required
	Spec ServiceEntrySpec `json:"spec"`

	// What has become of it.
	// +optional
	Status Status `json:"status,omitempty,omitzero"`
}

// ServiceEntryList is a list of ServiceEntries.
//
// +kubebuilder:object:root=true
type ServiceEntryList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ServiceEntry `json:"items"`
}

// ServiceEntrySpec is what a ServiceEntry says of its hosts.
// +kubebuilder:validation:XValidation:rule="!(has(self.workloadSelector) && has(self.endpoints))",message="set one of workloadSelector and endpoints"
// +kubebuilder:validation:XValidation:rule="!has(self.endpoints) || has(self.resolution) && self.resolution != 'NONE'",message="set resolution to STATIC, DNS or DNS_ROUND_ROBIN, or remove endpoints"
// +kubebuilder:validation:XValidation:rule="!has(self.endpoints) || !has(self.resolution) || self.resolution != 'DNS_ROUND_ROBIN' || size(self.endpoints) == 1",message="DNS_ROUND_ROBIN takes one endpoint: use DNS for several"
type ServiceEntrySpec struct {
	// The names that clients call, with a leading wildcard ("*.example.com") or without. Short
	// names are not completed.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^(\*[-.]?)?[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*$`
	Hosts []string `json:"hosts"`

	// The addresses at which clients call the hosts: IP addresses, or ranges of them as
	// "192.0.2.0/24". Proxies that intercept tell connections that are not HTTP or TLS by
	// them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=2
	// +kubebuilder:validation:items:MaxLength=64
	Addresses []string `json:"addresses,omitempty"`

	// The ports of the hosts.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:XValidation:rule="self.all(p, self.exists_one(other, other.number == p.number))",message="port numbers must not repeat"
	Ports []ServiceEntryPort `json:"ports,omitempty"`

	// Whether the servers have proxies of the mesh. Unset: MESH_EXTERNAL.
	// +optional
	Location ServiceEntryLocation `json:"location,omitempty"`

	// How servers are found. Unset: NONE.
	// +optional
	Resolution ServiceEntryResolution `json:"resolution,omitempty"`

	// The servers. Unset, with a resolution by DNS: the host itself.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4096
	Endpoints []WorkloadEndpoint `json:"endpoints,omitempty"`

	// The Pods of this namespace that are the servers.
	// +optional
	WorkloadSelector *ServiceEntrySelector `json:"workloadSelector,omitempty"`

	// The namespaces that see the hosts: names, "." for this one, "*" for all, "~" for none.
	// Unset: all.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=63
	ExportTo []string `json:"exportTo,omitempty"`

	// The names one of which the servers' certificate must have.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	SubjectAltNames []string `json:"subjectAltNames,omitempty"`
}

// ServiceEntryLocation says whether servers have proxies of the mesh.
// +kubebuilder:validation:Enum=MESH_EXTERNAL;MESH_INTERNAL
type ServiceEntryLocation string

// The locations.
const (
	MeshExternal ServiceEntryLocation = "MESH_EXTERNAL"
	MeshInternal ServiceEntryLocation = "MESH_INTERNAL"
)

// ServiceEntryResolution says how servers are found.
// +kubebuilder:validation:Enum=NONE;STATIC;DNS;DNS_ROUND_ROBIN;DYNAMIC_DNS
type ServiceEntryResolution string

// The resolutions.
const (
	// ResolutionNone is the address that the client called.
	ResolutionNone ServiceEntryResolution = "NONE"
	// ResolutionStatic is the endpoints' addresses, or those of the Pods selected.
	ResolutionStatic ServiceEntryResolution = "STATIC"
	// ResolutionDNS is all addresses that the endpoints' names have, or the host's own.
	ResolutionDNS ServiceEntryResolution = "DNS"
	// ResolutionDNSRoundRobin is the first address that the name has whenever a connection
	// is made.
	ResolutionDNSRoundRobin ServiceEntryResolution = "DNS_ROUND_ROBIN"
	// ResolutionDynamicDNS is not implemented.
	ResolutionDynamicDNS ServiceEntryResolution = "DYNAMIC_DNS"
)

// ServiceEntryPort is a port of the hosts.
type ServiceEntryPort struct {
	// The port that clients call, 1 to 65535.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Number int32 `json:"number"`

	// HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, MONGO, MYSQL, REDIS, TCP or TLS, in whatever case.
	// Unset: by the port's name, as of a Service's port.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Protocol string `json:"protocol,omitempty"`

	// A name, unique among the ports.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name"`

	// The servers' port. Unset: the same.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	TargetPort int32 `json:"targetPort,omitempty"`
}

// ServiceEntrySelector selects Pods.
type ServiceEntrySelector struct {
	// The labels that Pods must have.
	// +optional
	// +kubebuilder:validation:MaxProperties=256
	Labels map[string]SelectorValue `json:"labels,omitempty"`
}

// WorkloadEndpoint is a server of a ServiceEntry.
// +kubebuilder:validation:XValidation:rule="has(self.address)",message="set address"
// +kubebuilder:validation:XValidation:rule="!(has(self.address) && self.address.startsWith('unix://') && has(self.ports))",message="a socket has no ports: remove ports"
type WorkloadEndpoint struct {
	// An IP address, a name where the resolution is by DNS, or unix:///PATH of a socket on the
	// caller's machine where it is STATIC.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Address string `json:"address,omitempty"`

	// The server's ports by the names of spec.ports, where they are other ones.
	// +optional
	// +kubebuilder:validation:MaxProperties=128
	Ports map[string]EndpointPort `json:"ports,omitempty"`

	// Labels for subsets to select by. With mesh.fairlead.dev/tlsMode: mutual, callers speak
	// mutual TLS to the server.
	// +optional
	// +kubebuilder:validation:MaxProperties=256
	Labels map[string]string `json:"labels,omitempty"`

	// Not implemented: there is one network.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Network string `json:"network,omitempty"`

	// Where the server is: REGION/ZONE/SUBZONE.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Locality string `json:"locality,omitempty"`

	// The server's share of the traffic, beside that of others. Unset: 1.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967295
	Weight int64 `json:"weight,omitempty"`

	// The account that a server with mutual TLS shows itself as, in this namespace. Unset:
	// default.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ServiceAccount string `json:"serviceAccount,omitempty"`
}

// EndpointPort is a port, 1 to 65535.
// +kubebuilder:validation:Minimum=1
// +kubebuilder:validation:Maximum=65535
type EndpointPort int32
