package controllers

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/pki/issuer"
	"fairlead.dev/fairlead/internal/pki/issuer/certmanager"
	"fairlead.dev/fairlead/internal/pki/rollover"
	"fairlead.dev/fairlead/internal/settings"
)

// probeLifetime is that of the certificate by which an issuer's root is learnt.
const probeLifetime = time.Hour

// Issuers knows who may sign, and where the mesh's roots come from: the settings' issuer, the
// folder of an authority that was brought, or the manager itself.
type Issuers struct {
	Settings *settings.Holder
	Source   *pki.Source
	// Folder has an authority that the user brought; nil: none.
	Folder fs.FS
	// Identity is the manager's own, in whose namespace the mesh's issuer is asked.
	Identity pki.Identity
	Client   dynamic.Interface
	Clock    clock.PassiveClock
	Log      *slog.Logger

	mu sync.Mutex
	// learnt are the roots of issuers, by the issuer's name.
	learnt map[string]string
	// brought is the root of the folder when it was last good.
	brought string
}

// Issuer returns who signs: by its name, or for the mesh, which is what the active generation
// of the root says.
func (i *Issuers) Issuer(name string) (issuer.Issuer, error) {
	if name == "" {
		if authority := i.Source.Get(); authority != nil && authority.Signer().Signing == nil {
			name = authority.Signer().Source
		}
	}
	if name == "" {
		return issuer.NewBuiltin(i.Source, i.Clock), nil
	}
	kind, rest, found := strings.Cut(name, "/")
	if !found {
		return nil, fmt.Errorf("nobody knows an issuer %q", name)
	}
	o := certmanager.Options{Namespace: i.Identity.Namespace, Name: rest, Client: i.Client, Clock: i.Clock}
	o.Kind, o.Group, _ = strings.Cut(kind, ".")
	if namespace, own, inNamespace := strings.Cut(rest, "/"); inNamespace {
		o.Namespace, o.Name = namespace, own
	}
	return certmanager.New(o), nil
}

// Mesh signs by whatever the mesh's root says at the time.
func (i *Issuers) Mesh() issuer.Issuer { return meshIssuer{i} }

type meshIssuer struct{ issuers *Issuers }

func (m meshIssuer) Name() string { return "mesh" }

func (m meshIssuer) Issue(ctx context.Context, request pki.Request, csr []byte) (chain, roots []byte, err error) {
	now, err := m.issuers.Issuer("")
	if err != nil {
		return nil, nil, err
	}
	return now.Issue(ctx, request, csr)
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
		if g, err := pki.GenerationFromFiles(i.Folder, i.Clock.Now()); err != nil {
			i.Log.Warn("The authority that was brought cannot be used; the last good one counts", "err", err)
		} else {
			i.brought = pki.RootID(g.Root)
		}
		return rollover.Source{Name: pki.SourceFiles, Root: i.brought}
	}
	return rollover.Source{Name: pki.SourceBuiltin}
}

// Generation implements rotation.Sources. The root of an issuer is what a certificate that it
// issues leads to.
func (i *Issuers) Generation(ctx context.Context, source rollover.Source) (*pki.Generation, error) {
	if source.Name == pki.SourceFiles {
		return pki.GenerationFromFiles(i.Folder, i.Clock.Now())
	}
	signer, err := i.Issuer(source.Name)
	if err != nil {
		return nil, err
	}
	key, err := pki.ECDSAP256.NewKey()
	if err != nil {
		return nil, err
	}
	request := pki.Request{Identity: i.Identity, PublicKey: key.Public(), Lifetime: probeLifetime}
	csr, err := pki.NewCSR(key, request)
	if err != nil {
		return nil, err
	}
	_, encoded, err := signer.Issue(ctx, request, csr)
	if err != nil {
		return nil, err
	}
	roots, err := pki.ParseCertificates(encoded)
	if err != nil {
		return nil, fmt.Errorf("issuer %s: its root %w", source.Name, err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.learnt == nil {
		i.learnt = map[string]string{}
	}
	i.learnt[source.Name] = pki.RootID(roots[0])
	return pki.FromIssuer(source.Name, roots[0])
}
