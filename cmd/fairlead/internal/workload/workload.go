// Package workload is `fairlead run`: it makes one command of this machine a workload of
// the mesh, with a Pod, an address, and a proxy of its own; or a proxy alone, a gateway.
//
// It stands in for the kubelet: it creates the Pod, keeps its status, and removes it when
// the command ends. It configures no proxy; that is the manager's, which reads the Pod.
package workload

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/cmd/fairlead/internal/datadir"
	"fairlead.dev/fairlead/cmd/fairlead/internal/objects"
	"fairlead.dev/fairlead/cmd/fairlead/internal/process"
	"fairlead.dev/fairlead/cmd/fairlead/internal/reserve"
	"fairlead.dev/fairlead/internal/mesh"
)

const (
	// firstAppPort to lastAppPort are where commands listen on 127.0.0.1, below the
	// ports of outgoing connections.
	firstAppPort, lastAppPort = 20000, 29999
	// firstOutboundPort is the first on which the proxy listens for a TCP service.
	firstOutboundPort = 15100
	// nameWait is for `fairlead up`, which holds the lock while it tidies up after a
	// `run` of the same name.
	nameWait = 3 * time.Second
)

// workload is one `fairlead run`.
type workload struct {
	request
	dir      datadir.Dir
	lock     *datadir.Lock
	launcher *process.Launcher
	client   client.WithWatch

	address  *address
	apps     []appPort
	outbound []outboundListener
	// folder is the agent's, with its sockets and the token.
	folder string

	pod  *corev1.Pod
	mesh meshInfo
	// renewal is when the token is due.
	renewal time.Time
	agent   *process.Process
	// command is nil at a gateway.
	command *process.Process
	closers []func() error
}

// Run runs the workload until the command, the context or the Pod ends, and returns the
// command's exit status. It is an error if anything but the command ended it unasked.
func Run(ctx context.Context, o Options) (status int, err error) {
	r, err := o.understand()
	if err != nil {
		return 0, err
	}
	path := ""
	if !r.Gateway {
		if path, err = exec.LookPath(r.Command[0]); err != nil {
			return 0, fmt.Errorf("the command cannot be run: %w", err)
		}
	}
	if _, err := os.Stat(r.Agent); err != nil {
		return 0, fmt.Errorf("a program is missing: %w: run `make build` in Fairlead's repository", err)
	}
	dir, err := datadir.Open(r.Data)
	if err != nil {
		return 0, err
	}
	w := &workload{request: r, dir: dir, launcher: process.NewLauncher()}
	defer func() { err = errors.Join(err, w.close()) }()
	if err := w.takeName(); err != nil {
		return 0, err
	}
	if w.client, err = connect(ctx, dir); err != nil {
		return 0, err
	}
	if err := w.takeAddress(ctx); err != nil {
		return 0, err
	}
	if err := w.register(ctx); err != nil {
		return 0, err
	}
	if err := w.startAgent(); err != nil {
		return 0, errors.Join(err, w.finish(corev1.PodFailed, "NotStarted", err.Error()))
	}
	if err := w.awaitProxy(ctx); err != nil {
		w.stopAgent()
		if ctx.Err() != nil {
			return 0, w.finish(corev1.PodSucceeded, "Stopped", "`fairlead run` was told to stop before the proxy served")
		}
		return 0, errors.Join(err, w.finish(corev1.PodFailed, "ProxyFailed", err.Error()))
	}
	if !w.Gateway {
		if err := w.startCommand(path); err != nil {
			w.stopAgent()
			return 0, errors.Join(err, w.finish(corev1.PodFailed, "NotStarted", err.Error()))
		}
	}
	return w.attend(ctx)
}

// takeName makes sure that no other `run` answers for the same Pod.
func (w *workload) takeName() error {
	lock, err := acquire(w.dir.PodLock(w.Namespace, w.Name), nameWait)
	if held, ok := errors.AsType[*datadir.HeldError](err); ok {
		return fmt.Errorf("workload %s/%s is running already (process %d): choose another --name, and the same --labels for a second replica", w.Namespace, w.Name, held.PID)
	}
	if err != nil {
		return fmt.Errorf("workload %s/%s: %w", w.Namespace, w.Name, err)
	}
	w.lock = lock
	w.closers = append(w.closers, lock.Remove)
	return lock.Write(objects.PodLock{PID: os.Getpid()})
}

// takeAddress reserves the workload's address, and ports for the command.
func (w *workload) takeAddress(ctx context.Context) error {
	var pods corev1.PodList
	if err := w.client.List(ctx, &pods); err != nil {
		return fmt.Errorf("list Pods: %w", err)
	}
	taken := map[netip.Addr]bool{}
	for i := range pods.Items {
		// One that cannot be parsed is none of ours.
		if a, err := netip.ParseAddr(pods.Items[i].Status.PodIP); err == nil {
			taken[a] = true
		}
	}
	ports := []uint16{mesh.ExplicitOutboundPort}
	served := map[uint16]bool{}
	for _, p := range w.ports {
		ports = append(ports, p.number)
		served[p.number] = true
	}
	next := uint16(firstOutboundPort)
	for _, t := range w.outboundTCP {
		for served[next] {
			next++
		}
		w.outbound = append(w.outbound, outboundListener{outboundTCP: t, listen: netip.AddrPortFrom(netip.Addr{}, next)})
		ports = append(ports, next)
		next++
	}
	a, err := reserveAddress(w.dir, ports, taken)
	if err != nil {
		return fmt.Errorf("workload %s/%s: %w", w.Namespace, w.Name, err)
	}
	w.address = a
	w.closers = append(w.closers, a.Close)
	for i := range w.outbound {
		w.outbound[i].listen = netip.AddrPortFrom(a.local, w.outbound[i].listen.Port())
	}
	for _, p := range w.ports {
		number, held, err := reserve.PortIn(firstAppPort, lastAppPort)
		if err != nil {
			return fmt.Errorf("port for the command: %w", err)
		}
		w.closers = append(w.closers, held.Close)
		w.apps = append(w.apps, appPort{port: p, local: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), number)})
	}
	w.folder = w.dir.Workload(a.pod.String())
	return w.lock.Write(objects.PodLock{PID: os.Getpid(), Address: a.pod.String()})
}

// startAgent runs the agent, which runs Envoy.
func (w *workload) startAgent() error {
	args := []string{
		"proxy",
		"--pod-name=" + w.Name, "--pod-namespace=" + w.Namespace, "--workload=" + w.Name,
		"--service-account=" + w.ServiceAccount,
		"--labels=" + w.Labels,
		"--dir=" + w.folder,
		"--xds-address=" + w.mesh.address, "--xds-server-name=" + w.mesh.identity,
		"--certificate-source=manager",
		"--token-file=" + filepath.Join(w.folder, tokenFile), "--manager-roots=" + filepath.Join(w.folder, rootsFile),
		// Probed below; a variable of the shell must not move it.
		"--status-address=" + w.folder + "/status.sock",
		// Callers have been moved to others by then, see drain: what nobody uses ends at once.
		"--min-drain=0s",
		// What is open has half of agentGrace to end by itself.
		"--termination-grace-period=" + (agentGrace - time.Second).String(), "--stop-timeout=2s",
	}
	for _, app := range w.apps {
		args = append(args, fmt.Sprintf("--app=%d=%s", app.number, app.local))
	}
	agent, err := w.launcher.Start(process.Spec{
		Name: "fairlead-agent", Path: w.Agent, Args: args,
		Log: w.dir.Log(w.Namespace + "_" + w.Name + ".proxy"),
		// Envoy's last lines follow the agent's own.
		ErrorMark: "level=ERROR",
	})
	w.agent = agent
	return err
}

// startCommand runs the person's own program, with what it writes going where it would
// without a mesh.
func (w *workload) startCommand(path string) error {
	set := variables(w.request, w.address, w.apps, w.outbound)
	args := make([]string, 0, len(w.Command)-1)
	for _, arg := range w.Command[1:] {
		args = append(args, expand(arg, set))
	}
	command, err := w.launcher.Start(process.Spec{Name: w.Command[0], Path: path, Args: args, Env: merge(os.Environ(), set)})
	w.command = command
	return err
}

// commandDone is closed once the command is gone, and nil where there is none.
func (w *workload) commandDone() <-chan struct{} {
	if w.command == nil {
		return nil
	}
	return w.command.Done()
}

// close gives back what was taken, the last first.
func (w *workload) close() error {
	var errs []error
	for len(w.closers) > 0 {
		last := len(w.closers) - 1
		errs = append(errs, w.closers[last]())
		w.closers = w.closers[:last]
	}
	w.launcher.Close()
	return errors.Join(errs...)
}
