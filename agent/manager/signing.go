package manager

import (
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net/url"
	"time"

	"fairlead.dev/fairlead/internal/agentapi"
	"fairlead.dev/fairlead/internal/pki"
)

// Algorithms are the kinds of keys that Envoy takes from its peers (see package certs), the
// default first.
var Algorithms = []pki.KeyAlgorithm{pki.ECDSAP256, pki.ECDSAP384, pki.RSA2048, pki.RSA3072, pki.RSA4096}

const (
	// lifeTenths is when the agent asks by itself: the manager's plan comes long before.
	lifeTenths = 9
	// untakenPause is after a certificate that was issued and could not be taken.
	untakenPause = time.Minute
	// shortestRetry bounds what the manager may ask for.
	shortestRetry = time.Second
)

// asked is a signing request for an identity, and the key that it is for, as PEM.
type asked struct {
	identity string
	key, csr []byte
}

// request is one that is on its way.
type request struct {
	id uint64
	*asked
}

// due is when the next certificate is to be asked for.
func (s *session) due() time.Time {
	now := s.options.Clock.Now()
	own := s.options.Certificates.Status().Certificate
	switch {
	case s.options.Algorithm == "", s.pending != nil, s.refused:
		return now.Add(never)
	case s.wanted == "" && own != nil:
		return laterOf(own.NotBefore.Add(own.NotAfter.Sub(own.NotBefore)/10*lifeTenths), s.notBefore)
	default:
		return s.notBefore
	}
}

func laterOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// want has a certificate asked for at once, whatever was said before.
func (s *session) want(reason string) {
	s.wanted, s.notBefore, s.refused = reason, time.Time{}, false
}

// askIfDue asks for a certificate, of a new key unless the last one is still undecided.
func (s *session) askIfDue() error {
	if s.due().After(s.options.Clock.Now()) {
		return nil
	}
	reason := s.wanted
	if reason == "" {
		reason = "there is none, or it is past nine tenths of its life"
	}
	if s.asked == nil || s.asked.identity != s.identity {
		var err error
		if s.asked, err = newAsked(s.options.Algorithm, s.identity); err != nil {
			return err
		}
	}
	s.requests++
	s.pending = &request{id: s.requests, asked: s.asked}
	s.options.Log.Info("Asked the manager for a certificate", "reason", reason)
	return s.stream.send(&agentapi.FromAgent{Message: &agentapi.FromAgent_SigningRequest{
		SigningRequest: &agentapi.SigningRequest{Id: s.requests, Csr: s.asked.csr},
	}})
}

// newAsked makes a key and the request for it.
func newAsked(algorithm pki.KeyAlgorithm, identity string) (*asked, error) {
	key, err := algorithm.NewKey()
	if err != nil {
		return nil, err
	}
	// Who we are the manager knows by other means, but some issuers sign the name in the request.
	template := &x509.CertificateRequest{}
	if uri, err := url.Parse(identity); err == nil && identity != "" {
		template.URIs = []*url.URL{uri}
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, fmt.Errorf("make a signing request: %w", err)
	}
	encoded, err := pki.EncodeKey(key)
	return &asked{identity: identity, key: encoded, csr: csr}, err
}

// answered returns the key that an answer is for, and nil if nobody waits for it.
func (s *session) answered(id uint64) []byte {
	if s.pending == nil || s.pending.id != id {
		return nil
	}
	key := s.pending.key
	s.pending = nil
	return key
}

func (s *session) issued(m *agentapi.Issued) {
	key := s.answered(m.GetId())
	if key == nil {
		return
	}
	s.asked = nil
	if err := s.options.Certificates.Give(key, m.GetChain(), m.GetRoots()); err != nil {
		s.notBefore = s.options.Clock.Now().Add(untakenPause)
		s.complain("the certificate that the manager issued cannot be taken: " + err.Error())
		return
	}
	s.wanted, s.notBefore = "", time.Time{}
	s.complain("")
}

func (s *session) wasRefused(m *agentapi.Refused) {
	if s.answered(m.GetId()) == nil {
		return
	}
	after := m.GetRetryAfter()
	s.refused = after == nil
	if s.refused {
		s.asked = nil
	}
	if after != nil {
		s.notBefore = s.options.Clock.Now().Add(max(after.AsDuration(), shortestRetry))
	}
	s.complain("the manager issues no certificate: " + m.GetCode() + ": " + m.GetMessage())
	s.options.Log.Warn("The manager issues no certificate", "code", m.GetCode(), "error", m.GetMessage(), "asksAgain", after != nil)
}
