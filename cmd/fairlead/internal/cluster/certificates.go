package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	// authorityLifetime bounds the life of a data folder.
	authorityLifetime = 10 * 365 * 24 * time.Hour
	// leafLifetime is how long `fairlead up` can run: each start issues new ones.
	leafLifetime = 365 * 24 * time.Hour
	// backdated allows for a clock that is set back.
	backdated = time.Hour
)

// authority signs the certificates of the cluster. It is kept in the data folder, so
// that a copied kubeconfig works after the next start too.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

// pair is a certificate with its key, in PEM.
type pair struct {
	certificate, key []byte
}

// loadAuthority reads the authority from the folder, or makes one there.
func loadAuthority(folder string, now time.Time) (*authority, error) {
	certificateFile, keyFile := filepath.Join(folder, "ca.crt"), filepath.Join(folder, "ca.key")
	certificate, err := os.ReadFile(certificateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return newAuthority(certificateFile, keyFile, now)
	}
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	a, err := parseAuthority(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("certificate authority in %s: %w: remove that folder, and a new one is made", folder, err)
	}
	if left := a.certificate.NotAfter.Sub(now); left < leafLifetime/4 {
		return newAuthority(certificateFile, keyFile, now)
	}
	return a, nil
}

func newAuthority(certificateFile, keyFile string, now time.Time) (*authority, error) {
	a := &authority{}
	made, err := a.issue(template("fairlead up", nil, now, authorityLifetime))
	if err != nil {
		return nil, err
	}
	// The certificate comes last: where it is, the key is.
	if err := errors.Join(writeFile(keyFile, made.key), writeFile(certificateFile, made.certificate)); err != nil {
		return nil, err
	}
	return parseAuthority(made.certificate, made.key)
}

func parseAuthority(certificate, key []byte) (*authority, error) {
	certificateBlock, _ := pem.Decode(certificate)
	keyBlock, _ := pem.Decode(key)
	if certificateBlock == nil || keyBlock == nil {
		return nil, errors.New("no PEM block in ca.crt or ca.key")
	}
	parsed, err := x509.ParseCertificate(certificateBlock.Bytes)
	if err != nil {
		return nil, err
	}
	private, err := x509.ParseECPrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, err
	}
	if !private.PublicKey.Equal(parsed.PublicKey) {
		return nil, errors.New("ca.key is not the key of ca.crt")
	}
	return &authority{certificate: parsed, key: private, pem: certificate}, nil
}

// client issues a certificate by which the API server knows a user and its groups.
func (a *authority) client(user string, groups []string, now time.Time) (pair, error) {
	t := template(user, groups, now, leafLifetime)
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return a.issue(t)
}

// server issues the API server's certificate.
func (a *authority) server(now time.Time) (pair, error) {
	t := template("kube-apiserver", nil, now, leafLifetime)
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	t.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	t.DNSNames = []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + clusterDomain}
	return a.issue(t)
}

func template(name string, groups []string, now time.Time, lifetime time.Duration) *x509.Certificate {
	return &x509.Certificate{
		Subject:               pkix.Name{CommonName: name, Organization: groups},
		NotBefore:             now.Add(-backdated),
		NotAfter:              now.Add(lifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
	}
}

// issue signs the template; an authority without a certificate makes its own.
func (a *authority) issue(t *x509.Certificate) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	// 64 bits at least, as RFC 5280 readers expect.
	if t.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return pair{}, err
	}
	parent, signer := a.certificate, a.key
	if parent == nil {
		t.IsCA, t.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
		parent, signer = t, key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, &key.PublicKey, signer)
	if err != nil {
		return pair{}, fmt.Errorf("certificate of %s: %w", t.Subject.CommonName, err)
	}
	keyPEM, err := encodeKey(key)
	return pair{certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key: keyPEM}, err
}

// keepTokenKey makes the key that signs service account tokens, once: tokens stay good
// over a restart.
func keepTokenKey(path string) error {
	if _, err := os.Stat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return err
	}
	return writeFile(path, keyPEM)
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

// writeFile replaces a file in one step, with mode 0600.
func writeFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
