package rotation

import (
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/pki/rollover"
)

// linkerd2#4808: once everything had expired, the tool for the recovery refused to work, since
// everything had expired. Here the manager was away for longer than a root lives.
func TestAMeshWhoseRootHasExpiredComesBack(t *testing.T) {
	g := NewWithT(t)
	w := newWorld(t, nights(t), 20)
	w.run(start.Add(time.Minute), time.Second)
	for i := range 5 {
		w.join(fmt.Sprintf("account-%04d", i), fmt.Sprintf("mounts-%d", i), true)
	}
	w.run(start.Add(time.Hour), time.Minute)

	back := start.Add(400 * day)
	w.clock.SetTime(back)
	w.restart()
	w.run(back.Add(time.Hour), time.Second)
	for key, s := range w.secrets {
		g.Expect(s.NotAfter).To(BeTemporally(">", back.Add(30*day)), "%s is there again within the hour, though it be noon", key)
		g.Expect(s.Root).To(Equal(pki.RootID(w.source.Get().Signer().Root)), key.String())
	}
	w.run(back.Add(2*day), time.Minute)
	g.Expect(w.state).To(And(HaveField("Phase", rollover.Stable), HaveField("Generation", 2)))
	g.Expect(w.source.Get().Roots()).To(HaveLen(1), "what has expired is not trusted on")
	for _, p := range w.proxies {
		g.Expect(p.Report.Certificate.NotAfter.AsTime()).To(BeTemporally(">", w.clock.Now()), p.Node)
	}
}
