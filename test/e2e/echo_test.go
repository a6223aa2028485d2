package e2e

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// What a request asks of the echo by its headers.
const (
	// failHeader is "KEY TIMES": the first so many requests with the key are answered 503.
	failHeader = "Echo-Fail"
	// delayHeader is how long the answer takes.
	delayHeader = "Echo-Delay"
)

// seen is what the echo answers: the request as it arrived.
type seen struct {
	Version, Method, Path, Authority, Protocol string

	Header http.Header
	// Attempt counts the requests with the same key for failHeader.
	Attempt int
}

// echo is the application behind every proxy of the mesh: this test's own binary, which
// TestMain makes it. It serves HTTP/1.1, HTTP/2 and gRPC on every port that
// `fairlead run` gives it, and lines over TCP on those that flags name.
func echo(args []string) error {
	flags := flag.NewFlagSet("echo", flag.ContinueOnError)
	version := flags.String("version", "", "what it says that it is")
	lines := flags.String("lines", "", "`port` on which lines are echoed over TCP")
	if err := flags.Parse(args); err != nil {
		return err
	}
	app := &echoing{version: *version, attempts: map[string]int{}, grpc: grpc.NewServer()}
	healthpb.RegisterHealthServer(app.grpc, health.NewServer())
	ended := make(chan error)
	for _, variable := range os.Environ() {
		name, local, _ := strings.Cut(variable, "=")
		port, served := strings.CutPrefix(name, "PORT_")
		if !served {
			continue
		}
		listener, err := net.Listen("tcp", "127.0.0.1:"+local)
		if err != nil {
			return err
		}
		serve := app.serveHTTP
		if port == *lines {
			serve = app.serveLines
		}
		go func() { ended <- serve(listener) }()
	}
	return <-ended
}

type echoing struct {
	version string
	grpc    *grpc.Server

	mu       sync.Mutex
	attempts map[string]int
}

func (e *echoing) serveHTTP(listener net.Listener) error {
	server := &http.Server{Handler: e, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	return server.Serve(listener)
}

func (e *echoing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Echo-Version", e.version)
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		e.grpc.ServeHTTP(w, r)
		return
	}
	if delay, err := time.ParseDuration(r.Header.Get(delayHeader)); err == nil {
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
			return
		}
	}
	answer := seen{
		Version: e.version, Method: r.Method, Path: r.RequestURI, Authority: r.Host, Protocol: r.Proto, Header: r.Header,
	}
	status := http.StatusOK
	if key, times, ok := strings.Cut(r.Header.Get(failHeader), " "); ok {
		answer.Attempt = e.attempt(key)
		if n, err := strconv.Atoi(times); err != nil || answer.Attempt <= n {
			status = http.StatusServiceUnavailable
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

func (e *echoing) attempt(key string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.attempts[key]++
	return e.attempts[key]
}

// serveLines greets, as some databases do, before the client has said anything.
func (e *echoing) serveLines(listener net.Listener) error {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer func() { _ = connection.Close() }()
			_, _ = fmt.Fprintf(connection, "this is %s\n", e.version)
			scanner := bufio.NewScanner(connection)
			for scanner.Scan() {
				if _, err := fmt.Fprintf(connection, "%s: %s\n", e.version, scanner.Text()); err != nil {
					return
				}
			}
		}()
	}
}
