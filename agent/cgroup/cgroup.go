// Package cgroup tells how much memory the kernel lets this process and its children
// have, and whether it has killed one of them for taking more.
//
// It only reads, and only two kinds of files: /proc/self/cgroup, which says what the
// process' own control group is, and that group's memory files; version 1 and 2 alike
// (cgroups(7)). It never makes, moves or limits a group. Envoy's heap limit and the
// reason for its death are made from what it tells.
package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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

// Where hierarchies are mounted: systemd and container runtimes agree on it.
const (
	mount1 = "sys/fs/cgroup/memory"
	mount2 = "sys/fs/cgroup"
)

// Open finds the group of this process. Root is "/" but in tests.
func Open(root string) (Memory, error) {
	path, version, err := ownGroup(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return Memory{}, err
	}
	m, top := Memory{files: version1}, filepath.Join(root, mount1)
	if version == 2 {
		m.files, top = version2, filepath.Join(root, mount2)
	}
	// In a container the topmost folder may be the container's own group, and those of
	// its path not there; the path of a group outside of its namespace begins with "/..".
	for group := filepath.Join(top, filepath.Clean(path)); ; group = filepath.Dir(group) {
		if _, err := os.Stat(group); err == nil {
			m.groups = append(m.groups, group)
		}
		if group == top {
			break
		}
	}
	if len(m.groups) == 0 {
		return Memory{}, fmt.Errorf("the file system of control groups is not mounted at %s", top)
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
		if slices.Contains(strings.Split(parts[1], ","), "memory") {
			return parts[2], 1, nil
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
