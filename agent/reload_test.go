package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"fairlead.dev/fairlead/agent/bootstrap"
	"fairlead.dev/fairlead/agent/certs"
)

// configured is a file of flags.
func configured(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.conf")
	write(t, path, content)
	return path
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestConfigFile(t *testing.T) {
	path := configured(t, `# What the injector does not know.
workload = reviews
	stop-timeout=3s

app = 80=127.0.0.1:81
app = 9080=127.0.0.1:40123
app-probes = {"/app-health/web/livez": {"httpGet": {"path": "/#a=b", "port": 80}}}
labels = app=reviews,version=v1
min-drain = 1s
locality =
`)
	s := parsed(t, environment{"FAIRLEAD_MIN_DRAIN": "2s", "FAIRLEAD_CONFIG": path}, needed("--workload=given")...)
	if s.workload != "given" || s.minDrain != 2*time.Second || s.stopTimeout != 3*time.Second {
		t.Errorf("workload %s, drain %s, stop %s: an argument goes before the environment, and that before the file", s.workload, s.minDrain, s.stopTimeout)
	}
	if len(s.bootstrap.Apps) != 2 || s.bootstrap.Labels["version"] != "v1" || !strings.Contains(s.appProbes, "/#a=b") || s.probes["/app-health/web/livez"].HTTPGet == nil {
		t.Errorf("applications %v, labels %v, probes %v", s.bootstrap.Apps, s.bootstrap.Labels, s.probes)
	}
}

func TestAProblemOfAFileNamesTheLine(t *testing.T) {
	for content, want := range map[string]string{
		"workload":                       `:1: "workload" has no '=': write flag = value, or begin a comment with '#'`,
		"\n\nwork = 1":                   `:3: there is no flag "work"`,
		"--workload = a":                 `:1: "--workload" begins with '-': write the flag's name alone`,
		"config = /x":                    ":1: a file cannot name another one: give --config as an argument or by the environment",
		"drain-time = soon":              `:1: drain-time is "soon": time: invalid duration`,
		"min-drain = 1s\nmin-drain = 2s": ":2: min-drain is given a second time, after line 1: leave one of them",
		"# a\ndrain-time = 10ms":         ":2: --drain-time is 10ms: use a longer time, such as 30s",
		"labels = a":                     `:1: --labels has "a": write each label as key=value`,
		"\x00":                           " is no text",
	} {
		path := configured(t, content)
		err := newSettings("proxy").parse(needed("--config="+path), environment{}.lookup)
		if err == nil || !strings.Contains(err.Error(), path+want) {
			t.Errorf("%q is answered by %v, want: %s", content, err, want)
		} else if n := len(unjoined(err)); n != 1 {
			t.Errorf("%q is complained of %d times: %v", content, n, err)
		}
	}
}

// Of a pipe, which nobody writes to, one would wait for ever.
func TestAPipeIsNoConfiguration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	err := newSettings("proxy").parse(needed("--config="+path), environment{}.lookup)
	if err == nil || !strings.Contains(err.Error(), path+" is no regular file") {
		t.Error(err)
	}
}

func TestReload(t *testing.T) {
	path := configured(t, "workload = reviews\nmin-drain = 1s\n")
	s := parsed(t, nil, needed("--config="+path)...)

	next, unchangeable, err := s.reload()
	if err != nil || len(unchangeable) > 0 || fmt.Sprint(next.bootstrap) != fmt.Sprint(s.bootstrap) {
		t.Errorf("nothing changed, but %v did (%v), and the bootstrap is made of %+v", unchangeable, err, next.bootstrap)
	}

	write(t, path, "workload = reviews\nmin-drain = 9s\nstatus-address = 127.0.0.1:1\nlabels = version=v2\nheap-limit = 64Mi\n")
	next, unchangeable, err = s.reload()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(unchangeable, []string{"min-drain", "status-address"}) {
		t.Errorf("%v cannot change", unchangeable)
	}
	if next.bootstrap.Labels["version"] != "v2" || next.bootstrap.HeapLimit != 64<<20 {
		t.Errorf("the bootstrap is made of %+v", next.bootstrap)
	}
	if next.minDrain != time.Second || next.statusAddress != s.statusAddress {
		t.Errorf("what cannot change did: %s, %s", next.minDrain, next.statusAddress)
	}
	if s.bootstrap.Labels["version"] != "" {
		t.Error("the former settings changed")
	}
	// What the next is compared with is what runs.
	if _, unchangeable, err := next.reload(); err != nil || len(unchangeable) != 2 {
		t.Errorf("the file still differs from what runs, but is told of %v, %v", unchangeable, err)
	}

	write(t, path, "workload = X\nlabels = a\n")
	if next, _, err := s.reload(); next != nil || err == nil || len(unjoined(err)) != 2 ||
		!strings.Contains(err.Error(), path+`:1: --workload is "X"`) || !strings.Contains(err.Error(), path+`:2: --labels has "a"`) {
		t.Errorf("two problems are told as %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.reload(); err == nil || !strings.Contains(err.Error(), "--config: open "+path+": no such file") {
		t.Errorf("a missing file is told as %v", err)
	}
}

func TestBootstrapCommandReadsTheFile(t *testing.T) {
	path := configured(t, "pod-name = a\npod-namespace = b\nxds-socket = /run/xds.sock\ndir = /run/agent\nrevision = canary\n")
	var stdout, stderr bytes.Buffer
	if status := run(context.Background(), []string{"bootstrap", "--config", path}, environment{}.lookup, &stdout, &stderr); status != 0 || !strings.Contains(stdout.String(), `"REVISION": "canary"`) {
		t.Errorf("status %d, output %s, errors %s", status, &stdout, &stderr)
	}
}

func TestBootstrapNamesTheCertificateIfOneIsExpected(t *testing.T) {
	printed := func(flags ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		arguments := append([]string{"bootstrap", "--pod-name=a", "--pod-namespace=b", "--dir=/run/agent"}, flags...)
		if status := run(context.Background(), arguments, environment{}.lookup, &stdout, &stderr); status != 0 {
			t.Fatalf("status %d: %s", status, &stderr)
		}
		return stdout.String()
	}
	for _, pair := range [][2]string{
		{bootstrap.CertificateSecret, certs.CertificateSecret}, {bootstrap.RootsSecret, certs.RootsSecret},
		{"/run/agent/certs/" + bootstrap.CertificateFile, certs.PathsIn("/run/agent").CertificateSDS},
		{"/run/agent/certs/" + bootstrap.RootsFile, certs.PathsIn("/run/agent").RootsSDS},
	} {
		if pair[0] != pair[1] {
			t.Errorf("the bootstrap names %s, but the agent writes %s", pair[0], pair[1])
		}
	}
	const socket, proof = "--xds-socket=/run/xds.sock", "/run/agent/proof.sock"
	if out := printed(socket); strings.Contains(out, proof) || strings.Contains(out, "/run/agent/certs") {
		t.Errorf("there is none at the usual place, but the bootstrap names one:\n%s", out)
	}
	if out := printed("--xds-address=manager:15010"); !strings.Contains(out, proof) || !strings.Contains(out, "/run/agent/certs") {
		t.Errorf("the manager asks for a certificate, but the bootstrap names none:\n%s", out)
	}
	if out := printed(socket, "--certs-dir=/run/certs-to-come"); !strings.Contains(out, proof) || !strings.Contains(out, "/run/agent/pressure-0") {
		t.Errorf("a folder for them was given, but the bootstrap does not name it:\n%s", out)
	}
}

func TestAComplaintOfTheConfigurationGoesWhenItIsMended(t *testing.T) {
	path := configured(t, "labels = version=v1\n")
	a := &agent{settings: parsed(t, nil, needed("--config="+path)...), log: slog.New(slog.DiscardHandler)}
	for _, step := range []struct {
		content, complaint string
		changed            bool
	}{
		{"labels = a\n", path + `:1: --labels has "a"`, false},
		{"labels = version=v1\n", "", false},
		{"labels = version=v2\n", "", true},
	} {
		write(t, path, step.content)
		if changed := a.reload(); changed != step.changed || !strings.HasPrefix(a.complaint, step.complaint) || (step.complaint == "") != (a.complaint == "") {
			t.Errorf("%q: changed %v, complaint %q", step.content, changed, a.complaint)
		}
	}
}
