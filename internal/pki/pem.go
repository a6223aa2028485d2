package pki

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"slices"
	"time"
)

// RootID identifies a root in evidence, and any certificate: SHA-256 of its DER, in lower-case
// hexadecimal digits.
func RootID(certificate *x509.Certificate) string {
	sum := sha256.Sum256(certificate.Raw)
	return hex.EncodeToString(sum[:])
}

// RootIDs are those of certificates, sorted, each once.
func RootIDs(certificates []*x509.Certificate) []string {
	found := make([]string, 0, len(certificates))
	for _, c := range certificates {
		found = append(found, RootID(c))
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// EncodeCertificates writes certificates as PEM, in their order.
func EncodeCertificates(certificates ...*x509.Certificate) []byte {
	var encoded []byte
	for _, c := range certificates {
		encoded = append(encoded, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return encoded
}

// ParseCertificates reads PEM of at least one certificate and of nothing else. Text between
// blocks is allowed. Half a block is not: the decoder passes over it, and what is cut off
// would look like less of the same.
func ParseCertificates(content []byte) ([]*x509.Certificate, error) {
	var found []*x509.Certificate
	for rest := content; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			// Its type is not repeated: it could be anything.
			return nil, fmt.Errorf("has something else than a certificate as block %d", len(found)+1)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("has a certificate, number %d, that cannot be read: %w", len(found)+1, err)
		}
		found = append(found, c)
	}
	switch begun := bytes.Count(content, []byte("-----BEGIN ")); {
	case begun == 0:
		return nil, fmt.Errorf("holds no certificate")
	case begun != len(found):
		return nil, fmt.Errorf("has %d PEM blocks, of which %d can be read: it is cut off or damaged", begun, len(found))
	}
	return found, nil
}

// sorted orders certificates by their bytes, each once.
func sorted(certificates []*x509.Certificate) []*x509.Certificate {
	order := func(a, b *x509.Certificate) int { return bytes.Compare(a.Raw, b.Raw) }
	certificates = slices.SortedFunc(slices.Values(certificates), order)
	return slices.CompactFunc(certificates, (*x509.Certificate).Equal)
}

// Pool holds certificates.
func Pool(certificates []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certificates {
		p.AddCert(c)
	}
	return p
}

func serial(certificate *x509.Certificate) string {
	return certificate.SerialNumber.Text(16)
}

// firstEnd is when the first of the certificates expires.
func firstEnd(certificates []*x509.Certificate) time.Time {
	first := certificates[0].NotAfter
	for _, c := range certificates[1:] {
		if c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	return first
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// about puts the name of what was read before the error that reading it gave, if any.
func about(file string, err error) error {
	if err != nil {
		err = fmt.Errorf("%s %w", file, err)
	}
	return err
}
