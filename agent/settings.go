package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/pflag"

	"fairlead.dev/fairlead/agent/bootstrap"
	"fairlead.dev/fairlead/agent/flags"
	"fairlead.dev/fairlead/agent/manager"
	"fairlead.dev/fairlead/agent/probe"
)

// settings are the flags as they were given, and what they mean once parse has
// returned without an error. Times and numbers are used as they are; text that means
// something else is interpreted below.
type settings struct {
	flags.Set

	podName, podNamespace, serviceAccount, workload string
	revision, labels, locality                      string
	apps                                            []string

	xdsSocket, xdsAddress, xdsServerName, xdsProtocol string
	initialFetchTimeout                               time.Duration
	dnsFamily                                         string
	checksHealth                                      bool

	certificateSource       string
	certsDir                string
	certificateReload       string
	certificateRecheck      time.Duration
	tokenFile, managerRoots string
	keyAlgorithm            string

	envoyPath, dir                string
	concurrency                   int
	maxConnections                uint64
	heapLimit                     string
	drainTime, parentShutdownTime time.Duration
	restartTimeout                time.Duration

	rescueTokens              int
	rescueDelay, rescueRefill time.Duration

	terminationGracePeriod, minDrain, stopTimeout time.Duration

	statusAddress, appProbes, appMetrics string
	logFormat, logLevel, envoyLogLevel   string
	config                               string

	// expectsCertificates: the bootstrap names the agent's folder of certificates. Envoy
	// then takes the first one whenever it comes, but complains until it does; a proxy
	// that is to have none is spared that.
	expectsCertificates bool

	bootstrap     bootstrap.Config
	probes        probe.Probes
	shownLevel    slog.Level
	shownEnvoyMin slog.Level
	// warnings are for the log: what is as asked for, but not as one would wish.
	warnings []string

	// What reload needs: where the flags came from, and what they said.
	arguments []string
	lookupEnv func(string) (string, bool)
	raw       map[string]string
	// cgroupRoot is "/" but in tests.
	cgroupRoot string
}

// defaultCertsDir is where the injector mounts them.
const defaultCertsDir = "/etc/certs"

// Values of --certificate-source.
const (
	fromMount   = "mount"
	fromManager = "manager"
)

// Values of --certificate-reload.
const (
	reloadBySDS        = "sds"
	reloadByHotRestart = "hotRestart"
)

func newSettings(command string) *settings {
	s := &settings{Set: flags.New(command), cgroupRoot: "/"}
	s.Group("The workload", s.workloadFlags)
	s.Group("The control plane", s.controlPlaneFlags)
	s.Group("Certificates", s.certificateFlags)
	s.Group("Envoy", s.envoyFlags)
	s.Group("Rescue and stop", s.lifeFlags)
	s.Group("Status and logs", s.statusFlags)
	return s
}

func (s *settings) workloadFlags(f *pflag.FlagSet) {
	f.StringVar(&s.podName, "pod-name", "", "`name` of the Pod; the node id is <namespace>/<pod>. Required")
	f.StringVar(&s.podNamespace, "pod-namespace", "", "`namespace` of the Pod. Required")
	f.StringVar(&s.serviceAccount, "service-account", "", "service account `name` that the Pod runs as")
	f.StringVar(&s.workload, "workload", "", "`name` of what the Pod is a replica of, such as its Deployment (default: the Pod's name)")
	f.StringVar(&s.revision, "revision", "", "`name` of the control plane's revision that the Pod was injected by")
	f.StringVar(&s.labels, "labels", "", "the Pod's labels, as `k=v,k=v`")
	f.StringVar(&s.locality, "locality", "", "where it runs, as `region/zone/subzone`; later parts may be left out")
	f.StringArrayVar(&s.apps, "app", nil, "application's `PORT=ADDR:PORT`: traffic for the Pod's PORT goes to ADDR:PORT, by the cluster app|PORT. Repeatable, or separated by commas")
	f.StringVar(&s.appProbes, "app-probes", "", "the probes that the injector took out of the Pod's containers, as `JSON`")
	f.StringVar(&s.appMetrics, "app-metrics", "", "`URL` of the application's metrics, to be told along with Envoy's")
}

func (s *settings) controlPlaneFlags(f *pflag.FlagSet) {
	f.StringVar(&s.xdsSocket, "xds-socket", "", "`path` of the manager's Unix socket, spoken to in plaintext. It need not exist yet. This or --xds-address is required")
	f.StringVar(&s.xdsAddress, "xds-address", "", "`HOST:PORT` of the manager, spoken to by mutual TLS, for Envoy's configuration and for certificates")
	f.StringVar(&s.xdsServerName, "xds-server-name", "", "`name` that the manager's certificate must have: a DNS name, an address or a spiffe:// identity (default: HOST of --xds-address)")
	f.StringVar(&s.xdsProtocol, "xds-protocol", string(bootstrap.Delta), "how Envoy asks for its configuration: `delta` or sotw by one stream, delta-streams or sotw-streams by one for each subscription, or rest")
	f.DurationVar(&s.initialFetchTimeout, "initial-fetch-timeout", 0, "how long Envoy stays not ready while it has no configuration yet; 0 is as long as it takes")
	f.BoolVar(&s.checksHealth, "checks-health", true, "check endpoints that the manager asks it to, where a policy's activeHealthCheck says by: HDS. Not with --xds-protocol rest")
	f.StringVar(&s.dnsFamily, "dns-family", string(bootstrap.DNSAuto), "addresses to look the manager up by: `auto` (IPv6 if there is one, else IPv4), v4, v6 or all")
}

func (s *settings) certificateFlags(f *pflag.FlagSet) {
	f.StringVar(&s.certificateSource, "certificate-source", fromMount, "where certificates come from: `mount`, the folder --certs-dir, or manager, with a key that the agent makes")
	f.StringVar(&s.certsDir, "certs-dir", defaultCertsDir, "`folder` with root-cert.pem, cert-chain.pem and key.pem. It may come later, or never without --xds-address")
	f.StringVar(&s.certificateReload, "certificate-reload", reloadBySDS, "how a renewed certificate reaches Envoy: `sds`, without a restart, or hotRestart")
	f.DurationVar(&s.certificateRecheck, "certificate-recheck", time.Minute, "how often the certificate is read again, in case its change went unnoticed")
	f.StringVar(&s.tokenFile, "token-file", "", "`path` of a service account token for the audience fairlead, bound to the Pod: by it the manager knows an agent that has no certificate")
	f.StringVar(&s.managerRoots, "manager-roots", "", "`path` of the roots (PEM) by which the agent knows the manager before it has roots of its own")
	f.StringVar(&s.keyAlgorithm, "key-algorithm", string(manager.Algorithms[0]), "`kind` of the keys that the agent makes: ECDSA-P256, ECDSA-P384, RSA-2048, RSA-3072 or RSA-4096")
}

func (s *settings) envoyFlags(f *pflag.FlagSet) {
	f.StringVar(&s.envoyPath, "envoy", "", "`path` of Envoy (default: the one beside this program, else the first in PATH)")
	f.StringVar(&s.dir, "dir", "/var/run/fairlead/agent", "`folder` of this agent alone, mode 0700: bootstrap, base id, sockets. Created if need be")
	f.IntVar(&s.concurrency, "concurrency", 2, "Envoy's worker threads; 0 is one for each CPU")
	f.Uint64Var(&s.maxConnections, "max-connections", bootstrap.DefaultMaxConnections, "most downstream connections that Envoy takes at a time")
	f.StringVar(&s.heapLimit, "heap-limit", heapAuto, "most memory for Envoy's heap, as `bytes` (or 256Mi), auto (what the cgroup's limit leaves) or 0 (no limit)")
	f.DurationVar(&s.drainTime, "drain-time", 30*time.Second, "how long the connections of a removed listener or of a predecessor may go on, in whole seconds")
	f.DurationVar(&s.parentShutdownTime, "parent-shutdown-time", 0, "how long after a hot restart the predecessor is ended, in whole seconds (default: half as long again as --drain-time)")
	f.DurationVar(&s.restartTimeout, "restart-timeout", time.Minute, "how long the successor of a hot restart has to become live")
}

func (s *settings) lifeFlags(f *pflag.FlagSet) {
	f.IntVar(&s.rescueTokens, "rescue-tokens", 10, "how many times in a row an Envoy that failed is started again; 0 is never")
	f.DurationVar(&s.rescueDelay, "rescue-delay", 200*time.Millisecond, "wait before the first such start; doubled with each one that follows")
	f.DurationVar(&s.rescueRefill, "rescue-refill", 10*time.Minute, "how long Envoy has to be live for all tokens to be there again")
	f.DurationVar(&s.terminationGracePeriod, "termination-grace-period", 30*time.Second, "how long after SIGTERM the agent itself would be killed; the Pod's terminationGracePeriodSeconds")
	f.DurationVar(&s.minDrain, "min-drain", 5*time.Second, "how long to serve after SIGTERM at least, since callers hear of it later")
	f.DurationVar(&s.stopTimeout, "stop-timeout", 5*time.Second, "how long Envoy has to end after SIGTERM before it is killed")
}

func (s *settings) statusFlags(f *pflag.FlagSet) {
	f.StringVar(&s.statusAddress, "status-address", "", "`HOST:PORT` or path of a Unix socket that answers /ready and /status (default: status.sock in --dir)")
	f.StringVar(&s.logFormat, "log-format", "text", "`text` or json, on standard error")
	f.StringVar(&s.logLevel, "log-level", "info", "lowest `level` of the agent's own records: debug, info, warn or error")
	f.StringVar(&s.envoyLogLevel, "envoy-log-level", "warning", "lowest `level` of Envoy's lines: trace, debug, info, warning, error or critical")
	f.StringVar(&s.config, "config", "", "`path` of a file with lines \"flag = value\", for flags that neither arguments nor environment give")
}

// parse reads flags, environment and file, and checks everything that can be checked
// without starting anything. It returns every problem that it finds.
func (s *settings) parse(args []string, lookupEnv func(string) (string, bool)) error {
	refused, err := s.read(args, lookupEnv)
	if err != nil {
		return err
	}
	s.raw = s.Values()
	return errors.Join(append(refused, s.Locate(s.interpret())...)...)
}

// read returns what is refused of the flags' texts, or the one error that makes the rest
// unreadable.
func (s *settings) read(args []string, lookupEnv func(string) (string, bool)) (refused []error, err error) {
	s.arguments, s.lookupEnv = args, lookupEnv
	refused, err = s.Read(args, lookupEnv)
	if err != nil || s.config == "" {
		return refused, err
	}
	fromFile, err := s.ReadFile(s.config)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	return append(refused, fromFile...), nil
}

// logger writes records of at least the given level in the chosen format.
func (s *settings) logger(w io.Writer, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if s.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
