package rotation

import (
	"cmp"
	"slices"
	"time"

	"fairlead.dev/fairlead/internal/pki/rollover"
)

// planned is how many renewals a report lists.
const planned = 20

// Report is what there is to be told of the certificates that an object has to do with.
type Report struct {
	Terms *Terms
	// Total counts the certificates that there are to be, In those in a state.
	Total int
	In    map[State]int
	// NotAfter is when the first expires, LastRenewal when the last was issued.
	NotAfter, LastRenewal time.Time
	// Plan has the next renewals, the first ones only.
	Plan []Planned
	// Paused says why renewals wait, if they do; Failure what went wrong with one, Conflict
	// which Secret is not ours.
	Paused, Failure, Conflict string
	// MissingIssuer names an issuer that there is not, of the root's next generation too.
	MissingIssuer string
	// Proxies counts those on the stream, Proven those of them that serve what they are to.
	Proxies, Proven int
	// Learned is what is known of the quiet hours, where windows are learnt.
	Learned *Learned
	// Root is set for the object that stands for the authority.
	Root *RootReport
}

// Planned is one renewal to come.
type Planned struct {
	Name   string
	At     time.Time
	Reason string
}

// RootReport is what there is to be told of the authority.
type RootReport struct {
	State   rollover.State
	Waiting rollover.Waiting
	Failure string
	// Fault is what is wrong with the authority that the user brought.
	Fault     string
	Issuer    string
	NotBefore time.Time
	NotAfter  time.Time
}

// Report returns what there is to be told of an object: of mesh-root, all certificates that
// have the settings' terms, and the authority.
func (e *Engine) Report(object Object) Report {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.Clock.Now()
	r := Report{In: map[State]int{}}
	isRoot := e.root.terms != nil && e.root.terms.Object == object
	if isRoot {
		object = Object{}
		r.Root, r.Terms = e.rootReport(), e.defaults
		r.MissingIssuer = e.root.missing
	}
	for _, h := range e.holders {
		if terms := e.terms(h); terms != nil && terms.Object == object {
			r.Terms = terms
			e.add(&r, h, now)
		}
	}
	slices.SortFunc(r.Plan, func(a, b Planned) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Name, b.Name)) })
	r.Plan = r.Plan[:min(len(r.Plan), planned)]
	return r
}

func (e *Engine) add(r *Report, h *holder, now time.Time) {
	c := h.certificate()
	if h.key.Kind == Pod {
		r.Proxies++
		if h.proxy.Report.GetCertificate().GetProven() != nil {
			r.Proven++
		}
	}
	r.Total++
	r.In[e.stateOf(h, now)]++
	r.NotAfter = earliest(r.NotAfter, c.NotAfter)
	if !c.NotBefore.IsZero() {
		r.LastRenewal = latest(r.LastRenewal, c.NotBefore.Add(tolerance))
	}
	if !h.slot.At.IsZero() {
		r.Plan = append(r.Plan, Planned{Name: h.name(), At: h.slot.At, Reason: string(h.slot.Reason)})
	}
	if g := h.group; g != nil {
		r.Paused, r.Learned = g.plan.Paused, g.learned
	}
	// The first by name, so that the text stays the same.
	if text := h.key.String() + ": " + h.failure; h.failure != "" && !h.conflict && (r.Failure == "" || text < r.Failure) {
		r.Failure = text
	}
	if h.missing != "" && (r.MissingIssuer == "" || h.missing < r.MissingIssuer) {
		r.MissingIssuer = h.missing
	}
	if text := h.key.String(); h.conflict && (r.Conflict == "" || text < r.Conflict) {
		r.Conflict = text
	}
}

// State is that of a certificate.
type State string

// The states: there is none; no peer takes it any more; it waits for its renewal; it was renewed
// and is not yet shown to be served; it is valid, and nothing is to be done.
const (
	Missing  State = "missing"
	Expired  State = "expired"
	Due      State = "due"
	Unproven State = "unproven"
	Current  State = "current"
)

func (e *Engine) stateOf(h *holder, now time.Time) State {
	switch c := h.certificate(); {
	case c.NotAfter.IsZero():
		return Missing
	case !now.Before(c.NotAfter):
		return Expired
	case !h.slot.At.IsZero() && !now.Before(h.slot.At):
		return Due
	case !e.unproven(h).IsZero():
		return Unproven
	}
	return Current
}

// name is what people are told: the service account, and of a proxy its Pod, too.
func (h *holder) name() string {
	if h.key.Kind == Pod {
		return h.proxy.Identity.ServiceAccount + "/" + h.key.Name
	}
	return h.subject.Identity.ServiceAccount
}

func (e *Engine) rootReport() *RootReport {
	r := &RootReport{State: e.root.state, Waiting: e.root.waiting, Failure: e.root.failure, Fault: e.root.fault}
	if authority := e.Source.Get(); authority != nil {
		active := authority.Signer()
		r.Issuer, r.NotBefore, r.NotAfter = active.Source, active.NotBefore(), active.NotAfter()
	}
	return r
}
