package rotation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	testingclock "k8s.io/utils/clock/testing"

	"fairlead.dev/fairlead/internal/agentapi"
	"fairlead.dev/fairlead/internal/agents"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/pki/renewal"
	"fairlead.dev/fairlead/internal/pki/rollover"
)

var (
	start    = time.Date(2026, 3, 1, 12, 0, 0, 7e8, time.UTC)
	errAPI   = errors.New("the API server is not there")
	meshRoot = Object{Kind: "MeshCertificate", Namespace: "fairlead-system", Name: "mesh-root"}
)

const (
	day       = 24 * time.Hour
	namespace = "shop"
)

// world is a mesh without Kubernetes: Secrets, proxies that read them or ask for themselves,
// and one leader at a time, on a clock that the test moves.
type world struct {
	t      testing.TB
	clock  *testingclock.FakeClock
	random *rand.Rand
	engine *Engine
	source *pki.Source
	terms  *Terms

	secrets map[Key]*stored
	state   rollover.State
	version uint64
	proxies map[string]*proxy
	changes chan struct{}
	sources Sources
	// errors is the share of writes that fail; away: all do.
	errors float64
	away   bool
	// prompt: proxies have renewed before the engine knows that they were told to.
	prompt bool
	events []Event
	// orders are the renewals that were made, with their reasons.
	orders []order
	// reports are what proxies are going to do, by time.
	later    []task
	subjects []Subject
	// each is called whenever time has passed.
	each func()
}

type stored struct {
	Held
	files map[string][]byte
}

type proxy struct {
	agents.Agent
	generation uint64
	// asked: it was told to renew, and has not yet.
	asked bool
	// silent proxies take no certificate and report nothing.
	silent bool
	// ended: its Pod is gone, of which the table of agents knows only that its stream ended.
	ended bool
}

// builtinOnly are Sources by which all roots are built in.
type builtinOnly struct{ Sources }

func (builtinOnly) Wanted() rollover.Source           { return rollover.Source{Name: pki.SourceBuiltin} }
func (builtinOnly) Brought() (*pki.Generation, error) { return nil, nil }

type order struct {
	at     time.Time
	key    Key
	reason renewal.Reason
}

type task struct {
	at time.Time
	do func()
}

func newWorld(t testing.TB, policy renewal.Policy, accounts int) *world {
	w := &world{
		t: t, clock: testingclock.NewFakeClock(start), random: rand.New(rand.NewPCG(1, 2)),
		source: pki.NewSource(), sources: builtinOnly{}, secrets: map[Key]*stored{}, proxies: map[string]*proxy{}, changes: make(chan struct{}),
		terms: &Terms{Algorithm: pki.ECDSAP256, Lifetime: 90 * day, Policy: policy},
	}
	for i := range accounts {
		w.subjects = append(w.subjects, w.subject(fmt.Sprintf("account-%04d", i)))
	}
	first, err := pki.NewGeneration(1, "cluster.local", start, 365*day)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := pki.NewAuthority(first)
	if err != nil {
		t.Fatal(err)
	}
	w.source.Set(authority)
	w.restart()
	return w
}

func (w *world) subject(account string) Subject {
	return Subject{
		Key:      Key{Kind: Secret, Namespace: namespace, Name: "fairlead." + account},
		Identity: pki.Identity{TrustDomain: "cluster.local", Namespace: namespace, ServiceAccount: account},
		Canary:   slices.Contains(w.terms.Policy.Canaries, account), Served: true, Terms: w.terms,
	}
}

// restart has another leader take over, which knows what is stored.
func (w *world) restart() {
	w.engine = New(Options{
		Clock: w.clock, Log: slog.New(slog.DiscardHandler), Store: w, Source: w.source, Sources: w.sources, Proxies: w, Settle: time.Minute,
		Issue: func(ctx context.Context, _ string, request pki.Request, csr []byte) (chain, roots []byte, err error) {
			return pki.Builtin(w.source, w.clock)(ctx, request, csr)
		},
		Notify:  func(e Event) { w.events = append(w.events, e) },
		Changed: func(Object) {},
		Pods: func() map[string]bool {
			pods := map[string]bool{}
			for node, p := range w.proxies {
				if !p.ended {
					pods[node] = true
				}
			}
			return pods
		},
	})
	w.engine.news = true
	w.engine.SetDefaults(w.terms)
	w.engine.SetRoot(RootTerms{
		TrustDomain: "cluster.local", Lifetime: 365 * day, Object: meshRoot,
		Policy: rollover.Policy{Settle: 10 * time.Minute, ConnectionAge: time.Hour, RawDeadline: day, Silence: 10 * time.Minute},
	}, w.state)
	w.engine.SetSubjects(namespace, w.subjects)
	for key, s := range w.secrets {
		w.engine.SetHeld(key, &s.Held)
	}
}

// turn has the engine do all that is to be done now, and returns when it wants to be asked again.
func (w *world) turn() time.Time {
	for range 1000 {
		jobs, change, wake := w.engine.step(w.clock.Now())
		if change != nil {
			w.engine.finishRoot(*change, w.engine.performRoot(w.t.Context(), *change))
		}
		for _, j := range jobs {
			r := w.engine.perform(w.t.Context(), j)
			if r.err == nil {
				w.orders = append(w.orders, order{w.clock.Now(), j.key, j.reason})
			}
			w.engine.finish(j, r)
		}
		if len(jobs) == 0 && change == nil {
			return wake
		}
	}
	w.t.Fatal("the engine does not come to rest")
	return time.Time{}
}

// run lets time pass, in steps of at least the pace.
func (w *world) run(until time.Time, pace time.Duration) {
	for now := w.clock.Now(); now.Before(until); now = w.clock.Now() {
		next := earliest(w.turn(), until)
		if len(w.later) > 0 {
			next = earliest(next, w.later[0].at)
		}
		w.clock.SetTime(latest(next, now.Add(pace)))
		for len(w.later) > 0 && !w.clock.Now().Before(w.later[0].at) {
			do := w.later[0].do
			w.later = w.later[1:]
			do()
		}
		if w.each != nil {
			w.each()
		}
	}
}

// after does something later.
func (w *world) after(wait time.Duration, do func()) {
	t := task{w.clock.Now().Add(wait), do}
	i, _ := slices.BinarySearchFunc(w.later, t, func(a, b task) int { return cmp.Or(a.at.Compare(b.at), -1) })
	w.later = slices.Insert(w.later, i, t)
}

// join makes a proxy of an account, which mounts its Secret or asks for certificates itself.
func (w *world) join(account, pod string, mounts bool) {
	p := &proxy{Agent: agents.Agent{
		Node: namespace + "/" + pod, Identity: w.subject(account).Identity,
		WantsCertificates: !mounts, Connected: w.clock.Now(), Heard: w.clock.Now(),
	}}
	w.proxies[p.Node] = p
	if mounts {
		w.mount(p)
	} else {
		w.ask(p)
	}
}

// mount has a proxy serve what its Secret holds.
func (w *world) mount(p *proxy) {
	if s := w.secrets[w.subject(p.Identity.ServiceAccount).Key]; s != nil {
		w.serve(p, s.Summary)
	}
}

// ask has a proxy get a certificate of its own.
func (w *world) ask(p *proxy) {
	key, _ := pki.ECDSAP256.NewKey()
	request := pki.Request{Identity: p.Identity, PublicKey: key.Public(), Lifetime: w.terms.Lifetime}
	leaf, _, err := w.source.Get().Signer().Sign(request, w.clock.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	w.serve(p, w.summary(leaf.SerialNumber.Text(16), leaf.NotBefore, leaf.NotAfter))
}

// serve has a proxy serve a certificate, and prove it.
func (w *world) serve(p *proxy, s pki.Summary) {
	if p.silent {
		return
	}
	p.asked = false
	p.generation++
	p.Heard = w.clock.Now()
	at := timestamppb.New(w.clock.Now())
	p.Report = &agentapi.Report{At: at, RawQuiet: at, Certificate: &agentapi.Certificate{
		Generation: p.generation, Serial: s.Serial, NotBefore: timestamppb.New(s.NotBefore), NotAfter: timestamppb.New(s.NotAfter),
		Root: s.Root, Trusted: s.Trusted, Proven: at,
	}}
	w.engine.news = true
}

// copyReport has a proxy make another report, to be changed before the engine sees it.
func (w *world) copyReport(p *proxy) *agentapi.Report {
	p.Report = proto.CloneOf(p.Report)
	w.engine.news = true
	return p.Report
}

// summary describes a certificate that the authority has just signed.
func (w *world) summary(serial string, from, to time.Time) pki.Summary {
	a := w.source.Get()
	return pki.Summary{
		KeyAlgorithm: pki.ECDSAP256, Serial: serial, NotBefore: from, NotAfter: to,
		Root: pki.RootID(a.Signer().Root), Trusted: pki.RootIDs(a.Roots()),
	}
}

// fails is whether a call to the API server fails. One in two that fail has been carried out.
func (w *world) fails() (fails, done bool) {
	if w.away {
		return true, false
	}
	return w.random.Float64() < w.errors, w.random.IntN(2) == 0
}

// write carries a change of a Secret out, and has the watch tell of it.
func (w *world) write(key Key, change func(*stored)) (Version, error) {
	fails, done := w.fails()
	if fails && !done {
		return Version{}, errAPI
	}
	s := &stored{}
	if before := w.secrets[key]; before != nil {
		*s = *before
	}
	w.version++
	s.Version = Version{UID: "1", Number: w.version}
	change(s)
	w.secrets[key] = s
	w.after(time.Second, func() { w.engine.SetHeld(key, &s.Held) })
	for _, p := range w.proxies {
		if !p.WantsCertificates && w.subject(p.Identity.ServiceAccount).Key == key {
			w.after(time.Duration(20+w.random.IntN(60))*time.Second, func() { w.mount(p) })
		}
	}
	if fails {
		return Version{}, errAPI
	}
	return s.Version, nil
}

func (w *world) Write(_ context.Context, s *Subject, _ *Held, files map[string][]byte, record Record) (Version, error) {
	chain, err := pki.ParseCertificates(files[pki.ChainFile])
	if err != nil {
		return Version{}, err
	}
	return w.write(s.Key, func(to *stored) {
		to.Held = Held{Version: to.Version, Issuer: s.Issuer, Record: record, Asked: to.Asked}
		to.Summary = w.summary(chain[0].SerialNumber.Text(16), chain[0].NotBefore, chain[0].NotAfter)
		to.Identity, to.files = s.Identity, files
	})
}

func (w *world) WriteRoots(_ context.Context, key Key, _ *Held, _ []byte) (Version, error) {
	trusted := pki.RootIDs(w.source.Get().Roots())
	return w.write(key, func(to *stored) { to.Trusted = trusted })
}

// trust has proxies on the stream trust what is to be trusted now.
func (w *world) trust() {
	for _, p := range w.proxies {
		if !p.WantsCertificates {
			continue
		}
		w.after(time.Duration(w.random.IntN(60))*time.Second, func() {
			had := p.Report.Certificate
			s := w.summary(had.Serial, had.NotBefore.AsTime(), had.NotAfter.AsTime())
			s.Root = had.Root
			w.serve(p, s)
		})
	}
}

func (w *world) Delete(_ context.Context, key Key, _ *Held) error {
	if fails, _ := w.fails(); fails {
		return errAPI
	}
	delete(w.secrets, key)
	w.after(time.Second, func() { w.engine.SetHeld(key, nil) })
	return nil
}

func (w *world) WriteAuthority(_ context.Context, before, after *pki.Authority) error {
	if !w.source.Get().Equal(before) {
		return errors.New("another authority is there")
	}
	fails, done := w.fails()
	if !fails || done {
		w.source.Set(after)
		w.trust()
		w.engine.root.changed = true
		w.engine.touchAll()
	}
	if fails {
		return errAPI
	}
	return nil
}

func (w *world) WriteRoot(_ context.Context, state rollover.State) error {
	fails, done := w.fails()
	if !fails || done {
		w.state = state
	}
	if fails {
		return errAPI
	}
	return nil
}

func (w *world) WriteTraffic(context.Context, map[string]string) error { return nil }

// Snapshot, Changes and Renew are the agents' table.
func (w *world) Snapshot() []agents.Agent {
	all := make([]agents.Agent, 0, len(w.proxies))
	for _, p := range w.proxies {
		if !p.silent {
			p.Heard = w.clock.Now() // they report every minute
		}
		all = append(all, p.Agent)
	}
	return all
}

func (w *world) Changes() <-chan struct{} { return w.changes }

func (w *world) Renew(node, _ string) bool {
	p := w.proxies[node]
	if p == nil || w.random.Float64() < w.errors {
		return false
	}
	if w.prompt {
		w.ask(p)
		w.engine.mu.Lock()
		defer w.engine.mu.Unlock()
		w.engine.seen = time.Time{}
		w.engine.see(w.clock.Now())
		return true
	}
	p.asked = true
	w.after(time.Duration(1+w.random.IntN(20))*time.Second, func() { w.ask(p) })
	return true
}
