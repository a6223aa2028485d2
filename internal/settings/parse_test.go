package settings_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/settings"
)

const whole = `
trustDomain: example.org
mtls: STRICT
maxConnectionAge: 30m
certificates:
  timeZone: Europe/Berlin
  secretPrefix: istio
  duration: 720h
  keyAlgorithm: RSA-2048
  issuerRef: {kind: ClusterIssuer, name: mesh}
  renewal:
    before: 240h
    mode: Auto
    windows:
    - {days: [Monday], start: "01:00", end: "04:00"}
    - {start: "22:00", end: "23:00", timeZone: Asia/Tokyo}
    jitter: 50
    freeze: [{from: "2026-12-20", to: "2027-01-02"}]
  root:
    rawConnectionDeadline: 0s
`

func TestWholeSettings(t *testing.T) {
	s := parse(t, whole)
	c := s.Certificates
	if s.TrustDomain != "example.org" || s.MTLS != mesh.MTLSStrict || s.MaxConnectionAge != 30*time.Minute ||
		c.TimeZone.String() != "Europe/Berlin" || s.SecretName("reviews") != "istio.reviews" || c.Duration != 720*time.Hour ||
		c.KeyAlgorithm != v1alpha1.KeyRSA2048 || c.IssuerRef.Name != "mesh" || c.RawConnectionDeadline != 0 {
		t.Errorf("%+v", s)
	}
	if windows := c.Renewal.Windows; windows[0].TimeZone != "Europe/Berlin" || windows[1].TimeZone != "Asia/Tokyo" {
		t.Errorf("the settings' zone is that of windows that name none: %+v", windows)
	}
}

func TestSmallestSettings(t *testing.T) {
	s := parse(t, "certificates: {timeZone: Etc/UTC}")
	want := settings.Default()
	if s.TrustDomain != want.TrustDomain || s.MTLS != mesh.MTLSPermissive || s.MaxConnectionAge != time.Hour ||
		s.Certificates.Duration != 2160*time.Hour || s.SecretName("a") != "fairlead.a" || s.Certificates.RawConnectionDeadline != 24*time.Hour {
		t.Errorf("%+v", s)
	}
	if windows := s.Certificates.Renewal.Windows; len(windows) != 1 || windows[0].Start != "02:00" || windows[0].End != "05:00" || windows[0].TimeZone != "Etc/UTC" {
		t.Errorf("%+v", windows)
	}
}

// What the page shows can be used.
func TestSettingsOfThePage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "settings.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	example, _, _ := strings.Cut(rest, "```")
	if err := parse(t, example).Check(now); err != nil || !strings.Contains(example, "timeZone") {
		t.Errorf("%v: %s", err, example)
	}
}

// Every message names the field and what to write.
func TestRefusedSettings(t *testing.T) {
	in := func(certificates string) string { return "certificates: {timeZone: Etc/UTC, " + certificates + "}" }
	for written, want := range map[string]string{
		"":                                    "certificates.timeZone: it is missing",
		"certificates: {timeZone: Local}":     `certificates.timeZone: "Local" is no time zone`,
		"certificates: {timeZone: Eurpe/Rom}": "as in Europe/Berlin",
		"trustDomain: Example.org":            `trustDomain: "Example.org" is not a trust domain`,
		"trustDomain: .org":                   `".org" is not a trust domain`,
		"mtls: strict":                        "mtls: \"strict\" is not a mode; write STRICT",
		"maxConnectionAge: 1d":                `maxConnectionAge: "1d" is not a duration`,
		"trustdomain: a":                      `unknown field "trustdomain"`,
		"mtls: STRICT\nmtls: DISABLE":         `key "mtls" already set`,
		"certificates: 3":                     "cannot unmarshal",
		in("secretPrefix: a.b"):               "certificates.secretPrefix",
		in("duration: 30s"):                   "certificates.duration",
		in("keyAlgorithm: Ed25519"):           "Envoy takes no Ed25519",
		in("issuerRef: {kind: Issuer}"):       "certificates.issuerRef.name: it is missing",
		in("renewal: {before: 2160h}"):        "certificates.renewal.before: it is not shorter",
		in(`renewal: {windows: [{start: "2", end: "05:00"}]}`):                  `certificates.renewal.windows[0].start: "2" is not a time of day`,
		in(`renewal: {windows: [{start: "02:00", end: "05:00", timeZone: X}]}`): "certificates.renewal.windows[0].timeZone",
		in(`renewal: {freeze: [{from: "2026-02-29", to: "2026-03-01"}]}`):       "certificates.renewal.freeze[0].from",
		in("renewal: {jitter: 101}"):                                            "certificates.renewal.jitter: 101 is not from 0 to 100",
		in("renewal: {maxConcurrent: 0}"):                                       "certificates.renewal.maxConcurrent",
		in("renewal: {mode: Cron}"):                                             "certificates.renewal.mode",
		in("renewal: {window: x}"):                                              `unknown field "certificates.renewal.window"`,
		in("root: {rawConnectionDeadline: x}"):                                  "certificates.root.rawConnectionDeadline",
	} {
		_, err := settings.Parse([]byte(written))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "mesh.yaml: ") {
			t.Errorf("%q: got %v, want %q", written, err, want)
		}
	}
	_, err := settings.Parse([]byte("mtls: x\ntrustDomain: Upper\n"))
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("all three faults are told at once, one a line: %v", err)
	}
}

// A manager that starts with a fault in its settings keeps names and guards as they are.
func TestWhatIsUsableOfFaultySettings(t *testing.T) {
	const guard = "trustDomain: example.org\nmtls: STRICT\ncertificates: {secretPrefix: istio, "
	for _, rest := range []string{"}", "timeZone: Nowhere}", "timeZone: Etc/UTC, unknown: 1}", "timeZone: Etc/UTC, renewal: {windows: {}}}"} {
		if _, err := settings.Parse([]byte(guard + rest)); err == nil {
			t.Fatalf("%s is taken", rest)
		}
		s := settings.Usable([]byte(guard + rest))
		if s.TrustDomain != "example.org" || s.MTLS != mesh.MTLSStrict || s.SecretName("a") != "istio.a" || len(s.Certificates.Renewal.Windows) > 0 {
			t.Errorf("%s: %+v", rest, s)
		}
	}
	if s := settings.Usable([]byte("mtls: strict\ntrustDomain: A\n")); s.TrustDomain != "cluster.local" || s.MTLS != mesh.MTLSPermissive {
		t.Errorf("%+v", s)
	}
}

func TestHolderTellsOfChanges(t *testing.T) {
	holder := settings.NewHolder()
	first, second := holder.Changes(), holder.Changes()
	s := parse(t, whole)
	holder.Set(s)
	<-first
	<-second
	if holder.Get() != s {
		t.Error("it gives what was set")
	}
	select {
	case <-holder.Changes():
		t.Error("told of a change that was told already")
	default:
	}
}

func parse(t *testing.T, text string) *settings.Settings {
	t.Helper()
	s, err := settings.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}
