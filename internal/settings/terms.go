package settings

import (
	"time"

	"fairlead.dev/fairlead/api/v1alpha1"
)

// rootDuration is how long a root is valid where mesh-root does not say otherwise.
const rootDuration = 365 * 24 * time.Hour

// Terms are what holds for the certificates of one object, or for those without one.
type Terms struct {
	Lifetime     time.Duration
	KeyAlgorithm v1alpha1.KeyAlgorithm
	// IssuerRef is nil for the built-in authority.
	IssuerRef *v1alpha1.IssuerReference
	// Before is how long before its expiry a certificate becomes due.
	Before time.Duration
	// Renewal is what the object says, with the settings' for what it leaves open.
	Renewal v1alpha1.RenewalSpec
}

// Terms returns what holds for the certificates of a MeshCertificate, or for those without
// one: nil.
func (s *Settings) Terms(spec *v1alpha1.MeshCertificateSpec) (Terms, []Fault) {
	if spec == nil {
		spec = &v1alpha1.MeshCertificateSpec{}
	}
	r := &reader{}
	t := Terms{
		Lifetime: s.Certificates.Duration, KeyAlgorithm: s.Certificates.KeyAlgorithm,
		IssuerRef: s.Certificates.IssuerRef, Renewal: merge(s.Certificates.Renewal, spec.Renewal),
	}
	if spec.IsCA {
		t.Lifetime = rootDuration
	}
	t.Lifetime = r.duration("spec.duration", spec.Duration, time.Minute, t.Lifetime)
	if spec.KeyAlgorithm != "" {
		t.KeyAlgorithm = spec.KeyAlgorithm
	}
	if spec.IssuerRef != nil {
		t.IssuerRef = spec.IssuerRef
	}
	t.Before = s.before(r, spec, t.Lifetime)
	return t, r.faults
}

// before is the object's; or the settings', unless the object has a duration of its own; or
// a share of the duration.
func (s *Settings) before(r *reader, spec *v1alpha1.MeshCertificateSpec, lifetime time.Duration) time.Duration {
	before := lifetime / 2
	var given *v1alpha1.Duration
	switch {
	case spec.Renewal != nil && spec.Renewal.Before != nil:
		given = spec.Renewal.Before
	case spec.IsCA:
		before = lifetime / 3
	case spec.Duration == nil:
		given = s.Certificates.Renewal.Before
	}
	before = r.duration("spec.renewal.before", given, time.Second, before)
	if before >= lifetime {
		r.fault("spec.renewal.before", "it is not shorter than the duration of "+lifetime.String(), "make it shorter, or a certificate would be due as soon as it is issued")
	}
	return before
}

// merge puts what the object says in the place of what the settings say.
func merge(base v1alpha1.RenewalSpec, over *v1alpha1.RenewalSpec) v1alpha1.RenewalSpec {
	if over == nil {
		return base
	}
	set(&base.Before, over.Before)
	set(&base.Jitter, over.Jitter)
	set(&base.MaxConcurrent, over.MaxConcurrent)
	set(&base.MaxPerHour, over.MaxPerHour)
	set(&base.Paused, over.Paused)
	set(&base.DryRun, over.DryRun)
	if over.Mode != "" {
		base.Mode = over.Mode
	}
	if len(over.Windows) > 0 {
		base.Windows = over.Windows
	}
	if len(over.Freeze) > 0 {
		base.Freeze = over.Freeze
	}
	if len(over.Canaries) > 0 {
		base.Canaries = over.Canaries
	}
	return base
}

func set[T any](to **T, from *T) {
	if from != nil {
		*to = from
	}
}
