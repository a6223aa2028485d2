package renewal

import (
	"fmt"
	"time"
)

// Policy says when certificates may be renewed. The zero value has no windows: what it is for
// is renewed in emergencies only.
type Policy struct {
	// Before is how long before its expiry a certificate is due; 0 is half of its life.
	Before  time.Duration
	Windows []Window
	// Jitter is the part of a window over which renewals are spread: 1 is the whole of it, and
	// with 0 all are due as it opens.
	Jitter float64
	// MaxConcurrent bounds how many are renewed and not yet proven; 0 is no limit.
	MaxConcurrent int
	// MaxPerHour bounds how many are renewed in an hour; 0 is no limit.
	MaxPerHour int
	Freeze     []DateRange
	// Canaries names those that are renewed first. Here it is only of interest whether there
	// are any, which leaves the first tenth of a window to them; which they are, Holders say.
	Canaries []string
	// Paused holds everything but what cannot wait and what is forced; DryRun holds this too.
	Paused, DryRun bool
	// Seed sets one mesh's spread apart from another's.
	Seed string
}

// Margin is the end of a certificate's life that is kept for things to go wrong in: a tenth of
// it, and a day at most.
func Margin(lifetime time.Duration) time.Duration { return min(max(lifetime, 0)/10, 24*time.Hour) }

// horizon is how far ahead Check looks: a year, and what one may not see of its ends.
const horizon = 400 * 24 * time.Hour

// Check returns an error if a certificate of this lifetime, issued whenever, could not always
// be renewed in a window, of which there has to be one. It looks ahead for 400 days and the
// lifetime. Package settings judges numbers one by one.
func (p Policy) Check(lifetime time.Duration, now time.Time) error {
	switch {
	case p.Before != 0 && p.Before < Margin(lifetime):
		return fmt.Errorf("renewal.before: %s leaves less than the margin, which is %s for a certificate that is valid for %s; make it longer",
			hours(p.Before), hours(Margin(lifetime)), hours(lifetime))
	case p.Before > lifetime-lifetime/10:
		return fmt.Errorf("renewal.before: %s of the %s that a certificate is valid for is more than 9/10; make it shorter", hours(p.Before), hours(lifetime))
	}
	need := lifetime - lifetime/10 - Margin(lifetime)
	if from, to := p.longestGap(now, now.Add(horizon+lifetime)); to.Sub(from) >= need {
		return fmt.Errorf("windows: none opens from %s to %s, which is %s, but a certificate that is valid for %s has to find one within %s; "+
			"add a window or a day, shorten the freeze, or issue for longer",
			from.Format(minutes), to.Format(minutes), hours(to.Sub(from)), hours(lifetime), hours(need))
	}
	return nil
}

const minutes = "2006-01-02 15:04 MST"

// longestGap returns the longest time without a window, told by the first window's clock.
func (p *Policy) longestGap(from, to time.Time) (begin, end time.Time) {
	t, zone := p.timeline(), p.Windows[0].Zone
	best, at := span{}, from.Unix()
	for at < to.Unix() {
		s, ok := t.first(at, to.Unix())
		if !ok {
			s = span{to.Unix(), to.Unix()}
		}
		if s.from-at > best.to-best.from {
			best = span{at, s.from}
		}
		at = s.to
	}
	return time.Unix(best.from, 0).In(zone), time.Unix(best.to, 0).In(zone)
}

// Open returns the opening that a time is in or, if it is in none, the next one within 400
// days; zero times if there is none.
func (p Policy) Open(now time.Time) (opening, closing time.Time, open bool) {
	s, ok := p.timeline().first(now.Unix(), now.Add(horizon).Unix())
	if !ok {
		return time.Time{}, time.Time{}, false
	}
	return time.Unix(s.from, 0), time.Unix(s.to, 0), s.from <= now.Unix()
}

// hours is a duration for people: 1.5 h, or 14 min where hours would be a small number.
func hours(d time.Duration) string {
	if d < 2*time.Hour {
		return fmt.Sprintf("%.4g min", d.Minutes())
	}
	return fmt.Sprintf("%.4g h", d.Hours())
}
