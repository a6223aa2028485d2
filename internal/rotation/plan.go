package rotation

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/pki/renewal"
)

// planPace is the least time between two plans of one group.
const planPace = 100 * time.Millisecond

// group are the holders that share a policy, and its limits.
type group struct {
	name  string
	terms *Terms
	// members are in the order of their names.
	members []*holder
	// namespace is whose traffic is learnt, and learned what is known of it.
	namespace string
	learned   *Learned
	// changed: something was learnt since the last plan, which was made at planned; the next
	// slot of a member comes at next, and wake is when to plan anew.
	changed             bool
	planned, next, wake time.Time
	plan                renewal.Plan
	// recent are the times of renewals within the last hour.
	recent []time.Time
}

// join puts a holder into the group that it belongs to, or into none.
func (e *Engine) join(h *holder) {
	var g *group
	if terms := e.terms(h); terms != nil && !h.certificate().NotAfter.IsZero() {
		name := terms.Group
		if terms.Auto {
			name += "@" + h.key.Namespace // whose traffic is learnt
		}
		if g = e.groups[name]; g == nil {
			g = &group{name: name, namespace: h.key.Namespace}
			e.groups[name] = g
		}
		g.terms, g.changed = terms, true
	}
	if was := h.group; was != g && was != nil {
		at, _ := was.find(h)
		was.members, was.changed = slices.Delete(was.members, at, at+1), true
		if len(was.members) == 0 {
			delete(e.groups, was.name)
		}
		h.slot = renewal.Slot{}
	}
	if h.group != g && g != nil {
		at, _ := g.find(h)
		g.members = slices.Insert(g.members, at, h)
	}
	h.group = g
}

// find returns a holder's place among the members.
func (g *group) find(h *holder) (int, bool) {
	return slices.BinarySearchFunc(g.members, h.id, func(m *holder, id string) int { return cmp.Compare(m.id, id) })
}

// plan returns the renewals of a group for which the time has come.
func (e *Engine) plan(g *group, now time.Time) []job {
	if wait := e.settled.Sub(now); wait > 0 && wait <= e.Settle {
		g.wake = e.settled
		return nil
	}
	back := now.Before(g.planned)
	if !g.changed && !back && now.Before(g.next) {
		// The time has come to see whether the clock still goes as it did, and it does.
		g.wake = earliest(g.next, now.Add(clockCheck))
		return nil
	}
	if paced := g.planned.Add(planPace); !back && now.Before(paced) {
		g.wake = paced
		return nil
	}
	var members []*holder
	var holders []renewal.Holder
	active := pki.RootID(e.Source.Get().Signer().Root)
	next := time.Time{}
	for _, h := range g.members {
		if now.Before(h.retryAt) && !h.busy {
			next = earliest(next, h.retryAt)
			continue
		}
		members = append(members, h)
		holders = append(holders, e.state(h, active, now))
	}
	g.recent = slices.DeleteFunc(g.recent, func(at time.Time) bool { return now.Sub(at).Abs() >= time.Hour })
	policy := e.policy(g, now)
	before := g.plan.Paused
	g.plan = policy.Plan(now, holders, e.health.Unwell(now), g.recent)
	g.changed, g.planned = false, now
	g.wake = earliest(g.plan.Wake, next)
	missed := 0
	for i, h := range members {
		slot := g.plan.Slots[i]
		if slot.Missed > h.slot.Missed {
			missed++
		}
		h.slot = slot
		if slot.At.After(now) {
			next = earliest(next, slot.At)
		}
	}
	g.next = next
	e.tellPlan(g, before, missed)
	if len(g.plan.Now) < g.plan.Due || g.plan.Unproven > 0 || g.next.IsZero() {
		g.next = g.wake
	}
	var jobs []job
	for _, i := range g.plan.Now {
		h := members[i]
		if h.busy {
			continue
		}
		j := job{key: h.key, subject: h.subject, held: h.held, reason: h.slot.Reason, forced: h.asks(), pending: h.pending}
		if h.proxy != nil {
			j.serial, j.forced = h.proxy.Report.GetCertificate().GetSerial(), e.ordered(h).Forced
		}
		g.recent = append(g.recent, now)
		jobs = append(jobs, j)
	}
	return jobs
}

// state is what planning has to know of a holder; active identifies the root that signs.
func (e *Engine) state(h *holder, active string, now time.Time) renewal.Holder {
	state := renewal.Holder{Certificate: h.certificate(), Canary: e.isCanary(h), Forced: e.forced(h), Moved: e.moved(h, active)}
	state.Unproven = e.unproven(h)
	if h.busy {
		state.Unproven = now
	}
	return state
}

// certificate is the one that a holder has.
func (h *holder) certificate() renewal.Certificate {
	c := renewal.Certificate{ID: h.id}
	switch {
	case h.held != nil && h.held.Fault == "":
		c.NotBefore, c.NotAfter = h.held.NotBefore, h.held.NotAfter
	case h.proxy != nil && h.proxy.Report.GetCertificate().GetNotAfter() != nil:
		served := h.proxy.Report.GetCertificate()
		c.NotBefore, c.NotAfter = served.GetNotBefore().AsTime(), served.GetNotAfter().AsTime()
	}
	return c
}

// asks is the request by hand that stands for a Secret.
func (h *holder) asks() string {
	asks := ""
	if h.subject != nil {
		asks = h.subject.Forced
	}
	if h.held != nil && h.held.Asked != "" {
		asks += "|" + h.held.Asked
	}
	return asks
}

// forced reports whether somebody asked for a new certificate who has not got it yet. What
// was asked for a service account goes for its proxies too: theirs have to be newer than the
// Secret's that answered the request.
func (e *Engine) forced(h *holder) bool {
	if h.proxy == nil {
		asks := h.asks()
		return asks != "" && h.held != nil && asks != h.held.Record.Forced
	}
	order := e.ordered(h)
	if order.Forced == "" {
		return false
	}
	// As certificates have it, which know whole seconds.
	had, at := h.certificate().NotBefore.Add(tolerance), order.At.Truncate(time.Second)
	return had.Before(at) || had.Equal(at) && h.answered != order.Forced
}

// ordered is what was asked for the service account of a proxy, once its Secret has answered.
func (e *Engine) ordered(h *holder) Record {
	s := e.served[h.proxy.Identity]
	if s == nil {
		return Record{}
	}
	stored := e.holders[s.Key]
	if stored == nil || stored.held == nil || stored.asks() != stored.held.Record.Forced {
		return Record{}
	}
	return stored.held.Record
}

// moved reports whether a certificate is of an authority, an issuer or a kind of key that is
// no longer wanted, or came with roots that are not.
func (e *Engine) moved(h *holder, active string) bool {
	if h.proxy != nil {
		return h.proxy.Report.GetCertificate().GetRoot() != active
	}
	if h.held.Issuer != h.subject.Issuer || h.held.KeyAlgorithm != h.subject.Algorithm {
		return true
	}
	if h.subject.Issuer == "" {
		return h.held.Root != active
	}
	// Beside its own root it has the mesh's, as they were when it was issued.
	mesh := pki.RootIDs(e.Source.Get().Roots())
	others := slices.DeleteFunc(slices.Clone(h.held.Trusted), func(id string) bool { return id == h.held.Root && !slices.Contains(mesh, id) })
	return !slices.Equal(others, mesh)
}

func (e *Engine) isCanary(h *holder) bool {
	if h.subject != nil {
		return h.subject.Canary
	}
	s := e.served[h.proxy.Identity]
	return s != nil && s.Canary
}

// tellPlan tells what is new about a group.
func (e *Engine) tellPlan(g *group, before string, missed int) {
	object := e.tellable(g.terms.Object)
	if missed > 0 {
		e.missedWindows.Add(float64(missed))
		e.notifyObject(object, true, "WindowMissed", fmt.Sprintf("%d certificates were not renewed in the window that they were meant for; they are in the next one, or before they expire", missed))
	}
	switch paused := g.plan.Paused; {
	case paused == before:
	case paused != "":
		e.Log.Warn("Paused renewals", "group", g.terms.Group, "why", paused)
		e.notifyObject(object, true, "Paused", "renewals wait, but for emergencies: "+paused)
	default:
		e.Log.Info("Resumed renewals", "group", g.terms.Group)
		e.notifyObject(object, false, "Resumed", "renewals go on")
	}
	e.changedFor(object)
}
