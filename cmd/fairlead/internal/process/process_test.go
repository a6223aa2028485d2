package process

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is for a busy machine; nothing here is expected to take it.
const patience = 30 * time.Second

func start(t *testing.T, script string) *Process {
	t.Helper()
	launcher := NewLauncher()
	p, err := launcher.Start(Spec{Name: "the script", Path: "/bin/sh", Args: []string{"-c", script}, Log: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Signal(syscall.SIGKILL)
		<-p.Done()
		launcher.Close()
	})
	return p
}

// logged waits until the log has the line and returns all of it.
func logged(t *testing.T, p *Process, line string) string {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		content, _ := os.ReadFile(p.Log)
		if strings.Contains(string(content), line+"\n") {
			return string(content)
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never logged %q: %s", line, content)
		}
	}
}

func TestEndByItself(t *testing.T) {
	p := start(t, "for i in $(seq 20); do echo line $i; done; echo oh no >&2; exit 3")
	<-p.Done()
	exit := p.Exit()
	if exit.Code != 3 || exit.Status() != 3 || exit.Signal != 0 {
		t.Errorf("%+v", exit)
	}
	text := exit.Error()
	for _, want := range []string{"the script ended by itself with exit status 3", "  oh no", "  line 20", p.Log} {
		if !strings.Contains(text, want) {
			t.Errorf("%q does not say %q", text, want)
		}
	}
	if strings.Contains(text, "line 5\n") {
		t.Errorf("%q has more than its end", text)
	}
	if info, err := os.Stat(p.Log); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
}

func TestStop(t *testing.T) {
	p := start(t, `trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.01; done`)
	logged(t, p, "up")
	if killed := p.Stop(syscall.SIGTERM, patience); killed || p.Exit().Status() != 0 {
		t.Errorf("killed %t, %+v", killed, p.Exit())
	}
	logged(t, p, "asked")
}

func TestStopOfAStubbornOne(t *testing.T) {
	p := start(t, `trap '' TERM; echo up; while :; do sleep 0.01; done`)
	logged(t, p, "up")
	if killed := p.Stop(syscall.SIGTERM, 20*time.Millisecond); !killed || p.Exit().Signal != syscall.SIGKILL || p.Exit().Status() != 137 {
		t.Errorf("killed %t, %+v", killed, p.Exit())
	}
}

// What the program started itself does not outlive it.
func TestItsChildrenEndWithIt(t *testing.T) {
	p := start(t, `sleep 1000 & echo child $!; echo up`)
	text := logged(t, p, "up")
	<-p.Done()
	child, err := strconv.Atoi(strings.Fields(text)[1])
	if err != nil {
		t.Fatal(err)
	}
	awaitGone(t, child)
}

// A starter that is killed takes the program along.
func TestItsStarterIsKilled(t *testing.T) {
	if pidFile := os.Getenv("FAIRLEAD_TEST_STARTER"); pidFile != "" {
		p, err := NewLauncher().Start(Spec{Name: "sleep", Path: "/bin/sleep", Args: []string{"1000"}, Log: pidFile + ".log"})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = os.Stdout.WriteString("started " + strconv.Itoa(p.PID()) + "\n")
		<-p.Done()
		return
	}
	starter := exec.Command(os.Args[0], "-test.run=^TestItsStarterIsKilled$")
	starter.Env = append(os.Environ(), "FAIRLEAD_TEST_STARTER="+filepath.Join(t.TempDir(), "starter"))
	output, err := starter.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := starter.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "started ")))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatal("it does not run:", err)
	}
	if err := starter.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = starter.Wait()
	awaitGone(t, pid)
}

func TestLogOfTheLastStartIsKept(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	launcher := NewLauncher()
	defer launcher.Close()
	for _, word := range []string{"first", "second"} {
		p, err := launcher.Start(Spec{Name: word, Path: "/bin/echo", Args: []string{word}, Log: log})
		if err != nil {
			t.Fatal(err)
		}
		<-p.Done()
	}
	now, err1 := os.ReadFile(log)
	old, err2 := os.ReadFile(log + ".old")
	if err := errors.Join(err1, err2); err != nil || string(now) != "second\n" || string(old) != "first\n" {
		t.Errorf("%q, %q, %v", now, old, err)
	}
}

func TestTheLineThatSaysWhy(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	launcher := NewLauncher()
	defer launcher.Close()
	p, err := launcher.Start(Spec{Name: "sh", Path: "/bin/sh", Log: log, ErrorMark: "level=ERROR",
		Args: []string{"-c", "echo level=ERROR first; echo level=ERROR why; for i in $(seq 20); do echo line $i; done"}})
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	lines := p.Exit().LastLines
	if len(lines) != keptLines+1 || lines[0] != "level=ERROR why" || lines[keptLines] != "line 20" {
		t.Errorf("%q", lines)
	}
}

// awaitGone waits until no such process runs. One whose parent does not collect it stays
// as a zombie, which is as good.
func awaitGone(t *testing.T, pid int) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("process %d still runs", pid)
		}
	}
}

// One line that is longer than what is read of the log is told by its end.
func TestALineWithoutAnEndInSight(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte(strings.Repeat("x", 2*tailBytes)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if lines := lastLines(path, ""); len(lines) != 1 || !strings.HasPrefix(lines[0], "xxx") {
		t.Errorf("%.60q", lines)
	}
}
