package pki_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	testingclock "k8s.io/utils/clock/testing"

	"fairlead.dev/fairlead/internal/pki"
)

const patience = 20 * time.Second

var manager = pki.Identity{TrustDomain: "cluster.local", Namespace: "fairlead", ServiceAccount: "fairlead-manager"}

// served is a manager that serves, by a clock of its own.
type served struct {
	*pki.Serving
	source *pki.Source
	clock  *testingclock.FakeClock
	t      *testing.T
}

func serve(t *testing.T, change func(*pki.Serving)) *served {
	source, clock := pki.NewSource(), testingclock.NewFakeClock(start)
	s := &served{pki.NewServing(source, manager, []string{"localhost"}, clock, slog.New(slog.DiscardHandler)), source, clock, t}
	if change != nil {
		change(s.Serving)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		NewWithT(t).Expect(<-ended).To(Succeed())
	})
	return s
}

// by waits until the certificate is of a generation and not the one before.
func (s *served) by(g *pki.Generation, before *x509.Certificate) *x509.Certificate {
	s.t.Helper()
	NewWithT(s.t).Eventually(func() bool {
		c := s.Certificate()
		return c != nil && !c.Equal(before) && c.CheckSignatureFrom(g.Signing) == nil
	}, patience).Should(BeTrue(), "the manager has another certificate, of generation %d", g.Number)
	return s.Certificate()
}

// call makes a handshake both ways, and returns the server's certificate.
func (s *served) call(roots []byte, own ...tls.Certificate) (*x509.Certificate, error) {
	client, server := net.Pipe()
	accepted := make(chan error, 1)
	go func() {
		defer server.Close()
		connection := tls.Server(server, s.ServerConfig())
		err := connection.Handshake()
		if err == nil {
			// In TLS 1.3 a client learns by an answer that its certificate was taken.
			_, err = connection.Write([]byte("!"))
		}
		accepted <- err
	}()
	defer client.Close()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(roots)
	connection := tls.Client(client, &tls.Config{
		RootCAs: pool, ServerName: "localhost", NextProtos: []string{"h2"}, Time: s.clock.Now, ClientSessionCache: tls.NewLRUClientSessionCache(4),
		// Of a list, Go would leave out what the server does not ask for.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &append(own, tls.Certificate{})[0], nil
		},
	})
	_, err := connection.Read(make([]byte, 1))
	client.Close()
	if err = errors.Join(err, <-accepted); err != nil {
		return nil, err
	}
	state := connection.ConnectionState()
	NewWithT(s.t).Expect([]any{state.Version, state.NegotiatedProtocol, state.DidResume}).To(Equal([]any{uint16(tls.VersionTLS13), "h2", false}))
	return state.PeerCertificates[0], nil
}

func pair(t *testing.T, g *pki.Generation, algorithm pki.KeyAlgorithm) tls.Certificate {
	t.Helper()
	files := secret(t, g, nil, newKey(t, algorithm))
	own, err := tls.X509KeyPair(files[pki.ChainFile], files[pki.KeyFile])
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return own
}

func TestEachHandshakeIsByTheRootsOfThatMoment(t *testing.T) {
	g := NewWithT(t)
	first, second := generation(t, 1), generation(t, 2)
	s := serve(t, nil)
	_, err := s.call(nil)
	g.Expect(err).To(MatchError(ContainSubstring("the mesh has no authority yet")))

	a := authority(t, first)
	s.source.Set(a)
	own := s.by(first, nil)
	g.Expect(pki.IdentityOf(own)).To(Equal(manager))
	old, next := pair(t, first, pki.ECDSAP256), pair(t, second, pki.RSA2048)
	g.Expect(s.call(a.Bundle())).To(Equal(own), "a client may come without a certificate")
	g.Expect(s.call(a.Bundle(), old)).To(Equal(own))
	_, err = s.call(a.Bundle(), next)
	g.Expect(err).To(HaveOccurred(), "the second generation is not trusted yet")

	step := func(step func(*pki.Authority) (*pki.Authority, error)) {
		a, err = step(a)
		g.Expect(err).NotTo(HaveOccurred())
		s.source.Set(a)
	}
	step(func(a *pki.Authority) (*pki.Authority, error) { return a.Add(second) })
	step(func(a *pki.Authority) (*pki.Authority, error) { return a.Trust(2) })
	g.Expect(s.call(a.Bundle(), next)).To(Equal(own), "both generations are trusted, the first signs")
	g.Expect(s.call(a.Bundle(), old)).To(Equal(own))
	step(func(a *pki.Authority) (*pki.Authority, error) { return a.Activate(2) })
	own = s.by(second, own)
	g.Expect(s.call(a.Bundle(), old)).To(Equal(own))
	step(func(a *pki.Authority) (*pki.Authority, error) { return a.Drop(1) })
	_, err = s.call(a.Bundle(), old)
	g.Expect(err).To(HaveOccurred(), "the first generation is trusted no longer")
	g.Expect(s.call(a.Bundle(), next)).To(Equal(own))
}

func TestTheManagersCertificateIsRenewedAtHalfItsLife(t *testing.T) {
	g := NewWithT(t)
	signer := generation(t, 1)
	s := serve(t, nil)
	s.source.Set(authority(t, signer))
	own := s.by(signer, nil)
	bundle := s.source.Get().Bundle()
	for range 3 {
		g.Eventually(s.clock.HasWaiters, patience).Should(BeTrue(), "a timer waits")
		s.clock.Step(12*time.Hour - time.Second)
		g.Expect(s.call(bundle)).To(Equal(own))
		s.clock.Step(time.Second)
		own = s.by(signer, own)
		g.Expect(own.NotAfter).To(BeTemporally("==", s.clock.Now().Add(24*time.Hour)))
	}
	// The wall clock may go where the timer does not follow: a handshake sees it. What is
	// served then is still good for the one whose clock was not set.
	s.clock.SetTime(start.Add(-3 * time.Minute))
	_, _ = s.call(bundle)
	own = s.by(signer, own)
	g.Expect(own.NotBefore).To(BeTemporally("<=", s.clock.Now()))
}

func TestAnIssuerThatFailsIsAskedAgainInPeace(t *testing.T) {
	g := NewWithT(t)
	signer := generation(t, 1)
	var asked atomic.Int32
	var fails atomic.Bool
	s := serve(t, func(s *pki.Serving) {
		s.Issue = func(_ context.Context, request pki.Request, csr []byte) (chain, roots []byte, err error) {
			asked.Add(1)
			if fails.Load() {
				return nil, nil, errors.New("the issuer is away")
			}
			key, err := pki.ParseCSR(csr)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(key).To(Equal(request.PublicKey))
			_, chain, err = signer.Sign(request, start)
			return chain, nil, err
		}
	})
	s.source.Set(authority(t, signer))
	own := s.by(signer, nil)
	bundle := s.source.Get().Bundle()

	fails.Store(true)
	g.Eventually(s.clock.HasWaiters, patience).Should(BeTrue(), "a timer waits for the half")
	s.clock.Step(12 * time.Hour)
	g.Eventually(asked.Load, patience).Should(Equal(int32(2)))
	g.Eventually(s.clock.HasWaiters, patience).Should(BeTrue(), "a timer waits for the next attempt")
	for range 20 {
		g.Expect(s.call(bundle)).To(Equal(own), "the one before is served on")
	}
	g.Expect(asked.Load()).To(Equal(int32(2)), "handshakes do not make attempts")
	fails.Store(false)
	s.clock.Step(10 * time.Second)
	s.by(signer, own)
}

func TestASourceTellsEverybodyOfChangesOnly(t *testing.T) {
	g := NewWithT(t)
	source := pki.NewSource()
	one, two := source.Changes(), source.Changes()
	g.Expect(source.Get()).To(BeNil())
	a := authority(t, generation(t, 1))
	source.Set(a)
	g.Expect(one).To(BeClosed())
	g.Expect(two).To(BeClosed())
	again := source.Changes()
	read, err := pki.DecodeAuthority(encoded(t, a))
	g.Expect(err).NotTo(HaveOccurred())
	source.Set(read)
	g.Expect(again).NotTo(BeClosed(), "the same authority, read again")
	source.Set(authority(t, generation(t, 2)))
	g.Expect(again).To(BeClosed())
}

// Another issuer may have people who approve, and policies: it is asked for the same until it
// decides, and for the identity alone once it has refused the webhooks' names.
func TestAnotherIssuerMayTakeItsTimeAndRefuseNames(t *testing.T) {
	g := NewWithT(t)
	theirs := generation(t, 2)
	root, err := pki.FromIssuer("ClusterIssuer/theirs", theirs.Root)
	g.Expect(err).NotTo(HaveOccurred())
	root.Number = 1
	asked := make(chan []byte, 8)
	s := serve(t, func(s *pki.Serving) {
		tries := 0
		s.Issue = func(_ context.Context, request pki.Request, csr []byte) (chain, roots []byte, err error) {
			asked <- csr
			if len(request.DNSNames) > 0 {
				return nil, nil, &pki.IssueError{Reason: pki.Denied, Err: errors.New("no names")}
			}
			if tries++; tries == 1 {
				return nil, nil, errors.New("nobody has approved it yet")
			}
			_, chain, err = theirs.Sign(request, start)
			return chain, nil, err
		}
	})
	s.source.Set(authority(t, root))
	named, first := <-asked, <-asked
	g.Eventually(s.clock.HasWaiters, patience).Should(BeTrue(), "it tries again in a while")
	s.clock.Step(10 * time.Second)
	g.Expect(<-asked).To(And(Equal(first), Not(Equal(named))))
	own := s.by(theirs, nil)
	g.Expect(own.DNSNames).To(BeEmpty())
	g.Expect(own.NotAfter.Sub(start)).To(BeNumerically(">", 7*24*time.Hour), "people are not asked every day")
}
