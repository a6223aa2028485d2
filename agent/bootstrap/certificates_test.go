package bootstrap_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"fairlead.dev/fairlead/agent/bootstrap"
	"fairlead.dev/fairlead/test/testenv"
)

// authority issues certificates of one root.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	certificate, key := issue(t, template, nil, nil)
	return authority{certificate, key}
}

func (a authority) issue(t *testing.T, names ...string) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if uri, err := url.Parse(name); err == nil && uri.Scheme != "" {
			template.URIs = append(template.URIs, uri)
		} else if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return issue(t, template, a.certificate, a.key)
}

// pool has the one root.
func (a authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// pair is a certificate with the names given, for a TLS server or client in the test.
func (a authority) pair(t *testing.T, names ...string) tls.Certificate {
	t.Helper()
	certificate, key := a.issue(t, names...)
	return tls.Certificate{Certificate: [][]byte{certificate.Raw}, PrivateKey: key}
}

func issue(t *testing.T, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key
}

// agentDir is a folder as the agent keeps it, with a certificate.
func agentDir(t *testing.T) string {
	t.Helper()
	dir, err := testenv.SocketDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	writeCertificate(t, filepath.Join(dir, "certs"), newAuthority(t))
	return dir
}

// writeCertificate lays out the agent's folder of certificates.
func writeCertificate(t *testing.T, dir string, a authority) {
	t.Helper()
	certificate, key := a.issue(t, "spiffe://cluster.local/ns/shop/sa/reviews")
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	current := filepath.Join(dir, "current")
	if err := os.MkdirAll(current, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(path string, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := func(name, kind string, der []byte) map[string]any {
		path := filepath.Join(current, name)
		write(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
		return map[string]any{"filename": path}
	}
	watched := map[string]any{"path": dir}
	secret := func(name, kind string, fields map[string]any) []byte {
		content, err := json.Marshal(map[string]any{"resources": []any{map[string]any{
			"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret", "name": name, kind: fields,
		}}})
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	write(filepath.Join(dir, bootstrap.CertificateFile), secret(bootstrap.CertificateSecret, "tls_certificate", map[string]any{
		"certificate_chain": file("cert-chain.pem", "CERTIFICATE", certificate.Raw),
		"private_key":       file("key.pem", "PRIVATE KEY", der),
		"watched_directory": watched,
	}))
	write(filepath.Join(dir, bootstrap.RootsFile), secret(bootstrap.RootsSecret, "validation_context", map[string]any{
		"trusted_ca":        file("root-cert.pem", "CERTIFICATE", a.certificate.Raw),
		"watched_directory": watched,
	}))
}
