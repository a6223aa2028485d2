package settings

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/pki/renewal"
)

// rootDuration is how long a root is valid where mesh-root does not say otherwise.
const rootDuration = 365 * 24 * time.Hour

// Terms are what holds for the certificates of one object, or for those without one.
type Terms struct {
	Lifetime     time.Duration
	KeyAlgorithm v1alpha1.KeyAlgorithm
	// IssuerRef is nil for the built-in authority.
	IssuerRef *v1alpha1.IssuerReference
	// Policy is when certificates are renewed. It has no windows if the settings name no time
	// zone and the object no windows: renewals are emergencies then.
	Policy renewal.Policy
	// Mode says whether learnt hours take the place of the policy's windows.
	Mode v1alpha1.RenewalMode
}

// defaultConcurrent is how many renewals are unproven at a time where nobody says otherwise.
const defaultConcurrent = 10

// Terms returns what holds for the certificates of a MeshCertificate, or for those without
// one: nil.
func (s *Settings) Terms(spec *v1alpha1.MeshCertificateSpec) (Terms, []Fault) {
	if spec == nil {
		spec = &v1alpha1.MeshCertificateSpec{}
	}
	r := &reader{}
	written := merge(s.Certificates.Renewal, spec.Renewal)
	t := Terms{
		Lifetime: s.Certificates.Duration, KeyAlgorithm: s.Certificates.KeyAlgorithm, IssuerRef: s.Certificates.IssuerRef,
		Policy: r.policy("spec.renewal", &written), Mode: cmp.Or(written.Mode, v1alpha1.RenewalFixed),
	}
	t.Policy.Seed = s.TrustDomain
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
	t.Policy.Before = s.before(r, spec, t.Lifetime)
	return t, r.faults
}

// Unsatisfiable returns why certificates on these terms could not always be renewed in a
// window, nil if they could. Without a time zone in the settings there is no window to judge.
func (t Terms) Unsatisfiable(now time.Time) *Fault {
	if len(t.Policy.Windows) == 0 {
		return nil
	}
	err := t.Policy.Check(t.Lifetime, now)
	if err == nil {
		return nil
	}
	fault := faultOf(err)
	fault.Path = "spec." + fault.Path
	return &fault
}

// Check returns why certificates without an object of their own could not always be renewed
// in a window, nil if they could.
func (s *Settings) Check(now time.Time) error {
	terms, _ := s.Terms(nil)
	fault := terms.Unsatisfiable(now)
	if fault == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", Key, fault.inSettings())
}

// faultOf takes an error of package renewal apart: "<field>: <what is wrong>; <what to do>".
func faultOf(err error) Fault {
	path, text, _ := strings.Cut(err.Error(), ": ")
	text, fix, _ := strings.Cut(text, "; ")
	if strings.HasPrefix(path, "windows") {
		path = "renewal." + path
	}
	return Fault{Path: path, Text: text, Fix: fix}
}

// policy reads the parts of a renewal.
func (r *reader) policy(path string, written *v1alpha1.RenewalSpec) renewal.Policy {
	p := renewal.Policy{
		Jitter:        float64(deref(written.Jitter, 100)) / 100,
		MaxConcurrent: int(deref(written.MaxConcurrent, defaultConcurrent)),
		MaxPerHour:    int(deref(written.MaxPerHour, 0)),
		Canaries:      written.Canaries,
		Paused:        deref(written.Paused, false),
		DryRun:        deref(written.DryRun, false),
	}
	for i, w := range written.Windows {
		window, err := renewal.ParseWindow(w.Days, w.Start, w.End, w.TimeZone)
		r.err(fmt.Sprintf("%s.windows[%d]", path, i), err)
		p.Windows = append(p.Windows, window)
	}
	for i, f := range written.Freeze {
		dates, err := renewal.ParseDates(f.From, f.To)
		r.err(fmt.Sprintf("%s.freeze[%d]", path, i), err)
		p.Freeze = append(p.Freeze, dates)
	}
	r.within(path+".jitter", written.Jitter, 0, 100)
	r.within(path+".maxConcurrent", written.MaxConcurrent, 1, math.MaxInt32)
	r.within(path+".maxPerHour", written.MaxPerHour, 0, math.MaxInt32)
	if !slices.Contains([]v1alpha1.RenewalMode{"", v1alpha1.RenewalFixed, v1alpha1.RenewalAuto}, written.Mode) {
		r.fault(path+".mode", fmt.Sprintf("%q is not a mode", written.Mode), "write Fixed or Auto")
	}
	return p
}

func (r *reader) err(path string, err error) {
	if err != nil {
		fault := faultOf(err)
		r.fault(path+"."+fault.Path, fault.Text, fault.Fix)
	}
}

func (r *reader) within(path string, value *int32, least, most int32) {
	if value != nil && (*value < least || *value > most) {
		r.fault(path, fmt.Sprintf("%d is not from %d to %d", *value, least, most), "write a number in that range")
	}
}

func deref[T any](value *T, unset T) T {
	if value == nil {
		return unset
	}
	return *value
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
		return 0 // a third of the life of each root, of those that are brought too: package rollover
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
