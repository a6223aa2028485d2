package cgroup_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead.dev/fairlead/agent/cgroup"
)

// tree writes files below a folder, which stands for the root of a machine's.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for path, content := range files {
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

const (
	unlimited = "9223372036854771712\n"
	v2Events  = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n"
)

func TestMemory(t *testing.T) {
	for name, test := range map[string]struct {
		files   map[string]string
		limit   uint64
		limited bool
		kills   uint64
	}{
		"version 2, in a container with its own namespace": {
			files: map[string]string{
				"proc/self/cgroup":         "0::/\n",
				"sys/fs/cgroup/memory.max": "268435456\n", "sys/fs/cgroup/memory.events": v2Events,
			},
			limit: 256 << 20, limited: true, kills: 2,
		},
		"version 2, nested on a host: the group above allows less": {
			files: map[string]string{
				"proc/self/cgroup": "0::/kubepods.slice/pod1/agent\n",
				"sys/fs/cgroup/kubepods.slice/pod1/agent/memory.max":    "max\n",
				"sys/fs/cgroup/kubepods.slice/pod1/agent/memory.events": v2Events,
				"sys/fs/cgroup/kubepods.slice/pod1/memory.max":          "104857600\n",
				"sys/fs/cgroup/kubepods.slice/memory.max":               "8589934592\n",
			},
			limit: 100 << 20, limited: true, kills: 2,
		},
		"version 2, no limit": {
			files: map[string]string{
				"proc/self/cgroup":                    "0::/user.slice\n",
				"sys/fs/cgroup/user.slice/memory.max": "max\n", "sys/fs/cgroup/user.slice/memory.events": "oom_kill 0\n",
			},
		},
		"version 2, memory counted for the group above only": {
			files: map[string]string{
				"proc/self/cgroup":               "0::/a/b\n",
				"sys/fs/cgroup/a/b/cgroup.procs": "", "sys/fs/cgroup/a/memory.max": "1000\n", "sys/fs/cgroup/a/memory.events": "oom_kill 7\n",
			},
			limit: 1000, limited: true, kills: 7,
		},
		"version 1, on a host": {
			files: map[string]string{
				"proc/self/cgroup": "4:cpu,memory:/a:b/c\n1:name=systemd:/x\n",
				"sys/fs/cgroup/memory/a:b/c/memory.limit_in_bytes": "134217728\n",
				"sys/fs/cgroup/memory/a:b/c/memory.oom_control":    "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n",
				"sys/fs/cgroup/memory/memory.limit_in_bytes":       unlimited,
			},
			limit: 128 << 20, limited: true, kills: 5,
		},
		"version 1, in a container that sees its own group as the topmost": {
			files: map[string]string{
				"proc/self/cgroup":                           "4:memory:/docker/0a1b\n",
				"sys/fs/cgroup/memory/memory.limit_in_bytes": "134217728\n", "sys/fs/cgroup/memory/memory.oom_control": "oom_kill 1\n",
			},
			limit: 128 << 20, limited: true, kills: 1,
		},
		"version 1, no limit": {
			files: map[string]string{
				"proc/self/cgroup":                           "4:memory:/\n",
				"sys/fs/cgroup/memory/memory.limit_in_bytes": unlimited, "sys/fs/cgroup/memory/memory.oom_control": "oom_kill 0\n",
			},
		},
		"hybrid: memory is with version 1": {
			files: map[string]string{
				"proc/self/cgroup": "4:memory:/one\n0::/two\n",
				"sys/fs/cgroup/memory/one/memory.oom_control":  "oom_kill 4\n",
				"sys/fs/cgroup/unified/two/memory.max":         "1\n",
				"sys/fs/cgroup/memory/memory.limit_in_bytes":   "2000\n",
				"sys/fs/cgroup/memory/two/memory.oom_control":  "oom_kill 9\n",
				"sys/fs/cgroup/memory/one/memory.limit_in_xyz": "",
			},
			limit: 2000, limited: true, kills: 4,
		},
		"version 2, a group outside of the process' namespace": {
			files: map[string]string{
				"proc/self/cgroup": "0::/../other\n", "sys/fs/cgroup/memory.max": "3000\n", "sys/fs/cgroup/memory.events": "oom_kill 0\n",
			},
			limit: 3000, limited: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			memory, err := cgroup.Open(tree(t, test.files))
			if err != nil {
				t.Fatal(err)
			}
			limit, limited, err := memory.Limit()
			if err != nil || limit != test.limit || limited != test.limited {
				t.Errorf("the limit is %d, %v, %v; want %d, %v", limit, limited, err, test.limit, test.limited)
			}
			if kills, err := memory.OOMKills(); err != nil || kills != test.kills {
				t.Errorf("there were %d kills (%v), want %d", kills, err, test.kills)
			}
		})
	}
}

func TestWhatCannotBeReadIsTold(t *testing.T) {
	for want, files := range map[string]map[string]string{
		"names none for memory":     {"proc/self/cgroup": "3:cpu:/a\n"},
		"no such file or directory": {},
		"is not mounted at":         {"proc/self/cgroup": "0::/a\n"},
	} {
		if _, err := cgroup.Open(tree(t, files)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want: %s", err, want)
		}
	}
	for want, file := range map[string]string{
		`memory.max has "some", which is no number`: "memory.max",
		"has no line oom_kill":                      "memory.events",
		"has a file memory.events":                  "other",
	} {
		memory, err := cgroup.Open(tree(t, map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/" + file: "some\n",
		}))
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = memory.Limit()
		if err == nil {
			_, err = memory.OOMKills()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want: %s", err, want)
		}
	}
}

// The real group of the test, whatever the machine's kernel has.
func TestThisProcess(t *testing.T) {
	memory, err := cgroup.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	limit, limited, err := memory.Limit()
	if err != nil || limited && limit < 1<<20 {
		t.Errorf("the limit is %d, %v, %v", limit, limited, err)
	}
	if _, err := memory.OOMKills(); err != nil {
		t.Error(err)
	}
}
