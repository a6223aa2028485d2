package rotation

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/pki/rollover"
)

// folder is where a user brings an authority; without one, roots are built in.
type folder struct {
	t     testing.TB
	w     *world
	good  *pki.Generation
	fault error
}

func (f *folder) Wanted() rollover.Source {
	if f.good == nil {
		return rollover.Source{Name: pki.SourceBuiltin}
	}
	return rollover.Source{Name: pki.SourceFiles, Root: pki.RootID(f.good.Root)}
}

func (f *folder) Generation(context.Context, rollover.Source) (*pki.Generation, error) {
	own := *f.good
	return &own, nil
}

func (f *folder) Brought() (*pki.Generation, error) { return f.good, f.fault }

// authority is one that the user has, below a root or a root itself.
type authority struct {
	*x509.Certificate
	key  crypto.Signer
	root *authority
}

// make makes an authority that is valid for so long from now on, below a root or as one.
func (f *folder) make(root *authority, name string, life time.Duration) *authority {
	g := NewWithT(f.t)
	key, err := pki.ECDSAP256.NewKey()
	g.Expect(err).NotTo(HaveOccurred())
	now := f.w.clock.Now()
	a := &authority{key: key, root: root, Certificate: &x509.Certificate{
		SerialNumber: big.NewInt(now.Unix()), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(life),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	if root == nil {
		a.root = a
	}
	der, err := x509.CreateCertificate(rand.Reader, a.Certificate, a.root.Certificate, key.Public(), a.root.key)
	g.Expect(err).NotTo(HaveOccurred())
	a.Certificate, err = x509.ParseCertificate(der)
	g.Expect(err).NotTo(HaveOccurred())
	return a
}

// bring puts an authority into the folder; nil takes it away.
func (f *folder) bring(a *authority) {
	f.good = nil
	if a != nil {
		f.good = &pki.Generation{Source: pki.SourceFiles, Root: a.root.Certificate, Signing: a.Certificate, SigningKey: a.key}
	}
	f.w.engine.Reconsider()
}

func newFolder(t testing.TB) *folder {
	w := newWorld(t, always(t), 5)
	f := &folder{t: t, w: w}
	w.sources = f
	w.restart()
	w.run(start.Add(time.Minute), time.Second)
	w.join("account-0001", "mounts", true)
	w.join("account-0002", "streams", false)
	return f
}

func (w *world) runFor(d time.Duration) { w.run(w.clock.Now().Add(d), time.Second) }

// The whole way from a built-in root to one that was brought, to what replaces that, and back.
func TestAnAuthorityIsBroughtRenewedReplacedAndTakenAway(t *testing.T) {
	g := NewWithT(t)
	f := newFolder(t)
	w := f.w
	rests := func(number int, source string) *pki.Generation {
		g.Expect(w.state.Phase).To(Equal(rollover.Stable))
		g.Expect(w.source.Get().Generations).To(HaveLen(1))
		signer := w.source.Get().Signer()
		g.Expect(signer).To(And(HaveField("Number", number), HaveField("Source", source)))
		for _, p := range w.proxies {
			g.Expect(p.Report.Certificate.Root).To(Equal(pki.RootID(signer.Root)), p.Node)
		}
		return signer
	}
	root := f.make(nil, "ours", 5*365*day)
	f.bring(f.make(root, "signing", 365*day))
	w.runFor(12 * time.Hour)
	first := rests(2, pki.SourceFiles)

	f.bring(f.make(root, "signing", 2*365*day))
	phases := len(reasons(w.events))
	w.runFor(time.Minute)
	renewed := rests(2, pki.SourceFiles)
	g.Expect(renewed.Root.Equal(first.Root)).To(BeTrue())
	g.Expect(renewed.Signing.Equal(f.good.Signing)).To(BeTrue(), "what was brought below the same root signs at once")
	g.Expect(reasons(w.events)[phases:]).To(Equal([]string{"SigningReplaced"}), "without a change of the root")

	f.bring(f.make(nil, "another", 365*day))
	w.runFor(12 * time.Hour)
	g.Expect(rests(3, pki.SourceFiles).Root.Equal(renewed.Root)).To(BeFalse())

	f.bring(nil)
	w.runFor(12 * time.Hour)
	rests(4, pki.SourceBuiltin)
}

func TestAFaultOfWhatIsBroughtIsToldOnceAndWhatWasGoodGoesOn(t *testing.T) {
	g := NewWithT(t)
	f := newFolder(t)
	f.bring(f.make(nil, "ours", 365*day))
	f.w.runFor(12 * time.Hour)
	before := f.w.source.Get()
	said := len(f.w.events)
	for _, fault := range []error{errors.New("the key is missing"), errors.New("the key is another's"), nil} {
		for range 100 {
			f.fault = fault
			f.w.engine.Reconsider()
			f.w.runFor(5 * time.Second)
		}
		told := ""
		if fault != nil {
			told = fault.Error()
		}
		g.Expect(f.w.engine.Report(meshRoot).Root.Fault).To(Equal(told))
	}
	g.Expect(f.w.events[said:]).To(HaveExactElements(
		And(HaveField("Reason", "AuthorityUnusable"), HaveField("Message", HavePrefix("the key is missing"))),
		And(HaveField("Reason", "AuthorityUnusable"), HaveField("Message", HavePrefix("the key is another's"))),
		HaveField("Reason", "AuthorityUsable"),
	))
	g.Expect(f.w.source.Get().Equal(before)).To(BeTrue())
}

// istio#14516: what was brought expired, and nobody was told, nor what to do.
func TestIncidentTheEndOfWhatWasBroughtIsToldWithWhatToDo(t *testing.T) {
	g := NewWithT(t)
	f := newFolder(t)
	warning := func() string { return f.w.engine.Report(meshRoot).Root.Waiting.Warning }
	root := f.make(nil, "ours", 365*day)
	f.bring(f.make(root, "signing", 90*day))
	f.w.runFor(55 * day)
	g.Expect(warning()).To(BeEmpty())
	f.w.runFor(10 * day)
	g.Expect(warning()).To(MatchRegexp("has to be replaced, since it ends at .* have CN=signing renewed below the same root, and put it into the folder of --authority-dir"))
	g.Expect(reasons(f.w.events)).To(ContainElement("RootAtRisk"))
	f.bring(f.make(root, "signing", 300*day))
	f.w.runFor(time.Minute)
	g.Expect(warning()).To(BeEmpty(), "that helped")

	f.w.runFor(250 * day)
	g.Expect(warning()).To(ContainSubstring("put a new root than CN=ours and an authority below it into the folder"))
	told := slices.DeleteFunc(slices.Clone(f.w.events), func(e Event) bool { return e.Reason != "RootAtRisk" })
	g.Expect(told).To(HaveLen(2), "each is told once")
	f.bring(f.make(nil, "next", 365*day))
	f.w.runFor(12 * time.Hour)
	g.Expect(warning()).To(BeEmpty())
	g.Expect(f.w.source.Get().Generations).To(HaveLen(1))
}
