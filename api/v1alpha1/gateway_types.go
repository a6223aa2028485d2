package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Gateway says on which ports gateway workloads take traffic from outside the mesh, for
// which hosts, and with which TLS. VirtualServices that name it say where the traffic goes.
// Its spec has the shape of Istio's networking.istio.io/v1 Gateway.
//
// A gateway workload is a Pod with the annotation mesh.fairlead.dev/mode: gateway that has
// the labels of the selector, in any namespace. Several Gateways may select one workload:
// their servers are merged.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=fairlead
// +kubebuilder:printcolumn:name="Hosts",type=string,JSONPath=`.spec.servers[*].hosts`,description="The hosts it serves"
// +kubebuilder:printcolumn:name="Live",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="Whether every proxy concerned runs this generation"
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,description="Why it is live, or is not"
// +kubebuilder:printcolumn:name="Acknowledged",type=integer,JSONPath=`.status.proxies.acknowledged`,description="Proxies that run this generation"
// +kubebuilder:printcolumn:name="Concerned",type=integer,JSONPath=`.status.proxies.concerned`,description="Proxies that this generation concerns"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Gateway struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What is wanted.
	// +required
	Spec GatewaySpec `json:"spec"`

	// What has become of it.
	// +optional
	Status Status `json:"status,omitempty,omitzero"`
}

// GatewayList is a list of Gateways.
//
// +kubebuilder:object:root=true
type GatewayList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Gateway `json:"items"`
}

// GatewaySpec is what a Gateway asks for.
type GatewaySpec struct {
	// What gateway workloads listen for.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Servers []Server `json:"servers"`

	// The labels of the gateway workloads, in any namespace. Unset: all gateway workloads.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	Selector map[string]string `json:"selector,omitempty"`
}

// Server is a port on which traffic is taken for some hosts.
// +kubebuilder:validation:XValidation:rule="!(self.port.protocol.upperAscii() in ['HTTPS', 'TLS']) || has(self.tls)",message="set tls: a server of HTTPS or TLS needs it"
// +kubebuilder:validation:XValidation:rule="!(has(self.tls) && has(self.tls.mode) && self.port.protocol.upperAscii() in ['HTTP', 'HTTP2', 'GRPC'])",message="remove tls.mode, or use the protocol HTTPS or TLS"
type Server struct {
	// The port to listen on, and what is spoken there.
	// +required
	Port ServerPort `json:"port"`

	// The address to listen on, IPv4 or IPv6. Unset: all of the workload's. Sockets of the
	// form unix://... are not implemented.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Bind string `json:"bind,omitempty"`

	// The hosts that are served: names, names with a leading wildcard, or "*". A name may
	// follow a namespace and a slash, to take routes from VirtualServices of that namespace
	// only: "." is the Gateway's own, "*" is all.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=317
	// +kubebuilder:validation:items:Pattern=`^(([.*]|[a-z0-9]([-a-z0-9]*[a-z0-9])?)/)?(\*|(\*\.)?[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*)$`
	Hosts []string `json:"hosts"`

	// What is done about TLS. Needed for the protocols HTTPS and TLS.
	// +optional
	TLS *ServerTLSSettings `json:"tls,omitempty"`

	// Not implemented, as in Istio.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	DefaultEndpoint string `json:"defaultEndpoint,omitempty"`

	// A name for messages and statistics, unique among the servers.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`
}

// ServerPort is where a server listens.
type ServerPort struct {
	// The port, 1 to 65535. Where a Service of the workload has this port, the workload
	// listens on the Service's target port in its place.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Number int32 `json:"number"`

	// HTTP, HTTPS, HTTP2, GRPC, TLS, TCP or MONGO, in whatever case.
	// +required
	// +kubebuilder:validation:Pattern=`^(?i)(http|https|http2|grpc|tls|tcp|mongo)$`
	// +kubebuilder:validation:MaxLength=5
	Protocol string `json:"protocol"`

	// A name for people.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`

	// Not implemented: see number.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	TargetPort int32 `json:"targetPort,omitempty"`
}

// ServerTLSMode is how a server deals with TLS.
// +kubebuilder:validation:Enum=PASSTHROUGH;SIMPLE;MUTUAL;AUTO_PASSTHROUGH;ISTIO_MUTUAL;OPTIONAL_MUTUAL
type ServerTLSMode string

// The modes of a server.
const (
	// ServerTLSPassthrough routes by server name and leaves TLS to the destination.
	ServerTLSPassthrough ServerTLSMode = "PASSTHROUGH"
	// ServerTLSSimple shows a certificate and asks for none.
	ServerTLSSimple ServerTLSMode = "SIMPLE"
	// ServerTLSMutual demands a certificate of the client.
	ServerTLSMutual ServerTLSMode = "MUTUAL"
	// ServerTLSAutoPassthrough passes on to the service, port and subset that the server
	// name says: outbound_.<port>_.<subset>_.<host>.
	ServerTLSAutoPassthrough ServerTLSMode = "AUTO_PASSTHROUGH"
	// ServerTLSIstioMutual is mutual TLS by the certificates of the mesh.
	ServerTLSIstioMutual ServerTLSMode = "ISTIO_MUTUAL"
	// ServerTLSOptionalMutual checks a certificate of the client if it shows one.
	ServerTLSOptionalMutual ServerTLSMode = "OPTIONAL_MUTUAL"
)

// TLSProtocol is a version of TLS.
// +kubebuilder:validation:Enum=TLS_AUTO;TLSV1_0;TLSV1_1;TLSV1_2;TLSV1_3
type TLSProtocol string

// ServerTLSSettings are what a server does about TLS.
// +kubebuilder:validation:XValidation:rule="(has(self.credentialName) ? 1 : 0) + (has(self.credentialNames) ? 1 : 0) + (has(self.tlsCertificates) ? 1 : 0) + (has(self.serverCertificate) ? 1 : 0) <= 1",message="set only one of credentialName, credentialNames, tlsCertificates and serverCertificate"
type ServerTLSSettings struct {
	// Answer every request 301, to the same by HTTPS. For servers of HTTP.
	// +optional
	HTTPSRedirect bool `json:"httpsRedirect,omitempty"`

	// How TLS is dealt with. Unset: PASSTHROUGH.
	// +optional
	Mode ServerTLSMode `json:"mode,omitempty"`

	// The file of the gateway's machine that has the certificate with its chain, PEM.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	ServerCertificate string `json:"serverCertificate,omitempty"`

	// The file of the certificate's key, PEM.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	PrivateKey string `json:"privateKey,omitempty"`

	// The file of the authorities that clients' certificates are checked by, PEM.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	CACertificates string `json:"caCertificates,omitempty"`

	// The file of what these authorities have revoked, PEM.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	CACRL string `json:"caCrl,omitempty"`

	// The Secret, in the gateway workload's namespace, that has the certificate: tls.crt and
	// tls.key, or cert and key; for clients' certificates ca.crt or cacert, and ca.crl or crl,
	// there or in a Secret of this name with -cacert after it.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	CredentialName string `json:"credentialName,omitempty"`

	// Several in place of credentialName, for keys of different kinds.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	CredentialNames []string `json:"credentialNames,omitempty"`

	// The Secret that has ca.crt or cacert, before the ones above.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	CACertCredentialName string `json:"caCertCredentialName,omitempty"`

	// Several in place of serverCertificate and privateKey.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	TLSCertificates []TLSCertificate `json:"tlsCertificates,omitempty"`

	// Names of which a client's certificate must have one: DNS names, addresses or URIs.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	SubjectAltNames []string `json:"subjectAltNames,omitempty"`

	// SHA-256 hashes, in base64, of the public keys of which a client must have one.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	VerifyCertificateSPKI []string `json:"verifyCertificateSpki,omitempty"`

	// SHA-256 hashes, in hexadecimal with or without colons, of the certificates of which a
	// client must have one. With verifyCertificateSpki too, either will do.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=128
	VerifyCertificateHash []string `json:"verifyCertificateHash,omitempty"`

	// The lowest version of TLS. Unset or TLS_AUTO: 1.2.
	// +optional
	MinProtocolVersion TLSProtocol `json:"minProtocolVersion,omitempty"`

	// The highest version of TLS. Unset or TLS_AUTO: 1.3.
	// +optional
	MaxProtocolVersion TLSProtocol `json:"maxProtocolVersion,omitempty"`

	// The cipher suites of TLS up to 1.2, by OpenSSL's names. Unset: Envoy's.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=64
	CipherSuites []string `json:"cipherSuites,omitempty"`

	// Let clients in whose certificate is not good, too: it is handed on in the header
	// x-forwarded-client-cert.
	// +optional
	// +nullable
	InsecureSkipVerify *bool `json:"insecureSkipVerify,omitempty"`
}

// TLSCertificate is a certificate in files of the gateway's machine.
type TLSCertificate struct {
	// The file of the certificate with its chain, PEM.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	ServerCertificate string `json:"serverCertificate,omitempty"`

	// The file of its key, PEM.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	PrivateKey string `json:"privateKey,omitempty"`

	// Not implemented: caCertificates beside it is.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	CACertificates string `json:"caCertificates,omitempty"`
}
