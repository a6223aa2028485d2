package main

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"fairlead.dev/fairlead/agent/bootstrap"
	"fairlead.dev/fairlead/agent/flags"
)

// dnsName is what Kubernetes allows as an object's name (RFC 1123 subdomain).
var dnsName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

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
		{"revision", s.revision, false},
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
	b.Namespace, b.Pod, b.Workload = s.podNamespace, s.podName, s.workload
	b.ServiceAccount, b.Revision = s.serviceAccount, s.revision
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
