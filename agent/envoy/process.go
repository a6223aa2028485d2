package envoy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// launcher starts processes from one thread that lives as long as the launcher.
//
// A child with a parent-death signal gets it when the *thread* that made it ends, not
// the process (prctl(2)), and Go ends threads as it likes. Envoy sets such a signal
// for itself too, so this holds whatever is put into SysProcAttr.
type launcher struct {
	jobs chan func()
}

func newLauncher() *launcher {
	l := &launcher{jobs: make(chan func())}
	go func() {
		// Never unlocked: a goroutine that ends while locked takes its thread along.
		runtime.LockOSThread()
		for job := range l.jobs {
			job()
		}
	}()
	return l
}

func (l *launcher) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		// An agent that is killed takes Envoy with it: an Envoy without an agent
		// would serve on with nobody to drain or to restart it.
		Pdeathsig: syscall.SIGKILL,
		// A group of its own, so that Ctrl-C on a terminal reaches the agent only,
		// which then stops Envoy in the proper order.
		Setpgid: true,
	}
	result := make(chan error)
	l.jobs <- func() { result <- cmd.Start() }
	return <-result
}

// close may be called only when no child is left: it ends their parent thread.
func (l *launcher) close() { close(l.jobs) }

// process is one epoch of Envoy.
type process struct {
	epoch   int
	pid     int
	cmd     *exec.Cmd
	started time.Time
	logs    *logWriter
	// bootstrap is what it was started from.
	bootstrap bootstrapOf
	// mute is why it cannot be asked how it is; empty if it can.
	mute string

	// done is closed when the process is gone; exit is set before that.
	done chan struct{}
	exit *ExitError
}

// startProcess runs Envoy. Its standard output, which access logs may name, is passed
// on untouched.
func startProcess(l *launcher, cmd *exec.Cmd, epoch int, stdout io.Writer, logs *logWriter) (*process, error) {
	cmd.Stdout = stdout
	cmd.Stderr = logs
	// Something that Envoy started could hold the pipe open after its end.
	cmd.WaitDelay = time.Second
	p := &process{epoch: epoch, cmd: cmd, logs: logs, started: time.Now(), done: make(chan struct{})}
	if err := l.start(cmd); err != nil {
		return nil, fmt.Errorf("start envoy: %w", err)
	}
	p.pid = cmd.Process.Pid
	go func() {
		defer close(p.done)
		_ = cmd.Wait()
		p.exit = newExitError(p)
	}()
	return p, nil
}

func (p *process) signal(s syscall.Signal) {
	// An error means that the process is gone, which done tells anyway.
	_ = p.cmd.Process.Signal(s)
}

// ExitError tells how an Envoy ended that nobody had told to.
type ExitError struct {
	Epoch, PID int
	// Code is the exit status, or -1 if a signal ended it.
	Code int
	// Signal is 0 if it exited by itself.
	Signal syscall.Signal
	// OutOfMemory: the kernel killed it because the container had no memory left.
	OutOfMemory bool
	// Uptime is how long the process had lived.
	Uptime time.Duration
	// LastLines are the last lines of Envoy's log, at most 50, oldest first.
	LastLines []string
}

func newExitError(p *process) *ExitError {
	e := &ExitError{
		Epoch: p.epoch, PID: p.pid,
		Code:      p.cmd.ProcessState.ExitCode(),
		Uptime:    time.Since(p.started).Round(time.Millisecond),
		LastLines: p.logs.last(),
	}
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		e.Signal = status.Signal()
	}
	return e
}

func (e *ExitError) Error() string {
	how := fmt.Sprintf("exited with code %d", e.Code)
	if e.Signal != 0 {
		how = fmt.Sprintf("was killed by signal %d (%s)", int(e.Signal), unix.SignalName(e.Signal))
	}
	if e.OutOfMemory {
		how += " for want of memory (the container's limit is reached: raise it, or lower what Envoy keeps)"
	}
	return fmt.Sprintf("envoy (epoch %d, pid %d) %s after %s", e.Epoch, e.PID, how, e.Uptime)
}

// InvalidBootstrapError is the answer of `envoy --mode validate`.
type InvalidBootstrapError struct {
	// Path is the file that was refused. It is left for inspection.
	Path string
	// Words are Envoy's.
	Words string
}

func (e *InvalidBootstrapError) Error() string {
	return fmt.Sprintf("envoy was not started, because it refuses %s: %s", e.Path, e.Words)
}

// validate asks Envoy whether it would take the file. It opens no socket.
func validate(ctx context.Context, l *launcher, cmd *exec.Cmd, path string, logs *logWriter) error {
	cmd.Stdout, cmd.Stderr = io.Discard, logs
	cmd.WaitDelay = time.Second
	if err := l.start(cmd); err != nil {
		return fmt.Errorf("validate %s: %w", path, err)
	}
	err := cmd.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("validate %s: %w", path, context.Cause(ctx))
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		words := strings.Join(logs.complaints(), "\n")
		// Envoy repeats the path, which the error names already.
		words = strings.TrimPrefix(words, fmt.Sprintf("error initializing configuration '%s': ", path))
		if words == "" {
			words = exit.Error()
		}
		return &InvalidBootstrapError{Path: path, Words: words}
	}
	if err != nil {
		return fmt.Errorf("validate %s: %w", path, err)
	}
	return nil
}
