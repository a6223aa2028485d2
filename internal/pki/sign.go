package pki

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"net"
	"time"
)

// backdated is for peers whose clocks are late.
const backdated = 5 * time.Minute

// Request is what a leaf is to be.
type Request struct {
	Identity  Identity
	PublicKey crypto.PublicKey
	// DNSNames are for the manager's own certificate, which webhooks are served with. IP
	// addresses may be among them.
	DNSNames []string
	// Lifetime is counted from now; the certificate is valid five minutes before it, too.
	Lifetime time.Duration
}

func (r Request) names() (dns []string, addresses []net.IP) {
	for _, name := range r.DNSNames {
		if address := net.ParseIP(name); address != nil {
			addresses = append(addresses, address)
		} else {
			dns = append(dns, name)
		}
	}
	return dns, addresses
}

// Sign issues a certificate for server and client authentication. It never outlives what it
// leads to. The chain is PEM: the leaf, then its issuers, without the root.
func (g *Generation) Sign(request Request, now time.Time) (leaf *x509.Certificate, chain []byte, err error) {
	if g.Signing == nil {
		return nil, nil, fmt.Errorf("%w: the key of generation %d is with the issuer %s", ErrUnable, g.Number, g.Source)
	}
	if err := request.Identity.Check(); err != nil {
		return nil, nil, err
	}
	if _, err := AlgorithmOf(request.PublicKey); err != nil {
		return nil, nil, err
	}
	begins, ends := g.NotBefore(), g.NotAfter()
	switch {
	case request.Lifetime <= 0:
		return nil, nil, fmt.Errorf("the lifetime %s of a certificate for %s is not positive", request.Lifetime, request.Identity)
	case now.Before(begins):
		return nil, nil, fmt.Errorf("%w: generation %d is not valid before %s: see whether this machine's clock is right", ErrUnable, g.Number, stamp(begins))
	case !now.Before(ends):
		return nil, nil, fmt.Errorf("%w: generation %d expired at %s: have the root rotated", ErrUnable, g.Number, stamp(ends))
	}
	template := template(now, now.Add(request.Lifetime))
	if template.NotAfter.After(ends) {
		template.NotAfter = ends
	}
	if template.NotBefore.Before(begins) {
		template.NotBefore = begins
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	// A proxy takes calls and makes them, with one certificate.
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	template.BasicConstraintsValid = true
	template.URIs = append(template.URIs, request.Identity.URI())
	template.DNSNames, template.IPAddresses = request.names()
	if leaf, err = create(template, g.Signing, request.PublicKey, g.SigningKey); err != nil {
		return nil, nil, err
	}
	above := g.Certificates()
	return leaf, EncodeCertificates(append([]*x509.Certificate{leaf}, above[:len(above)-1]...)...), nil
}
