package envoy_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/agent/metrics"
)

// counts records what a supervisor counts, for specs to read.
type counts struct {
	*metrics.Agent
	mu   sync.Mutex
	seen []string
}

func (c *counts) Restarted(kind, result string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, kind+" "+result)
}

func (c *counts) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string{}, c.seen...)
}

// freePort is one that nobody listens on.
func freePort() int {
	GinkgoHelper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port
}

// serving answers "answer" on a port, and is told to drain as the agent's own bootstrap
// is: by the pressure file.
func serving(dir *envoy.Dir, port int, answer string) func(epoch int) ([]byte, error) {
	return func(epoch int) ([]byte, error) {
		return fmt.Appendf(nil, `{
  "admin": {"address": {"pipe": {"path": %q}}},
  "stats_flush_on_admin": true,
  "overload_manager": {"refresh_interval": "0.25s",
    "resource_monitors": [{"name": "envoy.resource_monitors.injected_resource", "typed_config": {
      "@type": "type.googleapis.com/envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig", "filename": %q}}],
    "actions": [{"name": "envoy.overload_actions.disable_http_keepalive", "triggers": [
      {"name": "envoy.resource_monitors.injected_resource", "threshold": {"value": 1}}]}]},
  "static_resources": {"listeners": [{"name": "in", "stat_prefix": "inbound", "traffic_direction": "INBOUND",
    "address": {"socket_address": {"address": "127.0.0.1", "port_value": %d}},
    "filter_chains": [{"filters": [{"name": "http", "typed_config": {
      "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
      "stat_prefix": "inbound_80",
      "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": %q}}}]}]},
      "http_filters": [{"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]
    }}]}]}]}
}`, dir.AdminSocket(), dir.Pressure(epoch), port, answer), nil
	}
}

// load asks a port again and again over kept connections until it is stopped.
type load struct {
	cancel   context.CancelFunc
	asking   sync.WaitGroup
	asked    atomic.Int64
	mu       sync.Mutex
	failures []string
}

func startLoad(port, connections int) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel}
	for range connections {
		l.asking.Go(func() {
			transport := &http.Transport{MaxIdleConnsPerHost: 1}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport, Timeout: patience}
			pace := time.NewTicker(time.Millisecond)
			defer pace.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-pace.C:
					l.ask(client, port)
				}
			}
		})
	}
	DeferCleanup(l.stop)
	return l
}

func (l *load) ask(client *http.Client, port int) {
	// A body of no known length cannot be sent again by the client itself, so that what
	// is lost is seen.
	request, err := http.NewRequest(http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d/", port), io.LimitReader(zeros{}, 10))
	if err != nil {
		panic(err)
	}
	l.asked.Add(1)
	response, err := client.Do(request)
	answer := ""
	if err == nil {
		var body []byte
		body, err = io.ReadAll(response.Body)
		_ = response.Body.Close()
		answer = fmt.Sprintf("%d %s", response.StatusCode, body)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		l.failures = append(l.failures, err.Error())
	case response.StatusCode != http.StatusOK:
		l.failures = append(l.failures, answer)
	}
}

func (l *load) stop() {
	l.cancel()
	l.asking.Wait()
}

// lost is what failed until now.
func (l *load) lost() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string{}, l.failures...)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
