package main

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"fairlead.dev/fairlead/agent/bootstrap"
	"fairlead.dev/fairlead/agent/flags"
)

// settings are the flags as they were given, and what they mean once parse has
// returned without an error.
type settings struct {
	flags.Set

	podName, podNamespace, serviceAccount, workload string
	labels, locality                                string
	apps                                            []string
	envoyPath, dir, statusAddress                   string
	concurrency                                     int
	maxConnections                                  uint64
	drainTime, stopTimeout                          time.Duration
	xdsSocket, xdsProtocol                          string
	initialFetchTimeout                             time.Duration
	logFormat, logLevel, envoyLogLevel              string

	bootstrap     bootstrap.Config
	shownLevel    slog.Level
	shownEnvoyMin slog.Level
}

func newSettings(command string) *settings {
	s := &settings{Set: flags.New(command)}
	s.Group("The workload", func(f *pflag.FlagSet) {
		f.StringVar(&s.podName, "pod-name", "", "`name` of the Pod; the node id is <namespace>/<pod>. Required")
		f.StringVar(&s.podNamespace, "pod-namespace", "", "`namespace` of the Pod. Required")
		f.StringVar(&s.serviceAccount, "service-account", "", "service account `name` that the Pod runs as")
		f.StringVar(&s.workload, "workload", "", "`name` of what the Pod is a replica of, such as its Deployment (default: the Pod's name)")
		f.StringVar(&s.labels, "labels", "", "the Pod's labels, as `k=v,k=v`")
		f.StringVar(&s.locality, "locality", "", "where it runs, as `region/zone/subzone`; later parts may be left out")
		f.StringArrayVar(&s.apps, "app", nil, "application's `PORT=ADDR:PORT`: traffic for the Pod's PORT goes to ADDR:PORT, by the cluster app|PORT. Repeatable, or separated by commas")
	})
	s.Group("The control plane", func(f *pflag.FlagSet) {
		f.StringVar(&s.xdsSocket, "xds-socket", "", "`path` of the manager's Unix socket. It need not exist yet. Required")
		f.StringVar(&s.xdsProtocol, "xds-protocol", string(bootstrap.Delta), "variant of xDS to speak: `delta` or sotw")
		f.DurationVar(&s.initialFetchTimeout, "initial-fetch-timeout", 0, "how long Envoy stays not ready while it has no configuration yet; 0 is as long as it takes")
	})
	s.Group("Envoy", func(f *pflag.FlagSet) {
		f.StringVar(&s.envoyPath, "envoy", "", "`path` of Envoy (default: the one beside this program, else the first in PATH)")
		f.StringVar(&s.dir, "dir", "/var/run/fairlead/agent", "`folder` of this agent alone, mode 0700: bootstrap, base id, sockets. Created if need be")
		f.IntVar(&s.concurrency, "concurrency", 2, "Envoy's worker threads; 0 is one for each CPU")
		f.Uint64Var(&s.maxConnections, "max-connections", bootstrap.DefaultMaxConnections, "most downstream connections that Envoy takes at a time")
		f.DurationVar(&s.drainTime, "drain-time", 30*time.Second, "how long the connections of a removed listener may go on, in whole seconds")
		f.DurationVar(&s.stopTimeout, "stop-timeout", 5*time.Second, "how long Envoy has to end after SIGTERM before it is killed")
	})
	s.Group("Status and logs", func(f *pflag.FlagSet) {
		f.StringVar(&s.statusAddress, "status-address", "", "`HOST:PORT` or path of a Unix socket that answers /ready and /status (default: status.sock in --dir)")
		f.StringVar(&s.logFormat, "log-format", "text", "`text` or json, on standard error")
		f.StringVar(&s.logLevel, "log-level", "info", "lowest `level` of the agent's own records: debug, info, warn or error")
		f.StringVar(&s.envoyLogLevel, "envoy-log-level", "warning", "lowest `level` of Envoy's lines: trace, debug, info, warning, error or critical")
	})
	return s
}

func (s *settings) help() string {
	var b strings.Builder
	switch s.Command {
	case "proxy":
		b.WriteString("Starts Envoy, stays with it, and ends when it ends. SIGTERM and SIGINT stop both.\n")
	case "bootstrap":
		b.WriteString("Prints the Envoy bootstrap that \"fairlead-agent proxy\" with the same flags would use.\nIt starts nothing and touches no file.\n")
	}
	b.WriteString("\nUsage:\n  fairlead-agent " + s.Command + " --pod-name NAME --pod-namespace NAMESPACE --xds-socket PATH [flags]\n")
	b.WriteString(s.Usages())
	if s.Command == "proxy" {
		b.WriteString(`
Status:
  /ready    200 while Envoy is live, else 503; the body says why
  /status   JSON: state, reason, since, epoch, pid, node
States: starting, live, unresponsive, draining, failed.

Exit status: 0 if it was told to stop, 1 if Envoy failed, 2 if the flags are wrong.
`)
	}
	return b.String()
}

// parse reads flags and environment, and checks everything that can be checked
// without starting anything. It returns every problem that it finds.
func (s *settings) parse(args []string, lookupEnv func(string) (string, bool)) error {
	refused, err := s.Read(args, lookupEnv)
	if err != nil {
		return err
	}
	return errors.Join(append(refused, s.interpret()...)...)
}

// logger writes records of at least the given level in the chosen format.
func (s *settings) logger(w io.Writer, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if s.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
