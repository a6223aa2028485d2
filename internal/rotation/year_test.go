//go:build !race

package rotation

import (
	"fmt"
	"os"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/internal/pki/renewal"
	"fairlead.dev/fairlead/internal/pki/rollover"
)

// A year of 2,000 service accounts, with what goes wrong in years: one write in 20 fails, the
// manager restarts 50 times, the API server is away for hours, clocks are set. The root's
// change falls into it, too. (Strimzi#1728 looked at its window when Pods were rolled, and not
// when certificates were issued: here every order is held to it.)
//
// It is one goroutine, and would take minutes under the race detector: `make unit` runs it
// apart.
func TestAYear(t *testing.T) {
	const accounts, mounting, streaming, year = 2000, 300, 100, 365 * day
	g := NewWithT(t)
	policy := nights(t)
	policy.MaxConcurrent = 20
	w := newWorld(t, policy, accounts)
	w.run(start.Add(time.Minute), time.Second)
	for i := range mounting {
		w.join(fmt.Sprintf("account-%04d", i), fmt.Sprintf("mounts-%d", i), true)
	}
	for i := range streaming {
		w.join(fmt.Sprintf("account-%04d", i*7), fmt.Sprintf("streams-%d", i), false)
	}
	w.errors = 0.05
	sometime := func() time.Duration { return time.Duration(w.random.Int64N(int64(year))) }
	for range 50 {
		w.after(sometime(), w.restart)
	}
	for range 10 {
		from := sometime()
		w.after(from, func() { w.away = true })
		w.after(from+time.Duration(w.random.Int64N(int64(12*time.Hour))), func() { w.away = false })
	}
	for range 20 {
		step := time.Duration(w.random.Int64N(int64(4*time.Hour))) - 2*time.Hour
		w.after(sometime(), func() { w.clock.SetTime(w.clock.Now().Add(step)) })
	}
	most := 0
	w.each = func() {
		most = max(most, w.underWay())
		for _, p := range w.proxies {
			if !w.clock.Now().Before(p.Report.Certificate.NotAfter.AsTime()) {
				t.Fatalf("%s serves a certificate that has expired, at %s", p.Node, w.clock.Now())
			}
		}
	}
	w.run(start.Add(year), 30*time.Second)

	byReason := map[renewal.Reason]int{}
	for _, o := range w.orders {
		byReason[o.reason]++
		planned := o.reason == renewal.ReasonWindow || o.reason == renewal.ReasonAuthority
		if _, _, open := policy.Open(o.at); planned && !open {
			t.Errorf("%s was renewed at %s, in no window", o.key, o.at)
		}
	}
	t.Logf("%d writes by reason: %v; at most %d renewals under way", len(w.orders), byReason, most)
	for key, s := range w.secrets {
		g.Expect(s.NotAfter).To(BeTemporally(">", w.clock.Now()), key.String())
	}
	g.Expect(byReason[reasonDamaged]).To(BeZero(), "one that expired would be damaged")
	g.Expect(byReason[renewal.ReasonWindow]).To(BeNumerically(">", 5*accounts), "each is renewed every 45 days")
	g.Expect(most).To(And(BeNumerically(">", 1), BeNumerically("<=", policy.MaxConcurrent)))
	g.Expect(w.state).To(And(HaveField("Phase", rollover.Stable), HaveField("Generation", 2)), "the root was changed")

	// `make year` has it drawn, for docs/certificates.md.
	if path := os.Getenv("FAIRLEAD_YEAR"); path != "" {
		var done []order
		for _, o := range w.orders {
			// Roots alone are no renewal, and nothing is restarted for them.
			if o.reason != reasonTrust {
				done = append(done, o)
			}
		}
		drawn := plot(policy, start, start.Add(year), policy.Windows[0].Zone, done)
		g.Expect(os.WriteFile(path, drawn, 0o644)).To(Succeed())
	}
}

// underWay counts the proxies that are to serve another certificate than they do.
func (w *world) underWay() int {
	count := 0
	for _, p := range w.proxies {
		s := w.secrets[w.subject(p.Identity.ServiceAccount).Key]
		if p.asked || !p.WantsCertificates && s.Serial != p.Report.Certificate.Serial {
			count++
		}
	}
	return count
}
