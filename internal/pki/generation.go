package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// The sources of generations that this package makes. Those of other issuers have the
// issuer's name.
const (
	// SourceBuiltin is a root with a new key.
	SourceBuiltin = "builtin"
	// SourceFiles is what the user brought.
	SourceFiles = "files"
)

// Generation is one root with what signs below it. It is not changed once it is in an
// Authority.
type Generation struct {
	// Number is unique in an Authority, and positive. It is 0 if the one who adds the
	// generation is still to set it.
	Number int
	// Source says where the generation comes from.
	Source string
	// Root has no key here: each change of generations makes a new root, and a key that signs
	// nothing any more is better not kept.
	Root *x509.Certificate
	// Signing signs leaves. It may be the root itself; it is nil if another issuer signs.
	Signing    *x509.Certificate
	SigningKey crypto.Signer
	// Between are the authorities between Signing and Root, both left out, the one that
	// signed Signing first.
	Between []*x509.Certificate
}

// ErrUnable is in the error of Sign if the fault is the generation's and not the request's.
var ErrUnable = errors.New("the authority cannot sign")

// NewGeneration makes a root and a signing intermediate, both valid for the lifetime. Their
// names have the number in them, so that proxies' logs and statistics tell generations apart.
func NewGeneration(number int, trustDomain string, now time.Time, lifetime time.Duration) (*Generation, error) {
	if err := CheckTrustDomain(trustDomain); err != nil {
		return nil, err
	}
	if number < 1 || lifetime <= 0 {
		return nil, fmt.Errorf("a generation has a positive number and lifetime, not %d and %s", number, lifetime)
	}
	authority := func(role string, pathLength int) (*x509.Certificate, crypto.Signer, error) {
		key, err := ECDSAP256.NewKey()
		template := template(now, now.Add(lifetime))
		template.Subject = pkix.Name{CommonName: fmt.Sprintf("Fairlead %s %d", role, number), Organization: []string{trustDomain}}
		template.IsCA, template.BasicConstraintsValid = true, true
		template.MaxPathLen, template.MaxPathLenZero = pathLength, pathLength == 0
		template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
		return template, key, err
	}
	root, rootKey, err := authority("root", 1)
	if err != nil {
		return nil, err
	}
	signing, signingKey, err := authority("signing", 0)
	if err != nil {
		return nil, err
	}
	g := &Generation{Number: number, Source: SourceBuiltin, SigningKey: signingKey}
	if g.Root, err = create(root, root, rootKey.Public(), rootKey); err != nil {
		return nil, err
	}
	g.Signing, err = create(signing, g.Root, signingKey.Public(), rootKey)
	return g, err
}

// FromIssuer is the generation of another issuer, which has told its root.
func FromIssuer(source string, root *x509.Certificate) (*Generation, error) {
	g := &Generation{Source: source, Root: root}
	return g, g.check()
}

// Certificates are all that a leaf's chain may lead over, the root last.
func (g *Generation) Certificates() []*x509.Certificate {
	var all []*x509.Certificate
	if g.Signing != nil && !g.Signing.Equal(g.Root) {
		all = append(all, g.Signing)
	}
	return append(append(all, g.Between...), g.Root)
}

// NotBefore is when the last of the generation's certificates becomes valid.
func (g *Generation) NotBefore() time.Time {
	return slices.MaxFunc(g.Certificates(), func(a, b *x509.Certificate) int { return a.NotBefore.Compare(b.NotBefore) }).NotBefore
}

// NotAfter is when the first of them expires.
func (g *Generation) NotAfter() time.Time { return firstEnd(g.Certificates()) }

// check says whether the parts belong together. It asks for no time: an authority that has
// expired is still read, so that it can be replaced.
func (g *Generation) check() error {
	certificates := g.Certificates()
	for i, c := range certificates {
		if !c.BasicConstraintsValid || !c.IsCA {
			return fmt.Errorf("%s is no authority's certificate: have it issued for one (CA:TRUE)", c.Subject)
		}
		// An authority's key may be of more kinds than a leaf's: Envoy takes leaves that Ed25519
		// or P-521 signed (tried with 1.40.0).
		if key, ok := c.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < minRSABits {
			return fmt.Errorf("%s has an RSA key of %d bits: bring an authority with at least %d", c.Subject, key.N.BitLen(), minRSABits)
		}
		// A root need not be signed by itself.
		if i+1 < len(certificates) && c.CheckSignatureFrom(certificates[i+1]) != nil {
			return fmt.Errorf("%s is not signed by %s: bring the whole chain, in its order", c.Subject, certificates[i+1].Subject)
		}
		if c.MaxPathLen >= 0 && c.MaxPathLen < i {
			return fmt.Errorf("%s allows %d authorities below it, and there are %d", c.Subject, c.MaxPathLen, i)
		}
	}
	if (g.Signing == nil) != (g.SigningKey == nil) {
		return errors.New("a signing certificate and its key come together, or neither")
	}
	if g.Signing == nil {
		return nil
	}
	if !IsKeyOf(g.Signing, g.SigningKey) {
		return errors.New("the signing key is not that of the signing certificate")
	}
	return nil
}

// equal says whether two generations are the same. Keys are those of certificates.
func (g *Generation) equal(o *Generation) bool {
	return g.Number == o.Number && g.Source == o.Source && (g.Signing == nil) == (o.Signing == nil) &&
		slices.EqualFunc(g.Certificates(), o.Certificates(), (*x509.Certificate).Equal)
}

// serials are far from running out, and cannot be guessed.
var serials = new(big.Int).Lsh(big.NewInt(1), 128)

// template has what every certificate of ours has.
func template(now, notAfter time.Time) *x509.Certificate {
	// Only a reader that is broken fails, and crypto/rand's does not.
	number, _ := rand.Int(rand.Reader, serials)
	return &x509.Certificate{SerialNumber: number.Add(number, big.NewInt(1)), NotBefore: now.Add(-backdated), NotAfter: notAfter}
}

func create(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
