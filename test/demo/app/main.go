// Command demo-app is one workload of the demo: an HTTP server that says which service
// and version it is and which headers reached it, and that may call a next service and
// pass on what that one said.
//
// It knows nothing of the mesh. It calls the next service by its name, through the HTTP
// proxy that the environment names, as most programs do by themselves.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		slog.Error("The demo's app ended", "error", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("demo-app", flag.ContinueOnError)
	var a app
	flags.StringVar(&a.service, "service", "", "`name` of the service that it is part of")
	flags.StringVar(&a.version, "version", "v1", "`version` that it says it is")
	flags.StringVar(&a.next, "calls", "", "`URL` that is called for every request, if any")
	port := flags.String("port", os.Getenv("PORT"), "`port` on 127.0.0.1 [$PORT]")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if a.service == "" || *port == "" {
		return errors.New("--service, and --port or the environment variable PORT, are required")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 256
	a.client = &http.Client{Transport: transport, Timeout: 10 * time.Second}

	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", *port))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: &a, ReadHeaderTimeout: 10 * time.Second}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		// Requests that are under way are answered.
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		stopped <- server.Shutdown(ctx)
	}()
	slog.Info("Serving", "service", a.service, "version", a.version, "address", listener.Addr().String())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

// passedOn are the headers that an application hands to the next one, so that routes
// further on can look at them.
var passedOn = []string{"End-User", "X-Request-Id"}

type app struct {
	service, version string
	next             string
	client           *http.Client
}

// answer is what the app says of a request.
type answer struct {
	Service string            `json:"service"`
	Version string            `json:"version"`
	Path    string            `json:"path"`
	Headers map[string]string `json:"headers"`
	// Calls is the answer of the next app, Error why there is none.
	Calls json.RawMessage `json:"calls,omitempty"`
	Error string          `json:"error,omitempty"`
}

// ServeHTTP answers any request. If the next app does not answer with 200, neither does
// this one: a failure anywhere in the chain is seen at its start.
func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	said := answer{Service: a.service, Version: a.version, Path: r.URL.Path, Headers: map[string]string{"Host": r.Host}}
	for name := range r.Header {
		said.Headers[name] = r.Header.Get(name)
	}
	status := http.StatusOK
	if a.next != "" {
		body, err := a.call(r)
		if err != nil {
			status, said.Error = http.StatusBadGateway, err.Error()
		} else {
			said.Calls = body
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(said)
}

func (a *app) call(r *http.Request) (json.RawMessage, error) {
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, a.next, nil)
	if err != nil {
		return nil, err
	}
	for _, name := range passedOn {
		if value := r.Header.Get(name); value != "" {
			request.Header.Set(name, value)
		}
	}
	response, err := a.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var body json.RawMessage
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		return nil, fmt.Errorf("%s answered %s without JSON: %w", a.next, response.Status, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s: %s", a.next, response.Status, body)
	}
	return body, nil
}
