// Command fairlead-manager is the control plane: it watches the API server, serves Envoy
// its configuration, and tells in the status of objects what became of them. This file
// reads flags; internal/manager puts the components together.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"time"
	_ "time/tzdata" // windows name zones, and the image has no database of its own

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/config"

	"fairlead.dev/fairlead/internal/manager"
	"fairlead.dev/fairlead/webhooks"
)

// gcPercent is GOGC where the environment does not set it: the manager's garbage is short
// bursts around a change, and a sidecar-sized footprint is worth the few per cent of CPU.
const gcPercent = 50

// maxSocketPath is the size of sun_path less its closing zero, unix(7).
const maxSocketPath = 107

// homeNamespace is where config/ puts the manager.
const homeNamespace = "fairlead-system"

// refreshEnvironment is what the first Istio called it.
const refreshEnvironment = "V2_REFRESH"

// options are what the command line says.
type options struct {
	manager.Options
	logFormat string
	logLevel  slog.Level
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
	if err := manager.Run(ctx, given.Options, log); err != nil {
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
	flags.StringVar(&s.XDSSocket, "xds-socket", "/run/fairlead/xds/xds.sock",
		"path of the Unix socket on which proxies are served, to whoever reaches it; its folder is made for this user alone. Empty: none")
	flags.StringVar(&s.XDSAddress, "xds-address", ":15012",
		"HOST:PORT on which proxies and agents are served by TLS, to those that prove who they are. Empty: none")
	flags.StringVar(&s.AuthorityDir, "authority-dir", "",
		"folder with ca-cert.pem, ca-key.pem, root-cert.pem and cert-chain.pem: an authority to sign with, read again when it changes. Empty: the manager makes one")
	flags.StringVar(&s.WebhookAddress, "webhook-address", "",
		"HOST:PORT on which the API server is told whether objects are valid; on a loopback address it is registered by that address (port 0: a free one), else by the Service "+webhooks.ServiceName+". Empty: none")
	flags.StringVar(&s.MetricsAddress, "metrics-bind-address", "0", "address for Prometheus metrics over HTTP, such as :8080; 0 serves none")
	flags.StringVar(&s.HealthAddress, "health-probe-bind-address", ":8081", "address for /healthz and /readyz; 0 serves none")
	flags.BoolVar(&s.LeaderElect, "leader-elect", false, "let one of several replicas write status; needed wherever more than one runs")
	flags.StringVar(&s.Namespace, "namespace", ownNamespace(),
		"namespace of the manager's own objects: the ConfigMap fairlead with the mesh's settings, the Secret fairlead-authority, the MeshCertificate mesh-root")
	flags.StringVar(&s.LeaderElectionNamespace, "leader-election-namespace", "", "namespace of the lease; empty means the one that the manager runs in")
	flags.StringVar(&s.ClusterDomain, "cluster-domain", "cluster.local", "domain that ends the full names of services")
	flags.DurationVar(&s.ReconnectGrace, "reconnect-grace", 10*time.Second,
		"how long a proxy that disconnected still counts, and how long proxies have to connect after a start")
	refresh := flags.String("v2-refresh", os.Getenv(refreshEnvironment),
		"send everything to every proxy again at this interval, whether it changed or not, such as 15m; empty: never. The default is that of "+refreshEnvironment)
	flags.StringVar(&s.logFormat, "log-format", "text", "text or json")
	flags.TextVar(&s.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	if err := flags.Parse(arguments); err != nil {
		return s, err
	}

	var faults []error
	if flags.NArg() > 0 {
		faults = append(faults, fmt.Errorf("unexpected argument %q: everything is given by flags", flags.Arg(0)))
	}
	if len(s.XDSSocket) > maxSocketPath {
		faults = append(faults, fmt.Errorf("--xds-socket %q: give a path of at most %d bytes, which is what Unix sockets take", s.XDSSocket, maxSocketPath))
	}
	if s.XDSSocket == "" && s.XDSAddress == "" {
		faults = append(faults, errors.New("--xds-socket and --xds-address are both empty: give one, or no proxy is served"))
	}
	if _, _, err := net.SplitHostPort(s.XDSAddress); s.XDSAddress != "" && err != nil {
		faults = append(faults, fmt.Errorf("--xds-address %q: write HOST:PORT, or :PORT for every address of this machine", s.XDSAddress))
	}
	if s.logFormat != "text" && s.logFormat != "json" {
		faults = append(faults, fmt.Errorf("--log-format %q: write text or json", s.logFormat))
	}
	if s.ClusterDomain == "" {
		faults = append(faults, errors.New("--cluster-domain is empty: give the cluster's DNS domain, usually cluster.local"))
	}
	if *refresh != "" {
		var err error
		if s.Refresh, err = time.ParseDuration(*refresh); err != nil || s.Refresh < 0 {
			faults = append(faults, fmt.Errorf("--v2-refresh (or %s) %q: write a duration such as 15m, or 0s for never", refreshEnvironment, *refresh))
		}
	}
	if s.ReconnectGrace < 0 {
		faults = append(faults, fmt.Errorf("--reconnect-grace %s: write a duration of 0s or more", s.ReconnectGrace))
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
