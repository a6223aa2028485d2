package testenv

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// Authority issues certificates for tests, from now on for an hour unless told otherwise.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	// above are the authorities between this one and the root, nearest first, beginning
	// with itself: what a chain has to hold besides the leaf.
	above []byte
	// Roots is PEM of the root.
	Roots []byte
}

// Credentials are what a workload's folder holds, as PEM.
type Credentials struct{ Roots, Chain, Key []byte }

// NewAuthority makes a root. Names need not differ. Each change is made to what is about to be
// signed.
func NewAuthority(name string, changes ...func(*x509.Certificate)) (*Authority, error) {
	a, err := newAuthority(name, nil, changes)
	if err == nil {
		a.Roots, a.above = a.above, nil
	}
	return a, err
}

// Below makes an authority that this one vouches for.
func (a *Authority) Below(name string, changes ...func(*x509.Certificate)) (*Authority, error) {
	b, err := newAuthority(name, a, changes)
	if err == nil {
		b.Roots, b.above = a.Roots, append(b.above, a.above...)
	}
	return b, err
}

func newAuthority(name string, issuer *Authority, changes []func(*x509.Certificate)) (*Authority, error) {
	template := leaf()
	template.Subject = pkix.Name{CommonName: name}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageCertSign|x509.KeyUsageCRLSign, nil
	for _, change := range changes {
		change(template)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	a := &Authority{certificate: template, key: key}
	if issuer == nil {
		issuer = a
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.certificate, &key.PublicKey, issuer.key)
	if err != nil {
		return nil, err
	}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	a.above = encodePEM("CERTIFICATE", der)
	return a, nil
}

// Files are the authority as users bring one, by the names of its files.
func (a *Authority) Files() (map[string][]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(a.key)
	return map[string][]byte{
		"ca-cert.pem": encodePEM("CERTIFICATE", a.certificate.Raw), "ca-key.pem": encodePEM("PRIVATE KEY", key),
		"root-cert.pem": a.Roots, "cert-chain.pem": append(bytes.Clone(a.above), a.Roots...),
	}, err
}

// Issue makes credentials for server and client authentication with the given identity,
// such as spiffe://cluster.local/ns/shop/sa/reviews. Each change is made to what is about to be
// signed.
func (a *Authority) Issue(identity string, changes ...func(*x509.Certificate)) (Credentials, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Credentials{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Credentials{}, err
	}
	chain, err := a.Certify(identity, &key.PublicKey, changes...)
	return Credentials{Roots: a.Roots, Chain: chain, Key: encodePEM("PRIVATE KEY", der)}, err
}

// Named is a change that gives a certificate these names and no other, each a URI, an
// address or a DNS name.
func Named(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.URIs, c.IPAddresses, c.DNSNames = nil, nil, nil
		for _, name := range names {
			if uri, err := url.Parse(name); err == nil && uri.Scheme != "" {
				c.URIs = append(c.URIs, uri)
			} else if ip := net.ParseIP(name); ip != nil {
				c.IPAddresses = append(c.IPAddresses, ip)
			} else {
				c.DNSNames = append(c.DNSNames, name)
			}
		}
	}
}

// MutualTLS is for a server with these credentials, or a client, whose peers the given
// roots vouch for.
func (c Credentials) MutualTLS(roots []byte) (*tls.Config, error) {
	pair, err := tls.X509KeyPair(c.Chain, c.Key)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(roots) {
		return nil, errors.New("there is no root")
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, RootCAs: pool,
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}, nil
}

// Certify is Issue for a key of any kind. It returns the chain.
func (a *Authority) Certify(identity string, public any, changes ...func(*x509.Certificate)) ([]byte, error) {
	template := leaf()
	Named(identity)(template)
	for _, change := range changes {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, public, a.key)
	if err != nil {
		return nil, err
	}
	return append(encodePEM("CERTIFICATE", der), a.above...), nil
}

// Revoke returns the list, as PEM, of those of the authority's certificates that are good no more.
func (a *Authority) Revoke(chains ...[]byte) ([]byte, error) {
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
	for _, chain := range chains {
		block, _ := pem.Decode(chain)
		revoked, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: revoked.SerialNumber, RevocationTime: list.ThisUpdate})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.certificate, a.key)
	return encodePEM("X509 CRL", der), err
}

func leaf() *x509.Certificate {
	serial := make([]byte, 8)
	// Never fails (crypto/rand).
	_, _ = rand.Read(serial)
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		NotBefore:    now.Add(-time.Minute),
		NotAfter:     now.Add(time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// Files are the credentials by the names of their files.
func (c Credentials) Files() map[string][]byte {
	return map[string][]byte{"root-cert.pem": c.Roots, "cert-chain.pem": c.Chain, "key.pem": c.Key}
}

// With is the same credentials with the roots of another authority besides their own, as
// while one takes the other's place.
func (c Credentials) With(other *Authority) Credentials {
	c.Roots = append(bytes.Clone(c.Roots), other.Roots...)
	return c
}

// MountSecret puts files into a folder as a kubelet does: they are written to a folder of
// their own, to which one rename leads all of them.
func MountSecret(mount string, files map[string][]byte) error {
	before, err := os.Readlink(filepath.Join(mount, "..data"))
	first := os.IsNotExist(err)
	if err != nil && !first {
		return err
	}
	if err := os.MkdirAll(mount, 0o755); err != nil {
		return err
	}
	generation, err := os.MkdirTemp(mount, "..2026_")
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(generation, name), content, 0o600); err != nil {
			return err
		}
	}
	next := filepath.Join(mount, "..data_tmp")
	if err := os.Symlink(filepath.Base(generation), next); err != nil {
		return err
	}
	if err := os.Rename(next, filepath.Join(mount, "..data")); err != nil {
		return err
	}
	if !first {
		return os.RemoveAll(filepath.Join(mount, before))
	}
	for name := range files {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(mount, name)); err != nil {
			return err
		}
	}
	return nil
}
