package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// The keys of an authority's Secret: the index, and for each generation what nameOf says.
const (
	keyIndex   = "authority.json"
	partRoot   = "root-cert.pem"
	partSigner = "cert-chain.pem"
)

// maxGenerations is far more than are ever there at once.
const maxGenerations = 100

// index says what the other keys are.
type index struct {
	Generations []indexed `json:"generations"`
	Active      int       `json:"active"`
	Trusted     []int     `json:"trusted"`
}

type indexed struct {
	Number int    `json:"number"`
	Source string `json:"source"`
	// RootKey and Signing say which of the parts there have to be.
	RootKey bool `json:"rootKey,omitempty"`
	Signing bool `json:"signing,omitempty"`
}

// nameOf is the key of a part of a generation: root-cert.pem, root-key.pem, cert-chain.pem
// (what signs, then what is between that and the root) or key.pem (of what signs).
func nameOf(number int, part string) string { return fmt.Sprintf("%d-%s", number, part) }

// Encode writes the authority as the data of a Secret.
func (a *Authority) Encode() (map[string][]byte, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	about := index{Active: a.Active, Trusted: a.Trusted}
	data := map[string][]byte{}
	putKey := func(number int, part string, key crypto.Signer) (err error) {
		if key != nil {
			data[nameOf(number, part)], err = EncodeKey(key)
		}
		return err
	}
	for _, g := range a.Generations {
		about.Generations = append(about.Generations, indexed{g.Number, g.Source, g.RootKey != nil, g.Signing != nil})
		data[nameOf(g.Number, partRoot)] = EncodeCertificates(g.Root)
		if g.Signing != nil {
			data[nameOf(g.Number, partSigner)] = EncodeCertificates(append([]*x509.Certificate{g.Signing}, g.Between...)...)
		}
		if err := errors.Join(putKey(g.Number, "root-key.pem", g.RootKey), putKey(g.Number, "key.pem", g.SigningKey)); err != nil {
			return nil, fmt.Errorf("generation %d: %w", g.Number, err)
		}
	}
	var err error
	data[keyIndex], err = json.Marshal(about)
	return data, err
}

// DecodeAuthority reads what Encode wrote. It takes an authority that has expired, but none
// that is not whole. Its errors name the Secret's key that is at fault.
func DecodeAuthority(data map[string][]byte) (*Authority, error) {
	decoder := json.NewDecoder(bytes.NewReader(data[keyIndex]))
	// What another version of the manager adds may matter.
	decoder.DisallowUnknownFields()
	var about index
	if err := decoder.Decode(&about); err != nil {
		return nil, fmt.Errorf("%s is missing or cannot be read (%w): restore the Secret from a backup, or delete it to have a new root made, which breaks connections", keyIndex, err)
	}
	if _, err := decoder.Token(); err != io.EOF || len(about.Generations) > maxGenerations {
		return nil, fmt.Errorf("%s has more in it than an authority: restore the Secret from a backup", keyIndex)
	}
	a := &Authority{Active: about.Active, Trusted: about.Trusted}
	for _, entry := range about.Generations {
		g, err := decodeGeneration(data, entry)
		if err != nil {
			return nil, fmt.Errorf("%w: restore the Secret from a backup", err)
		}
		a.Generations = append(a.Generations, g)
	}
	if err := a.check(); err != nil {
		return nil, fmt.Errorf("%s and what it names do not make an authority: %w", keyIndex, err)
	}
	return a, nil
}

func decodeGeneration(data map[string][]byte, entry indexed) (*Generation, error) {
	g := &Generation{Number: entry.Number, Source: entry.Source}
	readCertificates := func(part string) ([]*x509.Certificate, error) {
		found, err := ParseCertificates(data[nameOf(g.Number, part)])
		if err != nil {
			return nil, fmt.Errorf("%s %w", nameOf(g.Number, part), err)
		}
		return found, nil
	}
	readKey := func(part string) (crypto.Signer, error) {
		key, err := parseKey(data[nameOf(g.Number, part)])
		if err != nil {
			return nil, fmt.Errorf("%s %w", nameOf(g.Number, part), err)
		}
		return key, nil
	}
	roots, err := readCertificates(partRoot)
	if err != nil {
		return nil, err
	}
	if g.Root = roots[0]; len(roots) > 1 {
		return nil, fmt.Errorf("%s has more than one root", nameOf(g.Number, partRoot))
	}
	if entry.RootKey {
		if g.RootKey, err = readKey("root-key.pem"); err != nil {
			return nil, err
		}
	}
	if entry.Signing {
		chain, err := readCertificates(partSigner)
		if err != nil {
			return nil, err
		}
		g.Signing, g.Between = chain[0], chain[1:]
		if g.SigningKey, err = readKey("key.pem"); err != nil {
			return nil, err
		}
	}
	return g, nil
}
