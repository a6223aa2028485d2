package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

func shell(t *testing.T, script string, line func(string)) *process {
	t.Helper()
	p, err := start("the script", exec.Command("/bin/sh", "-c", script), line)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAProcessThatEndsSaysHow(t *testing.T) {
	var lines []string
	p := shell(t, "echo one; echo two >&2; exit 3", func(text string) { lines = append(lines, text) })
	<-p.done
	if err := p.exit(); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("exit: %v", err)
	}
	if !slices.Equal(lines, []string{"one", "two"}) || p.lines.String() != "one\ntwo" {
		t.Errorf("lines %q, kept %q", lines, p.lines)
	}
}

func TestAProcessIsAskedToEndBeforeItIsKilled(t *testing.T) {
	up := make(chan struct{})
	p := shell(t, `trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done`, func(text string) {
		if text == "up" {
			close(up)
		}
	})
	<-up
	if err := p.stop(10 * time.Second); err != nil {
		t.Error(err)
	}
	if !strings.Contains(p.lines.String(), "bye") {
		t.Errorf("it printed %q", p.lines)
	}
}

func TestAProcessThatWillNotEndIsKilledWithItsGroup(t *testing.T) {
	mark := "FAIRLEAD_DEMO_TEST=" + t.TempDir()
	up := make(chan struct{})
	cmd := exec.Command("/bin/sh", "-c", `trap '' TERM; sleep 1000 & echo up; while :; do sleep 0.05; done`)
	cmd.Env = append(os.Environ(), mark)
	p, err := start("the script", cmd, func(text string) {
		if text == "up" {
			close(up)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	<-up
	if len(descendants(mark)) < 2 {
		t.Errorf("found %v, not the shell and its child", descendants(mark))
	}
	if err := p.stop(100 * time.Millisecond); err == nil {
		t.Error("no word of having killed it")
	}
	deadline := time.Now().Add(10 * time.Second)
	for len(descendants(mark)) > 0 && time.Now().Before(deadline) {
		_ = pause(t.Context(), 10*time.Millisecond)
	}
	if left := descendants(mark); len(left) > 0 {
		t.Errorf("left running: %v", left)
	}
}

func TestACommandIsPrintedAsItIsTyped(t *testing.T) {
	got := line("kubectl", []string{"get", "vs/a", "-o", `jsonpath={.status}`})
	if got != `kubectl get vs/a -o 'jsonpath={.status}'` {
		t.Errorf("printed %s", got)
	}
}
