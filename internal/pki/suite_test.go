package pki_test

import (
	"crypto"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"go.uber.org/goleak"

	"fairlead.dev/fairlead/internal/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	start   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	reviews = pki.Identity{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "reviews"}
)

const (
	year   = 365 * 24 * time.Hour
	ninety = 90 * 24 * time.Hour
)

func generation(t testing.TB, number int) *pki.Generation {
	t.Helper()
	g, err := pki.NewGeneration(number, "cluster.local", start, year)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return g
}

func authority(t testing.TB, g *pki.Generation) *pki.Authority {
	t.Helper()
	a, err := pki.NewAuthority(g)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return a
}

func newKey(t testing.TB, algorithm pki.KeyAlgorithm) crypto.Signer {
	t.Helper()
	key, err := algorithm.NewKey()
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return key
}

// secret is the Secret's data of a workload, signed by a generation.
func secret(t testing.TB, g *pki.Generation, bundle []byte, key crypto.Signer) map[string][]byte {
	t.Helper()
	_, chain, err := g.Sign(pki.Request{Identity: reviews, PublicKey: key.Public(), Lifetime: ninety}, start)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	files, err := pki.Files(key, chain, bundle)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return files
}
