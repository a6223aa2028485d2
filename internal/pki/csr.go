package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net/url"
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
