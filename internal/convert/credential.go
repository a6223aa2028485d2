package convert

import (
	"cmp"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/internal/mesh"
)

// Credential returns what a Secret holds for TLS, nil for one that is not there. What cannot
// be used leaves what was good before, and a word on why.
func Credential(name mesh.NamespacedName, secret *corev1.Secret, before *mesh.Credential) *mesh.Credential {
	kept := mesh.Credential{Name: name}
	if before != nil {
		kept = *before
	}
	if secret == nil {
		// Somebody took it back.
		return &mesh.Credential{Name: name, Problem: "there is no such Secret"}
	}
	read, err := credential(name, secret)
	if err != nil {
		kept.Problem = err.Error()
		return &kept
	}
	return read
}

// credential reads the keys that Kubernetes has for Secrets of TLS, and Istio's older ones.
func credential(name mesh.NamespacedName, secret *corev1.Secret) (*mesh.Credential, error) {
	entry := func(keys ...string) []byte {
		for _, key := range keys {
			if value := secret.Data[key]; len(value) > 0 {
				return value
			}
		}
		return nil
	}
	c := &mesh.Credential{
		Name:        name,
		Certificate: entry(corev1.TLSCertKey, "cert"),
		Key:         entry(corev1.TLSPrivateKeyKey, "key"),
		Staple:      entry("tls.ocsp-staple"),
		Roots:       entry("ca.crt", "cacert"),
		Revoked:     entry("ca.crl", "crl"),
	}
	if len(c.Certificate)+len(c.Key)+len(c.Roots) == 0 {
		return nil, errors.New("it has neither tls.crt with tls.key nor ca.crt")
	}
	if len(c.Certificate)+len(c.Key) > 0 {
		if err := checkPair(c.Certificate, c.Key); err != nil {
			return nil, fmt.Errorf("tls.crt with tls.key: %w", err)
		}
	}
	if len(c.Roots) > 0 && !x509.NewCertPool().AppendCertsFromPEM(c.Roots) {
		return nil, errors.New("ca.crt has no certificate in PEM")
	}
	if block, _ := pem.Decode(c.Revoked); len(c.Revoked) > 0 && (block == nil || parses(x509.ParseRevocationList, block.Bytes) != nil) {
		return nil, errors.New("ca.crl is not a list of revoked certificates in PEM")
	}
	return c, nil
}

// leastRSA is the shortest key that Envoy takes.
const leastRSA = 2048

// checkPair returns why a proxy would refuse a certificate with its key; never a part of it.
func checkPair(certificate, key []byte) error {
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return err
	}
	leaf := cmp.Or(pair.Leaf, &x509.Certificate{})
	if public, is := leaf.PublicKey.(*rsa.PublicKey); is && public.N.BitLen() < leastRSA {
		return fmt.Errorf("the key has %d bits, and proxies take RSA from %d", public.N.BitLen(), leastRSA)
	}
	return nil
}

func parses[T any](parse func([]byte) (T, error), der []byte) error {
	_, err := parse(der)
	return err
}
