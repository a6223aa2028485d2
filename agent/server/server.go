// Package server answers at --status-address: the kubelet's probes, scrapers, and
// people. It says how Envoy is, hands on the application's probes and everybody's
// metrics, and takes the request to stop.
//
// It never changes anything but by that request, and never waits for one client on
// behalf of another. What it says comes from functions of the caller's. The network of
// Pods can reach it: connections, requests that take long, headers and times are
// bounded.
package server

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"fairlead.dev/fairlead/agent/envoy"
)

const (
	// Most answers are small and immediate; a client that takes longer is stuck. What
	// takes longer by its nature moves the deadline itself.
	clientTimeout = 5 * time.Second
	// idleTimeout is longer than the usual interval between two scrapes.
	idleTimeout = 2 * time.Minute

	// Far more than a kubelet, some scrapers and a person need at a time.
	mostConnections = 128
	mostScrapes     = 8
	mostProbes      = 48
)

// Options are what is answered. Node and Status are required.
type Options struct {
	// Node is the id of the proxy in the mesh.
	Node string
	// Status is how Envoy is.
	Status func() envoy.Status
	// Certificates, Manager and Configuration are more of /status, written as JSON; nil, or
	// what returns nil, is left out. They must not wait for anything.
	Certificates, Manager, Configuration func() any
	// Metrics answers /metrics, and AppHealth what is below /app-health/. Without them
	// these paths are not there.
	Metrics, AppHealth http.Handler
	// Quit is called once, after the first request to stop was answered, and must not
	// wait for the server to end. Without it there is no such request.
	Quit func()
	// Log receives what is wrong with the server itself. It may be left out.
	Log *slog.Logger
}

// Serve serves until the returned function is called, which closes the listener, ends
// all requests and waits for them.
func Serve(listener net.Listener, options Options) (stop func()) {
	log := options.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	connections := newConnections(mostConnections)
	server := &http.Server{
		Handler:           Handler(options),
		ReadHeaderTimeout: clientTimeout,
		WriteTimeout:      clientTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    8 << 10,
		ConnState:         connections.changed,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(listener); ctx.Err() == nil {
			log.Error("The status server ended by itself: probes and scrapes are not answered any more", "error", err)
		}
	}()
	return func() {
		cancel()
		_ = server.Close()
		<-done
		connections.served.Wait()
	}
}
