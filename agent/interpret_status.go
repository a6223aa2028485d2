package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/agent/flags"
	"fairlead.dev/fairlead/agent/metrics"
	"fairlead.dev/fairlead/agent/probe"
)

func (s *settings) interpretStatus(found *flags.Problems) {
	var err error
	if s.statusAddress == "" {
		s.statusAddress = envoy.StatusSocket(s.dir)
	} else if s.statusAddress, err = parseStatusAddress(s.statusAddress); err != nil {
		found.Add("status-address", "%w", err)
	}
	if s.appProbes != "" {
		if s.probes, err = probe.Parse(s.appProbes); err != nil {
			found.AddAll("app-probes", each(err))
		}
	}
	if s.appMetrics != "" {
		if s.appMetrics, err = metrics.ParseApplication(s.appMetrics); err != nil {
			found.Add("app-metrics", "%w", err)
		}
	}
}

// each takes joined errors apart.
func each(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

func (s *settings) interpretLogs(found *flags.Problems) {
	if s.logFormat != "text" && s.logFormat != "json" {
		found.Add("log-format", "is %q: use text or json", s.logFormat)
	}
	if err := s.shownLevel.UnmarshalText([]byte(s.logLevel)); err != nil {
		found.Add("log-level", "is %q: use debug, info, warn or error", s.logLevel)
	}
	var err error
	if s.shownEnvoyMin, err = envoy.LogLevel(s.envoyLogLevel); err != nil {
		found.Add("envoy-log-level", "is %w", err)
	}
}

// socketPath makes the path absolute, since Envoy runs in another folder.
func socketPath(path, fix string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if len(path) > envoy.MaxSocketPath {
		return "", fmt.Errorf("is %d bytes long (%s), but a Unix socket's path has at most %d: choose a shorter one", len(path), path, envoy.MaxSocketPath)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Type() != os.ModeSocket {
		return "", fmt.Errorf("names %s, which is not a socket: %s", path, fix)
	}
	return path, nil
}

// parseStatusAddress leaves HOST:PORT as it is; whatever has a slash is a path.
func parseStatusAddress(text string) (string, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok || strings.Contains(text, "/") {
		return socketPath(path, "choose a path at which nothing is")
	}
	if _, port, err := net.SplitHostPort(text); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil && n > 0 {
			return text, nil
		}
	}
	return "", fmt.Errorf("is %q: write HOST:PORT, such as 127.0.0.1:15021, or the path of a Unix socket", text)
}
