// Package cgroup tells how much memory the kernel lets this process and its children
// have, and whether it has killed one of them for taking more.
//
// It only reads, and only two kinds of files: /proc/self, which says where the process'
// own control group is, and that group's memory files; version 1 and 2 alike
// (cgroups(7)). It never makes, moves or limits a group. Envoy's heap limit and the
// reason for its death are made from what it tells.
package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Memory is the memory controller's view of the process' own group.
type Memory struct {
	// groups are the folders from the group itself up to the topmost that can be seen:
	// a limit of any of them holds.
	groups []string
	files  files
}

// files are the names of a version.
type files struct {
	limit, kills string
}

var (
	// https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
	version1 = files{limit: "memory.limit_in_bytes", kills: "memory.oom_control"}
	// https://docs.kernel.org/admin-guide/cgroup-v2.html
	version2 = files{limit: "memory.max", kills: "memory.events"}
)

// noLimit is below what version 1 says for "unlimited", which is the largest multiple of
// a page in 63 bits, and far above any machine.
const noLimit = 1 << 60

// Open finds the group of this process. Root is "/" but in tests.
func Open(root string) (Memory, error) {
	path, version, err := ownGroup(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return Memory{}, err
	}
	top, below, err := mountOf(filepath.Join(root, "proc/self/mountinfo"), version, path)
	if err != nil {
		return Memory{}, err
	}
	m := Memory{files: version1}
	if version == 2 {
		m.files = version2
	}
	top = filepath.Join(root, top)
	for group := filepath.Join(top, below); ; group = filepath.Dir(group) {
		m.groups = append(m.groups, group)
		if group == top {
			break
		}
	}
	if _, err := os.Stat(m.groups[0]); err != nil {
		return Memory{}, fmt.Errorf("the process' control group: %w", err)
	}
	return m, nil
}

// ownGroup reads /proc/self/cgroup: lines of "hierarchy:controllers:path". Memory may be
// with version 1 although version 2 is there too ("hybrid").
func ownGroup(file string) (path string, version int, err error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", 0, fmt.Errorf("find the process' control group: %w", err)
	}
	for line := range strings.Lines(string(content)) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for controller := range strings.SplitSeq(parts[1], ",") {
			if controller == "memory" {
				return parts[2], 1, nil
			}
		}
		if parts[0] == "0" && parts[1] == "" {
			path, version = parts[2], 2
		}
	}
	if version == 0 {
		return "", 0, fmt.Errorf("find the process' control group: %s names none for memory", file)
	}
	return path, version, nil
}

// mountOf finds where the hierarchy is mounted, and the group's path below there. In a
// container the mount may show the container's own group and nothing above.
func mountOf(file string, version int, group string) (mountPoint, below string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return "", "", fmt.Errorf("find the process' control group: %w", err)
	}
	defer func() { _ = f.Close() }()
	seen := ""
	lines := bufio.NewScanner(f)
	// An overlay's line has a path for each of its layers.
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		m, ok := parseMount(lines.Text())
		if !ok || !m.has(version) {
			continue
		}
		below, err := filepath.Rel(m.root, group)
		if err == nil && below != ".." && !strings.HasPrefix(below, "../") {
			return m.point, below, nil
		}
		seen = m.root
	}
	if err := lines.Err(); err != nil {
		return "", "", fmt.Errorf("read %s: %w", file, err)
	}
	if seen != "" {
		return "", "", fmt.Errorf("the process' control group is %s, but only what is below %s can be seen here", group, seen)
	}
	return "", "", errors.New("the file system of control groups is not mounted here")
}

// mount is a line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
type mount struct {
	root, point, kind string
	options           string
}

func parseMount(line string) (mount, bool) {
	left, right, ok := strings.Cut(line, " - ")
	before, after := strings.Fields(left), strings.Fields(right)
	if !ok || len(before) < 6 || len(after) < 3 {
		return mount{}, false
	}
	return mount{root: unescape(before[3]), point: unescape(before[4]), kind: after[0], options: after[2]}, true
}

func (m mount) has(version int) bool {
	if version == 2 {
		return m.kind == "cgroup2"
	}
	if m.kind != "cgroup" {
		return false
	}
	for option := range strings.SplitSeq(m.options, ",") {
		if option == "memory" {
			return true
		}
	}
	return false
}

// unescape undoes what the kernel does to space, tab, newline and backslash.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace

// Limit is the most memory that the process may have together with all others of its
// group: the least of what the group and those above it allow.
func (m Memory) Limit() (bytes uint64, limited bool, err error) {
	bytes = noLimit
	for _, group := range m.groups {
		path := filepath.Join(group, m.files.limit)
		content, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			// The topmost group of a machine has no limit to give.
			continue
		}
		if err != nil {
			return 0, false, fmt.Errorf("read the memory limit: %w", err)
		}
		text := strings.TrimSpace(string(content))
		if text == "max" {
			continue
		}
		limit, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return 0, false, fmt.Errorf("read the memory limit: %s has %.40q, which is no number", path, text)
		}
		bytes = min(bytes, limit)
	}
	if bytes >= noLimit {
		return 0, false, nil
	}
	return bytes, true, nil
}

// OOMKills is how many processes the kernel has ended in the group since it was made,
// because it had no memory left for them. Only a difference says something of one of them.
func (m Memory) OOMKills() (uint64, error) {
	for _, group := range m.groups {
		path := filepath.Join(group, m.files.kills)
		content, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			// Memory may be counted for the group above only.
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("count processes that ran out of memory: %w", err)
		}
		for line := range strings.Lines(string(content)) {
			if value, ok := strings.CutPrefix(line, "oom_kill "); ok {
				return strconv.ParseUint(strings.TrimSpace(value), 10, 64)
			}
		}
		return 0, fmt.Errorf("count processes that ran out of memory: %s has no line oom_kill: the kernel is older than 4.13", path)
	}
	return 0, fmt.Errorf("count processes that ran out of memory: no group of this process has a file %s", m.files.kills)
}
