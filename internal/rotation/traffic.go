package rotation

import (
	"strings"
	"time"

	"fairlead.dev/fairlead/internal/agents"
	"fairlead.dev/fairlead/internal/pki/offpeak"
	"fairlead.dev/fairlead/internal/pki/renewal"
)

// trafficPace is how often what was learnt of the traffic is kept.
const trafficPace = time.Hour

// traffic is what is known of the load of a namespace's proxies.
type traffic struct {
	curve  *offpeak.Curve
	choice offpeak.Choice
	// requests were counted since then.
	requests uint64
	since    time.Time
}

// Learned is what is known of the quiet hours of a namespace.
type Learned struct {
	// Hours are the hours that were chosen, Curve the requests in each hour of an average day.
	Hours string
	Curve []int64
	Days  int
	// Fallback says why there are none.
	Fallback string
}

// SetTraffic gives back what WriteTraffic kept, by namespace.
func (e *Engine) SetTraffic(kept map[string]string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kept = kept
}

// learns reports whether somebody wants windows that are learnt.
func (e *Engine) learns() bool {
	for _, g := range e.groups {
		if g.terms.Auto {
			return true
		}
	}
	return false
}

// weigh takes in what a proxy has counted since its last report.
func (e *Engine) weigh(before, after *agents.Agent, now time.Time) {
	if before == nil || before.Report == nil || after.Report == nil || before.Report == after.Report {
		return
	}
	e.health.Observe(now,
		since(before.Report.GetHandshakesFailed(), after.Report.GetHandshakesFailed()),
		since(before.Report.GetCertificatesRefused(), after.Report.GetCertificatesRefused()))
	if t := e.traffic[after.Identity.Namespace]; t != nil {
		t.requests += since(before.Report.GetRequests(), after.Report.GetRequests())
	}
}

// since is what a counter has counted; one that went back was begun anew.
func since(before, after uint64) uint64 {
	if after < before {
		return after
	}
	return after - before
}

// learn adds to the curves what was counted; it returns what is to be kept now and then.
func (e *Engine) learn(now time.Time) *job {
	for _, t := range e.traffic {
		if !t.since.IsZero() {
			t.curve.Add(t.since, now, float64(t.requests))
		}
		t.requests, t.since = 0, now
	}
	if len(e.traffic) == 0 || now.Before(e.keptAt.Add(trafficPace)) && !now.Before(e.keptAt) {
		return nil
	}
	first := e.keptAt.IsZero()
	e.keptAt = now
	if first {
		return nil
	}
	j := &job{key: Key{Kind: "traffic"}, reason: reasonTraffic, curves: map[string]string{}}
	for namespace, t := range e.traffic {
		j.curves[namespace] = t.curve.Encode()
	}
	return j
}

// policy is that of a group, with the windows that were learnt. Those that are given say how
// many hours are wanted, and in which zone; what counts is the first of them.
func (e *Engine) policy(g *group, now time.Time) renewal.Policy {
	p := g.terms.Policy
	if !g.terms.Auto || len(p.Windows) == 0 {
		return p
	}
	given := p.Windows[0]
	t := e.traffic[g.namespace]
	if t == nil {
		t = &traffic{curve: offpeak.New(given.Zone)}
		if curve, err := offpeak.Decode(e.kept[g.namespace], given.Zone); err == nil {
			t.curve = curve
		}
		e.traffic[g.namespace] = t
	}
	length := given.End - given.Start
	if length <= 0 {
		length += 24 * time.Hour
	}
	t.choice = t.curve.Choose(int((length+time.Hour-1)/time.Hour), &t.choice, now)
	g.learned = &Learned{Days: t.curve.Days(now), Fallback: t.choice.Fallback}
	for _, mean := range t.curve.Hours() {
		g.learned.Curve = append(g.learned.Curve, int64(mean+0.5))
	}
	if t.choice.Fallback == "" {
		w := renewal.Window{Start: t.choice.Start, End: t.choice.End, Zone: given.Zone}
		p.Windows, g.learned.Hours = []renewal.Window{w}, strings.TrimSpace(w.String())
	}
	return p
}
