package settings

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/pki"
)

// file is mesh.yaml as it is written.
type file struct {
	TrustDomain      string             `json:"trustDomain"`
	MTLS             mesh.MTLSMode      `json:"mtls"`
	MaxConnectionAge *v1alpha1.Duration `json:"maxConnectionAge"`
	Outbound         struct {
		Mode string `json:"mode"`
	} `json:"outboundTrafficPolicy"`
	Scope        []string `json:"scope"`
	Certificates struct {
		TimeZone     string                    `json:"timeZone"`
		SecretPrefix string                    `json:"secretPrefix"`
		Duration     *v1alpha1.Duration        `json:"duration"`
		KeyAlgorithm v1alpha1.KeyAlgorithm     `json:"keyAlgorithm"`
		IssuerRef    *v1alpha1.IssuerReference `json:"issuerRef"`
		Renewal      v1alpha1.RenewalSpec      `json:"renewal"`
		Root         struct {
			RawConnectionDeadline *v1alpha1.DurationOrZero `json:"rawConnectionDeadline"`
		} `json:"root"`
	} `json:"certificates"`
}

var (
	// What a scope lists.
	namespaces = regexp.MustCompile(`^([.*]|[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)$`)
	// A Secret's name is the prefix, a dot and a service account's name.
	prefixes   = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	modes      = []mesh.MTLSMode{mesh.MTLSStrict, mesh.MTLSPermissive, mesh.MTLSDisable}
	algorithms = []v1alpha1.KeyAlgorithm{
		v1alpha1.KeyECDSAP256, v1alpha1.KeyECDSAP384, v1alpha1.KeyRSA2048, v1alpha1.KeyRSA3072, v1alpha1.KeyRSA4096,
	}
)

// Parse reads mesh.yaml; the error tells all that is wrong with it, each with its field.
func Parse(data []byte) (*Settings, error) {
	var written file
	if err := decode(data, &written); err != nil {
		return nil, fmt.Errorf("%s: %w; docs/settings.md lists the fields", Key, err)
	}
	r := &reader{}
	s := r.settings(&written)
	if len(r.faults) == 0 {
		_, faults := s.Terms(nil)
		for _, fault := range faults {
			r.faults = append(r.faults, fault.inSettings())
		}
	}
	if len(r.faults) > 0 {
		return nil, fmt.Errorf("%s: %w", Key, join(r.faults))
	}
	return s, nil
}

// Usable returns what can be used of settings that Parse refuses, for a manager that starts
// with them and so has no last good ones. A fault in a window must neither change the name of
// every workload nor let plaintext in. There are no windows: renewals are emergencies.
func Usable(data []byte) *Settings {
	s := Default()
	var written file
	_ = decode(data, &written) // what comes before a fault is there
	if pki.CheckTrustDomain(written.TrustDomain) == nil {
		s.TrustDomain = written.TrustDomain
	}
	if slices.Contains(modes, written.MTLS) {
		s.MTLS = written.MTLS
	}
	if prefixes.MatchString(written.Certificates.SecretPrefix) {
		s.Certificates.SecretPrefix = written.Certificates.SecretPrefix
	}
	return s
}

// decode takes field names in their exact spelling only, as the API server does.
func decode(data []byte, into any) error {
	asJSON, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return err
	}
	unknown, err := json.UnmarshalStrict(asJSON, into)
	return errors.Join(append(unknown, err)...)
}

// reader collects what is wrong.
type reader struct{ faults []Fault }

func (r *reader) fault(path, text, fix string) {
	r.faults = append(r.faults, Fault{Path: path, Text: text, Fix: fix})
}

func (r *reader) settings(written *file) *Settings {
	s := Default()
	if written.TrustDomain != "" {
		s.TrustDomain = written.TrustDomain
	}
	if pki.CheckTrustDomain(s.TrustDomain) != nil {
		r.fault("trustDomain", fmt.Sprintf("%q is not a trust domain", s.TrustDomain), "use small letters, digits, dots, hyphens and underscores, as in cluster.local")
	}
	if written.MTLS != "" {
		s.MTLS = written.MTLS
	}
	if !slices.Contains(modes, s.MTLS) {
		r.fault("mtls", fmt.Sprintf("%q is not a mode", s.MTLS), "write STRICT, PERMISSIVE or DISABLE")
	}
	s.MaxConnectionAge = r.duration("maxConnectionAge", written.MaxConnectionAge, time.Second, s.MaxConnectionAge)
	r.outbound(written, s)
	r.certificates(written, &s.Certificates)
	return s
}

func (r *reader) outbound(written *file, s *Settings) {
	switch mode := written.Outbound.Mode; mode {
	case "", "ALLOW_ANY":
	case "REGISTRY_ONLY":
		s.RegistryOnly = true
	default:
		r.fault("outboundTrafficPolicy.mode", fmt.Sprintf("%q is not a mode", mode), "write ALLOW_ANY or REGISTRY_ONLY")
	}
	for i, namespace := range written.Scope {
		if !namespaces.MatchString(namespace) {
			r.fault(fmt.Sprintf("scope[%d]", i), fmt.Sprintf("%q is not a namespace", namespace), `write namespaces, "." for a workload's own, or "*" for all`)
		}
	}
	s.Scope = written.Scope
}

func (r *reader) certificates(written *file, c *Certificates) {
	given := &written.Certificates
	if given.TimeZone == "" {
		r.fault("certificates.timeZone", "it is missing", "name the zone in which the night is meant, as in Europe/Berlin or Etc/UTC")
	} else if zone, fault := loadZone("certificates.timeZone", given.TimeZone); fault != nil {
		r.faults = append(r.faults, *fault)
	} else {
		c.TimeZone = zone
	}
	if given.SecretPrefix != "" {
		c.SecretPrefix = given.SecretPrefix
	}
	if !prefixes.MatchString(c.SecretPrefix) {
		r.fault("certificates.secretPrefix", fmt.Sprintf("%q cannot begin a Secret's name", c.SecretPrefix), "use at most 63 small letters, digits and hyphens, as in fairlead")
	}
	c.Duration = r.duration("certificates.duration", given.Duration, time.Minute, c.Duration)
	if given.KeyAlgorithm != "" {
		c.KeyAlgorithm = given.KeyAlgorithm
	}
	if !slices.Contains(algorithms, c.KeyAlgorithm) {
		fix := "write ECDSA-P256, ECDSA-P384, RSA-2048, RSA-3072 or RSA-4096"
		if c.KeyAlgorithm == v1alpha1.KeyEd25519 {
			fix += "; Envoy takes no Ed25519 certificate from its peers"
		}
		r.fault("certificates.keyAlgorithm", fmt.Sprintf("%q cannot be the mesh's kind of key", c.KeyAlgorithm), fix)
	}
	if given.IssuerRef != nil && given.IssuerRef.Name == "" {
		r.fault("certificates.issuerRef.name", "it is missing", "name the issuer, or remove issuerRef for the built-in authority")
	}
	c.IssuerRef = given.IssuerRef
	c.Renewal = given.Renewal
	if len(c.Renewal.Windows) == 0 {
		c.Renewal.Windows = []v1alpha1.RenewalWindow{{Start: "02:00", End: "05:00"}}
	}
	for i := range c.Renewal.Windows {
		if c.Renewal.Windows[i].TimeZone == "" {
			c.Renewal.Windows[i].TimeZone = given.TimeZone
		}
	}
	if deadline := given.Root.RawConnectionDeadline; deadline != nil {
		asDuration := v1alpha1.Duration(*deadline)
		c.RawConnectionDeadline = r.duration("certificates.root.rawConnectionDeadline", &asDuration, 0, 0)
	}
}

// duration reads a length of time of at least least; unset gives the default.
func (r *reader) duration(path string, text *v1alpha1.Duration, least, unset time.Duration) time.Duration {
	if text == nil {
		return unset
	}
	d, err := text.Parse()
	if err != nil || d < least {
		r.fault(path, fmt.Sprintf("%q is not a duration of at least %s", string(*text), least), "write a number with a unit of h, m or s, as in 2160h")
	}
	return d
}

// loadZone finds a zone. Local is one to Go, and another one on every machine.
func loadZone(path, name string) (*time.Location, *Fault) {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		return nil, &Fault{path, fmt.Sprintf("%q is no time zone", name), "use a name of the IANA database, as in Europe/Berlin or Etc/UTC"}
	}
	return zone, nil
}

func join(faults []Fault) error {
	list := make([]error, len(faults))
	for i, fault := range faults {
		list[i] = fault
	}
	return errors.Join(list...)
}
