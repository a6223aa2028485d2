package rotation

import (
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"go.uber.org/goleak"

	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/pki/renewal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// nights are from 02:00 to 05:00 in Berlin.
func nights(t testing.TB) renewal.Policy {
	w, err := renewal.ParseWindow(nil, "02:00", "05:00", "Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return renewal.Policy{Before: 45 * day, Windows: []renewal.Window{w}, Jitter: 1, MaxConcurrent: 10}
}

func TestTheFirstTurnMakesTheAuthorityAndEveryCertificate(t *testing.T) {
	g := NewWithT(t)
	w := newWorld(t, nights(t), 20)
	w.turn()
	g.Expect(w.source.Get()).NotTo(BeNil(), "the leader makes the authority")
	g.Expect(w.secrets).To(HaveLen(20))
	for key, s := range w.secrets {
		_, err := pki.CheckSecret(s.files, w.identityOf(key), w.source.Get().Bundle(), w.clock.Now())
		g.Expect(err).NotTo(HaveOccurred())
	}
	g.Expect(w.events).To(BeEmpty(), "first certificates are nothing to be told of")
}

func TestWhatIsDeletedOrDamagedComesBackAtOnce(t *testing.T) {
	g := NewWithT(t)
	w := newWorld(t, nights(t), 3)
	w.run(start.Add(time.Hour), time.Second)
	deleted, damaged, kept := w.subjects[0].Key, w.subjects[1].Key, w.subjects[2].Key
	before := w.secrets[kept].Serial

	delete(w.secrets, deleted)
	w.engine.SetHeld(deleted, nil)
	w.version++
	w.engine.SetHeld(damaged, &Held{Version: Version{UID: "1", Number: w.version}, Fault: "key.pem holds no PEM"})
	w.turn()

	g.Expect(w.secrets).To(HaveKey(deleted))
	g.Expect(w.engine.Report(meshRoot).In[Current]).To(Equal(3))
	g.Expect(w.secrets[kept].Serial).To(Equal(before), "the others stay as they are")
	g.Expect(reasons(w.events)).To(ConsistOf("SecretRestored"))
}

func TestAForcedRenewalIsMadeOnceAndAlsoForProxies(t *testing.T) {
	g := NewWithT(t)
	w := newWorld(t, nights(t), 2)
	w.run(start.Add(time.Minute), time.Second)
	w.join("account-0000", "streams", false)
	w.run(start.Add(10*time.Minute), time.Second)
	w.orders, w.prompt = nil, true

	w.subjects = slices.Clone(w.subjects)
	w.subjects[0].Forced = "now"
	w.engine.SetSubjects(namespace, w.subjects)
	w.run(start.Add(time.Hour), time.Second)

	g.Expect(w.made()).To(ConsistOf("Secret shop/fairlead.account-0000 forced", "Pod shop/streams forced"))
	g.Expect(w.engine.Report(meshRoot).In[Unproven]).To(BeZero())

	// Twice in a second, which is all that certificates know of time.
	for _, value := range []string{"again", "and again"} {
		w.subjects = slices.Clone(w.subjects)
		w.subjects[0].Forced = value
		w.engine.SetSubjects(namespace, w.subjects)
		w.run(w.clock.Now().Add(200*time.Millisecond), 50*time.Millisecond)
	}
	w.run(w.clock.Now().Add(time.Minute), time.Second)
	g.Expect(w.made()).To(HaveLen(6), "each order is answered")
	w.orders = w.orders[:2]
	w.restart()
	w.run(start.Add(2*time.Hour), time.Second)
	g.Expect(w.orders).To(HaveLen(2), "a restart remembers what was asked for")
}

func TestAnUnwantedSecretStaysUntilItExpires(t *testing.T) {
	g := NewWithT(t)
	w := newWorld(t, nights(t), 1)
	w.turn()
	old := w.subjects[0].Key
	w.subjects = []Subject{w.subject("account-0000")}
	w.subjects[0].Key.Name = "istio.account-0000"
	w.engine.SetSubjects(namespace, w.subjects)
	w.run(start.Add(89*day), time.Hour)
	g.Expect(w.secrets).To(HaveKey(old), "a Pod may still mount it")
	g.Expect(w.secrets).To(HaveKey(w.subjects[0].Key))
	w.run(start.Add(91*day), time.Hour)
	g.Expect(w.secrets).NotTo(HaveKey(old))
}

func (w *world) identityOf(key Key) pki.Identity {
	i := slices.IndexFunc(w.subjects, func(s Subject) bool { return s.Key == key })
	return w.subjects[i].Identity
}

// made lists the renewals, as "who reason".
func (w *world) made() []string {
	var all []string
	for _, o := range w.orders {
		all = append(all, o.key.String()+" "+string(o.reason))
	}
	return all
}

func reasons(events []Event) []string {
	var all []string
	for _, e := range events {
		all = append(all, e.Reason)
	}
	return slices.Compact(all)
}

func TestTermsThatComeLaterGoForProxiesToo(t *testing.T) {
	g := NewWithT(t)
	w := newWorld(t, nights(t), 1)
	w.run(start.Add(time.Minute), time.Second)
	w.join("account-0000", "streams", false)
	w.run(start.Add(10*time.Minute), time.Second)
	w.orders, w.prompt = nil, true

	own := *w.terms
	own.Group, own.Object = "shop/own", Object{Kind: "MeshCertificate", Namespace: namespace, Name: "own"}
	w.subjects = slices.Clone(w.subjects)
	w.subjects[0].Terms = &own
	w.engine.SetSubjects(namespace, w.subjects)
	w.run(start.Add(20*time.Minute), time.Second)
	g.Expect(w.engine.Report(own.Object).Plan).To(ConsistOf(HaveField("Name", "account-0000"), HaveField("Name", "account-0000/streams")))

	w.subjects = slices.Clone(w.subjects)
	w.subjects[0].Forced = "now"
	w.engine.SetSubjects(namespace, w.subjects)
	w.run(start.Add(time.Hour), time.Second)
	g.Expect(w.made()).To(ConsistOf("Secret shop/fairlead.account-0000 forced", "Pod shop/streams forced"))
}
