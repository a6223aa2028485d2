package renewal

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Holder is somebody who has a certificate. One that does not exist yet, or is damaged, is not
// planned: it waits for nothing.
type Holder struct {
	Certificate
	// Canary is renewed before those that are none.
	Canary bool
	// Forced: somebody asked for a new certificate. Moved: the authority that signed this one
	// is to go.
	Forced, Moved bool
	// Unproven is when the present renewal began, from when its order was taken until the new
	// certificate is proven to be in use, or the renewal was given up; zero otherwise.
	Unproven time.Time
	// Retry is when to try again what failed; until then there is no order. A canary is waited
	// for meanwhile.
	Retry time.Time
}

// Plan is what is to be done at one time.
type Plan struct {
	// Now are the indices of the holders to be renewed now, the most urgent first. The next plan
	// orders it again unless the holder has become Unproven.
	Now []int
	// Slots has the slot of each holder, by its index.
	Slots []Slot
	// Due counts those whose time has come, in Now and held back; Unproven those that are renewed
	// and not yet proven.
	Due, Unproven int
	// Paused says why renewals are held back, other than by the limits; empty if they are not.
	Paused string
	// Wake is when to plan anew if nothing changes before. It is never more than ten minutes
	// away, since clocks are set, and machines sleep.
	Wake time.Time
}

const (
	// proving is how long a renewal may be under way before it is one that does not come off.
	proving = 15 * time.Minute
	// While something is held back, the plan is to be made anew in a minute; else in ten.
	soon, late = time.Minute, 10 * time.Minute
)

// Plan returns what is to be renewed now, and when all others are. Unwell is what Watch.Unwell
// says; recent are the times at which orders of the last hour were taken.
func (p Policy) Plan(now time.Time, holders []Holder, unwell string, recent []time.Time) Plan {
	s := scheduler{Policy: &p, now: now, holders: holders, plan: Plan{Slots: make([]Slot, len(holders))}}
	s.assign(p.timeline())
	s.sort()
	s.judge(unwell)
	s.admit(recent)
	return s.plan
}

type scheduler struct {
	*Policy
	now     time.Time
	holders []Holder
	plan    Plan
	// ready are the indices of those whose time has come.
	ready []int
	// fresh counts the renewals that are under way and not overdue, busy all that are unproven.
	fresh, busy int
	// oldest is the one that is unproven for longest; -1: none is.
	oldest int
	// canary is one that the others wait for; -1: they need not.
	canary int
}

// assign gives everybody a slot.
func (s *scheduler) assign(t *timeline) {
	slots := s.plan.Slots
	round := -1 // of the others, the first to be renewed in a window
	for i := range s.holders {
		slots[i] = s.slot(t, &s.holders[i], s.now)
		if !s.holders[i].Canary && slots[i].windowed() && (round < 0 || slots[i].Opening.Before(slots[round].Opening)) {
			round = i
		}
	}
	if round < 0 {
		return
	}
	// A canary goes ahead of others even if it is not due, unless it is young and so has just
	// done that.
	opening := span{slots[round].Opening.Unix(), slots[round].Closing.Unix()}
	for i := range s.holders {
		if h := &s.holders[i]; h.Canary && slots[i].windowed() && slots[round].Opening.Before(slots[i].Opening) {
			if l := s.life(&h.Certificate); l.young < min(opening.to, l.latest) {
				slots[i] = s.place(l, opening, h, 0)
			}
		}
	}
}

func (s Slot) windowed() bool { return s.Reason == ReasonWindow || s.Reason == ReasonAuthority }

// sort finds who is ready, who is under way, and who comes next.
func (s *scheduler) sort() {
	s.oldest, s.canary = -1, -1
	s.plan.Wake = s.now.Add(late)
	for i := range s.holders {
		h, slot := &s.holders[i], &s.plan.Slots[i]
		if !h.Unproven.IsZero() {
			s.busy++
			if s.oldest < 0 || h.Unproven.Before(s.holders[s.oldest].Unproven) {
				s.oldest = i
			}
			if s.recently(h.Unproven, proving) {
				s.fresh++
			}
		}
		if h.Canary && (!h.Unproven.IsZero() || slot.windowed() && !slot.Opening.After(s.now)) && !s.stuckCanary() {
			s.canary = i
		}
		switch {
		case !h.Unproven.IsZero() && s.recently(h.Unproven, proving):
		case slot.At.After(s.now) || h.Retry.After(s.now):
			for _, at := range [...]time.Time{slot.At, h.Retry} {
				if at.After(s.now) && at.Before(s.plan.Wake) {
					s.plan.Wake = at
				}
			}
			if !slot.At.After(s.now) {
				s.plan.Due++
			}
		default:
			s.ready = append(s.ready, i)
		}
	}
	s.plan.Due, s.plan.Unproven = s.plan.Due+len(s.ready), s.busy
	slices.SortFunc(s.ready, func(a, b int) int {
		x, y := &s.holders[a], &s.holders[b]
		return cmp.Or(
			cmp.Compare(s.rank(a), s.rank(b)),
			x.NotAfter.Compare(y.NotAfter), s.plan.Slots[a].At.Compare(s.plan.Slots[b].At), cmp.Compare(x.ID, y.ID))
	})
}

// recently also counts what seems to be in the future, which is what a clock that was set back
// makes of it, as long as it is not further away than it could be past.
func (s *scheduler) recently(at time.Time, within time.Duration) bool {
	return s.now.Sub(at).Abs() < within
}

// stuckCanary reports whether the canary that is waited for is one that does not come off.
func (s *scheduler) stuckCanary() bool { return s.canary >= 0 && s.stuck(s.canary) }

func (s *scheduler) stuck(i int) bool {
	at := s.holders[i].Unproven
	return !at.IsZero() && !s.recently(at, proving)
}

// rank is by urgency.
func (s *scheduler) rank(i int) int {
	rank := 2 * slices.Index([]Reason{ReasonEmergency, ReasonForced}, s.plan.Slots[i].Reason)
	if rank < 0 {
		rank = 4 // in windows: by expiry, whatever the reason
	}
	if !s.holders[i].Canary {
		rank++
	}
	return rank
}

// judge says why renewals are held back.
func (s *scheduler) judge(unwell string) {
	switch {
	case s.Paused:
		s.plan.Paused = "renewal.paused is set"
	case s.DryRun:
		s.plan.Paused = "renewal.dryRun is set"
	case unwell != "":
		s.plan.Paused = unwell
	case s.stuckCanary():
		s.plan.Paused = fmt.Sprintf("the canary %s is not proven to use the certificate of %s", s.holders[s.canary].ID, s.since(s.canary))
	case s.MaxConcurrent > 0 && s.busy >= s.MaxConcurrent && s.stuck(s.oldest):
		s.plan.Paused = fmt.Sprintf("%d are not proven to use their new certificates, %s since %s", s.busy, s.holders[s.oldest].ID, s.since(s.oldest))
	}
}

func (s *scheduler) since(i int) string {
	return s.holders[i].Unproven.UTC().Format(time.RFC3339)
}

// admit takes of those that are ready as many as the limits allow.
func (s *scheduler) admit(recent []time.Time) {
	hour := 0
	for _, at := range recent {
		if s.recently(at, time.Hour) {
			hour++
		}
	}
	for _, i := range s.ready {
		if !s.allowed(i, hour) {
			continue
		}
		s.plan.Now = append(s.plan.Now, i)
		s.fresh, hour = s.fresh+1, hour+1
		if s.holders[i].Unproven.IsZero() {
			s.busy++
		}
	}
	if again := s.now.Add(soon); len(s.plan.Now) < len(s.ready) && s.plan.Wake.After(again) {
		s.plan.Wake = again
	}
}

// allowed reports whether a holder may be renewed now.
func (s *scheduler) allowed(i, hour int) bool {
	h := &s.holders[i]
	// One that is unproven has its place already: to force it may be the way out.
	free := s.MaxConcurrent == 0 || s.busy < s.MaxConcurrent || !h.Unproven.IsZero()
	switch s.plan.Slots[i].Reason {
	case ReasonEmergency:
		// Those that do not come off must not have others expire; and before something
		// expires, there is no limit.
		lastCall := h.NotAfter.Add(-Margin(h.NotAfter.Sub(h.NotBefore)) / 2)
		return s.MaxConcurrent == 0 || s.fresh < s.MaxConcurrent || !s.now.Before(lastCall)
	case ReasonForced:
		return free && !s.DryRun
	}
	return free && (s.MaxPerHour == 0 || hour < s.MaxPerHour) && s.plan.Paused == "" && (s.canary < 0 || h.Canary)
}
