package pki_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"testing/fstest"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/internal/pki"
)

// link is an authority as users have one, made by other tools.
type link struct {
	*x509.Certificate
	key crypto.Signer
}

// below makes an authority; without an issuer it is a root.
func below(t *testing.T, issuer *link, name string, algorithm pki.KeyAlgorithm, changes ...func(*x509.Certificate)) *link {
	t.Helper()
	return belowWith(t, issuer, name, newKey(t, algorithm), changes...)
}

func belowWith(t *testing.T, issuer *link, name string, key crypto.Signer, changes ...func(*x509.Certificate)) *link {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: start.Add(-time.Hour), NotAfter: start.Add(2 * year),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	for _, change := range changes {
		change(template)
	}
	if issuer == nil {
		issuer = &link{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.Certificate, key.Public(), issuer.key)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	certificate, err := x509.ParseCertificate(der)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return &link{certificate, key}
}

// folder holds an authority as Istio's documentation has users bring one.
func folder(t *testing.T, signing, root *link, chain ...*link) fstest.MapFS {
	t.Helper()
	key, err := pki.EncodeKey(signing.key)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	files := fstest.MapFS{
		"ca-cert.pem": {Data: pki.EncodeCertificates(signing.Certificate)}, "ca-key.pem": {Data: key},
		"root-cert.pem": {Data: pki.EncodeCertificates(root.Certificate)},
	}
	var between []byte
	for _, c := range chain {
		between = append(between, pki.EncodeCertificates(c.Certificate)...)
	}
	if between != nil {
		files["cert-chain.pem"] = &fstest.MapFile{Data: between}
	}
	return files
}

func TestAnAuthorityIsBroughtAsFiles(t *testing.T) {
	root := below(t, nil, "root", pki.RSA2048)
	middle := below(t, root, "middle", pki.ECDSAP384)
	signing := below(t, middle, "signing", pki.ECDSAP256)
	direct := below(t, root, "direct", pki.RSA2048)
	edwards := below(t, root, "edwards", pki.Ed25519)
	ecParameters := folder(t, signing, root, middle)
	der, err := x509.MarshalECPrivateKey(signing.key.(*ecdsa.PrivateKey))
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	ecParameters["ca-key.pem"] = &fstest.MapFile{Data: append(
		pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})...)}

	for name, test := range map[string]struct {
		files fstest.MapFS
		links int
	}{
		"the chain with everything":    {folder(t, signing, root, signing, middle, root), 3},
		"the chain from the middle":    {folder(t, signing, root, middle), 3},
		"no chain, the root signed it": {folder(t, direct, root), 2},
		"the root signs itself":        {folder(t, root, root, root), 1},
		"another kind of key":          {folder(t, edwards, root), 2},
		"a key as openssl writes it":   {ecParameters, 3},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			brought, err := pki.GenerationFromFiles(test.files, start)
			g.Expect(err).NotTo(HaveOccurred())
			brought.Number = 5
			a, err := authority(t, generation(t, 1)).Add(brought)
			g.Expect(err).NotTo(HaveOccurred())
			a = change(t, a, func(a *pki.Authority) (*pki.Authority, error) { return a.Trust(5) })
			a = change(t, a, func(a *pki.Authority) (*pki.Authority, error) { return a.Activate(5) })
			a = change(t, a, func(a *pki.Authority) (*pki.Authority, error) { return a.Drop(1) })
			files := secret(t, a.Signer(), a.Bundle(), newKey(t, pki.ECDSAP256))
			about, err := pki.CheckSecret(files, reviews, pki.EncodeCertificates(root.Certificate), start)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(about.Root).To(Equal(pki.RootID(root.Certificate)))
			chain, err := pki.ParseCertificates(files[pki.ChainFile])
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(chain).To(HaveLen(test.links), "the leaf with its issuers, without the root")
		})
	}
}

func TestAnAuthorityThatIsNoneIsNotBrought(t *testing.T) {
	root := below(t, nil, "root", pki.ECDSAP256)
	middle := below(t, root, "middle", pki.ECDSAP256)
	signing := below(t, middle, "signing", pki.ECDSAP256)
	foreign := below(t, nil, "foreign", pki.ECDSAP256)
	narrow := below(t, root, "narrow", pki.ECDSAP256, func(c *x509.Certificate) { c.MaxPathLenZero = true })
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	weak := belowWith(t, root, "weak", short)
	twoRoots := folder(t, middle, root)
	twoRoots["root-cert.pem"].Data = pki.EncodeCertificates(root.Certificate, foreign.Certificate)
	cut := folder(t, middle, root)
	cut["ca-cert.pem"].Data = bytes.TrimSuffix(cut["ca-cert.pem"].Data, []byte("----\n"))
	noKey := folder(t, middle, root)
	delete(noKey, "ca-key.pem")
	encrypted := folder(t, middle, root)
	encrypted["ca-key.pem"].Data = bytes.ReplaceAll(encrypted["ca-key.pem"].Data, []byte("PRIVATE"), []byte("ENCRYPTED PRIVATE"))
	for complaint, files := range map[string]fstest.MapFS{
		"CN=signing is not signed by CN=root: bring the whole chain": folder(t, signing, root),
		"is not signed by CN=foreign":                                folder(t, signing, foreign, middle),
		"the signing key is not that of the signing certificate":     folder(t, &link{signing.Certificate, middle.key}, root, middle),
		"CN=leaf is no authority's certificate":                      folder(t, below(t, root, "leaf", pki.ECDSAP256, func(c *x509.Certificate) { c.IsCA = false }), root),
		"CN=narrow allows 0 authorities below it, and there are 1":   folder(t, below(t, narrow, "x", pki.ECDSAP256), root, narrow),
		"2026-03-01T12:00:00Z only: bring one that is valid now":     folder(t, below(t, root, "old", pki.ECDSAP256, func(c *x509.Certificate) { c.NotAfter = start }), root),
		"CN=weak has an RSA key of 1024 bits: bring an authority":    folder(t, weak, root),
		"root-cert.pem has 2 certificates: leave only the root":      twoRoots,
		"ca-cert.pem has 1 PEM blocks, of which 0 can be read":       cut,
		"open ca-key.pem": noKey,
		"ca-key.pem holds no unencrypted private key": encrypted,
	} {
		_, err := pki.GenerationFromFiles(files, start)
		NewWithT(t).Expect(err).To(MatchError(ContainSubstring(complaint)))
	}
}

// What signs is renewed below the same root without a rotation.
func TestWhatSignsIsReplacedBelowTheSameRoot(t *testing.T) {
	g := NewWithT(t)
	root := below(t, nil, "root", pki.ECDSAP256)
	load := func(signing *link) *pki.Generation {
		loaded, err := pki.GenerationFromFiles(folder(t, signing, root), start)
		g.Expect(err).NotTo(HaveOccurred())
		loaded.Number = 1
		return loaded
	}
	before := authority(t, load(below(t, root, "first", pki.ECDSAP256)))
	second := load(below(t, root, "second", pki.ECDSAP256))
	after := change(t, before, func(a *pki.Authority) (*pki.Authority, error) { return a.Replace(second) })
	g.Expect(after.Bundle()).To(Equal(before.Bundle()))
	g.Expect(after.Signer().Signing.Subject.CommonName).To(Equal("second"))
	_, err := after.Replace(generation(t, 1))
	g.Expect(err).To(MatchError(ContainSubstring("has no generation 1 with this root")))
}

// Of another issuer only the root is known.
func TestAnIssuersGenerationIsTrustedAndSignsNothing(t *testing.T) {
	g := NewWithT(t)
	root := below(t, nil, "theirs", pki.ECDSAP256)
	theirs, err := pki.FromIssuer("ClusterIssuer/corporate", root.Certificate)
	g.Expect(err).NotTo(HaveOccurred())
	theirs.Number = 1
	a := authority(t, theirs)
	read, err := pki.DecodeAuthority(encoded(t, a))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(read.Equal(a)).To(BeTrue())
	g.Expect(encoded(t, a)).To(HaveLen(2), "an index and a root")
	_, _, err = read.Signer().Sign(pki.Request{Identity: reviews, PublicKey: root.key.Public(), Lifetime: ninety}, start)
	g.Expect(err).To(MatchError(pki.ErrUnable))
	g.Expect(err).To(MatchError(ContainSubstring("the key of generation 1 is with the issuer ClusterIssuer/corporate")))
}
