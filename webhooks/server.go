package webhooks

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// drainTimeout is how long requests may take that are under way when the server stops: the
// API server waits no longer for an answer (timeoutSeconds).
const drainTimeout = timeoutSeconds * time.Second

// Server serves the webhooks by TLS. Every replica runs one.
type Server struct {
	Listener net.Listener
	TLS      *tls.Config
	Handler  http.Handler
	Log      *slog.Logger
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (s *Server) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (s *Server) Start(ctx context.Context) error {
	server := &http.Server{
		Handler:           s.Handler,
		TLSConfig:         s.TLS,
		ReadHeaderTimeout: drainTimeout,
		IdleTimeout:       time.Minute,
		// Of broken connections, such as a probe that says nothing.
		ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.ServeTLS(s.Listener, "", "") }()
	s.Log.Info("Serving webhooks", "address", s.Listener.Addr().String())
	select {
	case err := <-served:
		return fmt.Errorf("serve webhooks on %s: %w", s.Listener.Addr(), err)
	case <-ctx.Done():
	}
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	err := server.Shutdown(draining)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}
