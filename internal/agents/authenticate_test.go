package agents_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"fairlead.dev/fairlead/internal/agentapi"
	"fairlead.dev/fairlead/internal/pki"
)

func TestWhoMayCallWhat(t *testing.T) {
	m := newMesh(t)
	ours := m.source.Get().Signer()
	good := certificate(ours, reviews, time.Now())
	expired := certificate(ours, reviews, time.Now().Add(-2*time.Hour))
	foreign := certificate(m.generation(9), reviews, time.Now())
	otherDomain := certificate(ours, pki.Identity{TrustDomain: "example.org", Namespace: "shop", ServiceAccount: "reviews"}, time.Now())
	token := credential{token: "token of reviews-1"}
	with := func(c credential, token string) credential { c.token = token; return c }

	for _, c := range []struct {
		name  string
		shown credential
		node  string
		// discovery and agent are how the two services answer, says a part of what either says.
		discovery, agent codes.Code
		says             string
	}{
		{"a certificate", good, "shop/reviews-1", codes.OK, codes.OK, ""},
		{"a token", token, "shop/reviews-1", codes.Unauthenticated, codes.OK, "show a certificate of the mesh"},
		{"nothing", credential{}, "shop/reviews-1", codes.Unauthenticated, codes.Unauthenticated, "show a certificate of the mesh"},
		{"an unknown token", credential{token: "x"}, "shop/reviews-1", codes.Unauthenticated, codes.Unauthenticated, ""},
		{"a token while the API server is away", credential{token: "unanswered"}, "shop/reviews-1", codes.Unauthenticated, codes.Unavailable, ""},
		{"an expired certificate", expired, "shop/reviews-1", codes.Unauthenticated, codes.Unauthenticated, "expired"},
		{"an expired certificate and a token", with(expired, token.token), "shop/reviews-1", codes.Unauthenticated, codes.OK, "expired"},
		{"a certificate of nobody we know", foreign, "shop/reviews-1", codes.Unauthenticated, codes.Unauthenticated, "not one of the mesh"},
		{"a certificate of another trust domain", otherDomain, "shop/reviews-1", codes.Unauthenticated, codes.Unauthenticated, "trust domain example.org"},
		{"a certificate for another's Pod", good, "shop/ratings-1", codes.PermissionDenied, codes.PermissionDenied,
			"the Pod shop/ratings-1 runs as service account shop/ratings, but the caller has proven to be shop/reviews"},
		{"a token for another's Pod", token, "shop/ratings-1", codes.Unauthenticated, codes.PermissionDenied, ""},
		{"a certificate for a Pod that is not there", good, "shop/reviews-2", codes.PermissionDenied, codes.PermissionDenied, "no Pod shop/reviews-2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := NewWithT(t)
			for _, called := range []struct {
				service string
				err     error
				want    codes.Code
			}{{"discovery", m.discover(c.shown, c.node), c.discovery}, {"polling", m.poll(c.shown, c.node), c.discovery}, {"agents", m.attach(c.shown, c.node), c.agent}} {
				g.Expect(status.Code(called.err)).To(Equal(called.want), "%s: %v", called.service, called.err)
				if called.want != codes.OK && called.service != "agents" {
					g.Expect(status.Convert(called.err).Message()).To(ContainSubstring(c.says))
				}
			}
		})
	}
}

// A connection outlives a change of roots, the right to open a stream by it does not.
func TestACertificateIsJudgedAnewForEachStream(t *testing.T) {
	m := newMesh(t)
	first := m.source.Get()
	connection, ctx := m.dial(certificate(first.Signer(), reviews, time.Now()))
	open := func() error {
		a := m.connect(ctx, connection, &agentapi.Hello{Node: "shop/reviews-1"})
		defer a.cancel()
		_, err := a.receive()
		return err
	}
	m.g.Expect(open()).To(Succeed())
	second := must(must(must(must(first.Add(m.generation(2))).Trust(2)).Activate(2)).Drop(1))
	m.source.Set(second)
	m.g.Expect(open()).To(MatchError(ContainSubstring("the certificate is not one of the mesh")))
	m.g.Expect(m.attach(certificate(second.Signer(), reviews, time.Now()), "shop/reviews-1")).To(Succeed())
}
