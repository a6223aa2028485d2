package renewal

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	day  = 24 * 60 * 60 // in seconds
	week = 7 * day
	// clocks differ from UTC by less than this many seconds.
	skew = 16 * 60 * 60
)

// Window is a span of a day that comes again.
type Window struct {
	// Days are those on which it opens; none stands for every day.
	Days []time.Weekday
	// Start and End are times of day, as the wall clock shows them. An End that is not after
	// Start is one of the next day.
	Start, End time.Duration
	Zone       *time.Location
}

// DateRange are dates, both included, each as midnight in UTC.
type DateRange struct{ From, To time.Time }

// ParseWindow reads days such as "Monday", times such as "02:00" (an end may be "24:00"), and
// the zone's name in the IANA database.
func ParseWindow(days []string, start, end, zone string) (Window, error) {
	w := Window{}
	for _, name := range days {
		at := slices.IndexFunc(weekdays, func(d time.Weekday) bool { return d.String() == name })
		if at < 0 {
			return w, fmt.Errorf("days: there is no day %q; write Monday, Tuesday and so on", name)
		}
		w.Days = append(w.Days, weekdays[at])
	}
	var err error
	if w.Start, err = parseTime(start); err != nil {
		return w, fmt.Errorf("start: %w", err)
	}
	if end == "24:00" {
		w.End = day * time.Second
	} else if w.End, err = parseTime(end); err != nil {
		return w, fmt.Errorf("end: %w", err)
	}
	// Local would be another zone on each machine.
	if zone == "" || zone == "Local" {
		return w, fmt.Errorf("timeZone: %q names no zone; write a name such as Europe/Berlin or Etc/UTC", zone)
	}
	if w.Zone, err = time.LoadLocation(zone); err != nil {
		return w, fmt.Errorf("timeZone: %q is not known; write a name of the IANA database, such as Europe/Berlin or Etc/UTC", zone)
	}
	return w, nil
}

// ParseDates reads two dates such as 2026-12-20.
func ParseDates(from, to string) (DateRange, error) {
	var r DateRange
	var err error
	if r.From, err = time.Parse(time.DateOnly, from); err != nil {
		return r, fmt.Errorf("from: %q is not a date; write one such as 2026-12-20", from)
	}
	if r.To, err = time.Parse(time.DateOnly, to); err != nil {
		return r, fmt.Errorf("to: %q is not a date; write one such as 2027-01-02", to)
	}
	if r.To.Before(r.From) {
		return r, fmt.Errorf("to: %s is before from, which is %s; change the two", to, from)
	}
	return r, nil
}

func parseTime(text string) (time.Duration, error) {
	t, err := time.Parse("15:04", text)
	if err != nil || len(text) != len("15:04") {
		return 0, fmt.Errorf("%q is not a time of day; write one such as 02:00", text)
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, nil
}

// String is the window for people, as in "Saturday, Sunday 22:00-04:00 Europe/Berlin".
func (w Window) String() string {
	names := make([]string, len(w.Days))
	for i, d := range w.Days {
		names[i] = d.String()
	}
	clock := func(d time.Duration) string { return fmt.Sprintf("%02d:%02d", int(d.Hours()), int(d.Minutes())%60) }
	return strings.TrimSpace(fmt.Sprintf("%s %s-%s %s", strings.Join(names, ", "), clock(w.Start), clock(w.End), w.Zone))
}

var weekdays = []time.Weekday{
	time.Sunday, time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday, time.Saturday,
}

// span is time from one second up to, but not including, another: since 1970, of UTC, or of a
// wall clock where said.
type span struct{ from, to int64 }

// on returns the openings of the window that begins on a date, given in days since 1970. It is
// more than one where clocks are set back, or where dates are frozen, within it.
func (w *Window) on(date int64, freeze []DateRange) []span {
	// 1970 began with a Thursday.
	if len(w.Days) > 0 && !slices.Contains(w.Days, time.Weekday(((date+int64(time.Thursday))%7+7)%7)) {
		return nil
	}
	wall := span{date*day + int64(w.Start/time.Second), date*day + int64(w.End/time.Second)}
	if w.End <= w.Start {
		wall.to += day
	}
	if len(freeze) == 0 {
		return instants(w.Zone, wall, nil)
	}
	var out []span
	for _, s := range thaw(wall, freeze) {
		out = instants(w.Zone, s, out)
	}
	return out
}

// thaw returns what frozen dates leave of a span of the wall clock.
func thaw(wall span, freeze []DateRange) []span {
	left := []span{wall}
	for _, f := range freeze {
		var next []span
		for _, s := range left {
			if before := (span{s.from, min(s.to, f.From.Unix())}); before.from < before.to {
				next = append(next, before)
			}
			if after := (span{max(s.from, f.To.Unix()+day), s.to}); after.from < after.to {
				next = append(next, after)
			}
		}
		left = next
	}
	return left
}

// instants appends when a zone's wall clock shows a time of the span: one stretch for each
// offset from UTC that is in effect meanwhile, those that touch taken together.
func instants(zone *time.Location, wall span, out []span) []span {
	for t := time.Unix(wall.from-skew, 0).In(zone); ; {
		_, offset := t.Zone()
		from, to := wall.from-int64(offset), wall.to-int64(offset)
		begin, end := t.ZoneBounds()
		if !begin.IsZero() {
			from = max(from, begin.Unix())
		}
		if !end.IsZero() {
			to = min(to, end.Unix())
		}
		if last := len(out) - 1; from < to && last >= 0 && out[last].to == from {
			out[last].to = to
		} else if from < to {
			out = append(out, span{from, to})
		}
		if end.IsZero() || end.Unix() > wall.to+skew {
			return out
		}
		t = end
	}
}
