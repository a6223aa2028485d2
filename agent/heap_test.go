package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// machine is the root of a machine on which the process' group has the memory limit given.
func machine(t *testing.T, limit string) string {
	t.Helper()
	root := t.TempDir()
	for path, content := range map[string]string{
		"proc/self/cgroup":         "0::/\n",
		"proc/self/mountinfo":      "30 22 0:26 / /sys/fs/cgroup rw - cgroup2 none rw\n",
		"sys/fs/cgroup/memory.max": limit + "\n",
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestHeapLimit(t *testing.T) {
	for _, test := range []struct {
		flag, cgroup string
		want         uint64
		warning      string
	}{
		{"auto", "max", 0, ""},
		// At least 64 MiB are for all but the heap.
		{"auto", "268435456", 192 << 20, ""},
		{"auto", "134217728", 64 << 20, ""},
		// From 427 MiB up, 15 %.
		{"auto", "1000000000", 850_000_000, ""},
		{"auto", "134217727", 0, "leaves it less than 64Mi: raise the container's limit to 128Mi or more"},
		{"auto", "nonsense", 0, "Envoy's heap has no limit, since --heap-limit is auto and the memory limit is not known"},
		{"0", "134217728", 0, ""},
		{"64Mi", "max", 64 << 20, ""},
		{"1G", "max", 1_000_000_000, ""},
		{"268435456", "max", 256 << 20, ""},
	} {
		s := newSettings("proxy")
		s.cgroupRoot = machine(t, test.cgroup)
		if err := s.parse(needed("--heap-limit="+test.flag), environment{}.lookup); err != nil {
			t.Errorf("%s of %s: %v", test.flag, test.cgroup, err)
			continue
		}
		if s.bootstrap.HeapLimit != test.want {
			t.Errorf("%s of %s is %d, want %d", test.flag, test.cgroup, s.bootstrap.HeapLimit, test.want)
		}
		if got := strings.Join(s.warnings, "\n"); (test.warning == "") != (got == "") || !strings.Contains(got, test.warning) {
			t.Errorf("%s of %s warns %q, want %q", test.flag, test.cgroup, got, test.warning)
		}
	}
}

func TestBootstrapNamesTheCertificateIfThereIsOne(t *testing.T) {
	certs := t.TempDir()
	printed := func(flags ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		arguments := append([]string{"bootstrap", "--pod-name=a", "--pod-namespace=b", "--dir=/run/agent", "--certs-dir=" + certs}, flags...)
		if status := run(context.Background(), arguments, environment{}.lookup, &stdout, &stderr); status != 0 {
			t.Fatalf("status %d: %s", status, &stderr)
		}
		return stdout.String()
	}
	const socket, proof = "--xds-socket=/run/xds.sock", "/run/agent/proof.sock"
	if out := printed(socket); strings.Contains(out, proof) || strings.Contains(out, "CERTS_DIR") {
		t.Errorf("there is no certificate, but the bootstrap names one:\n%s", out)
	}
	if out := printed("--xds-address=manager:15010"); !strings.Contains(out, proof) || !strings.Contains(out, `"CERTS_DIR": "/run/agent/certs"`) {
		t.Errorf("the manager asks for a certificate, but the bootstrap names none:\n%s", out)
	}
	for _, name := range []string{"root-cert.pem", "cert-chain.pem", "key.pem"} {
		if err := os.WriteFile(filepath.Join(certs, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out := printed(socket); !strings.Contains(out, proof) || !strings.Contains(out, "/run/agent/pressure-0") {
		t.Errorf("there is a certificate, but the bootstrap does not name it:\n%s", out)
	}
}
