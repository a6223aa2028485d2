package main

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"fairlead.dev/fairlead/agent/bootstrap"
	"fairlead.dev/fairlead/agent/envoy"
)

// dnsName is what Kubernetes allows as an object's name (RFC 1123 subdomain).
var dnsName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// interpret turns the flags' text into what the rest of the agent uses.
func (s *settings) interpret() (errs []error) {
	problem := func(flag, format string, args ...any) {
		errs = append(errs, fmt.Errorf("--"+flag+" "+format, args...))
	}
	if s.workload == "" {
		s.workload = s.podName
	}
	for _, name := range []struct {
		flag, value string
		required    bool
	}{
		{"pod-name", s.podName, true},
		{"pod-namespace", s.podNamespace, true},
		{"service-account", s.serviceAccount, false},
		{"workload", s.workload, false},
	} {
		switch {
		case name.value == "" && name.required:
			problem(name.flag, "is missing: give it, or set %s", s.envOf[name.flag])
		case name.value != "" && (len(name.value) > 253 || !dnsName.MatchString(name.value)):
			problem(name.flag, "is %q: use lower-case letters, digits, '-' and '.', as Kubernetes does for names", name.value)
		}
	}

	labels, err := parseLabels(s.labels)
	if err != nil {
		problem("labels", "%w", err)
	}
	locality, err := parseLocality(s.locality)
	if err != nil {
		problem("locality", "%w", err)
	}
	apps, err := parseApps(s.apps)
	if err != nil {
		problem("app", "%w", err)
	}

	s.dir, err = filepath.Abs(s.dir)
	if err != nil {
		problem("dir", "%w", err)
	}
	if s.xdsSocket == "" {
		problem("xds-socket", "is missing: give the path of the manager's Unix socket, or set %s", s.envOf["xds-socket"])
	} else if s.xdsSocket, err = socketPath(s.xdsSocket); err != nil {
		problem("xds-socket", "%w", err)
	}
	if s.statusAddress == "" {
		s.statusAddress = filepath.Join(s.dir, "status.sock")
	} else if s.statusAddress, err = parseStatusAddress(s.statusAddress); err != nil {
		problem("status-address", "%w", err)
	}

	switch bootstrap.Protocol(s.xdsProtocol) {
	case bootstrap.Delta, bootstrap.StateOfTheWorld:
	default:
		problem("xds-protocol", "is %q: use delta or sotw", s.xdsProtocol)
	}
	if s.concurrency < 0 || s.concurrency > 1024 {
		problem("concurrency", "is %d: use 1 to 1024, or 0 for one thread a CPU", s.concurrency)
	}
	if s.maxConnections == 0 {
		problem("max-connections", "is 0: use a number from 1 up; Envoy would take no connection at all")
	}
	for _, d := range []struct {
		flag    string
		value   time.Duration
		least   time.Duration
		example string
	}{
		{"initial-fetch-timeout", s.initialFetchTimeout, 0, "0 or 15s"},
		{"drain-time", s.drainTime, time.Second, "30s"},
		{"stop-timeout", s.stopTimeout, time.Millisecond, "5s"},
	} {
		if d.value < d.least {
			problem(d.flag, "is %s: use a longer time, such as %s", d.value, d.example)
		}
	}

	if s.logFormat != "text" && s.logFormat != "json" {
		problem("log-format", "is %q: use text or json", s.logFormat)
	}
	if err := s.shownLevel.UnmarshalText([]byte(s.logLevel)); err != nil {
		problem("log-level", "is %q: use debug, info, warn or error", s.logLevel)
	}
	if s.shownEnvoyMin, err = envoy.LogLevel(s.envoyLogLevel); err != nil {
		problem("envoy-log-level", "%w", err)
	}

	s.bootstrap = bootstrap.Config{
		Namespace: s.podNamespace, Pod: s.podName, Workload: s.workload, ServiceAccount: s.serviceAccount,
		Labels: labels, Locality: locality, AgentVersion: version,
		XDSSocket: s.xdsSocket, Protocol: bootstrap.Protocol(s.xdsProtocol), InitialFetchTimeout: s.initialFetchTimeout,
		Apps: apps, AdminSocket: s.adminSocket(), MaxConnections: s.maxConnections,
	}
	return errs
}

func parseLabels(text string) (map[string]string, error) {
	if text == "" {
		return nil, nil
	}
	labels := map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("has %q: write each label as key=value and separate them by commas", pair)
		}
		if _, twice := labels[key]; twice {
			return nil, fmt.Errorf("names %q twice: a label has one value", key)
		}
		labels[key] = value
	}
	return labels, nil
}

func parseLocality(text string) (bootstrap.Locality, error) {
	if text == "" {
		return bootstrap.Locality{}, nil
	}
	parts := strings.Split(text, "/")
	if len(parts) > 3 || slices.Contains(parts, "") {
		return bootstrap.Locality{}, fmt.Errorf("is %q: write region, region/zone or region/zone/subzone", text)
	}
	parts = append(parts, "", "")
	return bootstrap.Locality{Region: parts[0], Zone: parts[1], SubZone: parts[2]}, nil
}

func parseApps(values []string) ([]bootstrap.App, error) {
	const form = "write PORT=ADDR:PORT with a numeric address, such as 9080=127.0.0.1:40123"
	apps := map[uint16]bootstrap.App{}
	for _, value := range values {
		for text := range strings.SplitSeq(value, ",") {
			left, right, ok := strings.Cut(text, "=")
			if !ok {
				return nil, fmt.Errorf("%q has no '=': %s", text, form)
			}
			port, err := strconv.ParseUint(left, 10, 16)
			if err != nil || port == 0 {
				return nil, fmt.Errorf("%q: %q is not a port from 1 to 65535: %s", text, left, form)
			}
			address, err := netip.ParseAddrPort(right)
			if err != nil || address.Port() == 0 || address.Addr().IsUnspecified() || address.Addr().Zone() != "" {
				return nil, fmt.Errorf("%q: %q is not where an application can be reached: %s", text, right, form)
			}
			if _, twice := apps[uint16(port)]; twice {
				return nil, fmt.Errorf("gives port %d twice: each port of the Pod leads to one address", port)
			}
			apps[uint16(port)] = bootstrap.App{Port: uint16(port), Address: address}
		}
	}
	var sorted []bootstrap.App
	for _, port := range slices.Sorted(maps.Keys(apps)) {
		sorted = append(sorted, apps[port])
	}
	return sorted, nil
}

// socketPath makes the path absolute, since Envoy runs in another folder.
func socketPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if len(path) > envoy.MaxSocketPath {
		return "", fmt.Errorf("is %d bytes long (%s), but a Unix socket's path has at most %d: choose a shorter one", len(path), path, envoy.MaxSocketPath)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Type() != os.ModeSocket {
		return "", fmt.Errorf("names %s, which is not a socket: give the path on which the manager listens", path)
	}
	return path, nil
}

// parseStatusAddress leaves HOST:PORT as it is; whatever has a slash is a path.
func parseStatusAddress(text string) (string, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok || strings.Contains(text, "/") {
		return socketPath(path)
	}
	if _, port, err := net.SplitHostPort(text); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil && n > 0 {
			return text, nil
		}
	}
	return "", fmt.Errorf("is %q: write HOST:PORT, such as 127.0.0.1:15021, or the path of a Unix socket", text)
}

// findEnvoy returns the absolute path of an executable Envoy.
func findEnvoy(given string) (string, error) {
	const fix = "give the path of an Envoy binary; in Fairlead's repository \"make envoy\" fetches one into bin/"
	candidates := []string{given}
	if given == "" {
		candidates = []string{"envoy"}
		if self, err := os.Executable(); err == nil {
			candidates = []string{filepath.Join(filepath.Dir(self), "envoy"), "envoy"}
		}
	}
	for _, candidate := range candidates {
		if path, err := exec.LookPath(candidate); err == nil {
			return filepath.Abs(path)
		} else if given != "" {
			return "", fmt.Errorf("--envoy: %w: %s", err, fix)
		}
	}
	return "", fmt.Errorf("--envoy is missing, and there is no Envoy at %s or in PATH: %s", candidates[0], fix)
}
