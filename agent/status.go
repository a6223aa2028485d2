package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"fairlead.dev/fairlead/agent/envoy"
)

// statusHandler answers probes and people. It only ever reads.
func statusHandler(node string, status func() envoy.Status) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		now := status()
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if !now.Ready() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintf(w, "%s: %s\n", now.State, now.Reason)
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		// An error means that the caller went away.
		_ = encoder.Encode(struct {
			envoy.Status
			Node string `json:"node"`
		}{status(), node})
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "fairlead-agent of "+node+"\n\n/ready   200 while Envoy is live, else 503\n/status  the same with circumstances, as JSON\n")
	})
	return mux
}

// listenStatus opens HOST:PORT or a Unix socket for our own user only.
func listenStatus(address string) (net.Listener, error) {
	if !strings.HasPrefix(address, "/") {
		listener, err := net.Listen("tcp", address)
		return listener, explainListen(address, err)
	}
	if connection, err := net.Dial("unix", address); err == nil {
		_ = connection.Close()
		return nil, explainListen(address, syscall.EADDRINUSE)
	}
	if info, err := os.Lstat(address); err == nil && info.Mode().Type() == os.ModeSocket {
		// Left by an agent that was killed: nobody answers there.
		if err := os.Remove(address); err != nil {
			return nil, explainListen(address, err)
		}
	}
	listener, err := net.Listen("unix", address)
	if err != nil {
		return nil, explainListen(address, err)
	}
	if err := os.Chmod(address, 0o600); err != nil {
		return nil, errors.Join(explainListen(address, err), listener.Close())
	}
	return listener, nil
}

func explainListen(address string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("--status-address %s is in use by another program: choose another one", address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("--status-address %s: permission denied: choose a port from 1024 up, or a folder that the agent may write", address)
	default:
		return fmt.Errorf("--status-address %s: %w", address, err)
	}
}

// serveStatus serves until the returned function is called.
func serveStatus(listener net.Listener, handler http.Handler) (stop func()) {
	server := &http.Server{
		Handler: handler,
		// Answers are small and immediate; a client that takes longer is stuck.
		ReadHeaderTimeout: 5 * time.Second,
		WriteTimeout:      5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    8 << 10,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	return func() {
		_ = server.Close()
		<-done
	}
}
