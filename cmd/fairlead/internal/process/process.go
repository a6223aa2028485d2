package process

import (
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a program that was started.
type Process struct {
	Name string
	// Log is the file that has what the program wrote; empty if there is none.
	Log string

	errorMark string

	cmd  *exec.Cmd
	done chan struct{}
	// exit is set before done is closed.
	exit *ExitError

	mu sync.Mutex
	// gone guards against signals to a process id that was given back.
	gone bool
}

// PID is the process id, and that of the process group.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed once the process, and what it left behind in its group, is gone.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit tells how it ended. It may be called only after Done.
func (p *Process) Exit() *ExitError { return p.exit }

// wait collects the process. Its group is killed while the leader is still a zombie,
// since until then nobody else can get the number.
func (p *Process) wait() {
	defer close(p.done)
	for {
		err := unix.Waitid(unix.P_PID, p.PID(), nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.mu.Lock()
	p.gone = true
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
	p.mu.Unlock()
	_ = p.cmd.Wait()
	p.exit = newExitError(p)
}

// Signal sends a signal to the whole process group, as a terminal does.
func (p *Process) Signal(signal syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone {
		_ = syscall.Kill(-p.PID(), signal)
	}
}

// Stop asks the process to end by the signal given, kills its group after the grace
// period, and returns once it is gone. It says whether it had to be killed.
func (p *Process) Stop(signal syscall.Signal, grace time.Duration) (killed bool) {
	p.Signal(signal)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
		return false
	case <-timer.C:
		p.Signal(syscall.SIGKILL)
		<-p.done
		return true
	}
}

// ExitError tells how a process ended that was expected to run on.
type ExitError struct {
	Name string
	// Code is the exit status, or -1 if a signal ended it.
	Code int
	// Signal is 0 if it exited by itself.
	Signal syscall.Signal
	// Log is the file with all that it wrote, and LastLines the end of it.
	Log       string
	LastLines []string
}

func newExitError(p *Process) *ExitError {
	e := &ExitError{Name: p.Name, Code: p.cmd.ProcessState.ExitCode(), Log: p.Log, LastLines: lastLines(p.Log, p.errorMark)}
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		e.Signal = status.Signal()
	}
	return e
}

// Status is what a shell would give as the exit status.
func (e *ExitError) Status() int {
	if e.Signal != 0 {
		return 128 + int(e.Signal)
	}
	return e.Code
}

func (e *ExitError) Error() string {
	text := fmt.Sprintf("%s ended by itself with exit status %d", e.Name, e.Code)
	if e.Signal != 0 {
		text = fmt.Sprintf("%s was ended by signal %d (%s)", e.Name, int(e.Signal), unix.SignalName(e.Signal))
	}
	if len(e.LastLines) > 0 {
		text += "; its last lines:"
		for _, line := range e.LastLines {
			text += "\n  " + line
		}
	}
	if e.Log != "" {
		text += "\nall of them are in " + e.Log
	}
	return text
}
