package v1alpha1

// RenewalSpec says when certificates are renewed. It stands in MeshCertificates and, as the
// mesh's default, in the settings; a field that is unset in the object is taken from there.
type RenewalSpec struct {
	// How long before its expiry a certificate becomes due; it is then renewed in a window.
	// Unset: half of its duration, a third of it for the authority.
	// +optional
	Before *Duration `json:"before,omitempty"`

	// Fixed: in the windows given. Auto: in the hours in which the namespace has least
	// traffic, as agents report it, as many as the windows have in a day; until enough is
	// known of them, in the windows. Unset: Fixed.
	// +optional
	// +kubebuilder:validation:Enum=Fixed;Auto
	Mode RenewalMode `json:"mode,omitempty"`

	// When due certificates may be renewed. A window is a permission: renewals are spread
	// over it, and one that would not survive to the next opening is renewed in an earlier
	// window. One that cannot wait for any is renewed at once, as an emergency. In the
	// settings, unset: from 02:00 to 05:00 on every day.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Windows []RenewalWindow `json:"windows,omitempty"`

	// The share of a window over which renewals are spread, in percent: 0 renews all as it
	// opens. Unset: 100.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Jitter *int32 `json:"jitter,omitempty"`

	// How many certificates may be renewed and not yet proven to be in use at a time. Unset: 10.
	// +optional
	// +kubebuilder:validation:Minimum=1
	MaxConcurrent *int32 `json:"maxConcurrent,omitempty"`

	// How many certificates are renewed in an hour at most. Unset or 0: as many as there are.
	// +optional
	// +kubebuilder:validation:Minimum=0
	MaxPerHour *int32 `json:"maxPerHour,omitempty"`

	// Days on which nothing is renewed but emergencies.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Freeze []FreezePeriod `json:"freeze,omitempty"`

	// Names of service accounts that are renewed first: the others follow once these are
	// proven to be in use.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	Canaries []string `json:"canaries,omitempty"`

	// Stops renewals until it is taken back; emergencies go on.
	// +optional
	Paused *bool `json:"paused,omitempty"`

	// Plans renewals, shows them in status.plan, and makes none but emergencies.
	// +optional
	DryRun *bool `json:"dryRun,omitempty"`
}

// RenewalMode says where windows come from.
type RenewalMode string

// The modes.
const (
	// RenewalFixed: the windows are those given.
	RenewalFixed RenewalMode = "Fixed"
	// RenewalAuto: the windows are learnt from the traffic.
	RenewalAuto RenewalMode = "Auto"
)

// RenewalWindow is a span of time that comes again on every day, or on some days of the week.
type RenewalWindow struct {
	// The days on which it opens. Unset: every day.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=7
	// +kubebuilder:validation:items:Enum=Monday;Tuesday;Wednesday;Thursday;Friday;Saturday;Sunday
	Days []string `json:"days,omitempty"`

	// When it opens, as in "02:00".
	// +required
	// +kubebuilder:validation:Pattern=`^([01][0-9]|2[0-3]):[0-5][0-9]$`
	// +kubebuilder:validation:MaxLength=5
	Start string `json:"start"`

	// When it closes. Not after the start: on the next day; the same as the start: after a
	// whole day.
	// +required
	// +kubebuilder:validation:Pattern=`^([01][0-9]|2[0-3]):[0-5][0-9]$`
	// +kubebuilder:validation:MaxLength=5
	End string `json:"end"`

	// The time zone of both, by its name in the IANA database, as in Europe/Berlin or
	// Etc/UTC. In the settings, unset: the one that they name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	TimeZone string `json:"timeZone"`
}

// FreezePeriod is a span of days, both included, as each window's zone counts them.
// +kubebuilder:validation:XValidation:rule="self.from <= self.to",message="from must not be after to"
type FreezePeriod struct {
	// The first day, as in 2026-12-20.
	// +required
	// +kubebuilder:validation:Format=date
	// +kubebuilder:validation:MaxLength=10
	From string `json:"from"`

	// The last day.
	// +required
	// +kubebuilder:validation:Format=date
	// +kubebuilder:validation:MaxLength=10
	To string `json:"to"`
}
