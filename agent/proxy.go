package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"

	"fairlead.dev/fairlead/agent/bootstrap"
	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/agent/metrics"
)

// proxy runs Envoy until it ends or the context does, and returns the exit status.
func proxy(ctx context.Context, s *settings, stdout, stderr io.Writer) int {
	log := s.logger(stderr, s.shownLevel)
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
	listener, err := listenStatus(s.statusAddress)
	if err != nil {
		return complain(stderr, "proxy", err, "")
	}

	node := s.podNamespace + "/" + s.podName
	log.Info("Agent started", "version", version, "node", node, "envoy", binary, "dir", dir.Path(),
		"controlPlane", s.xdsSocket, "protocol", s.xdsProtocol, "status", s.statusAddress)
	supervisor := envoy.New(envoy.Options{
		Binary:       binary,
		Dir:          dir,
		Bootstrap:    func(epoch int) ([]byte, error) { return bootstrap.Build(s.bootstrapOf(epoch, false)) },
		ControlPlane: s.xdsSocket,
		Concurrency:  s.concurrency,
		DrainTime:    s.drainTime, ParentShutdownTime: s.parentShutdownTime, RestartTimeout: s.restartTimeout,
		Count:       metrics.NewAgent(),
		StopTimeout: s.stopTimeout,
		Stdout:      stdout,
		Log:         log,
		// What is shown of Envoy is chosen by its own flag, whatever the agent's is.
		EnvoyLog:      s.logger(stderr, math.MinInt).With("source", "envoy"),
		EnvoyLogLevel: s.shownEnvoyMin,
	})
	stopServing := serveStatus(listener, statusHandler(node, supervisor.Status))
	defer stopServing()

	if err := supervisor.Run(ctx); err != nil {
		s.report(log, stderr, err)
		return exitFailed
	}
	return 0
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
