package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
)

// The keys of an authority's Secret: the index, and for each generation what nameOf says.
const (
	keyIndex = "authority.json"
	partRoot = "root-cert.pem"
	// partSigner is what signs, then what is between that and the root.
	partSigner = "cert-chain.pem"
	partKey    = "key.pem"
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
	// Signing says whether there have to be a chain and a key.
	Signing bool `json:"signing,omitempty"`
}

// nameOf is the Secret's key of a part of a generation.
func nameOf(number int, part string) string { return fmt.Sprintf("%d-%s", number, part) }

// Encode writes the authority as the data of a Secret.
func (a *Authority) Encode() (map[string][]byte, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	all := index{Active: a.Active, Trusted: a.Trusted}
	data := map[string][]byte{}
	var err error
	for _, g := range a.Generations {
		all.Generations = append(all.Generations, indexed{g.Number, g.Source, g.Signing != nil})
		data[nameOf(g.Number, partRoot)] = EncodeCertificates(g.Root)
		if g.Signing == nil {
			continue
		}
		data[nameOf(g.Number, partSigner)] = EncodeCertificates(append([]*x509.Certificate{g.Signing}, g.Between...)...)
		if data[nameOf(g.Number, partKey)], err = EncodeKey(g.SigningKey); err != nil {
			return nil, fmt.Errorf("generation %d: %w", g.Number, err)
		}
	}
	data[keyIndex], err = json.Marshal(all)
	return data, err
}

// DecodeAuthority reads what Encode wrote. It takes an authority that has expired, but none
// that is not whole. Its errors name the Secret's key that is at fault.
func DecodeAuthority(data map[string][]byte) (*Authority, error) {
	decoder := json.NewDecoder(bytes.NewReader(data[keyIndex]))
	// What another version of the manager adds may matter.
	decoder.DisallowUnknownFields()
	var found index
	if err := decoder.Decode(&found); err != nil {
		return nil, fmt.Errorf("%s is missing or cannot be read (%w): restore the Secret from a backup, or delete it to have a new root made, which breaks connections", keyIndex, err)
	}
	if _, err := decoder.Token(); err != io.EOF || len(found.Generations) > maxGenerations {
		return nil, fmt.Errorf("%s has more in it than an authority: restore the Secret from a backup", keyIndex)
	}
	a := &Authority{Active: found.Active, Trusted: found.Trusted}
	for _, entry := range found.Generations {
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
	read := func(part string) ([]*x509.Certificate, error) {
		found, err := ParseCertificates(data[nameOf(g.Number, part)])
		return found, about(nameOf(g.Number, part), err)
	}
	roots, err := read(partRoot)
	if err != nil {
		return nil, err
	}
	if g.Root = roots[0]; len(roots) > 1 {
		return nil, fmt.Errorf("%s has more than one root", nameOf(g.Number, partRoot))
	}
	if !entry.Signing {
		return g, nil
	}
	chain, err := read(partSigner)
	if err != nil {
		return nil, err
	}
	g.Signing, g.Between = chain[0], chain[1:]
	g.SigningKey, err = parseKey(data[nameOf(g.Number, partKey)])
	return g, about(nameOf(g.Number, partKey), err)
}
