package xds

import (
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/internal/delivery"
	"fairlead.dev/fairlead/internal/mesh"
)

// tracker counts, for each object, the proxies that its generation concerns and those
// that run it. Sessions tell it when their part of that may have changed.
type tracker struct {
	clock   clock.PassiveClock
	log     *slog.Logger
	report  func(delivery.Report)
	metrics *Metrics

	mu      sync.Mutex
	settled bool
	objects map[objectID]*tracked
	lost    map[*session]struct{}
	// awaited are the nodes whose proxies were connected to an earlier process, as far as
	// they have not come yet. Nobody knows what concerns them: everything may.
	awaited map[string]struct{}
}

// tracked is one object in its newest generation.
type tracked struct {
	generation int64
	// since is the publication that brought the generation.
	since uint64
	// history are the newest publications that brought a generation, this one last.
	history []uint64
	// former are the keys that this generation took its hands off.
	former map[Key]struct{}
	// published is when, for the time that delivery took.
	published time.Time
	complete  bool
	// open is true while a publication is being applied: counts would mix generations.
	open   bool
	states map[*session]proxyState
	// How many of the states are acknowledged, rejected and of lost proxies.
	acknowledged, rejected, lost int
	last                         delivery.Report
	told                         bool
}

// keptPublications bounds the history of an object. What a proxy acknowledged before counts as
// older than all of it.
const keptPublications = 16

// proxyState is what one proxy did with one object.
type proxyState struct {
	concerned    bool
	acknowledged bool
	rejection    *delivery.Rejection
}

// wanted is what a session needs to know to judge an object.
type wanted struct {
	since  uint64
	former []Key
}

func newTracker(options Options) *tracker {
	return &tracker{
		clock: options.Clock, log: options.Log, report: options.Report, metrics: options.Metrics,
		objects: map[objectID]*tracked{}, lost: map[*session]struct{}{}, awaited: map[string]struct{}{},
	}
}

// begin starts the delivery of generations. Their reports are held back until end. One that
// is known already starts anew: it is that of another object of the same name, or the
// object was out of use in between.
func (t *tracker) begin(objects map[mesh.ObjectID]int64, former map[objectID]map[Key]struct{}, publication uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, generation := range objects {
		if generation == mesh.DeletedGeneration {
			delete(t.objects, id)
			t.report(delivery.Report{Object: id, Generation: generation})
			continue
		}
		var history []uint64
		if before := t.objects[id]; before != nil {
			history = before.history[max(0, len(before.history)+1-keptPublications):]
		}
		t.objects[id] = &tracked{
			generation: generation, since: publication, former: former[id],
			history:   append(slices.Clone(history), publication),
			published: t.clock.Now(), open: true, states: map[*session]proxyState{},
		}
	}
}

// end releases the reports that begin held back.
func (t *tracker) end(objects map[mesh.ObjectID]int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id := range objects {
		if object := t.objects[id]; object != nil {
			object.open = false
			t.tell(id, object)
		}
	}
}

// generation returns the generation of an object, if it is tracked.
func (t *tracker) generation(id objectID) (int64, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	object := t.objects[id]
	if object == nil {
		return 0, false
	}
	return object.generation, true
}

// suspects returns those of the objects that some publication changed which came after one and
// not after another, as they are now.
func (t *tracker) suspects(objects map[objectID]struct{}, after, upTo uint64) []delivery.Version {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found []delivery.Version
	for id := range objects {
		object := t.objects[id]
		if object == nil {
			continue
		}
		if slices.ContainsFunc(object.history, func(since uint64) bool { return since > after && since <= upTo }) {
			found = append(found, delivery.Version{Object: id, Generation: object.generation})
		}
	}
	slices.SortFunc(found, func(a, b delivery.Version) int { return a.Object.Compare(b.Object) })
	return found
}

// want returns what to judge an object by, if it is tracked.
func (t *tracker) want(id objectID) (wanted, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	object := t.objects[id]
	if object == nil {
		return wanted{}, false
	}
	w := wanted{since: object.since}
	for key := range object.former {
		w.former = append(w.former, key)
	}
	return w, true
}

// all returns the objects that are tracked.
func (t *tracker) all() []objectID {
	t.mu.Lock()
	defer t.mu.Unlock()
	ids := make([]objectID, 0, len(t.objects))
	for id := range t.objects {
		ids = append(ids, id)
	}
	return ids
}

// set notes what a session did with an object, unless the judgement is of an older
// generation.
func (t *tracker) set(id objectID, s *session, judged uint64, state proxyState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	object := t.objects[id]
	if object == nil || object.since != judged {
		return
	}
	_, lost := t.lost[s]
	object.put(s, state, lost)
	t.tell(id, object)
}

// put replaces the state of a session and keeps the counts.
func (o *tracked) put(s *session, state proxyState, lost bool) {
	count := func(state proxyState, by int) {
		if !state.concerned {
			return
		}
		if state.acknowledged {
			o.acknowledged += by
		}
		if state.rejection != nil {
			o.rejected += by
		}
		if lost {
			o.lost += by
		}
	}
	count(o.states[s], -1)
	count(state, 1)
	if state.concerned {
		o.states[s] = state
	} else {
		delete(o.states, s)
	}
}

// lose notes that a session's proxy is disconnected.
func (t *tracker) lose(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lost[s] = struct{}{}
	for id, object := range t.objects {
		if _, concerned := object.states[s]; concerned {
			object.lost++
			t.tell(id, object)
		}
	}
}

// remove forgets a session.
func (t *tracker) remove(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, lost := t.lost[s]
	for id, object := range t.objects {
		if _, concerned := object.states[s]; concerned {
			object.put(s, proxyState{}, lost)
			t.tell(id, object)
		}
	}
	delete(t.lost, s)
}

// await counts proxies as concerned, and lost, until they arrive or the time is over.
func (t *tracker) await(nodes []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.settled {
		return
	}
	for _, node := range nodes {
		t.awaited[node] = struct{}{}
	}
	t.tellAll()
}

// arrived notes that a proxy has said what it is subscribed to, or will not come.
func (t *tracker) arrived(node string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, awaited := t.awaited[node]; awaited {
		delete(t.awaited, node)
		t.tellAll()
	}
}

// settle ends the time after the start in which proxies are still expected back.
func (t *tracker) settle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settled = true
	clear(t.awaited)
	t.tellAll()
}

func (t *tracker) tellAll() {
	for id, object := range t.objects {
		t.tell(id, object)
	}
}

// tell reports an object if its report is another one than the last.
func (t *tracker) tell(id objectID, object *tracked) {
	if object.open {
		return
	}
	report := delivery.Report{
		Object: id, Generation: object.generation, Settled: t.settled,
		Concerned: len(object.states) + len(t.awaited), Acknowledged: object.acknowledged,
		Rejected: object.rejected, Lost: object.lost + len(t.awaited),
	}
	if object.rejected > 0 {
		for _, state := range object.states {
			if state.rejection != nil {
				report.Rejections = append(report.Rejections, *state.rejection)
			}
		}
	}
	slices.SortFunc(report.Rejections, func(a, b delivery.Rejection) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Message, b.Message))
	})
	if len(report.Rejections) > 10 {
		report.Rejections = report.Rejections[:10]
	}
	if object.told && sameReport(report, object.last) {
		return
	}
	object.last, object.told = report, true
	if !object.complete && report.Concerned > 0 && report.Acknowledged == report.Concerned {
		object.complete = true
		took := t.clock.Since(object.published)
		t.metrics.propagation.Observe(took.Seconds())
		t.log.Info("Every proxy concerned acknowledged an object", "object", id.String(),
			"generation", object.generation, "proxies", report.Concerned, "took", took.String())
	}
	t.report(report)
}

func sameReport(a, b delivery.Report) bool {
	return a.Generation == b.Generation && a.Settled == b.Settled && a.Concerned == b.Concerned &&
		a.Acknowledged == b.Acknowledged && a.Rejected == b.Rejected && a.Lost == b.Lost &&
		slices.EqualFunc(a.Rejections, b.Rejections, func(a, b delivery.Rejection) bool {
			return a.Node == b.Node && a.Resource == b.Resource && a.Message == b.Message && slices.Equal(a.Suspects, b.Suspects)
		})
}
