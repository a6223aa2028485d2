package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// launcher starts processes from one thread that lives as long as the demo: a child's
// parent-death signal is sent when the thread that made it ends (prctl(2)), and Go ends
// threads as it likes.
var launcher = sync.OnceValue(func() chan<- func() {
	jobs := make(chan func())
	go func() {
		runtime.LockOSThread()
		for job := range jobs {
			job()
		}
	}()
	return jobs
})

// process is a program in a process group of its own, so that Ctrl-C on the terminal
// reaches the demo only, which then ends things in their order.
type process struct {
	name  string
	cmd   *exec.Cmd
	lines *tail
	done  chan struct{}
	err   error
}

// start runs a program. What it prints is kept, its last lines, and given to each line
// function as well, if there is one.
func start(name string, cmd *exec.Cmd, line func(string)) (*process, error) {
	p := &process{name: name, cmd: cmd, lines: &tail{}, done: make(chan struct{})}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = writer, writer
	// SIGTERM, not SIGKILL: `fairlead` has children of its own to end.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	result := make(chan error)
	launcher() <- func() { result <- cmd.Start() }
	err = <-result
	_ = writer.Close()
	if err != nil {
		_ = reader.Close()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		p.lines.follow(reader, line)
	}()
	go func() {
		p.err = cmd.Wait()
		// Its own children may hold the pipe; then the lines so far have to do.
		select {
		case <-read:
		case <-time.After(time.Second):
		}
		_ = reader.Close()
		close(p.done)
	}()
	return p, nil
}

// exit says how the process ended, which it has.
func (p *process) exit() error {
	if p.err == nil {
		return fmt.Errorf("%s ended, with exit status 0", p.name)
	}
	return fmt.Errorf("%s ended: %w", p.name, p.err)
}

// stop asks the process to end and kills its group if it does not in time.
func (p *process) stop(grace time.Duration) error {
	// The leader only: it ends its own children, in its own order.
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return nil
	case <-time.After(grace):
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
		return fmt.Errorf("%s did not end within %s of SIGTERM and was killed", p.name, grace)
	}
}

// tail keeps the last lines of what a program printed.
type tail struct {
	mu    sync.Mutex
	lines []string
}

const tailLength = 25

func (t *tail) follow(r io.Reader, line func(string)) {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		t.mu.Lock()
		t.lines = append(t.lines, scanner.Text())
		if len(t.lines) > tailLength {
			t.lines = t.lines[1:]
		}
		t.mu.Unlock()
		if line != nil {
			line(scanner.Text())
		}
	}
	// A line that is too long must not stop the program that prints it.
	_, _ = io.Copy(io.Discard, r)
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}
