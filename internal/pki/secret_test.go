package pki_test

import (
	"bytes"
	"crypto/x509"
	"maps"
	"net/url"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/internal/pki"
)

func TestADamagedSecretIsSeen(t *testing.T) {
	first, second := generation(t, 1), generation(t, 2)
	a := authority(t, first)
	other := authority(t, second)
	key := newKey(t, pki.ECDSAP256)
	good := secret(t, first, a.Bundle(), key)
	with := func(file string, content []byte) map[string][]byte {
		data := maps.Clone(good)
		data[file] = content
		return data
	}
	chain := good[pki.ChainFile]
	theirs := below(t, nil, "theirs", pki.ECDSAP256)
	server := below(t, theirs, "server", pki.ECDSAP256, func(c *x509.Certificate) {
		c.IsCA, c.URIs, c.ExtKeyUsage = false, []*url.URL{reviews.URI()}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	oneWay, err := pki.Files(server.key, pki.EncodeCertificates(server.Certificate), a.Bundle())
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	bundle := append(a.Bundle(), pki.EncodeCertificates(theirs.Certificate)...)
	ratings := reviews
	ratings.ServiceAccount = "ratings"

	for complaint, test := range map[string]struct {
		data map[string][]byte
		want pki.Identity
		at   time.Time
	}{
		"key.pem holds no PEM":                                     {data: with(pki.KeyFile, good[pki.KeyFile][:90])},
		"key.pem holds more than the one private key":              {data: with(pki.KeyFile, bytes.Repeat(good[pki.KeyFile], 2))},
		"key.pem holds no unencrypted private key":                 {data: with(pki.KeyFile, a.Bundle())},
		"key.pem is not the key of the certificate in":             {data: secretWithKeyOf(t, good)},
		"cert-chain.pem holds no certificate":                      {data: with(pki.ChainFile, nil)},
		"cert-chain.pem has 2 PEM blocks, of which 1 can be read":  {data: with(pki.ChainFile, chain[:len(chain)-50])},
		"cert-chain.pem has something else than a certificate":     {data: with(pki.ChainFile, good[pki.KeyFile])},
		"cert-chain.pem does not lead to a root that is trusted":   {data: secret(t, second, other.Bundle(), key)},
		"signed by unknown authority":                              {data: with(pki.ChainFile, chain[:bytes.LastIndex(chain, []byte("-----BEGIN"))])},
		"root-cert.pem holds no certificate":                       {data: with(pki.RootsFile, []byte("\n"))},
		"is for spiffe://cluster.local/ns/shop/sa/reviews and not": {data: good, want: ratings},
		"cert-chain.pem expired at 2026-05-30T12:00:00Z":           {data: good, at: start.Add(ninety + time.Second)},
		"cert-chain.pem is not for server and client":              {data: oneWay},
		"": {data: good, at: start.Add(-year)},
	} {
		want, at := reviews, start
		if test.want != (pki.Identity{}) {
			want = test.want
		}
		if !test.at.IsZero() {
			at = test.at
		}
		_, err := pki.CheckSecret(test.data, want, bundle, at)
		if complaint == "" {
			NewWithT(t).Expect(err).NotTo(HaveOccurred(), "a clock that was set back is no reason to renew")
			continue
		}
		NewWithT(t).Expect(err).To(MatchError(ContainSubstring(complaint)))
	}
}

func secretWithKeyOf(t *testing.T, good map[string][]byte) map[string][]byte {
	t.Helper()
	data := maps.Clone(good)
	var err error
	data[pki.KeyFile], err = pki.EncodeKey(newKey(t, pki.ECDSAP256))
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return data
}

// Roots that are not those of the bundle are told, and are no damage.
func TestASecretTellsWhichRootsItTrusts(t *testing.T) {
	g := NewWithT(t)
	first, second := generation(t, 1), generation(t, 2)
	old := authority(t, first)
	both, err := old.Add(second)
	g.Expect(err).NotTo(HaveOccurred())
	both, err = both.Trust(2)
	g.Expect(err).NotTo(HaveOccurred())
	about, err := pki.CheckSecret(secret(t, first, old.Bundle(), newKey(t, pki.ECDSAP256)), reviews, both.Bundle(), start)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(about.Trusted).To(Equal(pki.RootIDs(old.Roots())))
	g.Expect(about.Trusted).NotTo(Equal(pki.RootIDs(both.Roots())))
}
