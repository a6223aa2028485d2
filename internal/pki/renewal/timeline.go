package renewal

import (
	"cmp"
	"slices"
)

// timeline finds openings: the windows' own, in order, those that overlap cut so that none
// does. What it found it keeps, a week at a time; it serves one question or one plan.
type timeline struct {
	windows []Window
	freeze  []DateRange
	weeks   map[int64][]span
}

func (p *Policy) timeline() *timeline {
	return &timeline{windows: p.Windows, freeze: p.Freeze, weeks: map[int64][]span{}}
}

// week returns the openings that begin in a week, counted from 1970.
func (t *timeline) week(n int64) []span {
	if found, ok := t.weeks[n]; ok {
		return found
	}
	// A window lasts a day, and two or three hours more where clocks are set back: three days
	// before are enough to know what overlaps.
	var all []span
	for date := n*7 - 4; date <= n*7+8; date++ {
		for i := range t.windows {
			all = append(all, t.windows[i].on(date, t.freeze)...)
		}
	}
	slices.SortFunc(all, func(a, b span) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	var found []span
	end := (n*7 - 4) * day
	for _, s := range all {
		s.from = max(s.from, end)
		end = max(end, s.to)
		if s.from < s.to && floor(s.from, week) == n {
			found = append(found, s)
		}
	}
	t.weeks[n] = found
	return found
}

// first returns the first opening that closes after one time and opens before another.
func (t *timeline) first(after, before int64) (span, bool) {
	for n := floor(after, week) - 1; len(t.windows) > 0 && n*week < before; n++ {
		for _, s := range t.week(n) {
			if s.to > after {
				return s, s.from < before
			}
		}
	}
	return span{}, false
}

// last returns the last opening that opens before one time and closes after another.
func (t *timeline) last(before, after int64) (span, bool) {
	for n := floor(before-1, week); len(t.windows) > 0 && n >= floor(after, week)-1; n-- {
		for _, s := range slices.Backward(t.week(n)) {
			if s.from < before {
				return s, s.to > after
			}
		}
	}
	return span{}, false
}

// closed counts the openings that closed from one time on, up to and including another.
func (t *timeline) closed(from, to int64) (count int) {
	for s, ok := t.first(from-1, to); ok && s.to <= to; s, ok = t.first(s.to, to) {
		count++
	}
	return count
}

func floor(a, b int64) int64 {
	if a < 0 {
		return (a+1)/b - 1
	}
	return a / b
}
