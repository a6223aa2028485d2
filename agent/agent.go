package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"fairlead.dev/fairlead/agent/bootstrap"
	"fairlead.dev/fairlead/agent/certs"
	"fairlead.dev/fairlead/agent/controlplane"
	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/agent/manager"
	"fairlead.dev/fairlead/agent/metrics"
)

// lookInterval is how often files are looked at whose change means a hot restart: the
// configuration and Envoy's binary. A look is a stat.
const lookInterval = 2 * time.Second

// applicationAddress is where the application's probes go.
const applicationAddress = "127.0.0.1"

// agent is what runs while the proxy does: it turns what changes around Envoy into
// restarts.
type agent struct {
	binary     string
	log        *slog.Logger
	count      *metrics.Agent
	started    time.Time
	folder     *certs.Folder
	supervisor *envoy.Supervisor
	// client is nil with a Unix socket, by which only Envoy speaks to the manager.
	client *manager.Client
	// proving has the latest certificate to prove.
	proving chan struct{}

	mu       sync.Mutex
	settings *settings
	// complaint is why the configuration is not the one that is written; empty if it is.
	complaint string
}

func (a *agent) node() string { return a.settings.podNamespace + "/" + a.settings.podName }

// status is the supervisor's. What Envoy waits for, the agent may know better.
func (a *agent) status() envoy.Status {
	now := a.supervisor.Status()
	if now.State == envoy.Starting && a.needsCertificate() {
		if c := a.folder.Status(); c.Certificate == nil {
			now.Reason = "waiting for a certificate, without which the control plane cannot be reached: " + a.whyNone(c)
		}
	}
	return now
}

// certificates is a section of /status.
func (a *agent) certificates() any {
	now := a.folder.Status()
	if now.Certificate == nil && !a.needsCertificate() {
		return nil
	}
	return now
}

// configuration is a section of /status.
func (a *agent) configuration() any {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.settings.config == "" && a.complaint == "" {
		return nil
	}
	return struct {
		File      string `json:"file"`
		Complaint string `json:"complaint,omitempty"`
	}{a.settings.config, a.complaint}
}

func (a *agent) needsCertificate() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.settings.xdsAddress != ""
}

// run keeps everything going until Envoy has ended.
func (a *agent) run(ctx context.Context, signals <-chan os.Signal, hurry chan<- struct{}) error {
	a.proving = make(chan struct{}, 1)
	if err := a.folder.Prepare(); err != nil {
		return err
	}
	a.noteCertificate()
	beside, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	if a.settings.certificateSource == fromMount {
		running.Go(func() { a.folder.Run(beside) })
	}
	if a.client != nil {
		running.Go(func() { a.client.Run(beside) })
	}
	running.Go(func() { a.prove(beside) })
	running.Go(func() { a.look(beside) })
	running.Go(func() { a.heed(beside, signals, hurry) })
	return a.supervisor.Run(ctx)
}

// heed follows signals: SIGHUP asks for a hot restart, a second SIGTERM for an end
// without a drain.
func (a *agent) heed(ctx context.Context, signals <-chan os.Signal, hurry chan<- struct{}) {
	ends := 0
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-signals:
			if s == syscall.SIGHUP {
				a.reload()
				a.supervisor.Restart("SIGHUP")
				continue
			}
			if ends++; ends == 2 {
				a.log.Warn("Told to hurry", "signal", s.String())
				close(hurry)
			}
		}
	}
}

// look notices files that were replaced.
func (a *agent) look(ctx context.Context) {
	a.mu.Lock()
	path := a.settings.config
	a.mu.Unlock()
	configuration, binary := newLookout(path), newLookout(a.binary)
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			// Envoy's state may be another one.
			a.client.Note()
			if configuration.changed() && a.reload() {
				a.supervisor.Restart("the configuration in " + path + " changed")
			}
			if binary.changed() {
				a.supervisor.Restart("Envoy's binary " + a.binary + " changed")
			}
		}
	}
}

// reload takes new settings if they are good, and tells whether Envoy has to be started
// anew for them.
func (a *agent) reload() (changed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	next, unchangeable, err := a.settings.reload()
	var before, after []byte
	if err == nil {
		before, err = bootstrap.Build(a.settings.bootstrapOf(0))
	}
	if err == nil {
		after, err = bootstrap.Build(next.bootstrapOf(0))
	}
	if err != nil {
		a.complaint = err.Error()
		a.log.Error("Went on with the configuration that was, since the new one has mistakes", "error", err)
		return false
	}
	a.complaint = ""
	if len(unchangeable) > 0 {
		a.log.Warn("Some flags changed that cannot while the agent runs: restart the Pod for them", "flags", strings.Join(unchangeable, ", "))
	}
	for _, warning := range next.warnings {
		a.log.Warn(warning)
	}
	a.settings = next
	return !bytes.Equal(before, after)
}

// probeControlPlane asks whether a successor of Envoy would find its control plane.
func (a *agent) probeControlPlane(ctx context.Context) error {
	a.mu.Lock()
	target := a.settings.controlPlane()
	a.mu.Unlock()
	return controlplane.Probe(ctx, target)
}

// controlPlane is where the manager is. Certificates are those that Envoy has.
func (s *settings) controlPlane() controlplane.Target {
	current := certs.PathsIn(s.dir).Current
	return controlplane.Target{
		Socket: s.xdsSocket, Address: s.xdsAddress, ServerName: s.xdsServerName,
		Certificate: filepath.Join(current, certs.ChainFile), Key: filepath.Join(current, certs.KeyFile), Roots: []string{filepath.Join(current, certs.RootsFile)},
	}
}

// applicationEnded tells whether nothing listens on the application's ports any more; nil
// where no port is known.
func (s *settings) applicationEnded() func(context.Context) bool {
	apps := s.bootstrap.Apps
	if len(apps) == 0 {
		return nil
	}
	return func(ctx context.Context) bool {
		for _, app := range apps {
			connection, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", app.Address.String())
			if err == nil {
				_ = connection.Close()
				return false
			}
			if !errors.Is(err, syscall.ECONNREFUSED) {
				return false
			}
		}
		return true
	}
}

// lookout notices that a file was replaced, once what replaced it has come to rest.
type lookout struct {
	path          string
	seen, pending os.FileInfo
}

func newLookout(path string) *lookout {
	l := &lookout{path: path}
	l.seen, _ = os.Stat(path)
	return l
}

func (l *lookout) changed() bool {
	now, err := os.Stat(l.path)
	if err != nil || envoy.SameFile(now, l.seen) {
		l.pending = nil
		return false
	}
	if !envoy.SameFile(now, l.pending) {
		// It may be written still: the next look tells.
		l.pending = now
		return false
	}
	l.seen, l.pending = now, nil
	return true
}
