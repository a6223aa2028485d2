package validate_test

import (
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/settings"
	"fairlead.dev/fairlead/internal/validate"
)

func TestMeshCertificate(t *testing.T) {
	inForce, err := settings.Parse([]byte("certificates: {timeZone: Europe/Berlin}"))
	if err != nil {
		t.Fatal(err)
	}
	window := func(days string) string {
		return `windows: [{days: ` + days + `, start: "02:00", end: "05:00", timeZone: Europe/Berlin}]`
	}
	for _, test := range []struct{ name, namespace, spec, want string }{
		{"of an account", "prod", "{serviceAccount: reviews}", ""},
		{"weekly, with time enough", "prod", "{serviceAccount: reviews, duration: 720h, renewal: {" + window("[Sunday]") + "}}", ""},
		{"the authority", "fairlead-system", "{isCA: true}", ""},
		{"of nobody", "prod", "{}", "FL0001 spec: it does not say whose"},
		{"the authority elsewhere", "prod", "{isCA: true}", "change mesh-root in namespace fairlead-system"},
		{"a zone that there is not", "prod", `{serviceAccount: a, renewal: {windows: [{start: "02:00", end: "05:00", timeZone: Europe/Berlln}]}}`,
			"FL0001 spec.renewal.windows[0].timeZone: \"Europe/Berlln\" is not known"},
		{"due too early by the settings' duration", "prod", "{serviceAccount: a, renewal: {before: 2160h}}", "FL0001 spec.renewal.before: it is not shorter"},
		{"the settings' nights, for too short a time", "prod", "{serviceAccount: a, duration: 12h}", "FL0010 spec.renewal.windows: none opens from"},
		{"of another issuer, in a Secret of its own", "prod", "{serviceAccount: a, secretName: a-tls, issuerRef: {name: other}}", ""},
		{"of another issuer, for proxies", "prod", "{serviceAccount: a, issuerRef: {name: other}}", "FL0001 spec.issuerRef: the Secret that proxies read"},
		{"of another issuer, for proxies by name", "prod", "{serviceAccount: a, secretName: fairlead.a, issuerRef: {name: other}}", "give the certificate a secretName of its own"},
		{"weekly, too short", "prod", "{serviceAccount: a, duration: 96h, renewal: {" + window("[Sunday]") + "}}", "which is 165 h, but a certificate that is valid for 96 h"},
	} {
		object := &v1alpha1.MeshCertificate{}
		object.Namespace, object.Name = test.namespace, v1alpha1.RootCertificateName
		if err := yaml.UnmarshalStrict([]byte(test.spec), &object.Spec); err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		var got []string
		for _, finding := range validate.MeshCertificate(object, validate.CertificateOptions{
			Settings: inForce, Namespace: "fairlead-system", Now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC),
		}) {
			got = append(got, finding.String())
		}
		if all := strings.Join(got, "\n"); !strings.Contains(all, test.want) || len(got) > 1 || (test.want == "") != (all == "") {
			t.Errorf("%s: got %q, want %q", test.name, all, test.want)
		}
	}
}
