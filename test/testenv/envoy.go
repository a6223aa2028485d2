package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"fairlead.dev/fairlead/agent/bootstrap"
	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/agent/metrics"
)

// ValidateEnvoy asks `envoy --mode validate` whether it takes a bootstrap, written in
// YAML or JSON, and returns Envoy's own words if not. Envoy does not look at what it
// would get over xDS: to try that, inline it as static resources.
func ValidateEnvoy(ctx context.Context, configuration []byte) error {
	binary, err := Envoy()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "fairlead-validate-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "envoy.yaml")
	if err := os.WriteFile(path, configuration, 0o600); err != nil {
		return err
	}
	files, err := namedFiles()
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "certs"), 0o700), os.WriteFile(filepath.Join(dir, "certs", name), content, 0o600)); err != nil {
			return err
		}
	}
	command := exec.CommandContext(ctx, binary, "--mode", "validate", "--config-path", path, "--log-level", "error", "--log-format", "%v")
	command.Dir = dir
	output, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("envoy refuses the configuration: %w\n%s", err, bytes.TrimSpace(output))
	}
	return nil
}

// namedFiles are those in the folder certs that have to be there for resources which name
// them: the agent's SDS files, and a certificate with what verifies it.
var namedFiles = sync.OnceValues(func() (map[string][]byte, error) {
	authority, err := NewAuthority("root")
	if err != nil {
		return nil, err
	}
	issued, err := authority.Issue("spiffe://cluster.local/ns/default/sa/front")
	if err != nil {
		return nil, err
	}
	files := issued.Files()
	files["sds-certificate.json"], files["sds-roots.json"] = nil, nil
	files["crl.pem"], err = authority.Revoke()
	return files, err
})

// SocketDir creates a folder whose path is short enough for Unix sockets in it, which
// that of testing.T's TempDir often is not. The caller removes it.
func SocketDir() (string, error) { return os.MkdirTemp("/tmp", "fl-") }

// UnixClient speaks HTTP over the Unix socket at the given path, whatever host the
// URLs name. Each request has a connection of its own.
func UnixClient(socket string) *http.Client {
	return &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", socket)
			},
		},
	}
}

// Proxy is a real Envoy that the agent's own supervisor runs, with the agent's own
// bootstrap, inside the test's process.
type Proxy struct {
	dir        *envoy.Dir
	supervisor *envoy.Supervisor
	stop       context.CancelFunc
	done       chan struct{}
	err        error
}

// StartProxy runs Envoy in a folder from SocketDir. The configuration's AdminSocket is
// set here. Records of the supervisor and Envoy's lines from level warning up go to
// logs. The caller calls Stop.
func StartProxy(dir string, config bootstrap.Config, logs io.Writer) (*Proxy, error) {
	binary, err := Envoy()
	if err != nil {
		return nil, err
	}
	opened, err := envoy.OpenDir(filepath.Join(dir, config.Pod))
	if err != nil {
		return nil, err
	}
	config.AdminSocket = opened.AdminSocket()
	log := slog.New(slog.NewTextHandler(logs, nil))
	ctx, cancel := context.WithCancel(context.Background())
	p := &Proxy{
		dir: opened, stop: cancel, done: make(chan struct{}),
		supervisor: envoy.New(envoy.Options{
			Binary:       binary,
			Dir:          opened,
			Bootstrap:    func(int) ([]byte, error) { return bootstrap.Build(config) },
			ControlPlane: config.XDSSocket,
			Concurrency:  1,
			DrainTime:    time.Second, ParentShutdownTime: 2 * time.Second,
			StopTimeout:   5 * time.Second,
			Count:         metrics.NewAgent(),
			Stdout:        logs,
			Log:           log,
			EnvoyLog:      log.With("source", "envoy", "pod", config.Pod),
			EnvoyLogLevel: slog.LevelWarn,
		}),
	}
	go func() {
		defer close(p.done)
		p.err = p.supervisor.Run(ctx)
	}()
	return p, nil
}

// Status is how Envoy is now: Status().Ready() once it has its configuration.
func (p *Proxy) Status() envoy.Status { return p.supervisor.Status() }

// Done is closed when Envoy has ended.
func (p *Proxy) Done() <-chan struct{} { return p.done }

// Get asks Envoy's administration interface, such as for "/config_dump" or "/stats".
func (p *Proxy) Get(ctx context.Context, pathAndQuery string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://envoy"+pathAndQuery, nil)
	if err != nil {
		return "", err
	}
	response, err := UnixClient(p.dir.AdminSocket()).Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("envoy answered GET %s with %s: %s", pathAndQuery, response.Status, body)
	}
	return string(body), nil
}

// Stop ends Envoy and waits for it. It returns why Envoy had ended before, if it had.
func (p *Proxy) Stop() error {
	p.stop()
	<-p.done
	if err := p.dir.Close(); err != nil && p.err == nil {
		return err
	}
	return p.err
}
