package pki

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"
)

// The greatest lengths that SPIFFE allows:
// https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md
const (
	maxTrustDomain = 255
	maxIdentity    = 2048
)

// Identity is whom a certificate is for: a service account of a namespace.
type Identity struct{ TrustDomain, Namespace, ServiceAccount string }

// String is spiffe://<trust domain>/ns/<namespace>/sa/<service account>.
func (i Identity) String() string {
	return "spiffe://" + i.TrustDomain + "/ns/" + i.Namespace + "/sa/" + i.ServiceAccount
}

// URI is String as it stands in a certificate.
func (i Identity) URI() *url.URL {
	return &url.URL{Scheme: "spiffe", Host: i.TrustDomain, Path: "/ns/" + i.Namespace + "/sa/" + i.ServiceAccount}
}

// Check says what is wrong with the identity, if anything. An identity that passes has one
// spelling only.
func (i Identity) Check() error {
	if err := CheckTrustDomain(i.TrustDomain); err != nil {
		return err
	}
	switch {
	case !plain(i.Namespace, false):
		return fmt.Errorf("%q is no name of a namespace", i.Namespace)
	case !plain(i.ServiceAccount, false):
		return fmt.Errorf("%q is no name of a service account", i.ServiceAccount)
	case len(i.String()) > maxIdentity:
		return fmt.Errorf("the identity of service account %s in namespace %s is longer than %d bytes", i.ServiceAccount, i.Namespace, maxIdentity)
	}
	return nil
}

// CheckTrustDomain says what is wrong with the name of a trust domain, if anything.
func CheckTrustDomain(name string) error {
	if len(name) > maxTrustDomain || !plain(name, true) {
		return fmt.Errorf("%q is no trust domain: use at most %d lower-case letters, digits, dots, hyphens and underscores, such as cluster.local", name, maxTrustDomain)
	}
	return nil
}

// plain allows what Kubernetes and SPIFFE both do. A dot at an end would allow the segments
// "." and "..".
func plain(name string, underscore bool) bool {
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '.', c == '_' && underscore:
		default:
			return false
		}
	}
	return name != "" && strings.Trim(name, ".-") == name
}

// ParseIdentity reads what String writes.
func ParseIdentity(uri string) (Identity, error) {
	rest, isSPIFFE := strings.CutPrefix(uri, "spiffe://")
	parts := strings.Split(rest, "/")
	if !isSPIFFE || len(parts) != 5 || parts[1] != "ns" || parts[3] != "sa" {
		return Identity{}, fmt.Errorf("%q is no identity of the mesh: it has to be spiffe://<trust domain>/ns/<namespace>/sa/<service account>", uri)
	}
	i := Identity{TrustDomain: parts[0], Namespace: parts[2], ServiceAccount: parts[4]}
	if err := i.Check(); err != nil {
		return Identity{}, fmt.Errorf("%q is no identity of the mesh: %w", uri, err)
	}
	return i, nil
}

// IdentityOf reads the identity of a certificate. One with several URIs has none: readers
// would differ in which they take.
func IdentityOf(certificate *x509.Certificate) (Identity, error) {
	if n := len(certificate.URIs); n != 1 {
		return Identity{}, fmt.Errorf("the certificate with serial number %s has %d URIs and not one: have it issued for one service account", serial(certificate), n)
	}
	return ParseIdentity(certificate.URIs[0].String())
}
