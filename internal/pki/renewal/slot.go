package renewal

import "time"

// Reason says why a certificate is renewed.
type Reason string

// The reasons.
const (
	ReasonWindow    Reason = "window"    // it is due, and a window is there for it
	ReasonEmergency Reason = "emergency" // no window is left for it
	ReasonForced    Reason = "forced"    // somebody asked for it
	ReasonAuthority Reason = "authority" // who signed it is to go; in a window
)

// Certificate is what planning has to know of one.
type Certificate struct {
	// ID is any name that stays the same: by it a certificate gets its place in a window.
	ID string
	// NotBefore and NotAfter are the certificate's own.
	NotBefore, NotAfter time.Time
}

// Slot is when a certificate is to be renewed.
type Slot struct {
	// At is the time. It may be past.
	At time.Time
	// Opening and Closing are those of the window; zero without one.
	Opening, Closing time.Time
	Reason           Reason
	// Missed counts the openings that went by since the certificate should have been renewed.
	Missed int
}

// slot returns when a holder's certificate is to be renewed, as seen at a time.
func (p *Policy) slot(t *timeline, h *Holder, now time.Time) Slot {
	switch {
	case h.Forced:
		return Slot{At: now, Reason: ReasonForced}
	case h.NotBefore.After(now) || !h.NotAfter.After(h.NotBefore):
		// Issued by a clock that was ahead, or for no time at all: no peer takes it.
		return Slot{At: now, Reason: ReasonEmergency}
	}
	l, at := p.life(&h.Certificate), now.Unix()
	s, planned := l.plan(t)
	missed := 0
	if planned && at >= l.within(s).to {
		missed = t.closed(s.to, at)
		s, planned = t.first(at, l.latest)
		planned = planned && at < l.latest
	}
	if h.Moved && at < l.latest {
		if soon, ok := t.first(at, l.latest); ok {
			l.due, l.young = soon.from, soon.from
			slot := p.place(l, soon, h, soon.from)
			slot.Reason, slot.Missed = ReasonAuthority, missed
			return slot
		}
	}
	if !planned {
		return Slot{At: l.emergency(p.spread(h.ID, 0)), Reason: ReasonEmergency, Missed: missed}
	}
	salt := int64(0)
	if missed > 0 {
		salt = s.from
	}
	slot := p.place(l, s, h, salt)
	slot.Missed = missed
	return slot
}

// life is what the times of a certificate mean for its renewal, in seconds since 1970.
type life struct {
	young  int64 // until then it is too young to be renewed early
	due    int64
	latest int64 // from then on it cannot wait
	slack  int64 // how long before it is due it may be renewed
	margin time.Duration
}

func (p *Policy) life(c *Certificate) life {
	lifetime := c.NotAfter.Sub(c.NotBefore)
	before := p.Before
	if before <= 0 {
		before = lifetime / 2
	}
	l := life{margin: Margin(lifetime)}
	l.young, l.latest = c.NotBefore.Add(lifetime/10).Unix(), c.NotAfter.Add(-l.margin).Unix()
	l.due = min(max(c.NotAfter.Add(-before).Unix(), l.young), l.latest)
	l.slack = (l.due - c.NotBefore.Unix()) / 10
	return l
}

// plan returns the opening that a certificate is meant for from when it is issued: the first
// that closes after it is due or, if that is too late, the last before.
func (l *life) plan(t *timeline) (span, bool) {
	if s, ok := t.first(l.due, l.latest); ok {
		return s, true
	}
	return t.last(l.latest, l.young)
}

// within is the part of an opening in which a certificate may be renewed.
func (l *life) within(s span) span {
	usable := span{max(s.from, l.young), min(s.to, l.latest)}
	if s.to > l.due {
		usable.from = max(usable.from, l.due-l.slack)
	}
	return usable
}

// emergency is when a certificate is renewed for which there is no window: in the second last
// margin of its life, so that those of one age do not come all at once.
func (l *life) emergency(spread float64) time.Time {
	at := time.Unix(l.latest, 0).Add(-time.Duration((1 - spread) * float64(l.margin)))
	if due := time.Unix(l.due, 0); at.Before(due) {
		return due
	}
	return at
}

// place gives a certificate its time in an opening. Canaries have the first tenth. The salt is 0
// for those that have their usual place: what limits held back night after night would be those
// with late places only, and leave the windows' beginning unused.
func (p *Policy) place(l life, s span, h *Holder, salt int64) Slot {
	usable := l.within(s)
	part := p.spread(h.ID, salt)
	if h.Canary {
		part /= 10
	} else if len(p.Canaries) > 0 {
		part = 0.1 + 0.9*part
	}
	length := float64(usable.to-usable.from) * float64(time.Second) * p.Jitter
	return Slot{
		At:      time.Unix(usable.from, 0).Add(time.Duration(part * length)),
		Opening: time.Unix(s.from, 0), Closing: time.Unix(s.to, 0), Reason: ReasonWindow,
	}
}

// spread is a number from 0 up to, not including, 1: FNV-1a of the names, and then mixed, as
// FNV leaves the high bits of names that are alike alike.
func (p *Policy) spread(id string, salt int64) float64 {
	h := uint64(14695981039346656037) ^ uint64(salt) //nolint:gosec // any number will do
	for _, text := range [...]string{p.Seed, "\x00", id} {
		for i := range len(text) {
			h = (h ^ uint64(text[i])) * 1099511628211
		}
	}
	// The finalizer of SplitMix64.
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	h ^= h >> 31
	return float64(h>>11) / (1 << 53)
}
