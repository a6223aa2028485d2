package pki_test

import (
	"bytes"
	"crypto/x509"
	"maps"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/internal/pki"
)

// change takes a step that has to succeed, twice, and through the Secret.
func change(t *testing.T, a *pki.Authority, step func(*pki.Authority) (*pki.Authority, error)) *pki.Authority {
	t.Helper()
	g := NewWithT(t)
	before := encoded(t, a)
	b, err := step(a)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(encoded(t, a)).To(Equal(before), "an authority is a value")
	again, err := step(b)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(again.Equal(b)).To(BeTrue(), "a step that is done already does nothing")
	read, err := pki.DecodeAuthority(encoded(t, b))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(read.Equal(b)).To(BeTrue(), "what is written is what is read")
	g.Expect(read.Equal(a)).To(BeFalse())
	return read
}

func encoded(t testing.TB, a *pki.Authority) map[string][]byte {
	t.Helper()
	data, err := a.Encode()
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return data
}

// signs says whether a leaf of the active generation is taken by who trusts the bundle.
func signs(t *testing.T, a *pki.Authority, bundle []byte) error {
	t.Helper()
	leaf, chain, err := a.Signer().Sign(pki.Request{Identity: reviews, PublicKey: newKey(t, pki.ECDSAP256).Public(), Lifetime: ninety}, start)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: start}
	options.Roots.AppendCertsFromPEM(bundle)
	options.Intermediates.AppendCertsFromPEM(chain)
	_, err = leaf.Verify(options)
	return err
}

func TestARootIsReplacedStepByStep(t *testing.T) {
	g := NewWithT(t)
	first, second := generation(t, 1), generation(t, 2)
	a := authority(t, first)
	old := a.Bundle()

	_, err := a.Trust(2)
	g.Expect(err).To(MatchError(ContainSubstring("generation 2 cannot be trusted: there is none")))
	a = change(t, a, func(a *pki.Authority) (*pki.Authority, error) { return a.Add(second) })
	g.Expect(a.Bundle()).To(Equal(old), "a generation that is prepared is trusted by nobody")
	_, err = a.Activate(2)
	g.Expect(err).To(MatchError(ContainSubstring("generation 2 cannot sign: it has to be there and trusted")))

	a = change(t, a, func(a *pki.Authority) (*pki.Authority, error) { return a.Trust(2) })
	both := a.Bundle()
	g.Expect(a.Roots()).To(HaveLen(2))
	g.Expect(signs(t, a, old)).To(Succeed())
	a = change(t, a, func(a *pki.Authority) (*pki.Authority, error) { return a.Activate(2) })
	g.Expect(a.Bundle()).To(Equal(both))
	g.Expect(signs(t, a, both)).To(Succeed())
	g.Expect(signs(t, a, old)).NotTo(Succeed(), "the two have different keys")
	back, err := a.Activate(1)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(signs(t, back, old)).To(Succeed(), "until the old one is dropped there is a way back")

	_, err = a.Drop(2)
	g.Expect(err).To(HaveOccurred(), "what signs is not dropped")
	a = change(t, a, func(a *pki.Authority) (*pki.Authority, error) { return a.Drop(1) })
	g.Expect(signs(t, a, a.Bundle())).To(Succeed())
	g.Expect(pki.RootIDs(a.Roots())).To(Equal([]string{pki.RootID(second.Root)}))
	g.Expect(encoded(t, a)).To(HaveLen(4), "the keys of what is dropped are gone")
}

// What a Secret of the authority may not be, each with the key that is to blame.
func TestADamagedAuthorityIsNotRead(t *testing.T) {
	a := authority(t, generation(t, 1))
	a, err := a.Add(generation(t, 2))
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	good := encoded(t, a)
	secrets := bytes.Split(bytes.TrimSpace(good["1-key.pem"]), []byte("\n"))
	for key := range good {
		for damage, content := range map[string][]byte{
			"missing": nil, "cut": good[key][:len(good[key])/2], "garbage": []byte("garbage"),
			"another": good[map[bool]string{true: "1-key.pem", false: "1-root-cert.pem"}[strings.HasSuffix(key, "cert.pem")]],
		} {
			data := maps.Clone(good)
			if data[key] = content; content == nil {
				delete(data, key)
			}
			_, err := pki.DecodeAuthority(data)
			NewWithT(t).Expect(err).To(MatchError(Or(ContainSubstring(key), ContainSubstring("generation "+key[:1]+": "))), "%s %s", key, damage)
			NewWithT(t).Expect(err.Error()).NotTo(ContainSubstring(string(secrets[1])), "%s %s", key, damage)
		}
	}
	for wrong, index := range map[string]string{
		"unknown field":           `{"generations":[{"number":1,"source":"builtin","signing":true}],"active":1,"trusted":[1],"more":1}`,
		"generation 2 cannot":     `{"generations":[{"number":1,"source":"builtin","signing":true}],"active":2,"trusted":[1]}`,
		"the generation 2 cannot": `{"generations":[{"number":1,"source":"builtin","signing":true}],"active":1,"trusted":[1,2]}`,
		"each once":               `{"generations":[{"number":1,"source":"a","signing":true},{"number":1,"source":"a","signing":true}],"active":1,"trusted":[1]}`,
		"in order":                `{"generations":[{"number":1,"source":"builtin","signing":true}],"active":1,"trusted":[1,1]}`,
		"0-root-cert.pem":         `{"generations":[{"number":0,"source":"builtin","signing":true}],"active":0,"trusted":[0]}`,
		"more in it":              `{"generations":[{"number":1,"source":"builtin","signing":true}],"active":1,"trusted":[1]} {}`,
	} {
		data := maps.Clone(good)
		data["authority.json"] = []byte(index)
		_, err := pki.DecodeAuthority(data)
		NewWithT(t).Expect(err).To(MatchError(ContainSubstring(wrong)))
	}
	data := maps.Clone(good)
	data["1-key.pem"] = good["2-key.pem"]
	_, err = pki.DecodeAuthority(data)
	NewWithT(t).Expect(err).To(MatchError(ContainSubstring("generation 1: the signing key is not that of the signing certificate")))
}

func TestANumberAndARootAreUsedOnce(t *testing.T) {
	g := NewWithT(t)
	first := generation(t, 1)
	a := authority(t, first)
	_, err := a.Add(generation(t, 1))
	g.Expect(err).To(MatchError(ContainSubstring("another generation 1 already")))
	twin := *first
	twin.Number = 2
	_, err = a.Add(&twin)
	g.Expect(err).To(MatchError(ContainSubstring("the root of generation 2 is that of generation 1")))
}
