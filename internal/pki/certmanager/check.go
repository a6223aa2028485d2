package certmanager

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"fairlead.dev/fairlead/internal/pki"
)

var errSelfSigned = errors.New("the issuer has each certificate signed by its own key, so nobody could trust it: name an issuer that signs with an authority, such as one of the type ca")

// checkNames sees to it that nothing but the identity is asked for, and of the manager the names
// that it is called by: cert-manager signs the names that stand in the signing request.
func checkNames(asked pki.Request, csr []byte) error {
	request, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return fmt.Errorf("the signing request for %s cannot be read: %w", asked.Identity, err)
	}
	if len(request.URIs) != 1 || request.URIs[0].String() != asked.Identity.String() || request.Subject.CommonName != "" ||
		!sameNames(asked.DNSNames, request.DNSNames, request.IPAddresses, request.EmailAddresses) {
		return fmt.Errorf("the signing request has to name %s and nothing else that was not asked for, neither in its subject nor as a DNS name or address", asked.Identity)
	}
	return nil
}

// sameNames says whether names, in whatever order, are those that were asked for.
func sameNames(asked, dns []string, addresses []net.IP, mail []string) bool {
	names := slices.Concat(dns, mail)
	for _, address := range addresses {
		names = append(names, address.String())
	}
	asked = slices.Clone(asked)
	slices.Sort(asked)
	slices.Sort(names)
	return slices.Equal(asked, names)
}

// check takes what came back if it is what was asked for, and puts it into the form of
// pki.IssueFunc: the chain without the root, and of the roots that one that it leads to.
func (s status) check(request pki.Request, now time.Time) (chain, roots []byte, err error) {
	certificates, err := pki.ParseCertificates(s.Certificate)
	if err != nil {
		return nil, nil, fmt.Errorf("what was issued cannot be read: %w", err)
	}
	leaf := certificates[0]
	if leaf.Subject.String() == leaf.Issuer.String() && leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) == nil {
		return nil, nil, errSelfSigned
	}
	told, err := s.roots(certificates)
	if err != nil {
		return nil, nil, err
	}
	path, err := checkLeaf(leaf, certificates[1:], told, request, now)
	if err != nil {
		return nil, nil, fmt.Errorf("what was issued for %s is not used: %w", request.Identity, err)
	}
	last := len(path) - 1
	return pki.EncodeCertificates(path[:last]...), pki.EncodeCertificates(path[last]), nil
}

// roots are what the issuer tells or, if it tells none, what its chain ends with.
func (s status) roots(chain []*x509.Certificate) ([]*x509.Certificate, error) {
	if len(s.CA) > 0 {
		roots, err := pki.ParseCertificates(s.CA)
		if err != nil {
			return nil, fmt.Errorf("status.ca cannot be read: %w", err)
		}
		return roots, nil
	}
	if top := chain[len(chain)-1]; top.IsCA && top.CheckSignatureFrom(top) == nil {
		return []*x509.Certificate{top}, nil
	}
	return nil, errors.New("the issuer does not tell its root, neither in status.ca nor at the end of the chain: have it tell it, or bring root and signing key as files")
}

// checkLeaf returns the path from the leaf to its root.
func checkLeaf(leaf *x509.Certificate, between, roots []*x509.Certificate, request pki.Request, now time.Time) ([]*x509.Certificate, error) {
	identity, err := pki.IdentityOf(leaf)
	if err != nil {
		return nil, err
	}
	key, isKey := request.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	switch {
	case identity != request.Identity:
		return nil, fmt.Errorf("it is for %s", identity)
	case !sameNames(request.DNSNames, leaf.DNSNames, leaf.IPAddresses, leaf.EmailAddresses):
		return nil, errors.New("it has names that were not asked for, or lacks some")
	case leaf.IsCA:
		return nil, errors.New("it is an authority's")
	case !isKey || !key.Equal(leaf.PublicKey):
		return nil, errors.New("it is for another key")
	case !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) || !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth):
		return nil, errors.New("it is not for both server and client authentication, which a proxy's has to be")
	}
	paths, err := leaf.Verify(x509.VerifyOptions{
		Roots: pki.Pool(roots), Intermediates: pki.Pool(between), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, fmt.Errorf("it does not lead to the issuer's root: %w", err)
	}
	return paths[0], nil
}
