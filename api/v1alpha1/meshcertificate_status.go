package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MeshCertificateStatus is what Fairlead reports of a MeshCertificate. The manager that
// holds the lease writes it; nobody else should.
type MeshCertificateStatus struct {
	// The generation of the object that this status speaks of. While it is lower than
	// metadata.generation, the newest change has not been looked at.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Accepted, ResolvedRefs, Programmed and their summary Ready, and Paused.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// How many certificates there are, by their state.
	// +optional
	Certificates *CertificateCounts `json:"certificates,omitempty"`

	// When the first of them expires.
	// +optional
	NotAfter *metav1.Time `json:"notAfter,omitempty"`

	// When the next renewal is planned, and why.
	// +optional
	NextRenewal *metav1.Time `json:"nextRenewal,omitempty"`

	// Why: window, emergency, forced, authority, damaged or new.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	NextReason string `json:"nextReason,omitempty"`

	// When the last renewal was.
	// +optional
	LastRenewal *metav1.Time `json:"lastRenewal,omitempty"`

	// The windows in which renewals are made, in words.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Window string `json:"window,omitempty"`

	// Who signs, in words.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Issuer string `json:"issuer,omitempty"`

	// The next renewals, at most 20, by their time.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	Plan []PlannedRenewal `json:"plan,omitempty"`

	// The hours that `mode: Auto` found, and what they were found from.
	// +optional
	Learned *LearnedHours `json:"learned,omitempty"`

	// The step that the rotation of the root is at: of mesh-root only.
	// +optional
	Phase *RootPhase `json:"phase,omitempty"`

	// How many proxies this concerns and how many of them are proven to serve their current
	// certificate; of mesh-root, to be where the phase wants them.
	// +optional
	Proxies *ProxyCounts `json:"proxies,omitempty"`
}

// CertificateCounts counts certificates.
type CertificateCounts struct {
	// All that there are to be.
	// +required
	// +kubebuilder:validation:Minimum=0
	Total int32 `json:"total"`

	// Those that are valid and not due.
	// +required
	// +kubebuilder:validation:Minimum=0
	Current int32 `json:"current"`

	// Those that wait for their renewal.
	// +required
	// +kubebuilder:validation:Minimum=0
	Due int32 `json:"due"`

	// Those that were renewed and are not yet proven to be in use.
	// +required
	// +kubebuilder:validation:Minimum=0
	Unproven int32 `json:"unproven"`
}

// PlannedRenewal is one renewal that is planned.
type PlannedRenewal struct {
	// Whose: a service account, or a proxy as "<service account>/<pod>".
	// +required
	// +kubebuilder:validation:MaxLength=512
	Name string `json:"name"`

	// When, as far as it is known; failures and limits may put it off.
	// +required
	At metav1.Time `json:"at"`

	// Why: as nextReason.
	// +required
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason"`
}

// LearnedHours are the quiet hours of a namespace.
type LearnedHours struct {
	// The hours, as in "03:00-06:00 Europe/Berlin".
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Hours string `json:"hours,omitempty"`

	// Requests an hour, from 00:00 on, as they are on an average day.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=24
	Curve []int64 `json:"curve,omitempty"`

	// How many days the curve is made from.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Days int32 `json:"days,omitempty"`

	// Why the windows are used in place of what was learnt; empty if they are not.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Fallback string `json:"fallback,omitempty"`
}

// RootPhase is the step that the rotation of the root is at, and what the manager has to
// remember of it over a restart.
type RootPhase struct {
	// Stable, Prepared, TrustDistributed, Activated, LeavesMoved or Revoked.
	// +required
	// +kubebuilder:validation:MaxLength=64
	Name string `json:"name"`

	// Since when.
	// +required
	Since metav1.Time `json:"since"`

	// The generation of the root that is left; in Stable, the only one.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Generation int64 `json:"generation,omitempty"`

	// The generation that is to remain; unset in Stable. Lower than generation: the
	// rotation was abandoned.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Next int64 `json:"next,omitempty"`

	// The highest number that was given to a generation.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Last int64 `json:"last,omitempty"`

	// The highest number of a generation that signed.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Signed int64 `json:"signed,omitempty"`

	// The value of the annotation mesh.fairlead.dev/renew that was last heard.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Renew string `json:"renew,omitempty"`

	// The value of the annotation mesh.fairlead.dev/abandon that was last heard.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Abandon string `json:"abandon,omitempty"`

	// Keeps an abandoned rotation from starting again by itself.
	// +optional
	Hold *RootHold `json:"hold,omitempty"`

	// What the next step waits for, the first of it: proxies by their Pods, Secrets, a time.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:items:MaxLength=1024
	WaitingFor []string `json:"waitingFor,omitempty"`
}

// RootHold keeps a rotation from starting until a time, or until another source is wanted.
type RootHold struct {
	// The source whose root was abandoned.
	// +required
	// +kubebuilder:validation:MaxLength=1024
	Source string `json:"source"`

	// The SHA-256 of its root, in hexadecimal, if the source gives one and the same.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Root string `json:"root,omitempty"`

	// Until when.
	// +required
	Until metav1.Time `json:"until"`
}

// ConditionPaused: renewals wait, but for emergencies. It stands beside the four conditions
// of every kind.
const ConditionPaused = "Paused"

// Condition reasons of MeshCertificates, beside those of every kind. Programmed means of
// them that every certificate is there and proven to be in use.
const (
	// ReasonConflicted: an older object claims the same Secret or service account.
	ReasonConflicted = "Conflicted"
	// ReasonSecretNotOurs: a Secret of the name exists that Fairlead did not write.
	ReasonSecretNotOurs = "SecretNotOurs"
	// ReasonServiceAccountNotFound: the service account does not exist.
	ReasonServiceAccountNotFound = "ServiceAccountNotFound"
	// ReasonIssuerNotFound: the issuer that issuerRef names does not exist.
	ReasonIssuerNotFound = "IssuerNotFound"
	// ReasonAuthorityUnusable: what the user brought in the folder of --authority-dir is no
	// authority; what was good last stays in use.
	ReasonAuthorityUnusable = "AuthorityUnusable"
	// ReasonIssuing: some certificate is not there yet.
	ReasonIssuing = "Issuing"
	// ReasonIssuerFailed: the issuer refused, or did not answer.
	ReasonIssuerFailed = "IssuerFailed"
	// ReasonExpired: some certificate has expired.
	ReasonExpired = "Expired"
	// ReasonRotating: the root is being rotated.
	ReasonRotating = "Rotating"

	// ReasonRenewing is Paused's while it is false.
	ReasonRenewing = "Renewing"
	// ReasonRequested: renewal.paused or renewal.dryRun says so.
	ReasonRequested = "Requested"
	// ReasonHandshakeFailures: TLS handshakes fail more often since the last renewals.
	ReasonHandshakeFailures = "HandshakeFailures"
	// ReasonCertificatesRefused: proxies refuse certificates that they were given.
	ReasonCertificatesRefused = "CertificatesRefused"
	// ReasonNoTimeZone: the settings name no time zone, so there is no window.
	ReasonNoTimeZone = "NoTimeZone"
)
