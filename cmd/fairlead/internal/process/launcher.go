// Package process starts the programs that `fairlead up` and `fairlead run` are made
// of, and makes sure that none of them outlives its starter.
//
// Every program gets a process group of its own, so that Ctrl-C on a terminal reaches
// its starter only, which then ends them in the proper order; and a parent-death
// signal, so that a starter which is killed takes them along. The package knows nothing
// of what it starts.
package process

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// Spec says what to start.
type Spec struct {
	// Name is what messages call the program.
	Name string
	Path string
	Args []string
	// Env is the whole environment; nil is the starter's own.
	Env []string
	Dir string
	// Log is a file that takes standard output and standard error, mode 0600; that of
	// the last start is kept beside it with ".old" added. Empty: both are the starter's
	// own.
	Log string
	// ErrorMark is in those lines of the log that say why the program failed: the last of
	// them is told even where others follow it.
	ErrorMark string
}

// Launcher starts processes from one thread that lives as long as the launcher.
//
// A child with a parent-death signal gets it when the thread that made it ends, not the
// process (prctl(2)), and Go ends threads as it likes.
type Launcher struct {
	jobs chan func()
}

// NewLauncher starts the thread.
func NewLauncher() *Launcher {
	l := &Launcher{jobs: make(chan func())}
	go func() {
		// Never unlocked: a goroutine that ends while locked takes its thread along.
		runtime.LockOSThread()
		for job := range l.jobs {
			job()
		}
	}()
	return l
}

// Close ends the thread, and with it every child that is left.
func (l *Launcher) Close() { close(l.jobs) }

// Start runs a program.
func (l *Launcher) Start(spec Spec) (*Process, error) {
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Env = spec.Env
	cmd.Dir = spec.Dir
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if spec.Log != "" {
		log, err := openLog(spec.Log)
		if err != nil {
			return nil, fmt.Errorf("log of %s: %w", spec.Name, err)
		}
		// The child has its own descriptor of it.
		defer func() { _ = log.Close() }()
		cmd.Stdout, cmd.Stderr = log, log
	}
	result := make(chan error)
	l.jobs <- func() { result <- cmd.Start() }
	if err := <-result; err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	p := &Process{Name: spec.Name, Log: spec.Log, errorMark: spec.ErrorMark, cmd: cmd, done: make(chan struct{})}
	go p.wait()
	return p, nil
}

func openLog(path string) (*os.File, error) {
	if err := os.Rename(path, path+".old"); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
}
