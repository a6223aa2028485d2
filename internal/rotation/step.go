package rotation

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"fairlead.dev/fairlead/internal/pki"
)

// step says what to do now, and when to ask again if nothing changes before; zero: never.
func (e *Engine) step(now time.Time) (jobs []job, change *rootJob, wake time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.settled.IsZero() {
		e.settled = now.Add(e.Settle)
	}
	if e.see(now) {
		if j := e.learn(now); j != nil {
			jobs = append(jobs, *j)
		}
	}
	change = e.stepRoot(now)
	if authority := e.Source.Get(); authority != nil {
		jobs = append(jobs, e.triage(authority, now)...)
		for _, name := range slices.Sorted(maps.Keys(e.groups)) {
			jobs = append(jobs, e.plan(e.groups[name], now)...)
		}
	}
	for i := range jobs {
		if h := e.holders[jobs[i].key]; h != nil {
			h.busy = true
		}
	}
	return jobs, change, e.wake(now)
}

// wake is when something matters next.
func (e *Engine) wake(now time.Time) time.Time {
	next := earliest(e.root.wake, e.seeAt, e.next)
	for _, g := range e.groups {
		next = earliest(next, g.wake)
	}
	if !next.IsZero() && next.Before(now) {
		// A clock that was set back, or work that waits for a worker.
		return now.Add(rootPace)
	}
	return next
}

// triage looks at what has changed, or was to be looked at by now. It returns what has to be
// done at once, and leaves to plan what has the time.
func (e *Engine) triage(authority *pki.Authority, now time.Time) []job {
	if !e.next.IsZero() && !now.Before(e.next) {
		e.next = time.Time{}
		for key, h := range e.holders {
			if h.wake.IsZero() {
				continue
			}
			if now.Before(h.wake) {
				e.next = earliest(e.next, h.wake)
			} else {
				e.dirty[key] = struct{}{}
			}
		}
	}
	if len(e.retermed) > 0 {
		for key, h := range e.holders {
			if h.proxy == nil {
				continue
			}
			if _, other := e.retermed[h.proxy.Identity]; other {
				e.dirty[key] = struct{}{}
			}
		}
		clear(e.retermed)
	}
	keys := make([]Key, 0, len(e.dirty))
	for key := range e.dirty {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, compareKeys)
	clear(e.dirty)
	if r := &e.root; r.state.Next != 0 && len(keys) > 0 {
		r.changed, r.wake = true, earliest(r.wake, r.looked.Add(rootPace))
	}
	known, trusted := rootIDs(authority)
	var jobs []job
	for _, key := range keys {
		h := e.holders[key]
		if h == nil {
			continue
		}
		h.wake = time.Time{}
		e.join(h)
		if h.busy {
			continue
		}
		j, at := urgent(h, known, trusted)
		switch {
		case !at.IsZero() && now.Before(at):
			h.wake = at
			e.next = earliest(e.next, at)
		case j != nil:
			jobs = append(jobs, *j)
		case h.subject == nil && h.held == nil && h.proxy == nil:
			delete(e.holders, key)
		}
	}
	return jobs
}

// urgent is what a holder needs at once, or later at a known time.
func urgent(h *holder, known, trusted []string) (*job, time.Time) {
	if h.key.Kind == Pod {
		return nil, time.Time{}
	}
	if h.subject == nil {
		if h.held == nil {
			return nil, time.Time{}
		}
		// Some Pod may still mount it: it stays as long as it is good for something.
		return &job{key: h.key, reason: reasonUnwanted, held: h.held}, latest(h.held.NotAfter, h.retryAt)
	}
	j := &job{key: h.key, subject: h.subject, held: h.held, forced: h.asks(), pending: h.pending}
	switch held := h.held; {
	case held == nil:
		j.reason = reasonNew
	case held.Fault != "":
		j.reason, j.why = reasonDamaged, held.Fault
	case held.Identity != h.subject.Identity:
		j.reason, j.why = reasonDamaged, "it is for "+held.Identity.String()
	case h.subject.Issuer == "" && !slices.Contains(known, held.Root):
		j.reason, j.why = reasonDamaged, "it leads to a root that is not the mesh's"
	case h.subject.Issuer == "" && !slices.Equal(held.Trusted, trusted):
		j.reason = reasonTrust
	default:
		return nil, time.Time{}
	}
	return j, h.retryAt
}

// rootIDs are the identifiers of all roots of an authority, and of those that are trusted.
func rootIDs(authority *pki.Authority) (known, trusted []string) {
	for _, g := range authority.Generations {
		known = append(known, pki.RootID(g.Root))
	}
	return known, pki.RootIDs(authority.Roots())
}

func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
}

// earliest is the first of the times that are not zero.
func earliest(times ...time.Time) (first time.Time) {
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
