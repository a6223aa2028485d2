package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

const (
	// servingLifetime is short, since a new one costs nothing: it is made in memory. It is
	// renewed at its half, or at once if another generation signs.
	servingLifetime = 24 * time.Hour
	// issuedLifetime is for another issuer, which a certificate costs something, and perhaps a
	// person who approves it.
	issuedLifetime = 30 * 24 * time.Hour
	// servingRetry is the pause after an attempt to renew it that failed, and the least one.
	servingRetry = 10 * time.Second
)

// Serving is the manager's own certificate, and TLS with it: for the servers of the
// discovery service, the agents' stream and webhooks. The certificate is renewed without a
// restart, and each handshake verifies its client against the roots that are trusted at that
// moment.
type Serving struct {
	// Issue is Builtin, unless another one is set before Start.
	Issue IssueFunc

	source   *Source
	identity Identity
	names    []string
	clock    clock.Clock
	log      *slog.Logger
	// due wakes Start when a handshake finds that the certificate is due: clocks may step.
	due chan struct{}

	// The following belong to Start. pending is what is being asked for; nameless is the root
	// whose issuer refuses names.
	pending  *Pending
	nameless *x509.Certificate

	mu sync.Mutex
	// own is nil until the first certificate is there; madeBy is the root of the generation
	// that was active then, and from dueAt on it is renewed.
	own    *tls.Certificate
	madeBy *x509.Certificate
	dueAt  time.Time
	// server has own and the roots of authority; nil if it has to be made.
	server    *tls.Config
	authority *Authority
}

// NewServing makes certificates for the identity and, for callers who know names only, for
// DNS names and IP addresses. Start has to run.
func NewServing(source *Source, identity Identity, names []string, c clock.Clock, log *slog.Logger) *Serving {
	return &Serving{Issue: Builtin(source, c), source: source, identity: identity, names: names, clock: c, log: log, due: make(chan struct{}, 1)}
}

// NeedLeaderElection is false: every replica serves.
func (s *Serving) NeedLeaderElection() bool { return false }

// Start keeps the certificate new until the context ends.
func (s *Serving) Start(ctx context.Context) error {
	for ctx.Err() == nil {
		changes, due := s.source.Changes(), s.due
		wait, err := s.renew(ctx)
		if err != nil {
			s.log.Warn("Manager's certificate not renewed", "err", err, "retryIn", wait)
			// Handshakes, of which there may be many, do not make further attempts.
			due = nil
		}
		timer := s.clock.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-changes:
		case <-due:
		case <-timer.C():
		}
		timer.Stop()
	}
	return nil
}

// Certificate is the one that is served; nil if there is none yet.
func (s *Serving) Certificate() *x509.Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own == nil {
		return nil
	}
	return s.own.Leaf
}

// ServerConfig is for servers. A client may come without a certificate, but not with one of
// unknown authorities. Who it is, and what it may ask for, the server has to judge.
func (s *Serving) ServerConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return s.current()
		},
	}
}

// current is the configuration for a handshake that begins now.
func (s *Serving) current() (*tls.Config, error) {
	a := s.source.Get()
	if a == nil {
		return nil, ErrNoAuthority
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own == nil {
		return nil, errors.New("the manager has no certificate yet: see its log")
	}
	if !s.good(a, s.clock.Now()) {
		select {
		case s.due <- struct{}{}:
		default:
		}
	}
	if s.server == nil || s.authority != a {
		s.authority = a
		s.server = &tls.Config{
			MinVersion:   tls.VersionTLS13,
			NextProtos:   []string{"h2"},
			Certificates: []tls.Certificate{*s.own},
			ClientAuth:   tls.VerifyClientCertIfGiven,
			ClientCAs:    a.Pool(),
			Time:         s.clock.Now,
			// A resumed session would be of the certificate and the roots of an earlier one.
			SessionTicketsDisabled: true,
		}
	}
	return s.server, nil
}

// good says whether the certificate can stay. The lock is held.
func (s *Serving) good(a *Authority, now time.Time) bool {
	return s.own != nil && s.madeBy.Equal(a.Signer().Root) && now.Before(s.dueAt) && !now.Before(s.own.Leaf.NotBefore)
}

// renew has a certificate issued if there is a reason to, and says when to look again.
func (s *Serving) renew(ctx context.Context) (wait time.Duration, err error) {
	a, now := s.source.Get(), s.clock.Now()
	if a == nil {
		return servingLifetime, nil
	}
	s.mu.Lock()
	good, dueAt := s.good(a, now), s.dueAt
	s.mu.Unlock()
	if !good {
		own, err := s.issue(ctx, a)
		if err != nil {
			return servingRetry, fmt.Errorf("issue a certificate for %s: %w", s.identity, err)
		}
		dueAt = now.Add(own.Leaf.NotAfter.Sub(now) / 2)
		s.mu.Lock()
		s.own, s.madeBy, s.dueAt, s.server = own, a.Signer().Root, dueAt, nil
		s.mu.Unlock()
		s.log.Info("Manager's certificate renewed", "serial", serial(own.Leaf), "notAfter", own.Leaf.NotAfter, "generation", a.Active)
	}
	return max(dueAt.Sub(now), servingRetry), nil
}

// issue asks for the names, too, unless the issuer has refused them.
func (s *Serving) issue(ctx context.Context, a *Authority) (*tls.Certificate, error) {
	root := a.Signer().Root
	if len(s.names) > 0 && !root.Equal(s.nameless) {
		own, err := s.ask(ctx, a, s.names)
		if Retryable(err) {
			return own, err
		}
		s.log.Warn("The manager's certificate does without the names of its webhooks, which are not asked from now on: have the issuer allow them to it",
			"identity", s.identity, "names", s.names, "err", err)
		s.nameless = root
	}
	return s.ask(ctx, a, nil)
}

func (s *Serving) ask(ctx context.Context, a *Authority, names []string) (*tls.Certificate, error) {
	request := Request{Identity: s.identity, DNSNames: names, Lifetime: servingLifetime}
	if a.Signer().Signing == nil {
		request.Lifetime = issuedLifetime
	}
	pending, err := s.pending.Ask(ECDSAP256, request)
	if err != nil {
		return nil, err
	}
	s.pending = pending
	chain, _, err := s.Issue(ctx, pending.Request, pending.CSR)
	if err != nil {
		return nil, err
	}
	encoded, err := EncodeKey(pending.Key)
	if err != nil {
		return nil, err
	}
	s.pending = nil
	own, err := tls.X509KeyPair(chain, encoded)
	return &own, err
}
