package pki

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// The files of an authority that the user brings, with the names that Istio gives them.
const (
	fileCA    = "ca-cert.pem"
	fileCAKey = "ca-key.pem"
	fileRoot  = "root-cert.pem"
	fileChain = "cert-chain.pem"
)

// GenerationFromFiles reads an authority that the user brought: what signs and its key, one
// root, and the certificates from what signs up to the root, which may be left out if the
// root signed it. The generation has no number yet.
func GenerationFromFiles(folder fs.FS, now time.Time) (*Generation, error) {
	g := &Generation{Source: SourceFiles}
	signing, err := readCertificates(folder, fileCA)
	if err != nil {
		return nil, err
	}
	g.Signing = signing[0]
	roots, err := readCertificates(folder, fileRoot)
	if err != nil {
		return nil, err
	}
	if len(roots) != 1 {
		return nil, fmt.Errorf("%s has %d certificates: leave only the root that %s leads to; a change to another root is made by rotation", fileRoot, len(roots), fileCA)
	}
	g.Root = roots[0]
	chain, err := readCertificates(folder, fileChain)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, c := range append(signing[1:], chain...) {
		if !c.Equal(g.Signing) && !c.Equal(g.Root) {
			g.Between = append(g.Between, c)
		}
	}
	content, err := fs.ReadFile(folder, fileCAKey)
	if err != nil {
		return nil, fmt.Errorf("read the authority's key: %w", err)
	}
	if g.SigningKey, err = parseKey(content); err != nil {
		return nil, about(fileCAKey, err)
	}
	if err := g.check(); err != nil {
		return nil, fmt.Errorf("the files %s, %s, %s and %s do not make an authority: %w", fileCA, fileCAKey, fileChain, fileRoot, err)
	}
	if now.Before(g.NotBefore()) || !now.Before(g.NotAfter()) {
		return nil, fmt.Errorf("the authority in %s and its chain is valid from %s to %s only: bring one that is valid now", fileCA, stamp(g.NotBefore()), stamp(g.NotAfter()))
	}
	return g, nil
}

func readCertificates(folder fs.FS, name string) ([]*x509.Certificate, error) {
	content, err := fs.ReadFile(folder, name)
	if err != nil {
		return nil, fmt.Errorf("read the authority's certificates: %w", err)
	}
	found, err := ParseCertificates(content)
	return found, about(name, err)
}
