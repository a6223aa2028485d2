package server

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"fairlead.dev/fairlead/agent/envoy"
)

// Handler answers what Serve serves.
func Handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", o.ready)
	// By this name tools that come from Istio ask.
	mux.HandleFunc("GET /healthz/ready", o.ready)
	mux.HandleFunc("GET /status", o.status)
	mux.HandleFunc("GET /{$}", o.page)
	if o.Metrics != nil {
		mux.Handle("GET /metrics", limit(mostScrapes, "scrapes", o.Metrics))
	}
	if o.AppHealth != nil {
		mux.Handle("GET /app-health/", limit(mostProbes, "probes of the application", o.AppHealth))
	}
	if o.Quit != nil {
		mux.Handle("POST /quitquitquit", o.quit())
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			// Nothing here has a body, and the server would wait for the end of one.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(clientTimeout))
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

func text(w http.ResponseWriter, code int, sentence string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	// An error means that the caller went away, here as everywhere below.
	_, _ = io.WriteString(w, sentence+"\n")
}

func (o *Options) ready(w http.ResponseWriter, _ *http.Request) {
	now := o.Status()
	code := http.StatusOK
	if !now.Ready() {
		code = http.StatusServiceUnavailable
	}
	text(w, code, string(now.State)+": "+now.Reason)
}

func (o *Options) status(w http.ResponseWriter, _ *http.Request) {
	now := struct {
		envoy.Status
		Node          string `json:"node"`
		Certificates  any    `json:"certificates,omitempty"`
		Manager       any    `json:"manager,omitempty"`
		Configuration any    `json:"configuration,omitempty"`
	}{Status: o.Status(), Node: o.Node}
	if o.Certificates != nil {
		now.Certificates = o.Certificates()
	}
	if o.Manager != nil {
		now.Manager = o.Manager()
	}
	if o.Configuration != nil {
		now.Configuration = o.Configuration()
	}
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	// Leaves < and > as people wrote them.
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(now)
}

// page is for people.
func (o *Options) page(w http.ResponseWriter, _ *http.Request) {
	now := o.Status()
	var b strings.Builder
	fmt.Fprintf(&b, "fairlead-agent of %s\n\n%s since %s: %s\n\n", o.Node, now.State, now.Since.UTC().Format(time.RFC3339), now.Reason)
	for _, line := range []struct {
		there         bool
		request, text string
	}{
		{true, "GET /ready", "200 while Envoy is live, else 503; the body says why. Also /healthz/ready"},
		{true, "GET /status", "the same with circumstances, as JSON"},
		{o.Metrics != nil, "GET /metrics", "of the agent, Envoy and the application, in Prometheus' text format"},
		{o.AppHealth != nil, "GET /app-health/...", "the application's probes, handed on to it"},
		{o.Quit != nil, "POST /quitquitquit", "stop gracefully; from this Pod only"},
	} {
		if line.there {
			fmt.Fprintf(&b, "%-20s %s\n", line.request, line.text)
		}
	}
	text(w, http.StatusOK, strings.TrimSpace(b.String()))
}

// quit takes the request of a Job whose work is done.
func (o *Options) quit() http.Handler {
	var asked atomic.Bool
	browsers := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch err := browsers.Check(r); {
		case !fromHere(r):
			text(w, http.StatusForbidden, "only programs of the same Pod may stop the agent: ask http://127.0.0.1 at this port, or run \"fairlead-agent quit\" in the Pod")
			return
		case err != nil:
			text(w, http.StatusForbidden, "a page of another site may not stop the agent: "+err.Error())
			return
		}
		if !asked.CompareAndSwap(false, true) {
			text(w, http.StatusOK, "stopping already")
			return
		}
		// The caller is answered first, as the agent may be gone at once.
		text(w, http.StatusOK, "stopping")
		_ = http.NewResponseController(w).Flush()
		o.Quit()
	})
}

// fromHere tells whether a request comes from loopback or a Unix socket, and not by way
// of a proxy such as our own Envoy, whose connections come from here whoever is behind.
func fromHere(r *http.Request) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "Via"} {
		if r.Header.Get(name) != "" {
			return false
		}
	}
	if _, unix := r.Context().Value(http.LocalAddrContextKey).(*net.UnixAddr); unix {
		return true
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && peer.Addr().Unmap().IsLoopback()
}

// limit lets a number of requests in at a time and refuses the rest at once, so that
// what takes long by its nature takes no more than its share of connections.
func limit(most int, what string, handler http.Handler) http.Handler {
	slots := make(chan struct{}, most)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
			handler.ServeHTTP(w, r)
		default:
			w.Header().Set("Retry-After", "1")
			text(w, http.StatusServiceUnavailable, fmt.Sprintf("%d %s are under way already: ask again later", most, what))
		}
	})
}
