package pki_test

import (
	"bytes"
	"testing"

	"fairlead.dev/fairlead/internal/pki"
)

// What is read without an error is written as it was, and has one spelling.
func FuzzParseIdentity(f *testing.F) {
	f.Add(reviews.String())
	f.Add("spiffe://a_b/ns/c.d/sa/e-f")
	f.Fuzz(func(t *testing.T, uri string) {
		identity, err := pki.ParseIdentity(uri)
		if err == nil && (identity.String() != uri || identity.URI().String() != uri) {
			t.Errorf("%q is read as %q", uri, identity)
		}
	})
}

// What is taken as a signing request can be signed.
func FuzzParseCSR(f *testing.F) {
	signer := generation(f, 1)
	for _, algorithm := range []pki.KeyAlgorithm{pki.ECDSAP256, pki.RSA2048, pki.Ed25519} {
		csr, err := pki.NewCSR(newKey(f, algorithm), pki.Request{Identity: reviews, DNSNames: []string{"a.b", "::1"}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(csr)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		key, err := pki.ParseCSR(der)
		if err != nil {
			return
		}
		if _, _, err := signer.Sign(pki.Request{Identity: reviews, PublicKey: key, Lifetime: ninety}, start); err != nil {
			t.Errorf("the key was taken and not signed: %v", err)
		}
	})
}

// A Secret that passes has a key, a chain and roots that can be used; none panics. The seeds
// are of one authority, so that mutations can be right.
func FuzzCheckSecret(f *testing.F) {
	a := authority(f, generation(f, 1))
	for _, algorithm := range []pki.KeyAlgorithm{pki.ECDSAP256, pki.RSA2048, pki.Ed25519} {
		files := secret(f, a.Signer(), a.Bundle(), newKey(f, algorithm))
		f.Add(files[pki.KeyFile], files[pki.ChainFile], files[pki.RootsFile])
	}
	f.Fuzz(func(t *testing.T, key, chain, roots []byte) {
		about, err := pki.CheckSecret(map[string][]byte{pki.KeyFile: key, pki.ChainFile: chain, pki.RootsFile: roots}, reviews, a.Bundle(), start)
		if err == nil && (about.Identity != reviews || about.Root != pki.RootID(a.Signer().Root) || len(about.Trusted) == 0 || !about.NotAfter.After(start)) {
			t.Errorf("taken as %+v", about)
		}
		if err != nil && len(key) > 60 && bytes.Contains([]byte(err.Error()), key[30:60]) {
			t.Errorf("the error repeats the key: %v", err)
		}
	})
}

// An authority that is read can be written and read again, and is the same.
func FuzzDecodeAuthority(f *testing.F) {
	data := encoded(f, authority(f, generation(f, 1)))
	f.Add(data["authority.json"], data["1-root-cert.pem"], data["1-cert-chain.pem"], data["1-key.pem"])
	f.Add([]byte(`{"generations":[{"number":1,"source":"x"}],"active":1,"trusted":[1]}`), data["1-root-cert.pem"], []byte(nil), []byte(nil))
	f.Fuzz(func(t *testing.T, index, root, chain, key []byte) {
		a, err := pki.DecodeAuthority(map[string][]byte{"authority.json": index, "1-root-cert.pem": root, "1-cert-chain.pem": chain, "1-key.pem": key})
		if err != nil {
			return
		}
		if again, err := pki.DecodeAuthority(encoded(t, a)); err != nil || !again.Equal(a) || len(a.Roots()) == 0 || a.Signer() == nil {
			t.Errorf("it is another one when it is read again: %v", err)
		}
	})
}
