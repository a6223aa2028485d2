package agents_test

import (
	"errors"
	"io"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"fairlead.dev/fairlead/internal/agentapi"
	"fairlead.dev/fairlead/internal/agents"
	"fairlead.dev/fairlead/internal/pki"
)

const node = "shop/reviews-1"

func TestAnAgentGetsItsFirstCertificateByItsTokenAndTheNextOnesByThat(t *testing.T) {
	m := newMesh(t)
	shown := credential{token: "token of reviews-1"}
	for range 2 {
		a := m.join(shown, node)
		key := must(pki.ECDSAP256.NewKey())
		// Whom the request names does not matter.
		issued := a.ask(must(pki.NewCSR(key, pki.Request{Identity: ratings}))).GetIssued()
		m.g.Expect(issued.GetId()).To(BeEquivalentTo(7))
		files := must(pki.Files(key, issued.GetChain(), issued.GetRoots()))
		_, err := pki.CheckSecret(files, reviews, m.source.Get().Bundle(), time.Now())
		m.g.Expect(err).NotTo(HaveOccurred(), "a whole and valid certificate for the caller's service account")
		shown = paired(key, issued.GetChain())
		a.leave(node)
	}
	m.g.Expect(m.discover(shown, node)).To(Succeed(), "the proxy is served by it, too")
}

func TestTheTableHasWhatAgentsAreAndReport(t *testing.T) {
	m := newMesh(t)
	shown := certificate(m.source.Get().Signer(), reviews, time.Now())
	a := m.join(shown, node)
	m.g.Expect(m.known(node)).To(Equal(agents.Agent{
		Node: node, Identity: reviews, Version: "1", WantsCertificates: true, Connected: m.clock.Now(), Heard: m.clock.Now(),
	}))

	changes := m.table.Changes()
	a.report(&agentapi.Report{Epoch: 1, State: "live", Certificate: &agentapi.Certificate{Serial: "a"}, Requests: 1})
	m.g.Eventually(changes).Should(BeClosed(), "a first report is news")

	changes = m.table.Changes()
	m.clock.Step(time.Minute)
	a.report(&agentapi.Report{Epoch: 1, State: "live", Certificate: &agentapi.Certificate{Serial: "a"}, Requests: 5, RawConnections: 1, At: timestamppb.Now()})
	m.g.Eventually(func() uint64 { return m.known(node).Report.GetRequests() }).Should(BeEquivalentTo(5))
	m.g.Expect(m.known(node).Heard).To(Equal(m.clock.Now()))
	m.g.Expect(changes).NotTo(BeClosed(), "that requests came is no news")
	a.report(&agentapi.Report{Epoch: 1, State: "live", Certificate: &agentapi.Certificate{Serial: "b"}})
	m.g.Eventually(changes).Should(BeClosed(), "another certificate is news")

	a.leave(node)
	m.join(shown, node).leave(node)
	m.g.Expect(m.known(node).Report.GetCertificate().GetSerial()).To(Equal("b"), "who comes back with a certificate is the same agent")
	m.join(credential{token: "token of reviews-1"}, node).leave(node)
	m.g.Expect(m.known(node).Report).To(BeNil(), "who begins with a token has not shown anything yet")
	m.clock.Step(16 * time.Minute)
	m.g.Expect(m.table.Snapshot()).To(BeEmpty(), "who stays away is forgotten")
}

func TestAnAgentIsToldToRenewAndWhomToTrust(t *testing.T) {
	m := newMesh(t)
	m.g.Expect(m.table.Renew(node, "window")).To(BeFalse(), "it is not connected")
	a := m.join(certificate(m.source.Get().Signer(), reviews, time.Now()), node)
	m.g.Expect(m.table.Renew(node, "window")).To(BeTrue())
	m.g.Expect(a.next().GetRenew().GetReason()).To(Equal("window"))

	prepared := must(m.source.Get().Add(m.generation(2)))
	m.source.Set(prepared) // nobody trusts it yet, so nobody is told
	trusted := must(prepared.Trust(2))
	m.source.Set(trusted)
	m.g.Expect(a.next().GetTrust().GetRoots()).To(Equal(trusted.Bundle()))

	a.leave(node)
	connection, ctx := m.dial(certificate(trusted.Signer(), reviews, time.Now()))
	mounted := m.connect(ctx, connection, &agentapi.Hello{Node: node})
	m.g.Expect(mounted.next().GetWelcome()).NotTo(BeNil())
	m.g.Expect(m.table.Renew(node, "window")).To(BeFalse(), "its certificates are mounted")
}

func TestRequestsThatGetNoCertificate(t *testing.T) {
	m := newMesh(t)
	csr := must(pki.NewCSR(must(pki.ECDSAP256.NewKey()), pki.Request{Identity: reviews}))
	a := m.join(certificate(m.source.Get().Signer(), reviews, time.Now()), node)

	refused := a.ask([]byte("nonsense")).GetRefused()
	m.g.Expect(refused.GetCode()).To(Equal("Invalid"))
	m.g.Expect(refused.GetRetryAfter()).To(BeNil(), "it would never succeed")

	m.fails(&pki.IssueError{Reason: pki.Denied, Issuer: "test", Err: errors.New("not for them")})
	refused = a.ask(csr).GetRefused()
	m.g.Expect(refused.GetCode()).To(Equal("Denied"))
	m.g.Expect(refused.GetRetryAfter()).To(BeNil())
	m.fails(errors.New("the issuer is away"))
	refused = a.ask(csr).GetRefused()
	m.g.Expect(refused.GetCode()).To(Equal("Failed"))
	m.g.Expect(refused.GetMessage()).To(ContainSubstring("the issuer is away"))
	m.g.Expect(refused.GetRetryAfter().AsDuration()).To(Equal(30 * time.Second))

	refused = a.ask(csr).GetRefused()
	m.g.Expect(refused.GetCode()).To(Equal(agents.TooManyRequests), "the fourth in a row")
	m.g.Expect(refused.GetRetryAfter().AsDuration()).To(Equal(20 * time.Second))
	a.leave(node)
	a = m.join(certificate(m.source.Get().Signer(), reviews, time.Now()), node)
	m.g.Expect(a.ask(csr).GetRefused().GetCode()).To(Equal(agents.TooManyRequests), "another stream is no new budget")
	m.clock.Step(20 * time.Second)
	m.g.Expect(a.ask(csr).GetRefused().GetCode()).To(Equal("Failed"))
}

func TestHowStreamsEnd(t *testing.T) {
	m := newMesh(t)
	shown := certificate(m.source.Get().Signer(), reviews, time.Now())
	first := m.join(shown, node)
	second := m.join(shown, node)
	_, err := first.receive()
	m.g.Expect(status.Code(err)).To(Equal(codes.Aborted), "an agent has one stream; the later one is its own")

	m.clock.Step(54*time.Minute + time.Second)
	_, err = second.receive()
	m.g.Expect(err).To(Equal(io.EOF), "a stream that is old ends cleanly")

	rude := m.join(shown, node)
	rude.send(&agentapi.FromAgent{Message: &agentapi.FromAgent_Hello{Hello: &agentapi.Hello{Node: node}}})
	_, err = rude.receive()
	m.g.Expect(status.Code(err)).To(Equal(codes.InvalidArgument))
	m.g.Eventually(func() bool { return m.known(node).Connected.IsZero() }).Should(BeTrue())
}

func (m *mesh) fails(fault error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = fault
}
