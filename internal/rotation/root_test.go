package rotation

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/pki/renewal"
	"fairlead.dev/fairlead/internal/pki/rollover"
)

// always is a window that is always open, in which all are due at once.
func always(t testing.TB) renewal.Policy {
	policy := nights(t)
	policy.Windows[0].Start, policy.Windows[0].End, policy.Jitter = 0, day, 0
	return policy
}

func TestARootIsChangedByHandThroughARestartInEveryPhase(t *testing.T) {
	g := NewWithT(t)
	w := newWorld(t, always(t), 10)
	w.run(start.Add(time.Minute), time.Second)
	w.join("account-0001", "mounts", true)
	w.join("account-0002", "streams", false)
	first := w.source.Get()
	var phases []rollover.Phase
	w.each = func() {
		if n := len(phases); n == 0 || phases[n-1] != w.state.Phase {
			phases = append(phases, w.state.Phase)
			rotate := w.engine.root.terms.Rotate
			w.restart()
			w.engine.root.terms.Rotate = rotate
		}
	}
	w.rotate("now")
	w.run(start.Add(12*time.Hour), time.Second)

	g.Expect(phases).To(ContainElements(rollover.Prepared, rollover.TrustDistributed, rollover.Activated, rollover.LeavesMoved, rollover.Stable))
	second := w.source.Get()
	g.Expect(second.Generations).To(HaveLen(1))
	g.Expect(second.Signer().Root.Equal(first.Signer().Root)).To(BeFalse())
	for key, s := range w.secrets {
		_, err := pki.CheckSecret(s.files, w.identityOf(key), second.Bundle(), w.clock.Now())
		g.Expect(err).NotTo(HaveOccurred(), "%s has a certificate of the new root", key)
	}
	for _, p := range w.proxies {
		g.Expect(p.Report.Certificate.Root).To(Equal(pki.RootID(second.Signer().Root)), p.Node)
	}
}

func TestASilentProxyHoldsTheRootUpAndIsNamed(t *testing.T) {
	g := NewWithT(t)
	w := newWorld(t, always(t), 3)
	w.run(start.Add(time.Minute), time.Second)
	w.join("account-0001", "streams", false)
	w.proxies["shop/streams"].silent = true
	w.rotate("now")
	w.run(start.Add(6*time.Hour), time.Second)
	report := w.engine.Report(meshRoot).Root
	g.Expect(report.State.Phase).To(Equal(rollover.Prepared))
	g.Expect(report.Waiting.For).To(ConsistOf(HaveField("Name", "Pod shop/streams")))

	w.join("account-0001", "ends", false)
	ends := w.proxies["shop/ends"]
	ends.silent, ends.ended, ends.Connected = true, true, time.Time{}
	w.run(start.Add(7*time.Hour), time.Second)
	g.Expect(w.engine.Report(meshRoot).Root.Waiting.For).To(HaveLen(1), "nobody waits for a Pod that is gone")

	w.proxies["shop/streams"].silent = false
	w.trust()
	w.run(start.Add(18*time.Hour), time.Second)
	g.Expect(w.state.Phase).To(Equal(rollover.Stable))
	g.Expect(reasons(w.events)).To(ContainElement("RootPhase"))
}

// rotate asks for a change of the root by hand.
func (w *world) rotate(value string) {
	terms := *w.engine.root.terms
	terms.Rotate = value
	w.engine.SetRoot(terms, w.state)
}
