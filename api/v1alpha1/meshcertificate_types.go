package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MeshCertificate says how the certificates of some service accounts of its namespace are
// issued and when they are renewed, where that differs from the mesh's settings. Service
// accounts of meshed namespaces have certificates without one.
//
// The object mesh-root in the manager's namespace, with isCA, stands for the mesh's own
// authority: its spec says how long a root lives and when it is rotated, its status which
// step a rotation is at.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=mc,categories=fairlead
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="Whether every certificate is valid and proven to be in use"
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.notAfter`,description="When the first of the certificates expires"
// +kubebuilder:printcolumn:name="Next",type=string,JSONPath=`.status.nextRenewal`,description="When the next renewal is planned"
// +kubebuilder:printcolumn:name="Window",type=string,JSONPath=`.status.window`,description="When renewals are allowed"
// +kubebuilder:printcolumn:name="Issuer",type=string,JSONPath=`.status.issuer`,description="Who signs"
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.nextReason`,description="Why the next renewal is planned"
// +kubebuilder:printcolumn:name="Phase",type=string,priority=1,JSONPath=`.status.phase.name`,description="The step that the rotation of the root is at"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="!has(self.spec.isCA) || !self.spec.isCA || self.metadata.name == 'mesh-root'",message="isCA is for the object mesh-root in the manager's namespace only: the mesh has one authority"
type MeshCertificate struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What is wanted.
	// +required
	Spec MeshCertificateSpec `json:"spec"`

	// What has become of it.
	// +optional
	Status MeshCertificateStatus `json:"status,omitempty,omitzero"`
}

// MeshCertificateList is a list of MeshCertificates.
//
// +kubebuilder:object:root=true
type MeshCertificateList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MeshCertificate `json:"items"`
}

// RootCertificateName is the name of the MeshCertificate that stands for the mesh's authority.
const RootCertificateName = "mesh-root"

// MeshCertificateSpec is what a MeshCertificate asks for. What is unset is taken from the
// mesh's settings.
//
// +kubebuilder:validation:XValidation:rule="(has(self.serviceAccount) ? 1 : 0) + (has(self.selector) ? 1 : 0) + (has(self.isCA) && self.isCA ? 1 : 0) == 1",message="say whose certificates these are by exactly one of serviceAccount and selector; isCA takes neither"
// +kubebuilder:validation:XValidation:rule="!has(self.secretName) || has(self.serviceAccount)",message="secretName needs serviceAccount: certificates of several service accounts cannot share a Secret"
// +kubebuilder:validation:XValidation:rule="!has(self.keyAlgorithm) || self.keyAlgorithm != 'Ed25519' || has(self.secretName)",message="Ed25519 needs a secretName of its own: Envoy takes no Ed25519 certificate from its peers, so no proxy may find it in the Secret that it reads"
// +kubebuilder:validation:XValidation:rule="!has(self.isCA) || !self.isCA || !has(self.keyAlgorithm)",message="the authority's keys are ECDSA P-256: remove keyAlgorithm"
// +kubebuilder:validation:XValidation:rule="!has(self.isCA) || !self.isCA || !has(self.renewal) || !(has(self.renewal.mode) || has(self.renewal.windows) || has(self.renewal.jitter) || has(self.renewal.maxConcurrent) || has(self.renewal.maxPerHour) || has(self.renewal.freeze) || has(self.renewal.canaries) || has(self.renewal.dryRun))",message="a root changes by evidence, not in windows: with isCA, renewal takes before and paused only"
// +kubebuilder:validation:XValidation:rule="!has(self.duration) || !has(self.renewal) || !has(self.renewal.before) || duration(self.renewal.before) < duration(self.duration)",message="renewal.before must be shorter than duration, or a certificate would be due as soon as it is issued"
type MeshCertificateSpec struct {
	// The service account of the object's namespace whose certificate this is. It need not
	// exist yet.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	ServiceAccount string `json:"serviceAccount,omitempty"`

	// The service accounts of the object's namespace whose certificates these are. One that
	// an object names by serviceAccount belongs to that object.
	// +optional
	Selector *ServiceAccountSelector `json:"selector,omitempty"`

	// Says that the object stands for the mesh's own authority: mesh-root in the manager's
	// namespace. The manager creates it where it is missing.
	// +optional
	IsCA bool `json:"isCA,omitempty"`

	// The Secret with root-cert.pem, cert-chain.pem and key.pem. Unset: the mesh's prefix, a
	// dot and the service account's name, as in fairlead.reviews. A Secret that exists and
	// was not written by Fairlead is left as it is.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	SecretName string `json:"secretName,omitempty"`

	// How long a certificate is valid, at least 1m: 2160h (90 days) where the settings do not
	// say otherwise, 8760h (a year) for the authority. A certificate never outlives its issuer.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m')",message="must be at least 1m"
	Duration *Duration `json:"duration,omitempty"`

	// The kind of key: ECDSA-P256 where the settings do not say otherwise.
	// +optional
	KeyAlgorithm KeyAlgorithm `json:"keyAlgorithm,omitempty"`

	// Who signs, by cert-manager. Unset: the mesh's issuer, which is the built-in authority
	// where the settings do not name one.
	// +optional
	IssuerRef *IssuerReference `json:"issuerRef,omitempty"`

	// When certificates are renewed, and in which order.
	// +optional
	Renewal *RenewalSpec `json:"renewal,omitempty"`
}

// ServiceAccountSelector selects service accounts by their labels.
type ServiceAccountSelector struct {
	// Labels that the service accounts must all have, with exactly these values. Empty: all
	// service accounts of the namespace.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	MatchLabels map[string]SelectorValue `json:"matchLabels,omitempty"`
}

// KeyAlgorithm is a kind of key.
// +kubebuilder:validation:Enum=ECDSA-P256;ECDSA-P384;RSA-2048;RSA-3072;RSA-4096;Ed25519
type KeyAlgorithm string

// The kinds of keys, as package pki spells them.
const (
	KeyECDSAP256 KeyAlgorithm = "ECDSA-P256"
	KeyECDSAP384 KeyAlgorithm = "ECDSA-P384"
	KeyRSA2048   KeyAlgorithm = "RSA-2048"
	KeyRSA3072   KeyAlgorithm = "RSA-3072"
	KeyRSA4096   KeyAlgorithm = "RSA-4096"
	// KeyEd25519 is for Secrets that no proxy reads: Envoy takes none from its peers.
	KeyEd25519 KeyAlgorithm = "Ed25519"
)

// IssuerReference names an issuer of cert-manager, or an external one that answers
// cert-manager's CertificateRequests.
type IssuerReference struct {
	// The issuer's API group. Unset: cert-manager.io.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Group string `json:"group,omitempty"`

	// The issuer's kind, such as Issuer or ClusterIssuer. Unset: Issuer.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind,omitempty"`

	// The issuer's name; a namespaced one is looked for beside the certificate's service account.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}
