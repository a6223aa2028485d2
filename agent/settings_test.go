package main

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/agent/bootstrap"
)

type environment map[string]string

func (e environment) lookup(name string) (string, bool) {
	value, ok := e[name]
	return value, ok
}

// needed are the flags without which nothing goes.
func needed(more ...string) []string {
	return append([]string{"--pod-name=reviews-v1", "--pod-namespace=shop", "--xds-socket=/run/xds.sock", "--dir=/run/agent"}, more...)
}

// unlimited is the root of a machine without a limit of memory.
func unlimited(t *testing.T) string { return machine(t, "max") }

func parsed(t *testing.T, env environment, args ...string) *settings {
	t.Helper()
	s := newSettings("proxy")
	s.cgroupRoot = unlimited(t)
	if err := s.parse(args, env.lookup); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDefaults(t *testing.T) {
	s := parsed(t, nil, needed()...)
	want := bootstrap.Config{
		Namespace: "shop", Pod: "reviews-v1", Workload: "reviews-v1", AgentVersion: version,
		XDSSocket: "/run/xds.sock", Protocol: bootstrap.Delta, DNSFamily: bootstrap.DNSAuto, ChecksHealth: true, AdminSocket: "/run/agent/admin.sock",
		MaxConnections: bootstrap.DefaultMaxConnections,
	}
	if !reflect.DeepEqual(s.bootstrap, want) {
		t.Errorf("the bootstrap is made of\n%+v, want\n%+v", s.bootstrap, want)
	}
	if s.statusAddress != "/run/agent/status.sock" || s.concurrency != 2 || s.drainTime != 30*time.Second || s.stopTimeout != 5*time.Second {
		t.Errorf("status %s, concurrency %d, drain %s, stop %s", s.statusAddress, s.concurrency, s.drainTime, s.stopTimeout)
	}
	if s.parentShutdownTime != 45*time.Second || s.drainDeadline() != 24*time.Second {
		t.Errorf("the predecessor ends after %s, a drain after %s", s.parentShutdownTime, s.drainDeadline())
	}
	if s.certsDir != "/etc/certs" || s.certificateReload != reloadBySDS || s.rescueTokens != 10 || s.rescueDelay != 200*time.Millisecond {
		t.Errorf("certificates %s, reload by %s, %d tokens after %s", s.certsDir, s.certificateReload, s.rescueTokens, s.rescueDelay)
	}
}

func TestEveryFlagHasAnEnvironmentVariable(t *testing.T) {
	env := environment{
		"POD_NAME": "reviews-v1", "POD_NAMESPACE": "shop", "SERVICE_ACCOUNT": "reviews",
		"FAIRLEAD_WORKLOAD": "reviews", "FAIRLEAD_LABELS": "app=reviews,version=,x/y=a=b", "FAIRLEAD_LOCALITY": "eu/eu-1",
		"FAIRLEAD_APP": "9080=127.0.0.1:40123,80=[::ffff:127.0.0.1]:81", "FAIRLEAD_XDS_SOCKET": "/run/xds.sock",
		"FAIRLEAD_REVISION": "canary", "FAIRLEAD_HEAP_LIMIT": "256Mi", "FAIRLEAD_DNS_FAMILY": "v4", "FAIRLEAD_CHECKS_HEALTH": "false",
		"FAIRLEAD_APP_PROBES":   `{"/app-health/web/livez": {"tcpSocket": {"port": 80}}}`,
		"FAIRLEAD_APP_METRICS":  "http://127.0.0.1:9090/metrics",
		"FAIRLEAD_XDS_PROTOCOL": "sotw", "FAIRLEAD_INITIAL_FETCH_TIMEOUT": "15s", "FAIRLEAD_DIR": "/run/agent",
		"FAIRLEAD_MAX_CONNECTIONS": "7", "FAIRLEAD_STATUS_ADDRESS": ":15021", "FAIRLEAD_LOG_FORMAT": "json",
		// An empty variable is none, as where a manifest fills it from nothing.
		"FAIRLEAD_CONCURRENCY": "",
		// The flag goes first.
		"FAIRLEAD_STOP_TIMEOUT": "1h", "FAIRLEAD_CERTS_DIR": "",
	}
	s := parsed(t, env, "--stop-timeout=3s")
	want := bootstrap.Config{
		Namespace: "shop", Pod: "reviews-v1", Workload: "reviews", ServiceAccount: "reviews", Revision: "canary", AgentVersion: version,
		Labels:   map[string]string{"app": "reviews", "version": "", "x/y": "a=b"},
		Locality: bootstrap.Locality{Region: "eu", Zone: "eu-1"},
		Apps: []bootstrap.App{
			{Port: 80, Address: netip.MustParseAddrPort("127.0.0.1:81")},
			{Port: 9080, Address: netip.MustParseAddrPort("127.0.0.1:40123")},
		},
		XDSSocket: "/run/xds.sock", Protocol: bootstrap.StateOfTheWorld, InitialFetchTimeout: 15 * time.Second,
		DNSFamily: bootstrap.DNSv4, AdminSocket: "/run/agent/admin.sock", MaxConnections: 7, HeapLimit: 256 << 20,
	}
	if !reflect.DeepEqual(s.bootstrap, want) {
		t.Errorf("the bootstrap is made of\n%+v, want\n%+v", s.bootstrap, want)
	}
	if s.statusAddress != ":15021" || s.logFormat != "json" || s.concurrency != 2 || s.stopTimeout != 3*time.Second {
		t.Errorf("status %s, log %s, concurrency %d, stop %s", s.statusAddress, s.logFormat, s.concurrency, s.stopTimeout)
	}
	if s.probes["/app-health/web/livez"].TCPSocket == nil || s.appMetrics != "http://127.0.0.1:9090/metrics" {
		t.Errorf("probes %v, metrics %s", s.probes, s.appMetrics)
	}
	for name := range env {
		if help := s.help(); !strings.Contains(help, "[$"+name+"]") {
			t.Errorf("the help does not name %s", name)
		}
	}
}

func TestRelativePathsAreMadeAbsolute(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	s := parsed(t, nil, "--pod-name=a", "--pod-namespace=b", "--xds-socket=x.sock", "--dir=run", "--status-address=unix:./s.sock")
	if s.xdsSocket != here+"/x.sock" || s.dir != here+"/run" || s.statusAddress != here+"/s.sock" {
		t.Errorf("paths are %s, %s, %s", s.xdsSocket, s.dir, s.statusAddress)
	}
}

func TestAProblemNamesItsFlagAndTheFix(t *testing.T) {
	regular := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(regular, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	root := unlimited(t)
	for flag, want := range map[string]string{
		"--pod-name=":                   "--pod-name is missing: give it, or set POD_NAME",
		"--pod-name=Reviews":            `--pod-name is "Reviews": use lower-case letters`,
		"--pod-namespace=a/b":           `--pod-namespace is "a/b": use lower-case letters`,
		"--service-account=-a":          `--service-account is "-a": use lower-case`,
		"--workload=x y":                `--workload is "x y": use lower-case`,
		"--labels=a":                    `--labels has "a": write each label as key=value`,
		"--labels=a=1,a=2":              `--labels names "a" twice`,
		"--locality=a/b/c/d":            `--locality is "a/b/c/d": write region, region/zone or region/zone/subzone`,
		"--locality=a//c":               `--locality is "a//c": write region`,
		"--app=9080":                    `--app "9080" has no '='`,
		"--app=0=127.0.0.1:1":           `"0" is not a port from 1 to 65535`,
		"--app=70000=127.0.0.1:1":       `"70000" is not a port from 1 to 65535`,
		"--app=80=localhost:80":         `"localhost:80" is not where an application can be reached: write PORT=ADDR:PORT with a numeric address`,
		"--app=80=0.0.0.0:80":           `"0.0.0.0:80" is not where an application can be reached`,
		"--app=80=127.0.0.1:0":          `"127.0.0.1:0" is not where an application can be reached`,
		"--app=8=1.1.1.1:1,8=1.1.1.1:2": "--app gives port 8 twice",
		"--xds-socket=":                 "--xds-socket is missing: give the path of the manager's Unix socket, or set FAIRLEAD_XDS_SOCKET",
		"--xds-socket=" + regular:       "which is not a socket: give the path on which the manager listens",
		"--xds-socket=/" + long(107):    "is 108 bytes long",
		"--xds-address=manager:1":       "--xds-socket and --xds-address are both given: leave one of them",
		"--xds-server-name=manager":     `--xds-server-name is "manager", but a Unix socket has no certificate`,
		"--dns-family=v5":               `--dns-family is "v5": use auto, v4, v6 or all`,
		"--certs-dir=":                  "--certs-dir is empty: name the folder",
		"--certificate-reload=restart":  `--certificate-reload is "restart": use sds or hotRestart`,
		"--certificate-source=secret":   `--certificate-source is "secret": use mount or manager`,
		"--key-algorithm=Ed25519":       `--key-algorithm is "Ed25519": use one of [ECDSA-P256 ECDSA-P384 RSA-2048 RSA-3072 RSA-4096]`,
		"--certificate-recheck=1ms":     "--certificate-recheck is 1ms: use a longer time, such as 1m",
		"--revision=A":                  `--revision is "A": use lower-case letters`,
		"--heap-limit=1.5Gi":            `--heap-limit is "1.5Gi": write a number of bytes, such as 268435456 or 256Mi, auto, or 0`,
		"--heap-limit=-1":               `--heap-limit is "-1": write a number of bytes`,
		"--heap-limit=9999999999Gi":     `--heap-limit is "9999999999Gi": write a number of bytes`,
		"--heap-limit=63Mi":             "--heap-limit is 63Mi: use at least 64Mi, below which Envoy would refuse every request, or 0",
		"--parent-shutdown-time=30s":    "--parent-shutdown-time is 30s, but the predecessor drains for a --drain-time of 30s first: give it at least 31s, or leave it",
		"--parent-shutdown-time=-1s":    "--parent-shutdown-time is -1s: use a longer time, such as 45s",
		"--restart-timeout=0":           "--restart-timeout is 0s: use a longer time, such as 1m",
		"--rescue-tokens=-1":            "--rescue-tokens is -1: use 1 to 1000, or 0",
		"--rescue-tokens=20":            "--rescue-tokens is 20: with a --rescue-delay of 200ms, doubled each time, the last wait would be longer than a day: use at most 19",
		"--rescue-delay=-1s":            "--rescue-delay is -1s: use a longer time, such as 200ms",
		"--rescue-refill=0":             "--rescue-refill is 0s: use a longer time, such as 10m",
		"--min-drain=-1s":               "--min-drain is -1s: use a longer time, such as 0 or 5s",
		"--min-drain=25s":               "--termination-grace-period is 30s, but --min-drain (25s), --stop-timeout (5s) and 1s to spare make 31s: give it at least that, and the Pod too, or shorten the others",
		"--termination-grace-period=5s": "--termination-grace-period is 5s, but --min-drain (5s), --stop-timeout (5s) and 1s to spare make 11s",
		"--app-probes={":                "--app-probes ",
		"--app-metrics=http://a.b/":     `--app-metrics is "http://a.b/", whose host is not a loopback address`,
		"--config=" + regular + "-none": "--config: open " + regular + "-none: no such file or directory",
		"--xds-protocol=soap":           `--xds-protocol is "soap": use one of [delta sotw delta-streams sotw-streams rest]`,
		"--initial-fetch-timeout=-1s":   "--initial-fetch-timeout is -1s: use a longer time",
		"--dir=":                        "--dir is empty: name a folder of this agent alone",
		"--dir=/" + long(96):            "--dir /" + long(96) + " is 97 bytes long, but the sockets in it leave room for 95",
		"--concurrency=-1":              "--concurrency is -1: use 1 to 1024, or 0",
		"--max-connections=0":           "--max-connections is 0: use a number from 1 up",
		"--drain-time=10ms":             "--drain-time is 10ms: use a longer time, such as 30s",
		"--drain-time=soon":             `invalid argument "soon" for "--drain-time"`,
		"--stop-timeout=0":              "--stop-timeout is 0s: use a longer time, such as 5s",
		"--status-address=15021":        `--status-address is "15021": write HOST:PORT, such as 127.0.0.1:15021, or the path of a Unix socket`,
		"--status-address=:0":           `--status-address is ":0"`,
		"--status-address=" + regular:   "which is not a socket: choose a path at which nothing is",
		"--log-format=xml":              `--log-format is "xml": use text or json`,
		"--log-level=loud":              `--log-level is "loud": use debug, info, warn or error`,
		"--envoy-log-level=warn":        `--envoy-log-level is "warn" is not`,
		"--no-such-flag":                "unknown flag: --no-such-flag",
		"argument":                      `unexpected argument "argument": everything is given by flags`,
	} {
		s := newSettings("proxy")
		s.cgroupRoot = root
		err := s.parse(needed(flag), environment{}.lookup)
		if err == nil {
			t.Errorf("%s was taken, want: %s", flag, want)
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s is answered by %q, want: %s", flag, err, want)
		}
		if n := len(unjoined(err)); n != 1 {
			t.Errorf("%s is complained of %d times: %v", flag, n, err)
		}
	}
}

func TestAnXDSAddressIsChecked(t *testing.T) {
	for flags, want := range map[string]string{
		"--xds-address=manager":                           `--xds-address is "manager": write HOST:PORT, such as`,
		"--xds-address=manager:0":                         `"0" is not a port from 1 to 65535`,
		"--xds-address=:15010":                            `"" is neither a host's name nor an address`,
		"--xds-address=man_ager:15010":                    `"man_ager" is neither a host's name nor an address`,
		"--xds-address=0.0.0.0:15010":                     "0.0.0.0 is not where a manager can be reached",
		"--xds-address=m:1 --xds-server-name=https://a":   `--xds-server-name is "https://a", which is no identity: write a DNS name, an address, or an identity such as spiffe://`,
		"--xds-address=m:1 --xds-server-name=spiffe:///a": "which is no identity",
		"--xds-address=m:1 --xds-server-name=a/b":         `--xds-server-name is "a/b": write a DNS name`,

		"--xds-address=m:1 --certificate-source=manager --token-file=t":                 "--manager-roots is missing, but certificates come from the manager: give the path of the mesh's roots",
		"--xds-socket=/s --certificate-source=manager --token-file=t --manager-roots=r": "--xds-address is missing, but certificates come from the manager: give the manager's HOST:PORT",

		"--xds-address=m:1 --certificate-source=manager --token-file=t --manager-roots=r --certs-dir=": "",
		"--xds-address=manager.system:15010":                               "",
		"--xds-address=Manager.System.svc.cluster.local.:15010":            "",
		"--xds-address=[2001:db8::1]:15010 --xds-server-name=192.0.2.1":    "",
		"--xds-address=192.0.2.1:15010 --xds-server-name=manager.system":   "",
		"--xds-address=m:1 --xds-server-name=spiffe://cluster.local/ns/a/": "",
	} {
		s := newSettings("proxy")
		s.cgroupRoot = unlimited(t)
		err := s.parse(append(strings.Fields(flags), "--pod-name=a", "--pod-namespace=b", "--dir=/run/agent"), environment{}.lookup)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s is refused: %v", flags, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s is answered by %v, want: %s", flags, err, want)
		case want == "" && (s.bootstrap.XDSAddress == "" || s.bootstrap.XDSSocket != ""):
			t.Errorf("%s is not in the bootstrap", flags)
		}
	}
}

func long(n int) string { return strings.Repeat("x", n) }

func unjoined(err error) []error {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		return joined.Unwrap()
	}
	return []error{err}
}

func TestAllProblemsAreToldAtOnce(t *testing.T) {
	var stdout, stderr bytes.Buffer
	status := run(context.Background(), []string{
		"proxy", "--pod-name=A", "--app=1", "--app=2,3=127.0.0.1:3", "--labels=,=", "--drain-time=soon", "--xds-socket=/x",
	}, environment{"FAIRLEAD_CONCURRENCY": "many"}.lookup, &stdout, &stderr)
	if status != exitUsage || stdout.Len() > 0 {
		t.Errorf("status %d, want %d; standard output %q", status, exitUsage, &stdout)
	}
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	for i, want := range []string{
		"--drain-time", "FAIRLEAD_CONCURRENCY (--concurrency)", "--pod-name", "--pod-namespace", "--labels has \"\"", "--labels has \"=\"", "--app \"1\"", "--app \"2\"", "lists the flags",
	} {
		if i >= len(lines) || !strings.Contains(lines[i], want) {
			t.Fatalf("line %d does not tell of %s:\n%s", i+1, want, &stderr)
		}
	}
	if len(lines) != 9 {
		t.Errorf("there are %d lines, want 9:\n%s", len(lines), &stderr)
	}
}

func TestCommands(t *testing.T) {
	for _, test := range []struct {
		args           string
		status         int
		stdout, stderr string
	}{
		{"", exitUsage, "", "Usage:"},
		{"help", 0, "fairlead-agent proxy [flags]", ""},
		{"--help", 0, "fairlead-agent proxy [flags]", ""},
		{"proxy --help", 0, "States: starting, live, unresponsive, draining, backing-off, failed.", ""},
		{"bootstrap -h", 0, "It starts nothing and touches no file.", ""},
		{"version", 0, "fairlead-agent dev", ""},
		{"prxy", exitUsage, "", `unknown command "prxy"`},
	} {
		var stdout, stderr bytes.Buffer
		status := run(context.Background(), strings.Fields(test.args), environment{}.lookup, &stdout, &stderr)
		if status != test.status || !strings.Contains(stdout.String(), test.stdout) || !strings.Contains(stderr.String(), test.stderr) {
			t.Errorf("%q gives status %d, output %q, errors %q", test.args, status, &stdout, &stderr)
		}
		if test.status == 0 && stderr.Len() > 0 {
			t.Errorf("%q complains: %s", test.args, &stderr)
		}
	}
}

func TestBootstrapCommandTouchesNoFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	var stdout, stderr bytes.Buffer
	status := run(context.Background(), append([]string{"bootstrap"}, "--pod-name=a", "--pod-namespace=b", "--xds-socket=/run/xds.sock", "--dir="+dir),
		environment{}.lookup, &stdout, &stderr)
	if status != 0 || !strings.Contains(stdout.String(), dir+"/admin.sock") {
		t.Errorf("status %d, output %s, errors %s", status, &stdout, &stderr)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder exists: %v", err)
	}
}

func TestFindEnvoy(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if _, err := findEnvoy(""); err == nil || !strings.Contains(err.Error(), "--envoy is missing, and there is no Envoy at") {
		t.Errorf("without any: %v", err)
	}
	if _, err := findEnvoy(filepath.Join(dir, "envoy")); err == nil || !strings.Contains(err.Error(), `"make envoy" fetches one`) {
		t.Errorf("with a wrong path: %v", err)
	}
	path := filepath.Join(dir, "envoy")
	if err := os.WriteFile(path, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, given := range []string{"", path} {
		if found, err := findEnvoy(given); err != nil || found != path {
			t.Errorf("findEnvoy(%q) = %q, %v", given, found, err)
		}
	}
}
