package settings_test

import (
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/settings"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func TestTermsWithoutAnObjectAreTheSettings(t *testing.T) {
	terms, faults := parse(t, whole).Terms(nil)
	p := terms.Policy
	if len(faults) > 0 || terms.Lifetime != 720*time.Hour || p.Before != 240*time.Hour || terms.KeyAlgorithm != v1alpha1.KeyRSA2048 ||
		terms.IssuerRef.Name != "mesh" || terms.Mode != v1alpha1.RenewalAuto || p.Jitter != 0.5 || p.MaxConcurrent != 10 || p.Seed != "example.org" {
		t.Errorf("%+v, %v", terms, faults)
	}
	if len(p.Windows) != 2 || p.Windows[0].String() != "Monday 01:00-04:00 Europe/Berlin" || len(p.Freeze) != 1 {
		t.Errorf("%v, %v", p.Windows, p.Freeze)
	}
}

// What an object says goes before the settings; what it leaves open is theirs.
func TestTermsOfAnObject(t *testing.T) {
	s := parse(t, whole)
	terms, faults := s.Terms(&v1alpha1.MeshCertificateSpec{
		ServiceAccount: "reviews", Duration: new(v1alpha1.Duration("24h")), KeyAlgorithm: v1alpha1.KeyECDSAP384,
		IssuerRef: &v1alpha1.IssuerReference{Name: "corporate"},
		Renewal: &v1alpha1.RenewalSpec{
			Mode: v1alpha1.RenewalFixed, Jitter: new(int32(0)), MaxConcurrent: new(int32(1)), Paused: new(true), Canaries: []string{"front"},
			Windows: []v1alpha1.RenewalWindow{{Start: "00:00", End: "06:00", TimeZone: "Etc/UTC"}},
		},
	})
	p := terms.Policy
	if len(faults) > 0 || terms.Lifetime != 24*time.Hour || p.Before != 12*time.Hour || terms.KeyAlgorithm != v1alpha1.KeyECDSAP384 ||
		terms.IssuerRef.Name != "corporate" || terms.Mode != v1alpha1.RenewalFixed || p.Jitter != 0 || p.MaxConcurrent != 1 ||
		!p.Paused || p.Canaries[0] != "front" || len(p.Windows) != 1 || len(p.Freeze) != 1 {
		t.Errorf("%+v, %v", terms, faults)
	}
	if again, _ := s.Terms(nil); again.Policy.Paused || len(again.Policy.Windows) != 2 {
		t.Error("an object leaves the settings as they are")
	}
	root, faults := s.Terms(&v1alpha1.MeshCertificateSpec{IsCA: true})
	if len(faults) > 0 || root.Lifetime != 8760*time.Hour || root.Policy.Before != 0 {
		t.Errorf("%+v, %v", root, faults)
	}
}

func TestTermsThatCannotBeKept(t *testing.T) {
	s := parse(t, "certificates: {timeZone: Etc/UTC}")
	sundays := []v1alpha1.RenewalWindow{{Days: []string{"Sunday"}, Start: "02:00", End: "05:00", TimeZone: "Etc/UTC"}}
	for _, test := range []struct {
		spec v1alpha1.MeshCertificateSpec
		want string
	}{
		{v1alpha1.MeshCertificateSpec{Duration: new(v1alpha1.Duration("96h")), Renewal: &v1alpha1.RenewalSpec{Windows: sundays}},
			"spec.renewal.windows: none opens from"},
		{v1alpha1.MeshCertificateSpec{Renewal: &v1alpha1.RenewalSpec{Freeze: []v1alpha1.FreezePeriod{{From: "2026-12-01", To: "2027-04-01"}}}},
			"shorten the freeze"},
		{v1alpha1.MeshCertificateSpec{Duration: new(v1alpha1.Duration("240h")), Renewal: &v1alpha1.RenewalSpec{Before: new(v1alpha1.Duration("1h"))}},
			"spec.renewal.before: 60 min leaves less than the margin"},
		{v1alpha1.MeshCertificateSpec{}, ""},
		{v1alpha1.MeshCertificateSpec{Renewal: &v1alpha1.RenewalSpec{Windows: sundays}}, ""},
	} {
		terms, faults := s.Terms(&test.spec)
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		got := ""
		if fault := terms.Unsatisfiable(now); fault != nil {
			got = fault.Error()
			if fault.Text == "" || fault.Fix == "" {
				t.Errorf("incomplete: %+v", *fault)
			}
		}
		if !strings.Contains(got, test.want) || test.want == "" && got != "" {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
	if terms, _ := settings.Default().Terms(nil); terms.Unsatisfiable(now) != nil {
		t.Error("without a zone there is no window to judge")
	}
	err := parse(t, "certificates: {timeZone: Etc/UTC, duration: 12h}").Check(now)
	if err == nil || !strings.HasPrefix(err.Error(), "mesh.yaml: certificates.renewal.windows: none opens from") {
		t.Errorf("the settings' own windows: %v", err)
	}
}
