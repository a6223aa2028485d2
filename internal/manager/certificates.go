package manager

import (
	"fmt"
	"log/slog"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"fairlead.dev/fairlead/controllers"
	"fairlead.dev/fairlead/internal/agents"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/rotation"
	"fairlead.dev/fairlead/internal/settings"
	"fairlead.dev/fairlead/webhooks"
)

// serviceAccount is whom the manager runs as, by config/; agents know it by that.
const serviceAccount = "fairlead-manager"

// proxiesReturn is how long agents have to come back to a new leader before certificates are
// renewed: what their proxies serve is not known until then.
const proxiesReturn = 30 * time.Second

// certified is what the manager proves itself by.
type certified struct {
	// own is its identity in the mesh whose authority source holds.
	own     pki.Identity
	source  *pki.Source
	serving *pki.Serving
	// issuers sign, and engine keeps all certificates valid, by what agents holds.
	issuers *controllers.Issuers
	engine  *rotation.Engine
	agents  *agents.Table
	counts  *agents.Metrics
}

// certificates adds the mesh's authority, the manager's own certificate by it, and the rotation
// of all others.
func certificates(m manager.Manager, s Options, held *settings.Holder, store *mesh.Store, log *slog.Logger) (*certified, error) {
	wallClock := clock.RealClock{}
	source := pki.NewSource()
	// It is in every name, so it stays as it is until the program's next start.
	own := pki.Identity{TrustDomain: held.Get().TrustDomain, Namespace: s.Namespace, ServiceAccount: serviceAccount}
	issuers, err := newIssuers(m, s, held, source, own, log)
	if err != nil {
		return nil, err
	}
	authority, err := controllers.NewAuthority(m, controllers.AuthorityOptions{
		Namespace: s.Namespace, Source: source, Clock: wallClock, Log: log, First: issuers.First,
	})
	if err != nil {
		return nil, err
	}
	counts := agents.NewMetrics(metrics.Registry)
	table := agents.NewTable(wallClock, counts)
	engine, err := controllers.SetupCertificates(m, controllers.CertificateOptions{
		Options: controllers.Options{Namespace: s.Namespace, Settings: held, Store: store, Clock: wallClock, Log: log, Metrics: metrics.Registry},
		Source:  source, Authority: authority, Issuers: issuers, Proxies: table, Reconnect: proxiesReturn,
	})
	if err != nil {
		return nil, err
	}
	serving := pki.NewServing(source, own, webhooks.Names(s.Namespace), wallClock, log)
	serving.Issue = issuers.IssueForMesh
	if err := m.Add(serving); err != nil {
		return nil, fmt.Errorf("add the manager's own certificate: %w", err)
	}
	return &certified{own: own, source: source, serving: serving, issuers: issuers, engine: engine, agents: table, counts: counts}, nil
}

// newIssuers knows who may sign.
func newIssuers(m manager.Manager, s Options, held *settings.Holder, source *pki.Source, own pki.Identity, log *slog.Logger) (*controllers.Issuers, error) {
	requests, err := dynamic.NewForConfigAndClient(m.GetConfig(), m.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("ask issuers: %w", err)
	}
	issuers := &controllers.Issuers{Settings: held, Source: source, Identity: own, Client: requests, Clock: clock.RealClock{}, Log: log}
	if s.AuthorityDir != "" {
		issuers.Folder = controllers.NewBrought(s.AuthorityDir, clock.RealClock{}, log)
	}
	return issuers, nil
}
