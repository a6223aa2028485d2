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
	"fairlead.dev/fairlead/agent/flags"
)

// heapAuto is the value of --heap-limit that asks the cgroup.
const heapAuto = "auto"

// dnsName is what Kubernetes allows as an object's name (RFC 1123 subdomain).
var dnsName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// interpret turns the flags' text into what the rest of the agent uses.
func (s *settings) interpret() []error {
	var found flags.Problems
	s.interpretPaths(&found)
	s.bootstrap = bootstrap.Config{
		AgentVersion: version,
		XDSSocket:    s.xdsSocket, Protocol: bootstrap.Protocol(s.xdsProtocol), InitialFetchTimeout: s.initialFetchTimeout,
		AdminSocket: envoy.AdminSocket(s.dir), MaxConnections: s.maxConnections,
	}
	s.interpretWorkload(&found)
	s.checkLimits(&found)
	s.interpretLogs(&found)
	return found
}

func (s *settings) interpretPaths(found *flags.Problems) {
	var err error
	if s.dir, err = envoy.DirPath(s.dir); err != nil {
		found.Add("dir", "%w", err)
	}
	if s.xdsSocket == "" {
		found.Add("xds-socket", "is missing: give the path of the manager's Unix socket, or set %s", s.EnvOf["xds-socket"])
	} else if s.xdsSocket, err = socketPath(s.xdsSocket, "give the path on which the manager listens"); err != nil {
		found.Add("xds-socket", "%w", err)
	}
	if s.statusAddress == "" {
		s.statusAddress = envoy.StatusSocket(s.dir)
	} else if s.statusAddress, err = parseStatusAddress(s.statusAddress); err != nil {
		found.Add("status-address", "%w", err)
	}
}

func (s *settings) interpretWorkload(found *flags.Problems) {
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
			found.Add(name.flag, "is missing: give it, or set %s", s.EnvOf[name.flag])
		case name.flag == "workload" && name.value == s.podName:
			// Told already.
		case name.value != "" && (len(name.value) > 253 || !dnsName.MatchString(name.value)):
			found.Add(name.flag, "is %q: use lower-case letters, digits, '-' and '.', as Kubernetes does for names", name.value)
		}
	}
	b := &s.bootstrap
	b.Namespace, b.Pod, b.Workload, b.ServiceAccount = s.podNamespace, s.podName, s.workload, s.serviceAccount
	var errs []error
	b.Labels, errs = parseLabels(s.labels)
	found.AddAll("labels", errs)
	b.Apps, errs = parseApps(s.apps)
	found.AddAll("app", errs)
	var err error
	if b.Locality, err = parseLocality(s.locality); err != nil {
		found.Add("locality", "%w", err)
	}
}

func (s *settings) checkLimits(found *flags.Problems) {
	if s.parentShutdownTime == 0 {
		s.parentShutdownTime = s.drainTime + s.drainTime/2
	}
	switch bootstrap.Protocol(s.xdsProtocol) {
	case bootstrap.Delta, bootstrap.StateOfTheWorld:
	default:
		found.Add("xds-protocol", "is %q: use delta or sotw", s.xdsProtocol)
	}
	if s.concurrency < 0 || s.concurrency > 1024 {
		found.Add("concurrency", "is %d: use 1 to 1024, or 0 for one thread a CPU", s.concurrency)
	}
	if s.maxConnections == 0 {
		found.Add("max-connections", "is 0: use a number from 1 up; Envoy would take no connection at all")
	}
	for _, d := range []struct {
		flag    string
		value   time.Duration
		least   time.Duration
		example string
	}{
		{"initial-fetch-timeout", s.initialFetchTimeout, 0, "0 or 15s"},
		{"drain-time", s.drainTime, time.Second, "30s"},
		{"certificate-recheck", s.certificateRecheck, time.Second, "1m"},
		{"restart-timeout", s.restartTimeout, time.Second, "1m"},
		{"rescue-delay", s.rescueDelay, 0, "200ms"},
		{"rescue-refill", s.rescueRefill, 0, "10m"},
		{"min-drain", s.minDrain, 0, "0 or 5s"},
		{"stop-timeout", s.stopTimeout, time.Millisecond, "5s"},
	} {
		if d.value < d.least {
			found.Add(d.flag, "is %s: use a longer time, such as %s", d.value, d.example)
		}
	}
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

func parseLabels(text string) (map[string]string, []error) {
	if text == "" {
		return nil, nil
	}
	var errs []error
	labels := map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(pair, "=")
		_, twice := labels[key]
		switch {
		case !ok, key == "":
			errs = append(errs, fmt.Errorf("has %q: write each label as key=value and separate them by commas", pair))
		case twice:
			errs = append(errs, fmt.Errorf("names %q twice: a label has one value", key))
		default:
			labels[key] = value
		}
	}
	return labels, errs
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

func parseApps(values []string) ([]bootstrap.App, []error) {
	var errs []error
	apps := map[uint16]bootstrap.App{}
	for _, value := range values {
		for text := range strings.SplitSeq(value, ",") {
			app, err := parseApp(text)
			if _, twice := apps[app.Port]; err == nil && twice {
				err = fmt.Errorf("gives port %d twice: each port of the Pod leads to one address", app.Port)
			}
			if err != nil {
				errs = append(errs, err)
				continue
			}
			apps[app.Port] = app
		}
	}
	var sorted []bootstrap.App
	for _, port := range slices.Sorted(maps.Keys(apps)) {
		sorted = append(sorted, apps[port])
	}
	return sorted, errs
}

func parseApp(text string) (bootstrap.App, error) {
	const form = "write PORT=ADDR:PORT with a numeric address, such as 9080=127.0.0.1:40123"
	left, right, ok := strings.Cut(text, "=")
	if !ok {
		return bootstrap.App{}, fmt.Errorf("%q has no '=': %s", text, form)
	}
	port, err := strconv.ParseUint(left, 10, 16)
	if err != nil || port == 0 {
		return bootstrap.App{}, fmt.Errorf("%q: %q is not a port from 1 to 65535: %s", text, left, form)
	}
	address, err := netip.ParseAddrPort(right)
	if err != nil || address.Port() == 0 || address.Addr().IsUnspecified() || address.Addr().Zone() != "" {
		return bootstrap.App{}, fmt.Errorf("%q: %q is not where an application can be reached: %s", text, right, form)
	}
	return bootstrap.App{Port: uint16(port), Address: netip.AddrPortFrom(address.Addr().Unmap(), address.Port())}, nil
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
