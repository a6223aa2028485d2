package certs_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"maps"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/agent/certs"
	"fairlead.dev/fairlead/test/testenv"
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// certified is credentials for a key of any kind, which is stored as the given block.
func certified(public any, kind string, der []byte) map[string][]byte {
	return map[string][]byte{
		certs.RootsFile: authority().Roots,
		certs.ChainFile: must(authority().Certify(identity, public)),
		certs.KeyFile:   encode(kind, der),
	}
}

func with(base map[string][]byte, name string, content []byte) map[string][]byte {
	changed := maps.Clone(base)
	changed[name] = content
	return changed
}

func TestTakes(t *testing.T) {
	good := issue(t, authority()).Files()
	longRSA := must(rsa.GenerateKey(rand.Reader, 2048))
	below := must(must(authority().Below("first")).Below("second"))
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	cases := map[string]map[string][]byte{
		"a pair from the root itself":   good,
		"intermediates":                 issue(t, below).Files(),
		"PKCS 1":                        certified(&longRSA.PublicKey, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(longRSA)),
		"SEC 1, after its parameters":   certified(&p384.PublicKey, "EC PRIVATE KEY", must(x509.MarshalECPrivateKey(p384))),
		"two roots, the other one's":    issue(t, authority()).With(must(testenv.NewAuthority("next"))).Files(),
		"two roots of the same name":    issue(t, authority()).With(must(testenv.NewAuthority("root"))).Files(),
		"a root that is there twice":    issue(t, authority()).With(authority()).Files(),
		"no extended key usage at all":  issue(t, authority(), func(c *x509.Certificate) { c.ExtKeyUsage = nil }).Files(),
		"words between the blocks":      with(good, certs.RootsFile, append([]byte("# the mesh's root\n"), good[certs.RootsFile]...)),
		"line ends of another system":   with(good, certs.ChainFile, bytes.ReplaceAll(good[certs.ChainFile], []byte("\n"), []byte("\r\n"))),
		"no newline at the end":         with(good, certs.KeyFile, bytes.TrimSpace(good[certs.KeyFile])),
		"a key in the chain's file too": with(good, certs.ChainFile, append(bytes.Clone(good[certs.KeyFile]), good[certs.ChainFile]...)),
	}
	parameters := encode("EC PARAMETERS", []byte{6, 5, 0x2b, 0x81, 4, 0, 0x22})
	cases["SEC 1, after its parameters"][certs.KeyFile] = append(parameters, cases["SEC 1, after its parameters"][certs.KeyFile]...)
	for name, content := range cases {
		t.Run(name, func(t *testing.T) {
			about, kept, err := certs.Check(content, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if len(about.URIs) != 1 || about.URIs[0] != identity {
				t.Errorf("the identity is %v", about.URIs)
			}
			if bytes.Contains(kept[certs.ChainFile], []byte("PRIVATE")) || bytes.ContainsAny(kept[certs.RootsFile], "#\r") {
				t.Errorf("Envoy would be given more than certificates:\n%s%s", kept[certs.ChainFile], kept[certs.RootsFile])
			}
			again, keptAgain, err := certs.Check(kept, time.Now())
			if err != nil || again.Fingerprint != about.Fingerprint || !maps.EqualFunc(kept, keptAgain, bytes.Equal) {
				t.Errorf("what is stored is not what was checked: %v, %+v", err, again)
			}
		})
	}
}

func TestRefuses(t *testing.T) {
	now := time.Now()
	good := issue(t, authority()).Files()
	other := issue(t, authority()).Files()
	foreign := must(testenv.NewAuthority("root"))
	below := issue(t, must(authority().Below("issuer"))).Files()
	leafOnly := encode("CERTIFICATE", must(pemBlock(below[certs.ChainFile])).Bytes)
	shortRSA := must(rsa.GenerateKey(rand.Reader, 1024))
	_, ed := must2(ed25519.GenerateKey(rand.Reader))
	p224 := must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	p521 := must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
	half := func(b []byte) []byte { return b[:len(b)/2] }
	for name, test := range map[string]struct {
		content map[string][]byte
		want    string
	}{
		"the key of another certificate": {with(good, certs.KeyFile, other[certs.KeyFile]),
			"key.pem is not the key of the certificate in cert-chain.pem: store the two that were issued together"},
		"a chain in the wrong order": {with(good, certs.ChainFile, append(bytes.Clone(other[certs.ChainFile]), good[certs.ChainFile]...)),
			"cert-chain.pem has the certificate of key.pem at a later place: put it first"},
		"the issuer first": {with(good, certs.ChainFile, append(bytes.Clone(authority().Roots), good[certs.ChainFile]...)),
			"cert-chain.pem begins with the certificate of an authority (CN=root): put the workload's own first"},
		"a foreign root of the same name": {with(good, certs.RootsFile, foreign.Roots),
			"cert-chain.pem does not lead to a certificate in root-cert.pem: store the issuers"},
		"an issuer that is missing": {with(below, certs.ChainFile, leafOnly),
			"cert-chain.pem does not lead to a certificate in root-cert.pem: store the issuers"},
		"expired": {issue(t, authority(), func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) }).Files(),
			"cert-chain.pem has a certificate (" + identity + ") that expired at "},
		"not valid yet": {issue(t, authority(), func(c *x509.Certificate) { c.NotBefore = now.Add(time.Minute) }).Files(),
			"that is not valid before "},
		"for servers only": {issue(t, authority(), func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }).Files(),
			"cert-chain.pem has a certificate that may not be used for client authentication"},
		"for clients only": {issue(t, authority(), func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] }).Files(),
			"cert-chain.pem has a certificate that may not be used for server authentication"},
		"a short RSA key": {certified(&shortRSA.PublicKey, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(shortRSA)),
			"key.pem is an RSA key of 1024 bits, and Envoy takes none below 2048"},
		"Ed25519": {certified(ed.Public(), "PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(ed))),
			"key.pem is neither an ECDSA nor an RSA key"},
		"P-224": {certified(&p224.PublicKey, "PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(p224))),
			"key.pem is an ECDSA key on the curve P-224"},
		"P-521": {certified(&p521.PublicKey, "PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(p521))),
			"key.pem is an ECDSA key on the curve P-521, which Envoy does not take from its peers: use P-256"},
		"an encrypted key": {with(good, certs.KeyFile, encode("ENCRYPTED PRIVATE KEY", []byte("secret"))),
			"key.pem is encrypted"},
		"a key encrypted as in former times": {with(good, certs.KeyFile, pem.EncodeToMemory(&pem.Block{
			Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}, Bytes: []byte("secret")})),
			"key.pem is encrypted"},
		"two keys": {with(good, certs.KeyFile, append(bytes.Clone(good[certs.KeyFile]), other[certs.KeyFile]...)),
			"key.pem holds more than one private key"},
		"a key that is none": {with(good, certs.KeyFile, encode("PRIVATE KEY", []byte("nonsense"))),
			"key.pem has a block PRIVATE KEY that cannot be read as one: store it anew"},
		"a certificate that is none": {with(good, certs.RootsFile, append(bytes.Clone(authority().Roots), encode("CERTIFICATE", []byte("nonsense"))...)),
			"root-cert.pem has a certificate, number 2, that cannot be read; store it anew"},
		"files confused":    {with(good, certs.ChainFile, good[certs.KeyFile]), "cert-chain.pem holds no certificate, but PRIVATE KEY: perhaps two files were confused"},
		"the other way":     {with(good, certs.KeyFile, good[certs.ChainFile]), "key.pem holds no private key, but CERTIFICATE: perhaps two files were confused"},
		"an empty key":      {with(good, certs.KeyFile, nil), "key.pem is empty"},
		"empty roots":       {with(good, certs.RootsFile, []byte(" \n")), "root-cert.pem is empty"},
		"DER":               {with(good, certs.RootsFile, must(pemBlock(good[certs.RootsFile])).Bytes), "root-cert.pem holds no PEM"},
		"half a key":        {with(good, certs.KeyFile, half(good[certs.KeyFile])), "key.pem has 1 PEM blocks, of which 0 can be read: it is cut off or damaged"},
		"half a chain":      {with(below, certs.ChainFile, half(below[certs.ChainFile])), "cert-chain.pem "},
		"a root, then half": {with(good, certs.RootsFile, append(bytes.Clone(good[certs.RootsFile]), half(foreign.Roots)...)), "root-cert.pem has 2 PEM blocks, of which 1 can be read"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := certs.Check(test.content, now)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("the complaint is %v, want %q in it", err, test.want)
			}
			if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "nonsense") {
				t.Errorf("the complaint repeats what is in the file: %v", err)
			}
		})
	}
}

// The moment that matters is when nobody verifies the certificate any more.
func TestExpiresWithItsIssuer(t *testing.T) {
	now := time.Now()
	about, _, err := certs.Check(issue(t, authority(), func(c *x509.Certificate) { c.NotAfter = now.Add(24 * time.Hour) }).Files(), now)
	if err != nil {
		t.Fatal(err)
	}
	if !about.Expires.Before(about.NotAfter) || !about.Expires.Equal(about.RootsExpire) {
		t.Errorf("a certificate until %s by a root until %s expires at %s", about.NotAfter, about.RootsExpire, about.Expires)
	}
}

func pemBlock(content []byte) (*pem.Block, error) {
	block, _ := pem.Decode(content)
	return block, nil
}

func must2[A, B any](a A, b B, err error) (A, B) {
	if err != nil {
		panic(err)
	}
	return a, b
}

// FuzzCheck looks for PEM that is taken although it is not what it seems, or that ends
// the agent.
func FuzzCheck(f *testing.F) {
	good := issue(f, must(authority().Below("issuer"))).Files()
	f.Add(good[certs.KeyFile], good[certs.ChainFile], good[certs.RootsFile])
	f.Add(good[certs.ChainFile], good[certs.RootsFile], good[certs.KeyFile])
	f.Add(good[certs.KeyFile], good[certs.ChainFile][:400], good[certs.RootsFile])
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"), []byte("-----BEGIN "), []byte{})
	now := time.Now()
	f.Fuzz(func(t *testing.T, key, chain, roots []byte) {
		content := map[string][]byte{certs.KeyFile: key, certs.ChainFile: chain, certs.RootsFile: roots}
		about, kept, err := certs.Check(content, now)
		if err != nil {
			if len(err.Error()) > 2000 {
				t.Errorf("a complaint of %d bytes", len(err.Error()))
			}
			return
		}
		if fingerprint, err := hex.DecodeString(about.Fingerprint); err != nil || len(fingerprint) != 32 {
			t.Errorf("the fingerprint is %q", about.Fingerprint)
		}
		again, keptAgain, err := certs.Check(kept, now)
		if err != nil {
			t.Fatalf("what is stored would not be taken: %v", err)
		}
		if again.Fingerprint != about.Fingerprint || !maps.EqualFunc(kept, keptAgain, bytes.Equal) {
			t.Error("what is stored is read differently from what was mounted")
		}
	})
}
