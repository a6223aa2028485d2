package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net/url"
	"slices"
)

// maxCSR is far more than a request with the longest key and an identity has.
const maxCSR = 16 << 10

// NewCSR makes a PKCS#10 request in DER, with the request's names and no other.
func NewCSR(key crypto.Signer, request Request) ([]byte, error) {
	template := &x509.CertificateRequest{URIs: []*url.URL{request.Identity.URI()}}
	template.DNSNames, template.IPAddresses = request.names()
	return x509.CreateCertificateRequest(rand.Reader, template, key)
}

// ParseCSR returns the public key of a PKCS#10 request in DER, if it may be in the mesh and
// the requester has the private key to it.
func ParseCSR(der []byte) (crypto.PublicKey, error) {
	if len(der) > maxCSR {
		return nil, fmt.Errorf("the signing request has %d bytes, and at most %d are read", len(der), maxCSR)
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("the signing request cannot be read: %w", err)
	}
	// Before the signature, whose check takes long with a key that is too large.
	if _, err := AlgorithmOf(request.PublicKey); err != nil {
		return nil, fmt.Errorf("the signing request: %w", err)
	}
	if err := request.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the signing request is not signed with the key it is for: %w", err)
	}
	return request.PublicKey, nil
}

// Pending is a certificate that an issuer is being asked for, and its key. Where people approve,
// that takes more than one call, and each has to ask for the same.
type Pending struct {
	Request Request
	Key     crypto.Signer
	CSR     []byte
}

// Ask goes on with what is pending already, if that is for the same, or makes a key and a
// signing request for it.
func (p *Pending) Ask(algorithm KeyAlgorithm, request Request) (*Pending, error) {
	if p != nil && p.Request.Identity == request.Identity && p.Request.Lifetime == request.Lifetime && slices.Equal(p.Request.DNSNames, request.DNSNames) {
		if same, err := AlgorithmOf(p.Key.Public()); err == nil && same == algorithm {
			return p, nil
		}
	}
	key, err := algorithm.NewKey()
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	request.PublicKey = key.Public()
	csr, err := NewCSR(key, request)
	if err != nil {
		return nil, fmt.Errorf("make a request for %s: %w", request.Identity, err)
	}
	return &Pending{Request: request, Key: key, CSR: csr}, nil
}
