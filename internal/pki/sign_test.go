package pki_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/agent/certs"
	"fairlead.dev/fairlead/internal/pki"
)

// The agent's rules are Envoy's: see its tests with a real one.
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
			g.Expect(json.Marshal(about)).NotTo(ContainSubstring("PRIVATE"))

			agent := certs.New(certs.Options{
				Dir: t.TempDir(), Now: func() time.Time { return start }, Log: slog.New(slog.DiscardHandler),
				Changed: func(certs.Certificate) {}, Refused: func(error) {},
			})
			g.Expect(agent.Prepare()).To(Succeed())
			err = agent.Give(files[pki.KeyFile], files[pki.ChainFile], files[pki.RootsFile])
			if algorithm == pki.Ed25519 {
				g.Expect(err).To(MatchError(ContainSubstring("Envoy takes no other from its peers")))
				return
			}
			g.Expect(err).NotTo(HaveOccurred())
			taken := agent.Status().Certificate
			g.Expect([]any{taken.Serial, taken.Root, taken.Trusted, taken.URIs}).To(Equal([]any{about.Serial, about.Root, about.Trusted, []string{reviews.String()}}),
				"agent and manager call things by the same names")
		})
	}
}

func TestALeafIsForItsNamesOnly(t *testing.T) {
	g := NewWithT(t)
	key := newKey(t, pki.ECDSAP256)
	signer := generation(t, 7)
	request := pki.Request{Identity: reviews, PublicKey: key.Public(), DNSNames: []string{"fairlead.mesh.svc", "127.0.0.1"}, Lifetime: time.Hour}
	leaf, _, err := signer.Sign(request, start)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(leaf.VerifyHostname("fairlead.mesh.svc")).To(Succeed())
	g.Expect(leaf.VerifyHostname("127.0.0.1")).To(Succeed())
	g.Expect(leaf.VerifyHostname("localhost")).NotTo(Succeed())
	g.Expect(leaf.IsCA).To(BeFalse())
	g.Expect(leaf.Issuer.String()).To(Equal("CN=Fairlead signing 7,O=cluster.local"))
	g.Expect(signer.Root.Subject.String()).To(Equal("CN=Fairlead root 7,O=cluster.local"))
	again, _, err := signer.Sign(request, start)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(again.SerialNumber).NotTo(Equal(leaf.SerialNumber))

	csr, err := pki.NewCSR(key, request)
	g.Expect(err).NotTo(HaveOccurred())
	parsed, err := x509.ParseCertificateRequest(csr)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect([]any{parsed.URIs, parsed.DNSNames, parsed.IPAddresses[0].String(), parsed.Subject.String()}).To(
		Equal([]any{leaf.URIs, leaf.DNSNames, "127.0.0.1", ""}))
}

func TestALeafNeverOutlivesWhatItLeadsTo(t *testing.T) {
	signer, key := generation(t, 1), newKey(t, pki.ECDSAP256).Public()
	for _, test := range []struct {
		name       string
		at         time.Time
		begin, end time.Time
		refused    string
	}{
		{"in the first minute", start.Add(time.Minute), start.Add(-4 * time.Minute), start.Add(time.Minute + ninety), ""},
		{"by a clock that is late", start.Add(-2 * time.Minute), start.Add(-5 * time.Minute), start.Add(ninety - 2*time.Minute), ""},
		{"a day before the end", start.Add(year - 24*time.Hour), start.Add(year - 24*time.Hour - 5*time.Minute), start.Add(year), ""},
		{"at the end", start.Add(year), time.Time{}, time.Time{}, "generation 1 expired at 2027-03-01T12:00:00Z: have the root rotated"},
		{"before the beginning", start.Add(-time.Hour), time.Time{}, time.Time{}, "is not valid before 2026-03-01T11:55:00Z: see whether this machine's clock is right"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := NewWithT(t)
			leaf, _, err := signer.Sign(pki.Request{Identity: reviews, PublicKey: key, Lifetime: ninety}, test.at)
			if test.refused != "" {
				g.Expect(err).To(MatchError(pki.ErrUnable))
				g.Expect(err).To(MatchError(ContainSubstring(test.refused)))
				return
			}
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(leaf.NotBefore).To(BeTemporally("==", test.begin))
			g.Expect(leaf.NotAfter).To(BeTemporally("==", test.end))
		})
	}
}

func TestWhatIsNotSigned(t *testing.T) {
	signer, key := generation(t, 1), newKey(t, pki.ECDSAP256).Public()
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	long, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	for refused, request := range map[string]pki.Request{
		"has 1024: use ECDSA-P256":     {Identity: reviews, PublicKey: short.Public(), Lifetime: ninety},
		"curve P-521 is not taken":     {Identity: reviews, PublicKey: long.Public(), Lifetime: ninety},
		"kind <nil> cannot be used":    {Identity: reviews, Lifetime: ninety},
		`"" is no trust domain`:        {PublicKey: key, Lifetime: ninety},
		`"../x" is no name of a names`: {Identity: pki.Identity{TrustDomain: "td", Namespace: "../x", ServiceAccount: "y"}, PublicKey: key, Lifetime: ninety},
		"lifetime 0s":                  {Identity: reviews, PublicKey: key},
	} {
		_, _, err := signer.Sign(request, start)
		NewWithT(t).Expect(err).To(MatchError(ContainSubstring(refused)))
		NewWithT(t).Expect(errors.Is(err, pki.ErrUnable)).To(BeFalse(), "the fault is the request's")
	}
	for refused, signer := range map[string]crypto.Signer{"1024: use ECDSA-P256": short, "curve P-521 is not taken": long} {
		der, err := pki.NewCSR(signer, pki.Request{Identity: reviews})
		NewWithT(t).Expect(err).NotTo(HaveOccurred())
		_, err = pki.ParseCSR(der)
		NewWithT(t).Expect(err).To(MatchError(ContainSubstring(refused)))
	}
}

func TestASigningRequestIsOfItsKeysOwner(t *testing.T) {
	g := NewWithT(t)
	for _, algorithm := range []pki.KeyAlgorithm{pki.ECDSAP256, pki.ECDSAP384, pki.RSA2048, pki.Ed25519} {
		key := newKey(t, algorithm)
		der, err := pki.NewCSR(key, pki.Request{Identity: reviews})
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(pki.ParseCSR(der)).To(Equal(key.Public()))
		der[len(der)-1] ^= 1
		_, err = pki.ParseCSR(der)
		g.Expect(err).To(MatchError(ContainSubstring("not signed with the key it is for")))
	}
	_, err := pki.ParseCSR(make([]byte, 1<<20))
	g.Expect(err).To(MatchError(ContainSubstring("at most 16384 are read")))
}

func BenchmarkSign(b *testing.B) {
	signer := generation(b, 1)
	for b.Loop() {
		key, err := pki.ECDSAP256.NewKey()
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := signer.Sign(pki.Request{Identity: reviews, PublicKey: key.Public(), Lifetime: ninety}, start); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckSecret(b *testing.B) {
	a := authority(b, generation(b, 1))
	files, bundle := secret(b, a.Signer(), a.Bundle(), newKey(b, pki.ECDSAP256)), a.Bundle()
	for b.Loop() {
		if _, err := pki.CheckSecret(files, reviews, bundle, start); err != nil {
			b.Fatal(err)
		}
	}
}
