// Package echo is the application of suites, which answers what it saw, and the clients that
// ask it by proxies.
//
// It holds no assertion and knows nothing of the mesh: packages e2e and conformance put
// proxies in between.
package echo

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// What a request asks of the application by its headers.
const (
	// FailHeader is "KEY TIMES": the first so many requests with the key are answered 503.
	FailHeader = "Echo-Fail"
	// DelayHeader is how long the answer takes.
	DelayHeader = "Echo-Delay"
	// StatusHeader is what it is answered with.
	StatusHeader = "Echo-Status"
	// VersionHeader is in every answer: who it is from.
	VersionHeader = "Echo-Version"
)

// Seen is a request as it arrived.
type Seen struct {
	Version, Method, Path, Authority, Protocol string

	Header http.Header
	Body   string
	// Attempt counts the requests with the same key for FailHeader.
	Attempt int
	// Connection is the address from which the request came, another for each connection.
	Connection string
	// ServerName and Peer are what a caller by TLS asked for and who it is: its URI, DNS or
	// common name.
	ServerName, Peer string
}

// App serves HTTP/1.1, HTTP/2, gRPC's health service, and lines of text over TCP.
type App struct {
	Version string
	grpc    *grpc.Server

	mu       sync.Mutex
	attempts map[string]int
	statuses map[string]int // by path, where it is not 200
	requests []Seen
	closers  map[io.Closer]struct{}
}

// New returns an application that says it is of the version.
func New(version string) *App {
	a := &App{Version: version, attempts: map[string]int{}, statuses: map[string]int{}, grpc: grpc.NewServer(), closers: map[io.Closer]struct{}{}}
	healthpb.RegisterHealthServer(a.grpc, health.NewServer())
	return a
}

// Serve answers HTTP on a listener until Close.
func (a *App) Serve(listener net.Listener) error {
	server := &http.Server{Handler: a, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	defer a.closing(server)()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// ServeLines greets, as some databases do, before the client has said anything, and then
// repeats every line.
func (a *App) ServeLines(listener net.Listener) error {
	defer a.closing(listener)()
	for {
		connection, err := listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return err
		}
		go func() {
			defer a.closing(connection)()
			_, _ = fmt.Fprintf(connection, "this is %s\n", a.Version)
			for lines := bufio.NewScanner(connection); lines.Scan(); {
				if _, err := fmt.Fprintf(connection, "%s: %s\n", a.Version, lines.Text()); err != nil {
					return
				}
			}
		}()
	}
}

// closing has Close end what serves, too, until what it returns is called, which ends it as well.
func (a *App) closing(closer io.Closer) func() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closers[closer] = struct{}{}
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.closers, closer)
		_ = closer.Close()
	}
}

// Close ends every listener and connection.
func (a *App) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for closer := range a.closers {
		_ = closer.Close()
	}
}

// Answer has requests for a path answered with a status from now on, as far as they ask for none.
func (a *App) Answer(path string, status int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.statuses[path] = status
}

// remembered is how many requests an application knows of, for those that run for long.
const remembered = 20_000

// Requests returns the last ones, at most 20,000.
func (a *App) Requests() []Seen {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.requests)
}

// ServeHTTP implements http.Handler.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(VersionHeader, a.Version)
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		a.note(Seen{Version: a.Version, Method: r.Method, Path: r.RequestURI, Authority: r.Host, Protocol: r.Proto, Header: r.Header})
		a.grpc.ServeHTTP(w, r)
		return
	}
	answer, status := a.see(r)
	if delay, err := time.ParseDuration(r.Header.Get(DelayHeader)); err == nil {
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
			return
		}
	}
	// For routes to work on.
	w.Header().Set("Echo-Remove", "from the application")
	w.Header().Set("Echo-Set", "from the application")
	w.Header().Set("Echo-Set-Too", "from the application")
	w.Header().Set("Echo-Add", "from the application")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

// see notes a request, and returns what it is answered.
func (a *App) see(r *http.Request) (Seen, int) {
	body, _ := io.ReadAll(r.Body)
	answer := Seen{
		Version: a.Version, Method: r.Method, Path: r.RequestURI, Authority: r.Host, Protocol: r.Proto,
		Header: r.Header, Body: string(body), Connection: r.RemoteAddr,
	}
	if r.TLS != nil {
		answer.ServerName, answer.Peer = r.TLS.ServerName, peer(r)
	}
	a.mu.Lock()
	status := cmp.Or(a.statuses[r.URL.Path], http.StatusOK)
	a.mu.Unlock()
	if asked, err := strconv.Atoi(r.Header.Get(StatusHeader)); err == nil {
		status = asked
	}
	if key, times, ok := strings.Cut(r.Header.Get(FailHeader), " "); ok {
		answer.Attempt = a.attempt(key)
		if n, err := strconv.Atoi(times); err != nil || answer.Attempt <= n {
			status = http.StatusServiceUnavailable
		}
	}
	a.note(answer)
	return answer, status
}

func peer(r *http.Request) string {
	if len(r.TLS.PeerCertificates) == 0 {
		return ""
	}
	certificate := r.TLS.PeerCertificates[0]
	switch {
	case len(certificate.URIs) > 0:
		return certificate.URIs[0].String()
	case len(certificate.DNSNames) > 0:
		return certificate.DNSNames[0]
	}
	return certificate.Subject.CommonName
}

func (a *App) note(seen Seen) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.requests) == remembered {
		a.requests = a.requests[1:]
	}
	a.requests = append(a.requests, seen)
}

func (a *App) attempt(key string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.attempts[key]++
	return a.attempts[key]
}
