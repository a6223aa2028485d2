package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/test/testenv"
)

func TestReadyInEachState(t *testing.T) {
	for state, want := range map[envoy.State]int{
		envoy.Starting:     http.StatusServiceUnavailable,
		envoy.Live:         http.StatusOK,
		envoy.Unresponsive: http.StatusServiceUnavailable,
		envoy.Draining:     http.StatusServiceUnavailable,
		envoy.Failed:       http.StatusServiceUnavailable,
	} {
		handler := statusHandler("shop/reviews-v1", func() envoy.Status { return envoy.Status{State: state, Reason: "so it is"} })
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/ready", nil))
		if answer.Code != want || answer.Body.String() != string(state)+": so it is\n" {
			t.Errorf("/ready of a proxy that is %s is %d %q", state, answer.Code, answer.Body)
		}
	}
}

func TestStatusIsJSON(t *testing.T) {
	handler := statusHandler("shop/reviews-v1", func() envoy.Status {
		return envoy.Status{
			State: envoy.Failed, Reason: "refused: <a> & b", Since: time.Date(2026, 11, 24, 5, 30, 0, 0, time.UTC), Epoch: 2, PID: 17,
		}
	})
	for request, want := range map[string]struct {
		code int
		body string
	}{
		"GET /status": {http.StatusOK, `{
  "state": "failed",
  "reason": "refused: <a> & b",
  "since": "2026-11-24T05:30:00Z",
  "epoch": 2,
  "pid": 17,
  "node": "shop/reviews-v1"
}
`},
		"POST /status": {http.StatusMethodNotAllowed, "Method Not Allowed\n"},
		"GET /nothing": {http.StatusNotFound, "404 page not found\n"},
	} {
		method, path, _ := strings.Cut(request, " ")
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(method, path, nil))
		if answer.Code != want.code || answer.Body.String() != want.body {
			t.Errorf("%s is answered by %d\n%s", request, answer.Code, answer.Body)
		}
	}
}

func TestStatusSocketIsOurOwn(t *testing.T) {
	dir, err := testenv.SocketDir()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "status.sock")

	// Left by an agent that was killed: the file is there, and nobody answers.
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}

	listener, err := listenStatus(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %v, %v, want 0600", info.Mode(), err)
	}
	stop := serveStatus(listener, statusHandler("a/b", func() envoy.Status { return envoy.Status{} }))
	if _, err := listenStatus(path); err == nil || !strings.Contains(err.Error(), "--status-address "+path+" is in use by another program") {
		t.Errorf("a socket that is answered on was taken: %v", err)
	}
	stop()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
	if _, err := listenStatus(filepath.Join(dir, "missing", "status.sock")); err == nil || !strings.Contains(err.Error(), "--status-address ") {
		t.Errorf("a socket in a folder that is missing: %v", err)
	}
}
