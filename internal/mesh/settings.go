package mesh

import (
	"cmp"
	"reflect"
	"slices"
	"time"
)

// MTLSMode is what a workload's proxy takes from its callers. Unset, it is for whoever is
// asked next to say: the Pod is asked first, then its namespace, then the mesh.
type MTLSMode string

// The modes. They speak of a workload whose proxy has certificates; without, there is plaintext.
const (
	// MTLSStrict takes mutual TLS and nothing else.
	MTLSStrict MTLSMode = "STRICT"
	// MTLSPermissive takes mutual TLS, which callers with certificates use, and what else comes.
	MTLSPermissive MTLSMode = "PERMISSIVE"
	// MTLSDisable has callers use plaintext.
	MTLSDisable MTLSMode = "DISABLE"
)

// Settings are those of the mesh as a whole that translation depends on. The zero value
// stands for the defaults.
type Settings struct {
	// TrustDomain is the first part of every identity; cluster.local unless set.
	TrustDomain string
	// MTLS is the mode where neither Pod nor namespace names one; PERMISSIVE unless set.
	MTLS MTLSMode
	// MaxConnectionAge bounds how long HTTP connections last, and so how long they show
	// certificates that were replaced; an hour unless set.
	MaxConnectionAge time.Duration
	// RootNamespace is the manager's: policies there apply where no nearer one does.
	RootNamespace string
	// RegistryOnly keeps proxies that intercept from calling what the mesh does not know.
	RegistryOnly bool
	// Scope is what Namespace.Sees is where a namespace does not say; none: all.
	Scope []string
}

// WithDefaults returns the settings with nothing unset.
func (s Settings) WithDefaults() Settings {
	return Settings{
		TrustDomain:      cmp.Or(s.TrustDomain, "cluster.local"),
		MTLS:             cmp.Or(s.MTLS, MTLSPermissive),
		MaxConnectionAge: cmp.Or(s.MaxConnectionAge, time.Hour),
		RootNamespace:    s.RootNamespace,
		RegistryOnly:     s.RegistryOnly,
		Scope:            s.Scope,
	}
}

// Sees returns the namespaces whose services a namespace's workloads are told of; none: all.
func Sees(view View, namespace string) []string {
	if namespace == "" {
		return nil // nobody's
	}
	sees := view.Settings().Scope
	if n := view.Namespace(namespace); n != nil && len(n.Sees) > 0 {
		sees = n.Sees
	}
	if slices.Contains(sees, "*") {
		return nil
	}
	own := slices.Index(sees, ".")
	if own < 0 {
		return sees
	}
	sees = slices.Clone(sees)
	sees[own] = namespace
	return sees
}

// ModeOf returns the mode that applies to a workload; none if its proxy has no certificates.
func ModeOf(view View, workload *Workload) MTLSMode {
	return modeOf(workload, view.Namespace(workload.Namespace), view.Settings())
}

func modeOf(workload *Workload, namespace *Namespace, settings Settings) MTLSMode {
	if !workload.HasCertificates {
		return ""
	}
	if namespace == nil {
		namespace = &Namespace{}
	}
	return cmp.Or(workload.MTLS, namespace.MTLS, settings.WithDefaults().MTLS)
}

// SetSettings replaces the settings of the mesh.
func (s *Store) SetSettings(settings Settings) {
	s.mu.Lock()
	defer s.release()
	if reflect.DeepEqual(s.settings.WithDefaults(), settings.WithDefaults()) {
		return
	}
	rootStays := s.settings.RootNamespace == settings.RootNamespace
	modeStays := s.settings.WithDefaults().MTLS == settings.WithDefaults().MTLS
	s.settings = settings
	s.mark(KindSettings, "")
	if !rootStays {
		for _, host := range s.policyHosts.hosts {
			s.refreshNarrow(host)
		}
	}
	if modeStays {
		return
	}
	for host := range s.slices {
		s.mark(KindEndpoints, host)
	}
}

// Settings implements View.
func (s *Store) Settings() Settings {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.settings.WithDefaults()
}

// Settings implements View.
func (r *Recorder) Settings() Settings {
	r.note(KindSettings, "")
	return r.View.Settings()
}
