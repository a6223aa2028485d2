package validate

import (
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/message"
	"fairlead.dev/fairlead/internal/settings"
)

// CertificateOptions are what MeshCertificates are judged by.
type CertificateOptions struct {
	// Settings are what an object's terms stand on.
	Settings *settings.Settings
	// Namespace is the manager's own, where the mesh's authority is.
	Namespace string
	// Now is when openings of windows are counted from.
	Now time.Time
}

// MeshCertificate returns what is wrong with the object, looked at alone; nothing means that
// its terms can be kept: certificates find a window before they expire, whenever they are
// issued.
func MeshCertificate(object *v1alpha1.MeshCertificate, options CertificateOptions) []message.Finding {
	c := newChecker(kindMeshCertificate, object, object.Spec, Options{})
	spec := field.NewPath("spec")
	whose := 0
	for _, said := range []bool{object.Spec.ServiceAccount != "", object.Spec.Selector != nil, object.Spec.IsCA} {
		if said {
			whose++
		}
	}
	if whose != 1 {
		c.invalid(spec, "it does not say whose certificates these are", "set exactly one of serviceAccount and selector; isCA takes neither")
	}
	if object.Spec.IsCA && (object.Namespace != options.Namespace || object.Name != v1alpha1.RootCertificateName) {
		c.invalid(spec.Child("isCA"), "this object does not stand for the mesh's authority",
			"change "+v1alpha1.RootCertificateName+" in namespace "+options.Namespace+", or remove isCA")
	}
	if ofAnother(object, options.Settings) {
		c.invalid(spec.Child("issuerRef"), "the Secret that proxies read would hold a certificate of another authority than the mesh's, which no peer takes",
			"give the certificate a secretName of its own, or name the issuer for the whole mesh in its settings, certificates.issuerRef")
	}
	terms, faults := options.Settings.Terms(&object.Spec)
	if len(faults) > 0 {
		for _, fault := range faults {
			c.add(message.Invalid(c.object, fault.Path, fault.Text, fault.Fix))
		}
	} else if fault := terms.Unsatisfiable(options.Now); fault != nil && !object.Spec.IsCA {
		c.add(message.Unsatisfiable(c.object, fault.Path, fault.Text, fault.Fix))
	}
	return message.Sort(c.findings)
}

// ofAnother reports whether a Secret that proxies read would be signed by who does not sign for
// the mesh.
func ofAnother(object *v1alpha1.MeshCertificate, s *settings.Settings) bool {
	spec := &object.Spec
	if spec.IssuerRef == nil || spec.IsCA || spec.SecretName != "" && spec.SecretName != s.SecretName(spec.ServiceAccount) {
		return false
	}
	return s.Certificates.IssuerRef == nil || *s.Certificates.IssuerRef != *spec.IssuerRef
}
