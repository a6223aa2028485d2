// Package manager puts the components of the control plane together: who reads the API server,
// translates, serves proxies and agents, keeps certificates and admits objects. It holds no
// logic of theirs. What the command line says comes in by Options; the command is main.go.
package manager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers"
	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/hds"
	"fairlead.dev/fairlead/internal/hold"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/publish"
	"fairlead.dev/fairlead/internal/settings"
	"fairlead.dev/fairlead/internal/status"
	"fairlead.dev/fairlead/internal/xds"
	"fairlead.dev/fairlead/webhooks"
)

// kindsTimeout is how long the API server may take to offer our kinds.
const kindsTimeout = 30 * time.Second

// leaseName is that of the Lease by which one of several replicas leads.
const leaseName = "fairlead-manager"

// Options are what the command line says.
type Options struct {
	// Namespace is that of the manager's own objects.
	Namespace string
	// XDSSocket and XDSAddress are where proxies are served; empty: not there.
	XDSSocket  string
	XDSAddress string
	// AuthorityDir holds an authority that was brought; empty: the manager makes one.
	AuthorityDir string
	// WebhookAddress is where the API server asks whether objects are valid; empty: nowhere.
	WebhookAddress string
	MetricsAddress string
	HealthAddress  string
	// LeaderElect is to be set wherever more than one replica runs.
	LeaderElect             bool
	LeaderElectionNamespace string
	ClusterDomain           string
	// ReconnectGrace is how long a proxy that disconnected still counts.
	ReconnectGrace time.Duration
	// Refresh is how often everything is sent again, changed or not; zero: never.
	Refresh time.Duration
}

// Run serves until the context ends.
func Run(ctx context.Context, s Options, log *slog.Logger) error {
	access, err := config.GetConfig()
	if err != nil {
		return fmt.Errorf("find the API server: %w: give --kubeconfig, or run in a cluster", err)
	}
	if err := controllers.AwaitKinds(ctx, access, kindsTimeout, log); err != nil {
		return err
	}
	m, err := newManager(access, s)
	if err != nil {
		return err
	}
	ready, err := assemble(ctx, m, s, log)
	if err != nil {
		return err
	}
	if err := m.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("add /healthz: %w", err)
	}
	if err := m.AddReadyzCheck("published", publishedCheck(ready)); err != nil {
		return fmt.Errorf("add /readyz: %w", err)
	}
	log.Info("Started", "api", access.Host, "leaderElection", s.LeaderElect)
	return m.Start(ctx)
}

// newManager makes the manager for the API server given.
func newManager(access *rest.Config, s Options) (manager.Manager, error) {
	// Only what is read: the whole of client-go's scheme costs memory.
	scheme := runtime.NewScheme()
	builder := runtime.NewSchemeBuilder(admissionregistrationv1.AddToScheme, authenticationv1.AddToScheme,
		coordinationv1.AddToScheme, corev1.AddToScheme, discoveryv1.AddToScheme, networkingv1.AddToScheme, controllers.AddRevisions, v1alpha1.AddToScheme)
	if err := builder.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("register kinds: %w", err)
	}
	cached := controllers.CacheOptions(s.Namespace)
	maps.Copy(cached.ByObject, webhooks.Cached())
	m, err := ctrl.NewManager(access, ctrl.Options{
		Scheme:                        scheme,
		Cache:                         cached,
		Metrics:                       metricsserver.Options{BindAddress: s.MetricsAddress},
		HealthProbeBindAddress:        s.HealthAddress,
		LeaderElection:                s.LeaderElect,
		LeaderElectionID:              leaseName,
		LeaderElectionNamespace:       s.LeaderElectionNamespace,
		LeaderElectionReleaseOnCancel: true, // the program ends when the manager does
	})
	if err != nil {
		return nil, fmt.Errorf("set up the manager for %s: %w", access.Host, err)
	}
	return m, nil
}

// assemble adds the components to the manager, in the order in which data flows. The
// channel that it returns is closed once proxies are served.
func assemble(ctx context.Context, m manager.Manager, s Options, log *slog.Logger) (<-chan struct{}, error) {
	wallClock := clock.RealClock{}
	store := mesh.NewStore()
	held := settings.NewHolder()
	read, err := controllers.ReadSettings(ctx, m.GetAPIReader(), s.Namespace, wallClock.Now())
	if err != nil {
		return nil, err
	}
	held.Set(read)
	table := status.NewTable(wallClock)
	holder := hold.New(hold.Options{Clock: wallClock, Log: log, Report: table.Delivered})
	position := &controllers.Position{}
	primer, err := controllers.Setup(ctx, m, controllers.Options{
		Store: store, Table: table, Holder: holder, Clock: wallClock, Log: log,
		Convert:   convert.Options{ClusterDomain: s.ClusterDomain},
		Namespace: s.Namespace, Settings: held, Metrics: metrics.Registry, Position: position,
	})
	if err != nil {
		return nil, err
	}
	cache := xds.NewCache(xds.Options{
		Clock: wallClock, Log: log, ReconnectGrace: s.ReconnectGrace,
		Report: holder.Delivered, Metrics: xds.NewMetrics(metrics.Registry), Position: position.Get,
	})
	credentials, err := controllers.NewCredentials(m, store, log)
	if err != nil {
		return nil, err
	}
	var publisher *publish.Publisher
	checks := hds.NewServer(hds.Options{
		Store: store, Clock: wallClock, Log: log,
		Admit: func(node string, caller *xds.Caller) error { return publisher.Admit(node, caller) },
	})
	publisher = publish.New(publish.Options{
		Store: store, Cache: cache, Table: table, Clock: wallClock, Log: log, Primed: primer.Primed(), Refresh: s.Refresh,
		Credentials: credentials.Want, Checks: checks.Check,
	})
	by, err := certificates(m, s, held, store, log)
	if err != nil {
		return nil, err
	}
	network, err := network(m, s, held, by, store, publisher, log)
	if err != nil {
		return nil, err
	}
	if err := admit(m, s, held, by, log); err != nil {
		return nil, err
	}
	server := xds.NewServer(cache, xds.ServerOptions{
		Socket: s.XDSSocket, Network: network, After: publisher.Published(), Directory: publisher, Health: checks, Log: log,
	})
	for _, component := range []manager.Runnable{credentials, checks, publisher, server} {
		if err := m.Add(component); err != nil {
			return nil, fmt.Errorf("add %T: %w", component, err)
		}
	}
	return publisher.Published(), nil
}

// publishedCheck fails until the channel is closed.
func publishedCheck(published <-chan struct{}) healthz.Checker {
	return func(*http.Request) error {
		select {
		case <-published:
			return nil
		default:
			return errors.New("the mesh is not read yet: no proxy is served")
		}
	}
}
