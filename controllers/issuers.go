package controllers

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/pki/certmanager"
	"fairlead.dev/fairlead/internal/pki/rollover"
	"fairlead.dev/fairlead/internal/settings"
)

const (
	// probeLifetime is that of the certificate by which an issuer's root is learnt.
	probeLifetime = time.Hour
	// firstLifetime is that of the first root.
	firstLifetime = 365 * 24 * time.Hour
)

// Issuers knows who may sign, and where the mesh's roots come from: the settings' issuer, the
// folder of an authority that was brought, or the manager itself.
type Issuers struct {
	Settings *settings.Holder
	Source   *pki.Source
	// Folder has an authority that the user brings; nil: none.
	Folder *Brought
	// Identity is the manager's own, in whose namespace the mesh's issuer is asked.
	Identity pki.Identity
	Client   dynamic.Interface
	Clock    clock.Clock
	Log      *slog.Logger

	mu sync.Mutex
	// learnt are the roots of issuers, by the issuer's name.
	learnt map[string]string
	// probes are the certificates that are being asked for to learn them.
	probes map[string]*pki.Pending
	// changed is called when another root is learnt than the one that is wanted; nil: nobody is.
	changed func()
}

// Issue has an issuer sign: by its name, or whoever signs for the mesh, which is what the active
// generation of the root says, whatever the settings want. Of the mesh's issuer it passes on
// nothing that leads to another root, which nobody is proven to trust: an issuer whose authority
// was replaced is a root that has to be changed first.
func (i *Issuers) Issue(ctx context.Context, name string, request pki.Request, csr []byte) (chain, roots []byte, err error) {
	if name != "" {
		return i.ask(ctx, name, request, csr)
	}
	authority := i.Source.Get()
	if authority == nil || authority.Signer().Signing != nil {
		return pki.Builtin(i.Source, i.Clock)(ctx, request, csr)
	}
	wanted := authority.Signer()
	if chain, roots, err = i.ask(ctx, wanted.Source, request, csr); err != nil {
		return nil, nil, err
	}
	found, err := rootOf(wanted.Source, roots)
	if err != nil {
		return nil, nil, err
	}
	// The root may have been changed while the issuer took its time.
	if active := i.Source.Get().Signer(); !found.Equal(wanted.Root) && !found.Equal(active.Root) {
		i.learn(wanted.Source, found)
		return nil, nil, &pki.IssueError{Reason: pki.NotReady, Issuer: wanted.Source, Err: fmt.Errorf(
			"it signs with another root (%s) than the mesh's (%s): nothing is issued until every proxy trusts that; status.phase of MeshCertificate %s/%s says how far it has come",
			pki.RootID(found)[:16], pki.RootID(active.Root)[:16], i.Identity.Namespace, v1alpha1.RootCertificateName)}
	}
	return chain, roots, nil
}

// IssueForMesh is a pki.IssueFunc: whoever signs for the mesh at the time.
func (i *Issuers) IssueForMesh(ctx context.Context, request pki.Request, csr []byte) (chain, roots []byte, err error) {
	return i.Issue(ctx, "", request, csr)
}

// ask asks an issuer of cert-manager's, by the name that NameOf gives it.
func (i *Issuers) ask(ctx context.Context, name string, request pki.Request, csr []byte) (chain, roots []byte, err error) {
	kind, rest, found := strings.Cut(name, "/")
	if !found {
		return nil, nil, fmt.Errorf("nobody knows an issuer %q", name)
	}
	o := certmanager.Options{Namespace: i.Identity.Namespace, Name: rest, Client: i.Client, Clock: i.Clock}
	o.Kind, o.Group, _ = strings.Cut(kind, ".")
	if namespace, own, inNamespace := strings.Cut(rest, "/"); inNamespace {
		o.Namespace, o.Name = namespace, own
	}
	return certmanager.New(o).Issue(ctx, request, csr)
}

// rootOf is the root that an issuer gave.
func rootOf(name string, encoded []byte) (*x509.Certificate, error) {
	roots, err := pki.ParseCertificates(encoded)
	if err != nil {
		return nil, fmt.Errorf("issuer %s: its root %w", name, err)
	}
	return roots[0], nil
}

// onChange says who is told of another root.
func (i *Issuers) onChange(changed func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.changed = changed
}

// learn notes the root that an issuer gives.
func (i *Issuers) learn(name string, root *x509.Certificate) {
	i.mu.Lock()
	if i.learnt == nil {
		i.learnt = map[string]string{}
	}
	id := pki.RootID(root)
	news := i.learnt[name] != id
	i.learnt[name] = id
	changed := i.changed
	i.mu.Unlock()
	if news && changed != nil {
		changed()
	}
}

// NameOf is the name of the issuer that an object of a namespace refers to.
func (i *Issuers) NameOf(ref *v1alpha1.IssuerReference, namespace string) string {
	return certmanager.New(certmanager.Options{Group: ref.Group, Kind: ref.Kind, Name: ref.Name, Namespace: namespace, Client: i.Client}).Name()
}

// Wanted implements rotation.Sources.
func (i *Issuers) Wanted() rollover.Source {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch ref := i.Settings.Get().Certificates.IssuerRef; {
	case ref != nil:
		name := i.NameOf(ref, i.Identity.Namespace)
		return rollover.Source{Name: name, Root: i.learnt[name]}
	case i.Folder != nil:
		if g, _ := i.Folder.Get(); g != nil {
			return rollover.Source{Name: pki.SourceFiles, Root: pki.RootID(g.Root)}
		}
		return i.lastBrought()
	}
	return rollover.Source{Name: pki.SourceBuiltin}
}

// lastBrought is what this manager goes by if the folder was no authority since it started: what
// one before it has taken from there or, if that is nothing, whatever signs.
func (i *Issuers) lastBrought() rollover.Source {
	authority := i.Source.Get()
	if authority == nil {
		return rollover.Source{Name: pki.SourceFiles}
	}
	last := authority.Signer()
	for _, g := range authority.Generations {
		if g.Source == pki.SourceFiles {
			last = g
		}
	}
	if last.Source == pki.SourceBuiltin {
		return rollover.Source{Name: pki.SourceBuiltin}
	}
	return rollover.Source{Name: last.Source, Root: pki.RootID(last.Root)}
}

// Brought implements rotation.Sources.
func (i *Issuers) Brought() (*pki.Generation, error) {
	if i.Folder == nil || i.Settings.Get().Certificates.IssuerRef != nil {
		return nil, nil
	}
	return i.Folder.Get()
}

// First is the mesh's first generation: brought, or made.
func (i *Issuers) First(now time.Time) (*pki.Generation, error) {
	if i.Folder == nil {
		return pki.NewGeneration(1, i.Identity.TrustDomain, now, firstLifetime)
	}
	return i.brought(1)
}

// brought is what the folder had when it was last good, as a generation of its own.
func (i *Issuers) brought(number int) (*pki.Generation, error) {
	g, err := i.Folder.Get()
	if g == nil {
		return nil, err
	}
	own := *g
	own.Number = number
	return &own, nil
}

// Generation implements rotation.Sources. The root of an issuer is what a certificate that it
// issues leads to.
func (i *Issuers) Generation(ctx context.Context, source rollover.Source) (*pki.Generation, error) {
	if source.Name == pki.SourceFiles {
		return i.brought(0)
	}
	i.mu.Lock()
	probe, err := i.probes[source.Name].Ask(pki.ECDSAP256, pki.Request{Identity: i.Identity, Lifetime: probeLifetime})
	if i.probes == nil {
		i.probes = map[string]*pki.Pending{}
	}
	i.probes[source.Name] = probe
	i.mu.Unlock()
	if err != nil {
		return nil, err
	}
	_, encoded, err := i.ask(ctx, source.Name, probe.Request, probe.CSR)
	if err != nil {
		return nil, err
	}
	root, err := rootOf(source.Name, encoded)
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	delete(i.probes, source.Name)
	i.mu.Unlock()
	i.learn(source.Name, root)
	return pki.FromIssuer(source.Name, root)
}

const (
	// sweepEvery is how often requests are looked for that nobody waits for any more.
	sweepEvery = time.Hour
	// slack is for the API server's clock, which dates them in whole seconds.
	slack = 10 * time.Second
)

// sweep removes the requests of managers that died and, from then on, those that have waited
// for too long. The leader does it.
func (i *Issuers) sweep(ctx context.Context, begun time.Time) error {
	for before := begun; ; before = i.Clock.Now().Add(-certmanager.Kept) {
		if err := certmanager.Sweep(ctx, i.Client, before.Add(-slack)); err != nil && ctx.Err() == nil {
			i.Log.Warn("Could not remove old requests for certificates; it is tried again", "in", sweepEvery, "err", err)
		}
		timer := i.Clock.NewTimer(sweepEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C():
		}
	}
}
