package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"fairlead.dev/fairlead/internal/pki"
)

// minRSABits is the least that Envoy takes:
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/security/ssl
const minRSABits = 2048

const certificateBlock = "CERTIFICATE"

// files is the content of the three files, by name.
type files map[string][]byte

// fileNames are in the order in which a person would look at them.
var fileNames = []string{KeyFile, ChainFile, RootsFile}

// set is three files that belong together: PEM that holds what was checked and nothing
// else, so that Envoy's reader cannot see in it what ours did not.
type set struct {
	// files is nil once they are stored: a key is not kept in memory.
	files  files
	digest [sha256.Size]byte
	about  Certificate
	// subjects are those of the roots, as Envoy names them to its callers.
	subjects []string
}

func (f files) digest() (sum [sha256.Size]byte) {
	digest := sha256.New()
	for _, name := range fileNames {
		// A length before each, so that no byte can move from one file to the next.
		fmt.Fprintf(digest, "%d ", len(f[name]))
		digest.Write(f[name])
	}
	digest.Sum(sum[:0])
	return sum
}

// complaint is what is wrong with one of the files.
type complaint struct {
	file string
	text string
	err  error
}

func (c *complaint) Error() string {
	if c.err == nil {
		return c.file + " " + c.text
	}
	return c.file + " " + c.text + ": " + c.err.Error()
}

func (c *complaint) Unwrap() error { return c.err }

func complain(file, format string, args ...any) error {
	return &complaint{file: file, text: fmt.Sprintf(format, args...)}
}

// check takes the files if each can be read, they belong together, and they are valid
// at the given time.
func check(found files, now time.Time) (*set, error) {
	key, keyPEM, err := parseKey(found[KeyFile])
	if err != nil {
		return nil, err
	}
	chain, chainPEM, err := parseCertificates(ChainFile, found[ChainFile])
	if err != nil {
		return nil, err
	}
	roots, rootsPEM, err := parseCertificates(RootsFile, found[RootsFile])
	if err != nil {
		return nil, err
	}
	leaf := chain[0]
	if leaf.IsCA {
		return nil, complain(ChainFile, "begins with the certificate of an authority (%s): put the workload's own first, its issuers after it", leaf.Subject)
	}
	if !pki.IsKeyOf(leaf, key) {
		for _, other := range chain[1:] {
			if pki.IsKeyOf(other, key) {
				return nil, complain(ChainFile, "has the certificate of %s at a later place: put it first, its issuers after it", KeyFile)
			}
		}
		return nil, complain(KeyFile, "is not the key of the certificate in %s: store the two that were issued together", ChainFile)
	}
	expires, root, err := verify(chain, roots, now)
	if err != nil {
		return nil, err
	}
	var uris []string
	for _, uri := range leaf.URIs {
		uris = append(uris, uri.String())
	}
	normal := files{KeyFile: keyPEM, ChainFile: chainPEM, RootsFile: rootsPEM}
	return &set{
		files:    normal,
		digest:   normal.digest(),
		subjects: subjects(roots),
		about: Certificate{
			Serial:      leaf.SerialNumber.Text(16),
			Fingerprint: pki.RootID(leaf),
			URIs:        uris,
			Root:        pki.RootID(root),
			Trusted:     pki.RootIDs(roots),
			NotBefore:   leaf.NotBefore,
			NotAfter:    leaf.NotAfter,
			Expires:     expires,
			RootsExpire: firstToExpire(roots),
		},
	}, nil
}

// verify judges the chain as a peer would, and tells until when one would take it, and
// the root that it then leads to.
func verify(chain, roots []*x509.Certificate, now time.Time) (expires time.Time, root *x509.Certificate, err error) {
	leaf := chain[0]
	for _, c := range chain {
		if now.After(c.NotAfter) {
			return time.Time{}, nil, complain(ChainFile, "has a certificate (%s) that expired at %s: have it renewed", name(c), stamp(c.NotAfter))
		}
		if now.Before(c.NotBefore) {
			return time.Time{}, nil, complain(ChainFile, "has a certificate (%s) that is not valid before %s: wait, or set this machine's clock right", name(c), stamp(c.NotBefore))
		}
	}
	options := x509.VerifyOptions{Roots: pki.Pool(roots), Intermediates: pki.Pool(chain[1:]), CurrentTime: now}
	// A proxy takes calls and makes them, with one certificate.
	for usage, words := range map[x509.ExtKeyUsage]string{x509.ExtKeyUsageServerAuth: "server", x509.ExtKeyUsageClientAuth: "client"} {
		options.KeyUsages = []x509.ExtKeyUsage{usage}
		chains, err := leaf.Verify(options)
		var invalid x509.CertificateInvalidError
		switch {
		case err == nil:
			expires, root = lastToExpire(chains)
		case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
			return time.Time{}, nil, complain(ChainFile, "has a certificate that may not be used for %s authentication, but a proxy takes calls and makes them: "+
				"have it issued for both, server and client", words)
		default:
			return time.Time{}, nil, &complaint{ChainFile, "does not lead to a certificate in " + RootsFile +
				": store the issuers of the workload's certificate after it, and its root in " + RootsFile, err}
		}
	}
	return expires, root, nil
}

func firstToExpire(certificates []*x509.Certificate) time.Time {
	first := certificates[0].NotAfter
	for _, c := range certificates[1:] {
		if c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	return first
}

// lastToExpire is when the last chain breaks, and the root of that one; each does when the
// first of its links does.
func lastToExpire(chains [][]*x509.Certificate) (last time.Time, root *x509.Certificate) {
	for _, chain := range chains {
		if end := firstToExpire(chain); end.After(last) {
			last, root = end, chain[len(chain)-1]
		}
	}
	return last, root
}

// blocks returns every PEM block of a file. Text between blocks is allowed; the beginning
// of a block that is not a whole one is not: the decoder would pass over it, and half a
// file would look like a shorter one.
func blocks(file string, content []byte) ([]*pem.Block, error) {
	if len(bytes.TrimSpace(content)) == 0 {
		return nil, complain(file, "is empty: it has to hold PEM")
	}
	var found []*pem.Block
	for rest := content; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		found = append(found, block)
	}
	switch begun := bytes.Count(content, []byte("-----BEGIN ")); {
	case begun == 0:
		return nil, complain(file, "holds no PEM: it has to have lines such as -----BEGIN CERTIFICATE-----")
	case begun != len(found):
		return nil, complain(file, "has %d PEM blocks, of which %d can be read: it is cut off or damaged; store it anew", begun, len(found))
	}
	return found, nil
}

// parseCertificates returns the certificates in their order, and PEM of them alone.
func parseCertificates(file string, content []byte) ([]*x509.Certificate, []byte, error) {
	found, err := blocks(file, content)
	if err != nil {
		return nil, nil, err
	}
	var certificates []*x509.Certificate
	var encoded bytes.Buffer
	for _, block := range found {
		if block.Type != certificateBlock {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, nil, &complaint{file, fmt.Sprintf("has a certificate, number %d, that cannot be read; store it anew", len(certificates)+1), err}
		}
		certificates = append(certificates, c)
		encoded.Write(pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: c.Raw}))
	}
	if len(certificates) == 0 {
		return nil, nil, complain(file, "holds no certificate, but %s: perhaps two files were confused", found[0].Type)
	}
	return certificates, encoded.Bytes(), nil
}

// parseKey returns the one private key of the file, and PEM of it alone.
func parseKey(content []byte) (crypto.Signer, []byte, error) {
	found, err := blocks(KeyFile, content)
	if err != nil {
		return nil, nil, err
	}
	var key any
	var encoded []byte
	for _, block := range found {
		var parse func([]byte) (any, error)
		switch block.Type {
		case "PRIVATE KEY":
			parse = x509.ParsePKCS8PrivateKey
		case "RSA PRIVATE KEY":
			parse = func(der []byte) (any, error) { return x509.ParsePKCS1PrivateKey(der) }
		case "EC PRIVATE KEY":
			parse = func(der []byte) (any, error) { return x509.ParseECPrivateKey(der) }
		case "ENCRYPTED PRIVATE KEY":
		default:
			// Such as EC PARAMETERS, which some tools write before the key.
			continue
		}
		switch {
		case parse == nil, block.Headers["DEK-Info"] != "":
			return nil, nil, complain(KeyFile, "is encrypted, and nobody is there to type its passphrase: store it unencrypted")
		case key != nil:
			return nil, nil, complain(KeyFile, "holds more than one private key: store only that of the certificate")
		}
		if key, err = parse(block.Bytes); err != nil {
			// What the parser says is left out: it may repeat parts of the key.
			return nil, nil, complain(KeyFile, "has a block %s that cannot be read as one: store it anew", block.Type)
		}
		encoded = pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})
	}
	switch key := key.(type) {
	case nil:
		return nil, nil, complain(KeyFile, "holds no private key, but %s: perhaps two files were confused", found[0].Type)
	case *rsa.PrivateKey:
		if bits := key.N.BitLen(); bits < minRSABits {
			return nil, nil, complain(KeyFile, "is an RSA key of %d bits, and Envoy takes none below %d: use ECDSA on P-256, or a longer one", bits, minRSABits)
		}
		return key, encoded, nil
	case *ecdsa.PrivateKey:
		// Envoy reads a key on P-521 and serves with it, but takes no certificate of that
		// kind from its callers.
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() {
			return nil, nil, complain(KeyFile, "is an ECDSA key on the curve %s, which Envoy does not take from its peers: use P-256", key.Curve.Params().Name)
		}
		return key, encoded, nil
	default:
		return nil, nil, complain(KeyFile, "is neither an ECDSA nor an RSA key, and Envoy takes no other from its peers: use ECDSA on P-256")
	}
}

// name is how a person tells certificates apart.
func name(c *x509.Certificate) string {
	switch {
	case len(c.URIs) > 0:
		return c.URIs[0].String()
	case len(c.DNSNames) > 0:
		return c.DNSNames[0]
	default:
		return "serial number " + c.SerialNumber.Text(16)
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
