// Package pki makes and reads the mesh's certificates: identities, keys, the authority with
// its generations of roots, the leaves they sign, and the files that Secrets hold.
//
// It reads no Secret and writes none, and decides nothing: package renewal says when a
// certificate is renewed, package rollover how a root is replaced. An Authority comes from
// the Secret that every replica watches, is kept in a Source, and goes from there to whoever
// signs or verifies. Time comes in by parameter. Nothing here logs a key or puts one, or
// anything that was read in place of one, into an error.
package pki

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"fairlead.dev/fairlead/internal/latest"
)

// ErrNoAuthority is why nothing can be signed or verified at a mesh's very start.
var ErrNoAuthority = errors.New("the mesh has no authority yet: wait until the leading manager has made it")

// Source holds the authority as it is now, nil before there is one, for those who sign and verify
// in this process. Who watches the authority's Secret sets it, and who has changed it there.
type Source = latest.Value[*Authority]

// NewSource holds no authority yet. One that is equal is no change.
func NewSource() *Source { return latest.New(nil, (*Authority).Equal) }

// Authority is all generations of the mesh's root. It is a value: its methods return changed
// copies, and each of them does nothing where its work is done already.
type Authority struct {
	// Generations are in the order of their numbers.
	Generations []*Generation
	// Active is the number of the one that signs.
	Active int
	// Trusted are the numbers of those whose roots are trusted, in order.
	Trusted []int
}

// NewAuthority has one generation, which is trusted and signs.
func NewAuthority(first *Generation) (*Authority, error) {
	a := &Authority{Generations: []*Generation{first}, Active: first.Number, Trusted: []int{first.Number}}
	return a, a.check()
}

// Generation is the one with the number; nil if there is none.
func (a *Authority) Generation(number int) *Generation {
	for _, g := range a.Generations {
		if g.Number == number {
			return g
		}
	}
	return nil
}

// Signer is the active generation.
func (a *Authority) Signer() *Generation { return a.Generation(a.Active) }

// Roots are those that are trusted, in an order of their own, each once.
func (a *Authority) Roots() []*x509.Certificate {
	var roots []*x509.Certificate
	for _, number := range a.Trusted {
		roots = append(roots, a.Generation(number).Root)
	}
	return sorted(roots)
}

// Bundle is PEM of Roots: the same roots are the same bytes.
func (a *Authority) Bundle() []byte { return EncodeCertificates(a.Roots()...) }

// Pool holds Roots.
func (a *Authority) Pool() *x509.CertPool { return Pool(a.Roots()) }

// Equal says whether both are the same, or both are none.
func (a *Authority) Equal(b *Authority) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Active == b.Active && slices.Equal(a.Trusted, b.Trusted) && slices.EqualFunc(a.Generations, b.Generations, (*Generation).equal)
}

// Add puts a generation in that is neither trusted nor active.
func (a *Authority) Add(g *Generation) (*Authority, error) {
	if there := a.Generation(g.Number); there != nil {
		if there.Root.Equal(g.Root) {
			return a, nil
		}
		return nil, fmt.Errorf("the authority has another generation %d already", g.Number)
	}
	for _, other := range a.Generations {
		if other.Root.Equal(g.Root) {
			return nil, fmt.Errorf("the root of generation %d is that of generation %d: replace what signs there", g.Number, other.Number)
		}
	}
	return a.with(func(b *Authority) {
		b.Generations = append(b.Generations, g)
		slices.SortFunc(b.Generations, func(x, y *Generation) int { return x.Number - y.Number })
	})
}

// Replace puts another certificate that signs into a generation: the one that the user brings
// anew below the same root. Nobody's trust changes by that, so it needs no rotation.
func (a *Authority) Replace(g *Generation) (*Authority, error) {
	at := slices.IndexFunc(a.Generations, func(o *Generation) bool { return o.Number == g.Number })
	if at < 0 || !a.Generations[at].Root.Equal(g.Root) {
		return nil, fmt.Errorf("the authority has no generation %d with this root", g.Number)
	}
	return a.with(func(b *Authority) { b.Generations[at] = g })
}

// Trust puts the root of a generation among those that are trusted.
func (a *Authority) Trust(number int) (*Authority, error) {
	if slices.Contains(a.Trusted, number) {
		return a, nil
	}
	return a.with(func(b *Authority) {
		b.Trusted = append(b.Trusted, number)
		slices.Sort(b.Trusted)
	})
}

// Activate has a generation sign that is trusted.
func (a *Authority) Activate(number int) (*Authority, error) {
	return a.with(func(b *Authority) { b.Active = number })
}

// Drop ends a generation: its root is trusted no longer, and its keys are gone.
func (a *Authority) Drop(number int) (*Authority, error) {
	return a.with(func(b *Authority) {
		b.Generations = slices.DeleteFunc(b.Generations, func(g *Generation) bool { return g.Number == number })
		b.Trusted = slices.DeleteFunc(b.Trusted, func(n int) bool { return n == number })
	})
}

func (a *Authority) with(change func(*Authority)) (*Authority, error) {
	b := &Authority{Generations: slices.Clone(a.Generations), Active: a.Active, Trusted: slices.Clone(a.Trusted)}
	change(b)
	return b, b.check()
}

func (a *Authority) check() error {
	last := 0
	for _, g := range a.Generations {
		if g.Number <= last {
			return fmt.Errorf("generation %d: numbers have to be positive and in order, each once", g.Number)
		}
		last = g.Number
		if err := g.check(); err != nil {
			return fmt.Errorf("generation %d: %w", g.Number, err)
		}
	}
	last = 0
	for _, number := range a.Trusted {
		if number <= last || a.Generation(number) == nil {
			return fmt.Errorf("the generation %d cannot be trusted: there is none, or numbers are not in order", number)
		}
		last = number
	}
	if !slices.Contains(a.Trusted, a.Active) {
		return fmt.Errorf("generation %d cannot sign: it has to be there and trusted", a.Active)
	}
	return nil
}
