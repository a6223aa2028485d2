package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// KeyAlgorithm is the kind of a leaf's key.
type KeyAlgorithm string

// The algorithms. Envoy takes no certificate with an Ed25519 key from a caller (tried with
// 1.40.0), so that one is for other readers of a Secret.
const (
	ECDSAP256 KeyAlgorithm = "ECDSA-P256"
	ECDSAP384 KeyAlgorithm = "ECDSA-P384"
	RSA2048   KeyAlgorithm = "RSA-2048"
	RSA3072   KeyAlgorithm = "RSA-3072"
	RSA4096   KeyAlgorithm = "RSA-4096"
	Ed25519   KeyAlgorithm = "Ed25519"
)

// The bounds of RSA keys, in bits: Envoy takes none below the first, and Go's TLS none above
// the second.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// NewKey makes a key.
func (a KeyAlgorithm) NewKey() (crypto.Signer, error) {
	switch a {
	case ECDSAP256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case ECDSAP384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case RSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("%q is no key algorithm: use %s, %s, %s, %s, %s or %s", string(a), ECDSAP256, ECDSAP384, RSA2048, RSA3072, RSA4096, Ed25519)
}

// AlgorithmOf is the kind of a public key, and an error if it is none that may be in the mesh.
func AlgorithmOf(key crypto.PublicKey) (KeyAlgorithm, error) {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return ECDSAP256, nil
		case elliptic.P384():
			return ECDSAP384, nil
		}
		return "", fmt.Errorf("an ECDSA key on the curve %s is not taken by Envoy from its peers: use %s", key.Params().Name, ECDSAP256)
	case *rsa.PublicKey:
		bits := key.N.BitLen()
		if bits < minRSABits || bits > maxRSABits {
			return "", fmt.Errorf("an RSA key has to have %d to %d bits, this one has %d: use %s", minRSABits, maxRSABits, bits, ECDSAP256)
		}
		return KeyAlgorithm(fmt.Sprintf("RSA-%d", bits)), nil
	case ed25519.PublicKey:
		return Ed25519, nil
	}
	return "", fmt.Errorf("a key of the kind %T cannot be used: use %s", key, ECDSAP256)
}

// EncodeKey writes a key as PKCS#8, in PEM.
func EncodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, errors.New("the private key cannot be encoded")
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// parseKey reads a private key. Errors do not repeat what was read, nor what the parser says,
// which may.
func parseKey(content []byte) (crypto.Signer, error) {
	block, rest := pem.Decode(content)
	if block == nil {
		return nil, errors.New("holds no PEM")
	}
	if block.Type == "EC PARAMETERS" {
		// Which some tools write before the key.
		if block, rest = pem.Decode(rest); block == nil {
			return nil, errors.New("holds no private key")
		}
	}
	if next, _ := pem.Decode(rest); next != nil {
		return nil, errors.New("holds more than the one private key")
	}
	var key any
	var err error
	switch {
	case block.Type == "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case block.Type == "EC PRIVATE KEY" && block.Headers["DEK-Info"] == "":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case block.Type == "RSA PRIVATE KEY" && block.Headers["DEK-Info"] == "":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, errors.New("holds no unencrypted private key")
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, errors.New("has a private key that cannot be read")
	}
	return signer, nil
}

// IsKeyOf says whether a certificate is for a key.
func IsKeyOf(certificate *x509.Certificate, key crypto.Signer) bool {
	public, ok := certificate.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(key.Public())
}
