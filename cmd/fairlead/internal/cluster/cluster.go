// Package cluster is `fairlead up`: a Kubernetes API on this machine, with the mesh's
// manager beside it, in a data folder.
//
// It starts real programs and brings in the objects that they need; it decides nothing
// about the mesh. Whatever it starts ends with it.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"fairlead.dev/fairlead/cmd/fairlead/internal/datadir"
	"fairlead.dev/fairlead/cmd/fairlead/internal/process"
	"fairlead.dev/fairlead/cmd/fairlead/internal/reserve"
)

const (
	// firstPort to lastPort are tried in turn where no port is asked for.
	firstPort, lastPort = 16443, 16542
	// firstXDSPort to lastXDSPort are tried for the manager.
	firstXDSPort, lastXDSPort = 16543, 16642
	// startTimeout is some twenty times what a start takes on an idle machine.
	startTimeout = 90 * time.Second
	// stopGrace is how long a program has to end by itself. The API server would
	// otherwise wait for others' watches to end.
	stopGrace = 5 * time.Second
	// settleTime is how long after a program's end the others are looked at, to tell the
	// cause from what it brought down: the kernel takes a while to collect a large one.
	settleTime = 250 * time.Millisecond
)

// Place is where the Node, and with it every workload, is said to be.
type Place struct {
	Region, Zone string
}

// Options are what Up needs.
type Options struct {
	// Data is the data folder.
	Data string
	// APIPort is the API server's port on 127.0.0.1; 0 takes a free one.
	APIPort  uint16
	Programs Programs
	Place    Place
	// WithoutManager leaves the manager to somebody else.
	WithoutManager bool
	// ManagerArgs are added to the manager's flags.
	ManagerArgs []string
	// Out is where a person reads what happens.
	Out io.Writer
}

// running is what Up has started so far.
type running struct {
	options Options
	dir     datadir.Dir
	// xds is where the manager serves proxies and agents, as HOST:PORT.
	xds      string
	launcher *process.Launcher
	began    time.Time

	mu        sync.Mutex
	processes []*process.Process
	stopping  bool
	// fail ends the whole with a cause.
	fail context.CancelCauseFunc
}

// Up runs the cluster until the context is done, which is no error, or until one of its
// programs ends, which is one. Either way nothing is left running.
func Up(ctx context.Context, o Options) error {
	if err := o.Programs.check(!o.WithoutManager); err != nil {
		return err
	}
	dir, err := datadir.Create(o.Data)
	if err != nil {
		return err
	}
	lock, err := datadir.Acquire(dir.ClusterLock())
	var held *datadir.HeldError
	if errors.As(err, &held) {
		return fmt.Errorf("another `fairlead up` (process %d) runs on the data folder %s: stop it, or choose another folder with --data", held.PID, dir.Path())
	}
	if err != nil {
		return err
	}
	defer func() { _ = lock.Release() }()
	if err := lock.Write(datadir.Holder{PID: os.Getpid()}); err != nil {
		return fmt.Errorf("data folder %s: %w", dir.Path(), err)
	}
	port, reserved, err := choosePort(o.APIPort, lastPortOf(dir))
	if err != nil {
		return err
	}
	defer func() { _ = reserved.Close() }()

	xds, reservedXDS, err := chooseXDSAddress(dir)
	if err != nil {
		return err
	}
	defer func() { _ = reservedXDS.Close() }()

	inner, fail := context.WithCancelCause(ctx)
	r := &running{options: o, dir: dir, xds: xds, launcher: process.NewLauncher(), began: time.Now(), fail: fail}
	defer r.launcher.Close()
	defer r.stop()
	err = r.run(inner, port)
	if ctx.Err() != nil {
		r.say("stopping")
		return nil
	}
	// What else failed did so because of the program that ended.
	if ended, ok := errors.AsType[*process.ExitError](context.Cause(inner)); ok {
		return ended
	}
	return err
}

// choosePort reserves the port asked for, or else the one of the last start, so that
// workloads which ran on find the API server again, or else a free one.
func choosePort(wanted, last uint16) (uint16, io.Closer, error) {
	if wanted == 0 {
		port, held, err := freePort(last, firstPort, lastPort)
		if err != nil {
			return 0, nil, fmt.Errorf("port of the API server: %w: choose one with --api-port", err)
		}
		return port, held, nil
	}
	held, err := reserve.Port(wanted)
	switch {
	case errors.Is(err, reserve.ErrTaken), errors.Is(err, syscall.EADDRINUSE):
		return 0, nil, fmt.Errorf("port %d is in use by another program: choose another one with --api-port, or leave it out", wanted)
	case errors.Is(err, syscall.EACCES):
		return 0, nil, fmt.Errorf("port %d is for root only: choose one from 1024 up with --api-port", wanted)
	case err != nil:
		return 0, nil, fmt.Errorf("--api-port %d: %w", wanted, err)
	}
	return wanted, held, nil
}

// freePort reserves the last port if it is free, or else one from first to most.
func freePort(last, first, most uint16) (uint16, io.Closer, error) {
	if last != 0 {
		if held, err := reserve.Port(last); err == nil {
			return last, held, nil
		}
	}
	return reserve.PortIn(first, most)
}

// chooseXDSAddress reserves where the manager is to serve, if possible where it did before,
// and writes it down for those who start workloads.
func chooseXDSAddress(dir datadir.Dir) (string, io.Closer, error) {
	var last uint16
	if content, err := os.ReadFile(dir.XDSAddress()); err == nil {
		if address, err := netip.ParseAddrPort(string(content)); err == nil {
			last = address.Port()
		}
	}
	port, held, err := freePort(last, firstXDSPort, lastXDSPort)
	if err != nil {
		return "", nil, fmt.Errorf("port of the manager: %w: end another program that listens there", err)
	}
	address := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port).String()
	if err := writeFile(dir.XDSAddress(), []byte(address)); err != nil {
		return "", nil, errors.Join(err, held.Close())
	}
	return address, held, nil
}

// lastPortOf returns the port in the kubeconfig of the last start; 0 if there was none.
func lastPortOf(dir datadir.Dir) uint16 {
	config, err := clientcmd.BuildConfigFromFlags("", dir.Kubeconfig())
	if err != nil {
		return 0
	}
	address, err := netip.ParseAddrPort(strings.TrimPrefix(config.Host, "https://"))
	if err != nil {
		return 0
	}
	return address.Port()
}

// say tells a person what happened, with the time since the start.
func (r *running) say(format string, args ...any) {
	fmt.Fprintf(r.options.Out, "fairlead: %5.1fs  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

// start runs a program whose end is the end of the whole.
func (r *running) start(spec process.Spec) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopping {
		return errors.New("stopping")
	}
	p, err := r.launcher.Start(spec)
	if err != nil {
		return err
	}
	r.processes = append(r.processes, p)
	go func() {
		<-p.Done()
		// Those that lost what they need end too, and may be seen to do so first.
		<-time.After(settleTime)
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.stopping {
			r.fail(r.culprit().Exit())
		}
	}()
	return nil
}

// culprit returns the program that was started first of those that have ended: the
// others depend on it.
func (r *running) culprit() *process.Process {
	return r.processes[slices.IndexFunc(r.processes, func(p *process.Process) bool {
		select {
		case <-p.Done():
			return true
		default:
			return false
		}
	})]
}

// stop ends all programs, the last started first: an API server that loses etcd hangs.
func (r *running) stop() {
	r.mu.Lock()
	r.stopping = true
	processes := slices.Clone(r.processes)
	r.mu.Unlock()
	slices.Reverse(processes)
	for _, p := range processes {
		if p.Stop(syscall.SIGTERM, stopGrace) {
			r.say("%s did not end within %s and was killed", p.Name, stopGrace)
		}
	}
	r.fail(context.Canceled)
	if len(processes) > 0 {
		r.say("stopped; the objects stay in %s", r.dir.Path())
	}
}

// dialable returns nil if something accepts connections at the address.
func dialable(address string) error {
	connection, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	return connection.Close()
}

// welcome says what can be done now.
func (r *running) welcome() {
	data := r.options.Data
	var b strings.Builder
	fmt.Fprintf(&b, `
Fairlead is up. In another terminal:

  export KUBECONFIG=%s
  kubectl get nodes,services,pods
  fairlead run --data %s --name hello --labels app=hello --port 8080 -- COMMAND

Your program is to serve on 127.0.0.1:$PORT. Logs are in %s. Ctrl-C stops everything;
the objects stay, and the same command starts again with them.
`, r.dir.Kubeconfig(), data, r.dir.Logs())
	fmt.Fprintln(r.options.Out, b.String())
}
