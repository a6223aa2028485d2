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
	// ModeGateway is that of a Pod whose proxy serves Gateways, and no application.
	ModeGateway = "gateway"

	// OutboundTCPAnnotation on an explicit Pod lists the ports on which its proxy is to
	// listen for each TCP service port: "<fqdn>:<port>=<listen port>", comma-separated.
	OutboundTCPAnnotation = GroupName + "/outbound-tcp"

	// WorkloadLabel on a Pod names the workload that it is a replica of, where its
	// owner references do not tell.
	WorkloadLabel = GroupName + "/workload"

	// MTLSAnnotation on a Namespace or a Pod says which connections its workloads take:
	// STRICT, PERMISSIVE or DISABLE. The narrowest holds.
	MTLSAnnotation = GroupName + "/mtls"
	// TLSModeLabel on a Pod says that its proxy has certificates (TLSModeMutual): others
	// call it by mutual TLS then.
	TLSModeLabel = GroupName + "/tlsMode"
	// TLSModeMutual is the value of TLSModeLabel that says so.
	TLSModeMutual = "mutual"

	// ExportToAnnotation on a Service is the namespaces that see it, with commas between: names,
	// "." for its own, "*" for all, "~" for none. Absent: all.
	ExportToAnnotation = GroupName + "/exportTo"
	// SeesAnnotation on a Namespace is the namespaces whose services its workloads' proxies are
	// told of, in the same form. Absent: as the mesh's setting scope has it.
	SeesAnnotation = GroupName + "/sees"

	// RenewAnnotation, given a value that it did not have before, makes certificates be
	// renewed now, at a pace that the limits allow: those of the ServiceAccount, Secret or
	// MeshCertificate that has it. On mesh-root it starts the rotation of the root.
	RenewAnnotation = GroupName + "/renew"
	// AbandonAnnotation on mesh-root, given a new value, goes back to the old root.
	AbandonAnnotation = GroupName + "/abandon"
	// CertificateLabel on a Secret says that Fairlead wrote it, and for which service
	// account; a name that is no label's value is given as its hash.
	CertificateLabel = GroupName + "/certificate"
	// IdentityAnnotation on such a Secret is the certificate's SPIFFE ID.
	IdentityAnnotation = GroupName + "/identity"

	// RevisionLabel on a ControllerRevision says that Fairlead wrote it, and why: "proven",
	// "accepted" or "refused".
	RevisionLabel = GroupName + "/revision"
	// GenerationLabel is the generation of the object that such a ControllerRevision is of.
	GenerationLabel = GroupName + "/generation"
)

// GroupName is the API group of Fairlead's kinds, and the prefix of its labels and annotations.
const GroupName = "mesh.fairlead.dev"
