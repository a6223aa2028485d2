package bootstrap_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"fairlead.dev/fairlead/agent/bootstrap"
	"fairlead.dev/fairlead/test/testenv"
)

// patience is for a machine that is busy with other things.
const patience = 30 * time.Second

// runEnvoy starts the real Envoy with a bootstrap whose folder is dir, and ends it after
// the test. It returns a client of its administration interface.
func runEnvoy(t *testing.T, dir string, content []byte) func(path string) (string, error) {
	t.Helper()
	binary, err := testenv.Envoy()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "envoy.json")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	var logs bytes.Buffer
	command := exec.CommandContext(t.Context(), binary, "--config-path", path, "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning")
	command.Stdout, command.Stderr = &logs, &logs
	// The context ends before the test's cleanup.
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = patience
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Wait()
		if strings.Contains(logs.String(), "Deprecated field") {
			t.Error("the bootstrap has a field that a later Envoy will refuse")
		}
		if t.Failed() {
			t.Logf("Envoy's log:\n%s", &logs)
		}
	})
	client := testenv.UnixClient(filepath.Join(dir, "admin.sock"))
	return func(path string) (string, error) {
		response, err := client.Get("http://envoy" + path)
		if err != nil {
			return "", err
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		return string(body), err
	}
}

// eventually asks until the answer holds what is wanted.
func eventually(t *testing.T, what string, ask func() (string, error), want ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		got, err := ask()
		missing := ""
		for _, part := range want {
			if !strings.Contains(got, part) {
				missing = part
				break
			}
		}
		if err == nil && missing == "" {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %q is missing (%v) in\n%s", what, missing, err, got)
		case <-ticker.C:
		}
	}
}

// built is a bootstrap for a folder, with resources added that would come over xDS.
func built(t *testing.T, dir string, config bootstrap.Config, clusters, listeners []any) []byte {
	t.Helper()
	config.AdminSocket = filepath.Join(dir, "admin.sock")
	content, err := bootstrap.Build(config)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(content, &all); err != nil {
		t.Fatal(err)
	}
	// Nobody serves it here, and Envoy would wait.
	delete(all, "dynamic_resources")
	static := all["static_resources"].(map[string]any)
	static["clusters"] = append(static["clusters"].([]any), clusters...)
	previous, _ := static["listeners"].([]any)
	static["listeners"] = append(previous, listeners...)
	content, err = json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// fromJSON reads a resource.
func fromJSON(t *testing.T, format string, args ...any) (resource any) {
	t.Helper()
	if err := json.Unmarshal(fmt.Appendf(nil, format, args...), &resource); err != nil {
		t.Fatal(err)
	}
	return resource
}

const answering = `{
	"name": "listener", "stat_prefix": "inbound",
	"address": {"pipe": {"path": %q, "mode": 384}},
	"filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": {
		"@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
		"stat_prefix": "inbound_8080",
		"common_http_protocol_options": {"max_connection_duration": "31536000s"},
		"http1_safe_max_connection_duration": true,
		"route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
			{"match": {"prefix": "/direct"}, "direct_response": {"status": 200}},
			{"match": {"prefix": "/"}, "route": {"cluster": %q}}
		]}]},
		"http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]
	}}]}]
}`
