package rotation

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"fairlead.dev/fairlead/internal/pki"
)

// tellFault tells once of each thing that is wrong with what the user brought, and when nothing is
// any more.
func (e *Engine) tellFault() {
	r, fault := &e.root, ""
	if _, err := e.Sources.Brought(); err != nil {
		fault = err.Error()
	}
	if fault == r.fault {
		return
	}
	r.fault = fault
	if fault != "" {
		e.Log.Warn("The authority that was brought cannot be used: what was good last stays in use", "err", fault)
		e.notifyObject(r.terms.Object, true, "AuthorityUnusable", fault+"; what was good last stays in use")
	} else {
		e.Log.Info("The authority that was brought can be used again")
		e.notifyObject(r.terms.Object, false, "AuthorityUsable", "the authority that was brought can be used again")
	}
	e.changedFor(r.terms.Object)
}

// renewed is a generation with what the user brought for it anew below the same root; nil:
// nothing.
func (e *Engine) renewed() *pki.Generation {
	brought, _ := e.Sources.Brought()
	if brought == nil {
		return nil
	}
	for _, g := range e.Source.Get().Generations {
		same := g.Source == brought.Source && slices.EqualFunc(g.Certificates(), brought.Certificates(), (*x509.Certificate).Equal)
		if g.Root.Equal(brought.Root) && !same {
			renewed := *brought
			renewed.Number = g.Number
			return &renewed
		}
	}
	return nil
}

// tellRenewed tells that what signs has been replaced.
func (e *Engine) tellRenewed(g *pki.Generation) {
	text := fmt.Sprintf("generation %d signs with what was brought anew below the same root, until %s", g.Number, g.NotAfter().UTC().Format(time.RFC3339))
	e.Log.Info("What signs was replaced below the same root", "generation", g.Number, "until", g.NotAfter())
	e.notifyObject(e.root.terms.Object, false, "SigningReplaced", text)
}

// remedy is what a person has to do about a generation that ends and was not made here.
func remedy(g *pki.Generation) string {
	if g.Source == pki.SourceBuiltin {
		return ""
	}
	if g.Source != pki.SourceFiles {
		return fmt.Sprintf("give %s another root, which ends later", g.Source)
	}
	// The root comes last: of two that end together it is what has to be renewed first.
	certificates := g.Certificates()
	slices.Reverse(certificates)
	first := slices.MinFunc(certificates, func(a, b *x509.Certificate) int { return cmp.Compare(a.NotAfter.Unix(), b.NotAfter.Unix()) })
	if first.Equal(g.Root) {
		return fmt.Sprintf("put a new root than %s and an authority below it into the folder of --authority-dir, all files at once; the mesh changes to it by itself", first.Subject)
	}
	return fmt.Sprintf("have %s renewed below the same root, and put it into the folder of --authority-dir with its key and chain; it is taken at once, without a change of the root", first.Subject)
}
