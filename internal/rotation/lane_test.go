package rotation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/internal/pki"
)

// person is an issuer at which somebody decides: at first nothing, then that the issuer is
// missing, then as asked. It notes how often each signing request came.
type person struct {
	signs   pki.IssueFunc
	decides chan struct{}

	mu          sync.Mutex
	asked       map[string]int
	there, most int
}

const personsName = "Issuer/shop/person"

func (p *person) issue(ctx context.Context, request pki.Request, csr []byte) (chain, roots []byte, err error) {
	p.mu.Lock()
	p.asked[string(csr)]++
	again := p.asked[string(csr)] > 1
	p.there++
	p.most = max(p.most, p.there)
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.there--
	}()
	select {
	case <-p.decides:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	if again {
		return p.signs(ctx, request, csr)
	}
	return nil, nil, &pki.IssueError{Reason: pki.Missing, Issuer: personsName, Err: errors.New("it is not there")}
}

// shelf is a Store for several at a time.
type shelf struct {
	Store
	mu      sync.Mutex
	written map[Key]bool
}

func (s *shelf) Write(_ context.Context, subject *Subject, _ *Held, _ map[string][]byte, _ Record) (Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written[subject.Key] = true
	return Version{UID: "1", Number: 1}, nil
}

func (s *shelf) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.written)
}

// An issuer that keeps everybody waiting keeps waiting only those whose issuer it is, and is
// asked for the same again.
func TestAnIssuerThatWaitsHoldsNobodyElseUp(t *testing.T) {
	g := NewWithT(t)
	w := newWorld(t, nights(t), 10)
	theirs := &Terms{Algorithm: pki.ECDSAP256, Lifetime: 90 * day, Group: "theirs", Policy: nights(t), Issuer: personsName, Object: Object{Name: "theirs"}}
	for i := range 2 * workers {
		s := w.subject(fmt.Sprintf("theirs-%d", i))
		s.Terms = theirs
		w.subjects = append(w.subjects, s)
	}
	const patience = 20 * time.Second
	wall := clock.RealClock{}
	authority, err := pki.NewGeneration(1, "cluster.local", wall.Now(), 365*day)
	g.Expect(err).NotTo(HaveOccurred())
	now, err := pki.NewAuthority(authority)
	g.Expect(err).NotTo(HaveOccurred())
	w.source.Set(now)
	builtin := pki.Builtin(w.source, wall)
	waiting := &person{signs: builtin, decides: make(chan struct{}), asked: map[string]int{}}
	store := &shelf{written: map[Key]bool{}}
	engine := New(Options{
		Clock: wall, Log: slog.New(slog.DiscardHandler), Store: store, Source: w.source, Sources: w.sources,
		Proxies: w, Pods: func() map[string]bool { return nil }, Notify: func(Event) {}, Changed: func(Object) {},
		Issue: func(ctx context.Context, name string, request pki.Request, csr []byte) (chain, roots []byte, err error) {
			if name == "" {
				return builtin(ctx, request, csr)
			}
			return waiting.issue(ctx, request, csr)
		},
	})
	engine.SetDefaults(w.terms)
	engine.SetSubjects(namespace, w.subjects)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = engine.Start(ctx) })
	defer running.Wait()
	defer cancel()

	g.Eventually(store.count).WithTimeout(patience).Should(Equal(10), "those of the mesh's own authority are there")
	close(waiting.decides)
	g.Eventually(func() string { return engine.Report(theirs.Object).MissingIssuer }).WithTimeout(patience).Should(Equal(theirs.Issuer), "people are told")
	g.Eventually(store.count).WithTimeout(patience).Should(Equal(len(w.subjects)), "all the others, after a second try")
	g.Expect(waiting.most).To(BeNumerically("<=", workers))
	g.Expect(waiting.asked).To(HaveLen(2 * workers))
	g.Expect(waiting.asked).To(HaveEach(2), "each asked for the same twice")
	g.Eventually(func() string { return engine.Report(theirs.Object).MissingIssuer }).WithTimeout(patience).Should(BeEmpty())
}
