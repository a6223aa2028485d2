package pki

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// The files of a workload's Secret.
const (
	KeyFile   = "key.pem"
	ChainFile = "cert-chain.pem"
	RootsFile = "root-cert.pem"
)

// Files is the data of a workload's Secret.
func Files(key crypto.Signer, chain, roots []byte) (map[string][]byte, error) {
	encoded, err := EncodeKey(key)
	return map[string][]byte{KeyFile: encoded, ChainFile: chain, RootsFile: roots}, err
}

// Summary is what may be known of a workload's Secret by those who must not have its key.
type Summary struct {
	Identity     Identity
	KeyAlgorithm KeyAlgorithm
	// Serial is in lower-case hexadecimal digits.
	Serial    string
	NotBefore time.Time
	// NotAfter is when the first certificate of the chain expires, the root included.
	NotAfter time.Time
	// Root identifies the root that the chain leads to, Trusted those in root-cert.pem, in
	// order.
	Root    string
	Trusted []string
}

// CheckSecret says whether a Secret's three files are whole, belong together, are for the
// identity, and lead to a root of the bundle, and describes them. Trusted may differ from
// the bundle: then root-cert.pem has to be written anew, and the certificate may stay. The
// error names the file and what is wrong with it; the certificate has to be issued anew.
//
// One that is not valid yet passes: a clock that was set back is no reason to renew
// everything.
func CheckSecret(data map[string][]byte, want Identity, bundle []byte, now time.Time) (Summary, error) {
	key, err := parseKey(data[KeyFile])
	if err != nil {
		return Summary{}, about(KeyFile, err)
	}
	chain, err := ParseCertificates(data[ChainFile])
	if err != nil {
		return Summary{}, about(ChainFile, err)
	}
	trusted, err := ParseCertificates(data[RootsFile])
	if err != nil {
		return Summary{}, about(RootsFile, err)
	}
	leaf := chain[0]
	found := Summary{Serial: serial(leaf), NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, Trusted: RootIDs(trusted)}
	if found.KeyAlgorithm, err = AlgorithmOf(leaf.PublicKey); err != nil {
		return Summary{}, fmt.Errorf("%s: %w", ChainFile, err)
	}
	if !IsKeyOf(leaf, key) {
		return Summary{}, fmt.Errorf("%s is not the key of the certificate in %s", KeyFile, ChainFile)
	}
	if found.Identity, err = IdentityOf(leaf); err != nil {
		return Summary{}, fmt.Errorf("%s: %w", ChainFile, err)
	}
	if found.Identity != want {
		return Summary{}, fmt.Errorf("%s is for %s and not for %s", ChainFile, found.Identity, want)
	}
	roots, err := ParseCertificates(bundle)
	if err != nil {
		return Summary{}, fmt.Errorf("the trust bundle %w", err)
	}
	path, err := verify(chain, roots, now)
	if err != nil {
		return Summary{}, err
	}
	found.NotAfter, found.Root = firstEnd(path), RootID(path[len(path)-1])
	return found, nil
}

// verify returns the way from the leaf to a root that is valid longest.
func verify(chain, roots []*x509.Certificate, now time.Time) ([]*x509.Certificate, error) {
	if chain[0].NotBefore.After(now) {
		now = chain[0].NotBefore
	}
	ways, err := chain[0].Verify(x509.VerifyOptions{
		Roots: Pool(roots), Intermediates: Pool(chain[1:]), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return nil, fmt.Errorf("%s expired at %s", ChainFile, stamp(firstEnd(chain)))
	case err != nil:
		return nil, fmt.Errorf("%s does not lead to a root that is trusted: %w", ChainFile, err)
	}
	way := slices.MaxFunc(ways, func(a, b []*x509.Certificate) int { return firstEnd(a).Compare(firstEnd(b)) })
	for _, c := range way {
		// A proxy takes calls and makes them. VerifyOptions would ask for one of the usages, at
		// the price of all signatures for each of two questions.
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			if len(c.ExtKeyUsage) > 0 && !slices.Contains(c.ExtKeyUsage, usage) && !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny) {
				return nil, fmt.Errorf("%s is not for server and client authentication", ChainFile)
			}
		}
	}
	return way, nil
}
