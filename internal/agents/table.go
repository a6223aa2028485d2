package agents

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"
	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/internal/agentapi"
	"fairlead.dev/fairlead/internal/pki"
)

// retention is how long an agent is remembered that holds no stream: by far longer than it
// takes to come back, to another replica or after a bounded age.
const retention = 15 * time.Minute

// Agent is what is known of the agent of one node.
type Agent struct {
	// Node is <namespace>/<pod>.
	Node     string
	Identity pki.Identity
	Version  string
	// WantsCertificates is whether it gets its certificates by the stream; if not they are
	// mounted.
	WantsCertificates bool
	// Connected is since when it holds a stream; zero: it holds none.
	Connected time.Time
	// Heard is when its last message came.
	Heard time.Time
	// Report is the last one, nil if none came yet. It is shared: nobody changes it.
	Report *agentapi.Report
}

// Table holds what is known of agents. It is safe for concurrent use.
type Table struct {
	clock   clock.PassiveClock
	metrics *Metrics

	mu        sync.Mutex
	agents    map[string]*entry
	connected int
	changed   chan struct{}
}

// entry is an agent with the stream that it holds, nil for none, and how often it may still
// ask for a certificate.
type entry struct {
	Agent
	stream *session
	budget *rate.Limiter
	// ordered: it was told to ask, which is not held against it.
	ordered bool
}

// session is what other goroutines tell the one that serves a stream.
type session struct {
	// renew takes the latest order.
	renew chan string
	// replaced is closed when the agent has opened another stream.
	replaced chan struct{}
}

// NewTable returns a table without agents. Metrics may be nil.
func NewTable(clock clock.PassiveClock, metrics *Metrics) *Table {
	if metrics == nil {
		metrics = NewMetrics(nil)
	}
	return &Table{clock: clock, metrics: metrics, agents: map[string]*entry{}, changed: make(chan struct{})}
}

// Snapshot returns what is known of all agents, by node. Those that have held no stream for a
// quarter of an hour are forgotten.
func (t *Table) Snapshot() []Agent {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock.Now()
	all := make([]Agent, 0, len(t.agents))
	for node, e := range t.agents {
		if e.stream == nil && now.Sub(e.Heard) > retention {
			delete(t.agents, node)
			continue
		}
		all = append(all, e.Agent)
	}
	slices.SortFunc(all, func(a, b Agent) int { return cmp.Compare(a.Node, b.Node) })
	return all
}

// Changes returns a channel that is closed when an agent connects, disconnects, or reports
// something new; time and counted requests alone are nothing new. Who waits asks for it
// before Snapshot, and again after each change.
func (t *Table) Changes() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changed
}

// Renew has the agent of a node ask for a new certificate, for a reason that
// agentapi.Renew names. It reports whether the agent will be told: it is connected here, and
// gets its certificates by the stream.
func (t *Table) Renew(node, reason string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.agents[node]
	if e == nil || e.stream == nil || !e.WantsCertificates {
		return false
	}
	select {
	case <-e.stream.renew: // an order that was not taken yet
	default:
	}
	e.stream.renew <- reason
	e.ordered = true
	return true
}

// connect begins a stream of an agent. It takes the place of one that the agent held before.
// The last report stays good for an agent that has proven by a certificate that it is the
// same; one that comes with a token begins anew.
func (t *Table) connect(node string, who pki.Identity, hello *agentapi.Hello, byToken bool) *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock.Now()
	before := t.agents[node]
	e := &entry{
		Agent: Agent{
			Node: node, Identity: who, Version: hello.GetAgentVersion(), WantsCertificates: hello.GetWantsCertificates(),
			Connected: now, Heard: now,
		},
		stream: &session{renew: make(chan string, 1), replaced: make(chan struct{})},
		budget: rate.NewLimiter(signingRate, signingBurst),
	}
	if before != nil && before.stream != nil {
		close(before.stream.replaced)
		t.connected--
	}
	if before != nil {
		e.budget = before.budget
	}
	if before != nil && !byToken && before.Identity == who {
		e.Report = before.Report
	}
	t.connected++
	t.agents[node] = e
	t.change()
	return e.stream
}

// disconnect ends a stream, unless another one has taken its place.
func (t *Table) disconnect(node string, s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.agents[node]; e != nil && e.stream == s {
		e.stream, e.Connected = nil, time.Time{}
		t.connected--
		t.change()
	}
}

// heard notes a message that came by a stream; report is nil if it was none.
func (t *Table) heard(node string, s *session, report *agentapi.Report) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.agents[node]
	if e == nil || e.stream != s {
		return
	}
	e.Heard = t.clock.Now()
	if report == nil {
		return
	}
	isNews := news(e.Report, report)
	e.Report = report
	if isNews {
		t.change()
	}
}

// spend returns how long the agent of a node has to wait before it may ask for a certificate;
// zero: it may now, and has.
func (t *Table) spend(node string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, now := t.agents[node], t.clock.Now()
	if e.ordered {
		e.ordered = false
		return 0
	}
	reservation := e.budget.ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait > 0 {
		reservation.CancelAt(now)
	}
	return wait
}

// news reports whether two reports differ in more than what always goes on.
func news(before, after *agentapi.Report) bool {
	if before == nil {
		return true
	}
	still := func(r *agentapi.Report) *agentapi.Report {
		r = proto.CloneOf(r)
		r.At, r.Requests, r.RawConnections = nil, 0, 0
		return r
	}
	return !proto.Equal(still(before), still(after))
}

// change tells those who wait. The lock is held.
func (t *Table) change() {
	t.metrics.connected.Set(float64(t.connected))
	close(t.changed)
	t.changed = make(chan struct{})
}
