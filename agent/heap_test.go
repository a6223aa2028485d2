package main

import (
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
