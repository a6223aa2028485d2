package v1alpha1

// Labels and annotations that Fairlead reads from, or writes to, Kubernetes' own objects.
const (
	// InjectionLabel on a Namespace says whether its Pods belong to the mesh ("enabled").
	InjectionLabel = GroupName + "/injection"

	// ModeAnnotation on a Pod says how traffic reaches its proxy. ModeExplicit: the
	// application talks to the proxy's listeners by address, nothing is intercepted.
	// Absent: traffic is intercepted by redirect rules.
	ModeAnnotation = GroupName + "/mode"
	// ModeExplicit is the value of ModeAnnotation that `fairlead run` writes.
	ModeExplicit = "explicit"

	// OutboundTCPAnnotation on an explicit Pod lists the ports on which its proxy is to
	// listen for each TCP service port: "<fqdn>:<port>=<listen port>", comma-separated.
	OutboundTCPAnnotation = GroupName + "/outbound-tcp"

	// WorkloadLabel on a Pod names the workload that it is a replica of, where its
	// owner references do not tell.
	WorkloadLabel = GroupName + "/workload"
)

// GroupName is the API group of Fairlead's kinds, and the prefix of its labels and annotations.
const GroupName = "mesh.fairlead.dev"
