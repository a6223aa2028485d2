// Command fairlead-manager is the control plane: it watches the API server, serves Envoy
// its configuration, and tells in the status of objects what became of them. This file
// reads flags and puts the components together; it holds no logic of its own.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"
	_ "time/tzdata" // windows name zones, and the image has no database of its own

	"github.com/go-logr/logr"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers"
	"fairlead.dev/fairlead/internal/agents"
	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/pki/issuer"
	"fairlead.dev/fairlead/internal/publish"
	"fairlead.dev/fairlead/internal/rotation"
	"fairlead.dev/fairlead/internal/settings"
	"fairlead.dev/fairlead/internal/status"
	"fairlead.dev/fairlead/internal/validate"
	"fairlead.dev/fairlead/internal/xds"
	"fairlead.dev/fairlead/webhooks"
)

// gcPercent is GOGC where the environment does not set it: the manager's garbage is short
// bursts around a change, and a sidecar-sized footprint is worth the few per cent of CPU.
const gcPercent = 50

// kindsTimeout is how long the API server may take to offer our kinds.
const kindsTimeout = 30 * time.Second

// maxSocketPath is the size of sun_path less its closing zero, unix(7).
const maxSocketPath = 107

// homeNamespace is where config/ puts the manager.
const homeNamespace = "fairlead-system"

// serviceAccount is whom the manager runs as, by config/; agents know it by that.
const serviceAccount = "fairlead-manager"

// leaseName is that of the Lease by which one of several replicas leads.
const leaseName = "fairlead-manager"

// proxiesReturn is how long agents have to come back to a new leader before certificates are
// renewed: what their proxies serve is not known until then.
const proxiesReturn = 30 * time.Second

// options are what the command line says.
type options struct {
	namespace               string
	xdsSocket               string
	xdsAddress              string
	authorityDir            string
	webhookAddress          string
	metricsAddress          string
	healthAddress           string
	leaderElect             bool
	leaderElectionNamespace string
	clusterDomain           string
	reconnectGrace          time.Duration
	logFormat               string
	logLevel                slog.Level
}

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	given, err := readFlags(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "fairlead-manager:", err)
		os.Exit(2)
	}
	log := newLogger(given, os.Stderr)
	ctx := ctrl.SetupSignalHandler()
	if err := run(ctx, given, log); err != nil {
		log.Error("Stopped", "err", err)
		os.Exit(1)
	}
}

// readFlags reads the command line; it returns all that is wrong with it at once.
func readFlags(arguments []string, output io.Writer) (options, error) {
	var s options
	flags := flag.NewFlagSet("fairlead-manager", flag.ContinueOnError)
	flags.SetOutput(output)
	config.RegisterFlags(flags)
	flags.StringVar(&s.xdsSocket, "xds-socket", "/run/fairlead/xds/xds.sock",
		"path of the Unix socket on which proxies are served, to whoever reaches it; its folder is made for this user alone. Empty: none")
	flags.StringVar(&s.xdsAddress, "xds-address", ":15012",
		"HOST:PORT on which proxies and agents are served by TLS, to those that prove who they are. Empty: none")
	flags.StringVar(&s.authorityDir, "authority-dir", "",
		"folder with ca-cert.pem, ca-key.pem, root-cert.pem and cert-chain.pem: an authority to sign with, read again when it changes. Empty: the manager makes one")
	flags.StringVar(&s.webhookAddress, "webhook-address", "",
		"HOST:PORT on which the API server is told whether objects are valid; on a loopback address it is registered by that address (port 0: a free one), else by the Service "+webhooks.ServiceName+". Empty: none")
	flags.StringVar(&s.metricsAddress, "metrics-bind-address", "0", "address for Prometheus metrics over HTTP, such as :8080; 0 serves none")
	flags.StringVar(&s.healthAddress, "health-probe-bind-address", ":8081", "address for /healthz and /readyz; 0 serves none")
	flags.BoolVar(&s.leaderElect, "leader-elect", false, "let one of several replicas write status; needed wherever more than one runs")
	flags.StringVar(&s.namespace, "namespace", ownNamespace(),
		"namespace of the manager's own objects: the ConfigMap fairlead with the mesh's settings, the Secret fairlead-authority, the MeshCertificate mesh-root")
	flags.StringVar(&s.leaderElectionNamespace, "leader-election-namespace", "", "namespace of the lease; empty means the one that the manager runs in")
	flags.StringVar(&s.clusterDomain, "cluster-domain", "cluster.local", "domain that ends the full names of services")
	flags.DurationVar(&s.reconnectGrace, "reconnect-grace", 10*time.Second,
		"how long a proxy that disconnected still counts, and how long proxies have to connect after a start")
	flags.StringVar(&s.logFormat, "log-format", "text", "text or json")
	flags.TextVar(&s.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	if err := flags.Parse(arguments); err != nil {
		return s, err
	}

	var faults []error
	if flags.NArg() > 0 {
		faults = append(faults, fmt.Errorf("unexpected argument %q: everything is given by flags", flags.Arg(0)))
	}
	if len(s.xdsSocket) > maxSocketPath {
		faults = append(faults, fmt.Errorf("--xds-socket %q: give a path of at most %d bytes, which is what Unix sockets take", s.xdsSocket, maxSocketPath))
	}
	if s.xdsSocket == "" && s.xdsAddress == "" {
		faults = append(faults, errors.New("--xds-socket and --xds-address are both empty: give one, or no proxy is served"))
	}
	if _, _, err := net.SplitHostPort(s.xdsAddress); s.xdsAddress != "" && err != nil {
		faults = append(faults, fmt.Errorf("--xds-address %q: write HOST:PORT, or :PORT for every address of this machine", s.xdsAddress))
	}
	if s.logFormat != "text" && s.logFormat != "json" {
		faults = append(faults, fmt.Errorf("--log-format %q: write text or json", s.logFormat))
	}
	if s.clusterDomain == "" {
		faults = append(faults, errors.New("--cluster-domain is empty: give the cluster's DNS domain, usually cluster.local"))
	}
	if s.reconnectGrace < 0 {
		faults = append(faults, fmt.Errorf("--reconnect-grace %s: write a duration of 0s or more", s.reconnectGrace))
	}
	return s, errors.Join(faults...)
}

// ownNamespace is that of the Pod that this runs in, if it does.
func ownNamespace() string {
	namespace, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
	if err != nil || len(namespace) == 0 {
		return homeNamespace
	}
	return string(namespace)
}

// newLogger returns the program's logger and makes the libraries log through it; what they
// say of their ordinary work shows at level debug only.
func newLogger(s options, output io.Writer) *slog.Logger {
	handler := func(level slog.Level) slog.Handler {
		options := &slog.HandlerOptions{Level: level}
		if s.logFormat == "json" {
			return slog.NewJSONHandler(output, options)
		}
		return slog.NewTextHandler(output, options)
	}
	libraries := s.logLevel
	if libraries > slog.LevelDebug {
		libraries = max(libraries, slog.LevelWarn)
	}
	ctrl.SetLogger(logr.FromSlogHandler(handler(libraries)))
	klog.SetSlogLogger(slog.New(handler(libraries)))
	return slog.New(handler(s.logLevel))
}

// run serves until the context ends.
func run(ctx context.Context, s options, log *slog.Logger) error {
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
	log.Info("Started", "api", access.Host, "leaderElection", s.leaderElect)
	return m.Start(ctx)
}

// newManager makes the manager for the API server given.
func newManager(access *rest.Config, s options) (manager.Manager, error) {
	// Only what is read: the whole of client-go's scheme costs memory.
	scheme := runtime.NewScheme()
	builder := runtime.NewSchemeBuilder(admissionregistrationv1.AddToScheme, authenticationv1.AddToScheme,
		coordinationv1.AddToScheme, corev1.AddToScheme, discoveryv1.AddToScheme, v1alpha1.AddToScheme)
	if err := builder.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("register kinds: %w", err)
	}
	cached := controllers.CacheOptions(s.namespace)
	maps.Copy(cached.ByObject, webhooks.Cached())
	m, err := ctrl.NewManager(access, ctrl.Options{
		Scheme:                        scheme,
		Cache:                         cached,
		Metrics:                       metricsserver.Options{BindAddress: s.metricsAddress},
		HealthProbeBindAddress:        s.healthAddress,
		LeaderElection:                s.leaderElect,
		LeaderElectionID:              leaseName,
		LeaderElectionNamespace:       s.leaderElectionNamespace,
		LeaderElectionReleaseOnCancel: true, // the program ends when the manager does
	})
	if err != nil {
		return nil, fmt.Errorf("set up the manager for %s: %w", access.Host, err)
	}
	return m, nil
}

// assemble adds the components to the manager, in the order in which data flows. The
// channel that it returns is closed once proxies are served.
func assemble(ctx context.Context, m manager.Manager, s options, log *slog.Logger) (<-chan struct{}, error) {
	wallClock := clock.RealClock{}
	store := mesh.NewStore()
	held := settings.NewHolder()
	read, err := controllers.ReadSettings(ctx, m.GetAPIReader(), s.namespace, wallClock.Now())
	if err != nil {
		return nil, err
	}
	held.Set(read)
	table := status.NewTable(wallClock)
	primer, err := controllers.Setup(ctx, m, controllers.Options{
		Store: store, Table: table, Clock: wallClock, Log: log,
		Convert:   convert.Options{ClusterDomain: s.clusterDomain},
		Namespace: s.namespace, Settings: held, Metrics: metrics.Registry,
	})
	if err != nil {
		return nil, err
	}
	cache := xds.NewCache(xds.Options{
		Clock: wallClock, Log: log, ReconnectGrace: s.reconnectGrace,
		Report: table.Delivered, Metrics: xds.NewMetrics(metrics.Registry),
	})
	publisher := publish.New(publish.Options{
		Store: store, Cache: cache, Table: table, Clock: wallClock, Log: log, Primed: primer.Primed(),
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
		Socket: s.xdsSocket, Network: network, After: publisher.Published(), Directory: publisher, Log: log,
	})
	for _, component := range []manager.Runnable{publisher, server} {
		if err := m.Add(component); err != nil {
			return nil, fmt.Errorf("add %T: %w", component, err)
		}
	}
	return publisher.Published(), nil
}

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
func certificates(m manager.Manager, s options, held *settings.Holder, store *mesh.Store, log *slog.Logger) (*certified, error) {
	wallClock := clock.RealClock{}
	source := pki.NewSource()
	// It is in every name, so it stays as it is until the program's next start.
	own := pki.Identity{TrustDomain: held.Get().TrustDomain, Namespace: s.namespace, ServiceAccount: serviceAccount}
	issuers, err := newIssuers(m, s, held, source, own, log)
	if err != nil {
		return nil, err
	}
	authority, err := controllers.NewAuthority(m, controllers.AuthorityOptions{
		Namespace: s.namespace, Source: source, Clock: wallClock, Log: log, First: issuers.First,
	})
	if err != nil {
		return nil, err
	}
	counts := agents.NewMetrics(metrics.Registry)
	table := agents.NewTable(wallClock, counts)
	engine, err := controllers.SetupCertificates(m, controllers.CertificateOptions{
		Namespace: s.namespace, Settings: held, Source: source, Authority: authority, Issuers: issuers,
		Proxies: table, Reconnect: proxiesReturn, Store: store, Clock: wallClock, Log: log, Metrics: metrics.Registry,
	})
	if err != nil {
		return nil, err
	}
	serving := pki.NewServing(source, own, webhooks.Names(s.namespace), wallClock, log)
	serving.Issue = issuers.Mesh().Issue
	if err := m.Add(serving); err != nil {
		return nil, fmt.Errorf("add the manager's own certificate: %w", err)
	}
	return &certified{own: own, source: source, serving: serving, issuers: issuers, engine: engine, agents: table, counts: counts}, nil
}

// network puts together what agents and proxies are served by over the network; nil: nothing is.
func network(m manager.Manager, s options, held *settings.Holder, by *certified, store *mesh.Store, publisher *publish.Publisher, log *slog.Logger) (*xds.Network, error) {
	if s.xdsAddress == "" {
		return nil, nil
	}
	wallClock := clock.RealClock{}
	authenticator := &agents.Authenticator{
		Source: by.source, TrustDomain: by.own.TrustDomain, Tokens: agents.NewTokenReviewer(m.GetClient()), Clock: wallClock, Metrics: by.counts,
	}
	relay, err := relayToLeader(m, s, store, by.own, by.serving)
	if err != nil {
		return nil, err
	}
	server := agents.NewServer(agents.Options{
		Table: by.agents, Source: by.source, Admit: publisher.Admit, TrustDomain: by.own.TrustDomain,
		Issuer: func(who pki.Identity) (issuer.Issuer, time.Duration) {
			return by.issuers.Mesh(), by.engine.Lifetime(who, held.Get().Certificates.Duration)
		},
		MaxAge: func() time.Duration { return held.Get().MaxConnectionAge },
		Relay:  relay, Clock: wallClock, Log: log, Metrics: by.counts,
	})
	return &xds.Network{
		Address: s.xdsAddress, TLS: agents.AskingTLS(by.serving.ServerConfig()),
		Authenticate: authenticator.Authenticate, Services: server.Register,
		MaxConnectionAge: held.Get().MaxConnectionAge,
	}, nil
}

// admit adds the webhooks, if they are asked for.
func admit(m manager.Manager, s options, held *settings.Holder, by *certified, log *slog.Logger) error {
	if s.webhookAddress == "" {
		return nil
	}
	listener, err := net.Listen("tcp", s.webhookAddress)
	if err != nil {
		return fmt.Errorf("--webhook-address %s: %w", s.webhookAddress, err)
	}
	registration := &webhooks.Registration{
		Client: m.GetClient(), Source: by.source, URL: webhooks.URL(listener.Addr()), Namespace: s.namespace, Log: log,
	}
	if err := registration.Setup(m); err != nil {
		return err
	}
	return m.Add(&webhooks.Server{
		Listener: listener, TLS: by.serving.ServerConfig(), Log: log,
		Handler: webhooks.Handler(webhooks.Rules{
			Options: validate.Options{ClusterDomain: s.clusterDomain}, Settings: held, Namespace: s.namespace, Clock: clock.RealClock{},
		}),
	})
}

// relayToLeader takes agents that come in here to the replica that leads; nil: there is one only.
func relayToLeader(m manager.Manager, s options, store *mesh.Store, own pki.Identity, serving *pki.Serving) (*agents.Relay, error) {
	if !s.leaderElect {
		return nil, nil
	}
	_, port, err := net.SplitHostPort(s.xdsAddress)
	if err != nil {
		return nil, fmt.Errorf("--xds-address %q: %w", s.xdsAddress, err)
	}
	leader := &controllers.Leader{
		Lease:     client.ObjectKey{Namespace: cmp.Or(s.leaderElectionNamespace, s.namespace), Name: leaseName},
		Namespace: s.namespace, Port: port, Reader: m.GetAPIReader(), Store: store,
	}
	relay := &agents.Relay{
		Manager: own, Elected: m.Elected(), Leader: leader.Address, TLS: agents.CallingTLS(serving.ServerConfig(), own),
	}
	return relay, m.Add(relay)
}

// newIssuers knows who may sign.
func newIssuers(m manager.Manager, s options, held *settings.Holder, source *pki.Source, own pki.Identity, log *slog.Logger) (*controllers.Issuers, error) {
	requests, err := dynamic.NewForConfigAndClient(m.GetConfig(), m.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("ask issuers: %w", err)
	}
	issuers := &controllers.Issuers{Settings: held, Source: source, Identity: own, Client: requests, Clock: clock.RealClock{}, Log: log}
	if s.authorityDir != "" {
		issuers.Folder = controllers.NewBrought(s.authorityDir, clock.RealClock{}, log)
	}
	return issuers, nil
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
