package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// found is a running program that belongs to the demo.
type found struct {
	pid      int
	program  string
	resident int64 // bytes
}

// descendants returns the running programs whose command line or environment names the
// data folder: all that the demo started, however far down, and nothing else.
func descendants(data string) []found {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var list []found
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		dir := filepath.Join("/proc", entry.Name())
		// Both fail for programs of others and for ones that have just ended.
		command, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		environment, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if !bytes.Contains(command, []byte(data)) && !bytes.Contains(environment, []byte(data)) {
			continue
		}
		// The program's own name for itself: for Kubernetes' programs the link it was called by.
		name, _, _ := strings.Cut(string(command), "\x00")
		list = append(list, found{pid: pid, program: filepath.Base(name), resident: resident(dir)})
	}
	return list
}

// resident reads the bytes in memory from /proc/PID/status (proc_pid_status(5)).
func resident(dir string) int64 {
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if text, is := strings.CutPrefix(line, "VmRSS:"); is {
			kilobytes, _ := strconv.ParseInt(strings.Fields(text)[0], 10, 64)
			return kilobytes << 10
		}
	}
	return 0
}
