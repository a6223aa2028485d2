package agents_test

import (
	"context"
	"errors"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"fairlead.dev/fairlead/internal/agentapi"
	"fairlead.dev/fairlead/internal/agents"
	"fairlead.dev/fairlead/internal/pki"
)

// withLeader is a mesh with a replica that leads, and one that takes agents to it.
func withLeader(t *testing.T) (leader, follower *mesh) {
	t.Helper()
	elected := make(chan struct{})
	close(elected)
	leader = newReplica(t, nil, func(*pki.Serving) *agents.Relay {
		return &agents.Relay{Manager: manager, Elected: elected}
	})
	leader.source.Set(must(pki.NewAuthority(leader.generation(1))))
	follower = newReplica(t, leader.source, func(serving *pki.Serving) *agents.Relay {
		return &agents.Relay{
			Manager: manager, Elected: make(chan struct{}), TLS: agents.CallingTLS(serving.ServerConfig(), manager),
			Leader: func(context.Context) (string, error) {
				if leader.away {
					return "", errors.New("nobody leads")
				}
				return leader.address, nil
			},
		}
	})
	for _, m := range []*mesh{leader, follower} {
		m.g.Eventually(m.serving.Certificate).ShouldNot(BeNil(), "each manager has a certificate")
	}
	return leader, follower
}

func TestAnAgentIsWithTheLeaderWhereverItComesIn(t *testing.T) {
	leader, follower := withLeader(t)
	for name, shown := range map[string]credential{
		"by token": {token: "token of reviews-1"}, "by certificate": certificate(leader.source.Get().Signer(), reviews, time.Now()),
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			a := follower.join(shown, node)
			a.report(&agentapi.Report{State: "live"})
			g.Eventually(func() string { return leader.known(node).Report.GetState() }).Should(Equal("live"), "the leader has its reports")
			g.Expect(leader.known(node).Identity).To(Equal(reviews))
			g.Expect(follower.known(node)).To(BeZero())
			g.Expect(leader.table.Renew(node, "window")).To(BeTrue())
			g.Expect(a.next().GetRenew().GetReason()).To(Equal("window"), "the agent hears the leader")
			g.Expect(a.ask(must(pki.NewCSR(must(pki.ECDSAP256.NewKey()), pki.Request{}))).GetIssued()).NotTo(BeNil())
			a.cancel()
			g.Eventually(func() bool { return leader.known(node).Connected.IsZero() }).Should(BeTrue(), "the leader knows that it is gone")
		})
	}
	g := NewWithT(t)
	g.Expect(status.Code(follower.attach(certificate(leader.source.Get().Signer(), ratings, time.Now()), node))).To(Equal(codes.PermissionDenied))

	a := follower.join(certificate(leader.source.Get().Signer(), reviews, time.Now()), node)
	leader.stop()
	_, err := a.receive()
	g.Expect(status.Code(err)).To(Equal(codes.Unavailable), "the agent comes again, to find the next leader")
}

func TestAnAgentIsServedWhileNobodyLeads(t *testing.T) {
	leader, follower := withLeader(t)
	leader.away = true
	a := follower.join(credential{token: "token of reviews-1"}, node)
	follower.g.Expect(a.ask(must(pki.NewCSR(must(pki.ECDSAP256.NewKey()), pki.Request{}))).GetIssued()).NotTo(BeNil(), "any replica issues")
	follower.clock.Step(time.Minute)
	_, err := a.receive()
	follower.g.Expect(err).To(HaveOccurred(), "the agent comes again soon")
}

func TestOnlyAReplicaCallsForOthers(t *testing.T) {
	leader, follower := withLeader(t)
	calls := func(m *mesh, shown credential) error {
		connection, ctx := m.dial(shown)
		ctx = metadata.AppendToOutgoingContext(ctx, "fairlead-for-identity", reviews.String())
		a := m.connect(ctx, connection, &agentapi.Hello{Node: node})
		defer a.cancel()
		_, err := a.receive()
		return err
	}
	replica := certificate(leader.source.Get().Signer(), manager, time.Now())
	leader.g.Expect(calls(leader, replica)).To(Succeed())
	leader.g.Expect(status.Code(calls(follower, replica))).To(Equal(codes.Unavailable), "who does not lead does not stand in for the leader")
	for _, other := range []credential{certificate(leader.source.Get().Signer(), ratings, time.Now()), {token: "token of reviews-1"}} {
		leader.g.Expect(status.Code(calls(leader, other))).To(Equal(codes.PermissionDenied))
	}
}
