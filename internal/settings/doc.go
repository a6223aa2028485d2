// Package settings reads the mesh's settings, mesh.yaml in the ConfigMap fairlead, and says
// what holds for one certificate: the settings' own terms with a MeshCertificate's on top.
//
// It decodes strictly: a field that is not known, a value out of range and a window that
// would let certificates expire are errors, which name the field and the fix; whoever reads
// the ConfigMap then keeps the last good settings, in a Holder. Nothing here does I/O, reads
// a clock or talks to the API server. Settings go out to the mesh store, to package
// validate and to the certificates' rotation.
package settings

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/latest"
	"fairlead.dev/fairlead/internal/mesh"
)

// Name is the name of the ConfigMap, in the manager's namespace; Key is its entry.
const (
	Name = "fairlead"
	Key  = "mesh.yaml"
)

// Settings are the mesh's settings, defaults filled in. They are immutable.
type Settings struct {
	// Settings are those that the configuration of proxies depends on. MaxConnectionAge
	// bounds streams to the manager, too.
	mesh.Settings
	Certificates Certificates
}

// Certificates are the terms of certificates where no object says otherwise.
type Certificates struct {
	// TimeZone is the zone of windows that name none; nil in Default only: there are no
	// windows then.
	TimeZone *time.Location
	// SecretPrefix begins the names of Secrets: <prefix>.<service account>.
	SecretPrefix string
	Duration     time.Duration
	KeyAlgorithm v1alpha1.KeyAlgorithm
	// IssuerRef is nil for the built-in authority.
	IssuerRef *v1alpha1.IssuerReference
	// Renewal has its windows filled in, each with a zone; none without TimeZone.
	Renewal v1alpha1.RenewalSpec
	// RawConnectionDeadline is how long an old root waits for raw TCP connections to end.
	RawConnectionDeadline time.Duration
}

// Default returns the settings of a mesh without the ConfigMap. They name no time zone, so
// nothing is renewed but in an emergency: when the night is, nobody but a person knows.
func Default() *Settings {
	return &Settings{
		Settings: mesh.Settings{}.WithDefaults(),
		Certificates: Certificates{
			SecretPrefix:          "fairlead",
			Duration:              90 * 24 * time.Hour,
			KeyAlgorithm:          v1alpha1.KeyECDSAP256,
			RawConnectionDeadline: 24 * time.Hour,
		},
	}
}

// Holder keeps the settings that are in force.
type Holder = latest.Value[*Settings]

// NewHolder returns a holder of Default.
func NewHolder() *Holder {
	return latest.New(Default(), func(a, b *Settings) bool { return reflect.DeepEqual(a, b) })
}

// SecretName is the name of a service account's Secret where no object gives another.
func (s *Settings) SecretName(serviceAccount string) string {
	return s.Certificates.SecretPrefix + "." + serviceAccount
}

// Fault is one thing that is wrong with settings or with an object's terms.
type Fault struct {
	// Path is the field, such as certificates.renewal.windows[0].start.
	Path, Text, Fix string
}

// Error says all of it.
func (f Fault) Error() string { return fmt.Sprintf("%s: %s; %s", f.Path, f.Text, f.Fix) }

// inSettings is the fault of an object's field as one of the settings' field.
func (f Fault) inSettings() Fault {
	f.Path = "certificates." + strings.TrimPrefix(f.Path, "spec.")
	return f
}
