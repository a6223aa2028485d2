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
	// servingRetry is the pause after an attempt to renew it that failed.
	servingRetry = 10 * time.Second
)

// IssueFunc has a certificate issued: the chain and the roots, both PEM. The signing request
// has the request's key and identity.
type IssueFunc func(ctx context.Context, request Request, csr []byte) (chain, roots []byte, err error)

// Serving is the manager's own certificate, and TLS with it: for the servers of the
// discovery service, the agents' stream and webhooks, and for one replica that calls another.
// The certificate is renewed without a restart, and each handshake verifies its peer against
// the roots that are trusted at that moment.
type Serving struct {
	// Issue replaces the active generation, if other issuers can be chosen. It is set before
	// Start.
	Issue IssueFunc

	source   *Source
	identity Identity
	names    []string
	clock    clock.Clock
	log      *slog.Logger
	// due wakes Start when a handshake finds that the certificate is due: clocks may step.
	due chan struct{}

	mu sync.Mutex
	// own is nil until the first certificate is there; madeBy is the root of the generation
	// that was active then.
	own    *tls.Certificate
	madeBy *x509.Certificate
	// server has own and the roots of authority; nil if it has to be made.
	server    *tls.Config
	authority *Authority
}

// NewServing makes certificates for the identity and, for callers who know names only, for
// DNS names and IP addresses. Start has to run.
func NewServing(source *Source, identity Identity, names []string, c clock.Clock, log *slog.Logger) *Serving {
	return &Serving{source: source, identity: identity, names: names, clock: c, log: log, due: make(chan struct{}, 1)}
}

// NeedLeaderElection is false: every replica serves.
func (s *Serving) NeedLeaderElection() bool { return false }

// Start keeps the certificate new until the context ends.
func (s *Serving) Start(ctx context.Context) error {
	timer := s.clock.NewTimer(0)
	defer timer.Stop()
	for {
		changes := s.source.Changes()
		wait := servingRetry
		if err := s.renew(ctx); err != nil {
			s.log.Warn("Manager's certificate not renewed", "error", err, "retryIn", wait)
		} else if own := s.Certificate(); own != nil {
			wait = half(own).Sub(s.clock.Now())
		}
		timer.Stop()
		timer = s.clock.NewTimer(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-changes:
		case <-s.due:
		case <-timer.C():
		}
	}
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

// ServerConfig is for servers. A client may come without a certificate, but not with one
// that is not of the mesh; what it may ask for, the server has to judge.
func (s *Serving) ServerConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return s.current()
		},
	}
}

// ClientConfig is for a call to a server of the mesh that has the given identity.
func (s *Serving) ClientConfig(server Identity) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2"},
		// Go verifies names and fixed roots only: VerifyConnection does all that it leaves out.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			a := s.source.Get()
			if a == nil {
				return errNoAuthority
			}
			if _, err := verify(state.PeerCertificates, a.Roots(), s.clock.Now()); err != nil {
				return fmt.Errorf("the server's certificate: %w", err)
			}
			found, err := IdentityOf(state.PeerCertificates[0])
			if err == nil && found != server {
				err = fmt.Errorf("the server is %s and not %s", found, server)
			}
			return err
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			config, err := s.current()
			if err != nil {
				return nil, err
			}
			return &config.Certificates[0], nil
		},
	}
}

var errNoAuthority = errors.New("the mesh has no authority yet: wait until the leading manager has made it")

// current is the configuration for a handshake that begins now.
func (s *Serving) current() (*tls.Config, error) {
	a := s.source.Get()
	if a == nil {
		return nil, errNoAuthority
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own == nil {
		return nil, errors.New("the manager has no certificate yet: see its log")
	}
	if !s.clock.Now().Before(half(s.own.Leaf)) {
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
			VerifyConnection: func(state tls.ConnectionState) error {
				if len(state.PeerCertificates) == 0 {
					return nil
				}
				client, err := IdentityOf(state.PeerCertificates[0])
				if err == nil && client.TrustDomain != s.identity.TrustDomain {
					err = fmt.Errorf("the client %s is not of the trust domain %s", client, s.identity.TrustDomain)
				}
				return err
			},
		}
	}
	return s.server, nil
}

// renew has a certificate issued if there is a reason to.
func (s *Serving) renew(ctx context.Context) error {
	a := s.source.Get()
	if a == nil {
		return nil
	}
	by, now := a.Signer().Root, s.clock.Now()
	s.mu.Lock()
	good := s.own != nil && s.madeBy.Equal(by) && now.Before(half(s.own.Leaf)) && !now.Before(s.own.Leaf.NotBefore)
	s.mu.Unlock()
	if good {
		return nil
	}
	own, err := s.issue(ctx, a, now)
	if err != nil {
		return fmt.Errorf("issue a certificate for %s: %w", s.identity, err)
	}
	s.mu.Lock()
	s.own, s.madeBy, s.server = own, by, nil
	s.mu.Unlock()
	s.log.Info("Manager's certificate renewed", "serial", serial(own.Leaf), "notAfter", own.Leaf.NotAfter, "generation", a.Active)
	return nil
}

func (s *Serving) issue(ctx context.Context, a *Authority, now time.Time) (*tls.Certificate, error) {
	key, err := ECDSAP256.NewKey()
	if err != nil {
		return nil, err
	}
	request := Request{Identity: s.identity, PublicKey: key.Public(), DNSNames: s.names, Lifetime: servingLifetime}
	var chain []byte
	if s.Issue == nil {
		_, chain, err = a.Signer().Sign(request, now)
	} else {
		var csr []byte
		if csr, err = NewCSR(key, request); err != nil {
			return nil, err
		}
		chain, _, err = s.Issue(ctx, request, csr)
	}
	if err != nil {
		return nil, err
	}
	certificates, err := ParseCertificates(chain)
	if err != nil {
		return nil, fmt.Errorf("the chain %w", err)
	}
	if !isKeyOf(certificates[0], key) {
		return nil, errors.New("it is for another key")
	}
	own := &tls.Certificate{PrivateKey: key, Leaf: certificates[0]}
	for _, c := range certificates {
		own.Certificate = append(own.Certificate, c.Raw)
	}
	return own, nil
}

// half is when half of a certificate's life is over.
func half(c *x509.Certificate) time.Time {
	return c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) / 2)
}
