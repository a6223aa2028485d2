package pki_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	testingclock "k8s.io/utils/clock/testing"

	"fairlead.dev/fairlead/internal/pki"
)

func TestTheBuiltinIssuerSignsWithWhatIsActive(t *testing.T) {
	g := NewWithT(t)
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	clock, source := testingclock.NewFakePassiveClock(start), pki.NewSource()
	builtin := pki.Builtin(source, clock)
	key, err := pki.ECDSAP256.NewKey()
	g.Expect(err).NotTo(HaveOccurred())
	reviews := pki.Identity{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "reviews"}
	request := pki.Request{Identity: reviews, PublicKey: key.Public(), Lifetime: time.Hour}
	refused := func(request pki.Request, reason pki.IssueReason, retryable bool, text string) {
		t.Helper()
		_, _, err := builtin(context.Background(), request, nil)
		var known *pki.IssueError
		g.Expect(errors.As(err, &known)).To(BeTrue())
		g.Expect(known.Reason).To(Equal(reason))
		g.Expect(pki.Retryable(fmt.Errorf("wrapped: %w", err))).To(Equal(retryable))
		g.Expect(err).To(MatchError(And(HavePrefix("issuer builtin: "), ContainSubstring(text))))
	}

	refused(request, pki.NotReady, true, "the mesh has no authority yet")
	first, err := pki.NewGeneration(1, "cluster.local", start, 24*time.Hour)
	g.Expect(err).NotTo(HaveOccurred())
	authority, err := pki.NewAuthority(first)
	g.Expect(err).NotTo(HaveOccurred())
	source.Set(authority)
	chain, roots, err := builtin(context.Background(), request, nil)
	g.Expect(err).NotTo(HaveOccurred())
	files, err := pki.Files(key, chain, roots)
	g.Expect(err).NotTo(HaveOccurred())
	_, err = pki.CheckSecret(files, reviews, authority.Bundle(), start)
	g.Expect(err).NotTo(HaveOccurred())

	refused(pki.Request{Identity: reviews, Lifetime: time.Hour}, pki.Invalid, false, "cannot be used: use ECDSA-P256")
	clock.SetTime(start.Add(24 * time.Hour))
	refused(request, pki.NotReady, true, "generation 1 expired")
}

func TestWhatIsUnknownIsTriedAgain(t *testing.T) {
	g := NewWithT(t)
	g.Expect(pki.Retryable(errors.New("connection reset"))).To(BeTrue())
	for _, reason := range []pki.IssueReason{pki.Failed, pki.Missing, pki.NotReady} {
		g.Expect(pki.Retryable(&pki.IssueError{Reason: reason})).To(BeTrue(), string(reason))
	}
	g.Expect(pki.Retryable(&pki.IssueError{Reason: pki.Denied})).To(BeFalse())
}
