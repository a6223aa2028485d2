package translate_test

import (
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"fairlead.dev/fairlead/test/testenv"
)

// batch is how many cases share a run of Envoy, which takes longer to start than to read
// a case.
const batch = 12

func TestEnvoyTakesEveryCase(t *testing.T) {
	t.Parallel()
	paths := inputs(t)
	for len(paths) > 0 {
		some := paths[:min(batch, len(paths))]
		paths = paths[len(some):]
		if validate(t, some) == nil {
			continue
		}
		// Envoy tells the first fault only, and not in which case it is.
		for _, path := range some {
			if err := validate(t, []string{path}); err != nil {
				t.Errorf("%s: %v", caseName(path), err)
			}
		}
	}
}

func validate(t *testing.T, paths []string) error {
	t.Helper()
	var all inlined
	for _, path := range paths {
		resources, _ := readCase(t, path).translated()
		all.add(t, caseName(path)+"/", resources)
	}
	// As agent/bootstrap has it.
	all.Secrets = []*tlsv3.Secret{{Name: "system-roots", Type: &tlsv3.Secret_ValidationContext{
		ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: &corev3.DataSource{
			Specifier: &corev3.DataSource_Filename{Filename: "certs/root-cert.pem"},
		}},
	}}}
	return testenv.ValidateEnvoy(t.Context(), all.bootstrap(t))
}

// Without this the test above would pass if Envoy did not look at inlined routes.
func TestEnvoyLooksAtInlinedRoutes(t *testing.T) {
	t.Parallel()
	var all inlined
	resources, _ := readCase(t, "testdata/match-uri.in.yaml").translated()
	all.add(t, "", resources)
	text := string(all.bootstrap(t))
	broken := strings.Replace(text, "/three/[0-9]+", "/three/(?=0)", 1)
	if broken == text {
		t.Fatal("the expression to break is not in the bootstrap")
	}
	err := testenv.ValidateEnvoy(t.Context(), []byte(broken))
	if err == nil || !strings.Contains(err.Error(), "invalid perl operator") {
		t.Errorf("Envoy says %v of a look-ahead", err)
	}
}
