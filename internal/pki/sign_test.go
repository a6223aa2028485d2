package pki_test

import (
	"crypto/x509"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/internal/pki"
)

// Sealing a Secret and checking it again is the way of every leaf.
func TestEveryAlgorithmGivesASecretThatPassesItsCheck(t *testing.T) {
	a := authority(t, generation(t, 1))
	for _, algorithm := range []pki.KeyAlgorithm{pki.ECDSAP256, pki.ECDSAP384, pki.RSA2048, pki.RSA3072, pki.RSA4096, pki.Ed25519} {
		t.Run(string(algorithm), func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			files := secret(t, a.Signer(), a.Bundle(), newKey(t, algorithm))
			about, err := pki.CheckSecret(files, reviews, a.Bundle(), start)
			g.Expect(err).NotTo(HaveOccurred())
			chain, err := pki.ParseCertificates(files[pki.ChainFile])
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(chain).To(HaveLen(2), "the leaf and what signed it, without the root")
			g.Expect(about).To(Equal(pki.Summary{
				Identity: reviews, KeyAlgorithm: algorithm, Serial: chain[0].SerialNumber.Text(16),
				NotBefore: start.Add(-5 * time.Minute), NotAfter: start.Add(ninety),
				Root: pki.RootID(a.Signer().Root), Trusted: pki.RootIDs(a.Roots()),
			}))
			g.Expect(chain[0].ExtKeyUsage).To(ConsistOf(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth))
			g.Expect(chain[0].IsCA).To(BeFalse())
		})
	}
}
