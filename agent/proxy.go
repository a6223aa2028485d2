package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"fairlead.dev/fairlead/agent/bootstrap"
	"fairlead.dev/fairlead/agent/certs"
	"fairlead.dev/fairlead/agent/cgroup"
	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/agent/logging"
	"fairlead.dev/fairlead/agent/metrics"
	"fairlead.dev/fairlead/agent/probe"
	"fairlead.dev/fairlead/agent/server"
)

// proxy runs Envoy until it cannot be kept running or the context is done, and returns
// the exit status.
func proxy(ctx context.Context, s *settings, stdout, stderr io.Writer) int {
	// First of all: a SIGHUP that nobody waits for would end the agent.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	written := logging.New(stderr)
	defer written.Close()
	stderr = written
	log := s.logger(stderr, s.shownLevel)
	for _, warning := range s.warnings {
		log.Warn(warning)
	}
	binary, err := findEnvoy(s.envoyPath)
	if err != nil {
		return complain(stderr, "proxy", err, "")
	}
	// Nothing is written before the address is known to be free, save the folder that
	// the address may lie in.
	dir, err := envoy.OpenDir(s.dir)
	if err != nil {
		return complain(stderr, "proxy", fmt.Errorf("--dir: %w", err), "")
	}
	defer func() {
		if err := dir.Close(); err != nil {
			log.Warn("Could not tidy up the agent's folder", "error", err)
		}
	}()
	listener, err := server.Listen(s.statusAddress)
	if err != nil {
		return complain(stderr, "proxy", err, "")
	}
	a := &agent{
		settings: s, binary: binary, log: log, count: metrics.NewAgent(), started: time.Now(),
	}
	log.Info("Agent started", "version", version, "node", a.node(), "envoy", binary, "dir", dir.Path(),
		"controlPlane", s.controlPlane().String(), "protocol", s.xdsProtocol, "status", s.statusAddress)
	mount := s.certsDir
	if s.certificateSource == fromManager {
		mount = ""
	}
	a.folder = certs.New(certs.Options{
		Mount: mount, Dir: dir.Path(), Recheck: s.certificateRecheck, Log: log,
		Changed: a.certificateChanged, Refused: func(error) { a.count.CertificateChanged(metrics.Refused) },
	})
	ctx, quit := context.WithCancelCause(ctx)
	defer quit(nil)
	hurry := make(chan struct{})

	statistics := metrics.NewStatistics(metrics.Envoy(dir.AdminSocket()))
	a.supervisor = envoy.New(envoy.Options{
		Binary: binary, Dir: dir, Bootstrap: a.bootstrap,
		ControlPlane: s.controlPlane().String(), Probe: a.probeControlPlane,
		Concurrency: s.concurrency,
		DrainTime:   s.drainTime, ParentShutdownTime: s.parentShutdownTime, RestartTimeout: s.restartTimeout,
		Rescue:   envoy.Rescue{Tokens: s.rescueTokens, Delay: s.rescueDelay, Refill: s.rescueRefill},
		MinDrain: s.minDrain, DrainDeadline: s.drainDeadline(), StopTimeout: s.stopTimeout,
		ApplicationEnded: s.applicationEnded(), Hurry: hurry, OOMKills: oomKills(log, s.cgroupRoot),
		Count: a.count, Statistics: statistics, Stdout: stdout, Log: log,
		// What is shown of Envoy is chosen by its own flag, whatever the agent's is.
		EnvoyLog:      s.logger(stderr, math.MinInt).With("source", "envoy"),
		EnvoyLogLevel: s.shownEnvoyMin,
	})
	a.client = a.newClient(statistics, dir.AdminSocket())
	stopServing := server.Serve(listener, server.Options{
		Node: a.node(), Status: a.status, Log: log,
		Certificates: a.certificates, Configuration: a.configuration, Manager: a.stream,
		Metrics: metrics.NewHandler(metrics.Options{
			Agent: a.count, Version: version, Started: a.started,
			States: envoy.States, State: func() (string, int) { now := a.status(); return string(now.State), now.Epoch },
			Targets: s.scrapeTargets(statistics.Target()),
		}),
		AppHealth: s.appHealth(),
		Quit:      func() { quit(errors.New("asked to by /quitquitquit")) },
	})
	defer stopServing()

	if err := a.run(ctx, signals, hurry); err != nil {
		s.report(log, stderr, err)
		return exitFailed
	}
	return 0
}

// bootstrap is the file for an epoch, as settings and certificates are now.
func (a *agent) bootstrap(epoch int) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return bootstrap.Build(a.settings.bootstrapOf(epoch))
}

// oomKills counts what the kernel kills in our control group; nil where it cannot be
// known.
func oomKills(log *slog.Logger, root string) func() (uint64, error) {
	memory, err := cgroup.Open(root)
	if err != nil {
		log.Debug("An end for want of memory will not be recognised", "error", err)
		return nil
	}
	return memory.OOMKills
}

func (s *settings) scrapeTargets(proxy metrics.Target) []metrics.Target {
	targets := []metrics.Target{proxy}
	if s.appMetrics != "" {
		targets = append(targets, metrics.Application(s.appMetrics))
	}
	return targets
}

// report tells why the agent ends: as one record for machines, and with Envoy's last
// lines on lines of their own for people.
func (s *settings) report(log *slog.Logger, stderr io.Writer, err error) {
	var exit *envoy.ExitError
	if !errors.As(err, &exit) {
		log.Error("Agent ends", "error", err)
		return
	}
	attrs := []any{"error", err, "epoch", exit.Epoch, "pid", exit.PID}
	if exit.Signal != 0 {
		attrs = append(attrs, "signal", int(exit.Signal))
	} else {
		attrs = append(attrs, "code", exit.Code)
	}
	if s.logFormat == "json" {
		log.Error("Agent ends, because Envoy did", append(attrs, "lastLines", exit.LastLines)...)
		return
	}
	log.Error("Agent ends, because Envoy did", attrs...)
	if len(exit.LastLines) == 0 {
		fmt.Fprintln(stderr, "Envoy had logged nothing.")
		return
	}
	fmt.Fprintf(stderr, "Envoy's last log lines, %d at most:\n  %s\n", envoy.KeptLines, strings.Join(exit.LastLines, "\n  "))
}

// appHealth hands on the probes that the injector took from the Pod's containers.
func (s *settings) appHealth() http.Handler {
	if len(s.probes) == 0 {
		return nil
	}
	return probe.NewHandler(s.probes, applicationAddress)
}
