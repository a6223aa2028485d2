package renewal_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/internal/pki/renewal"
)

func (w *world) times() (times []time.Time) {
	for _, r := range w.log {
		times = append(times, r.at)
	}
	return times
}

// evenly checks that no part of a span has more or less than its share, but for a tolerance.
func evenly(t *testing.T, times []time.Time, from, to time.Time, parts int, tolerance float64) {
	t.Helper()
	found := make([]int, parts)
	for _, at := range times {
		part := int(float64(parts) * float64(at.Sub(from)) / float64(to.Sub(from)))
		if part < 0 || part >= parts {
			t.Fatalf("%s is not between %s and %s", at, from, to)
		}
		found[part]++
	}
	for _, n := range found {
		if share := float64(n) * float64(parts) / float64(len(times)); share < 1-tolerance || share > 1+tolerance {
			t.Errorf("the parts of the span have %v", found)
			return
		}
	}
}

// Others renew everything at the second in which a window opens. Here 10,000 certificates that
// were issued together are spread evenly over it, also when it is as long as a day, on the
// nights on which the clocks are set, and if they are issued while it is open.
func TestNoStampedeAsAWindowOpens(t *testing.T) {
	for _, test := range []struct {
		zone, start, end string
		issued           time.Time
		length           time.Duration
	}{
		{"Europe/Berlin", "02:00", "05:00", time.Date(2027, 1, 10, 12, 0, 0, 0, time.UTC), 3 * time.Hour},
		{"Europe/Berlin", "02:00", "05:00", time.Date(2027, 2, 10, 12, 0, 0, 0, time.UTC).AddDate(0, 0, 1), 3 * time.Hour},
		{"Europe/Berlin", "02:00", "05:00", time.Date(2027, 3, 28, 0, 0, 0, 0, time.UTC).AddDate(0, 0, -45), 2 * time.Hour},
		{"Europe/Berlin", "02:00", "05:00", time.Date(2027, 10, 30, 22, 0, 0, 0, time.UTC).AddDate(0, 0, -45), 4 * time.Hour},
		{"America/Santiago", "23:00", "02:00", time.Date(2027, 4, 4, 1, 0, 0, 0, time.UTC).AddDate(0, 0, -45), 4 * time.Hour},
		{"Asia/Tokyo", "00:00", "00:00", time.Date(2027, 1, 10, 14, 50, 0, 0, time.UTC), 24 * time.Hour},
		{"Asia/Tokyo", "02:00", "05:00", time.Date(2027, 1, 10, 17, 10, 0, 0, time.UTC), 3 * time.Hour},
	} {
		p := renewal.Policy{Jitter: 1, Windows: []renewal.Window{mustWindow(t, nil, test.start, test.end, test.zone)}}
		var times []time.Time
		var slot renewal.Slot
		for i := range 10_000 {
			slot = next(p, renewal.Certificate{ID: fmt.Sprintf("ns/app-%d", i), NotBefore: test.issued, NotAfter: test.issued.AddDate(0, 0, 90)}, test.issued)
			times = append(times, slot.At)
		}
		if got := slot.Closing.Sub(slot.Opening); got != test.length {
			t.Errorf("%s-%s %s: the opening at %s lasts %s, want %s", test.start, test.end, test.zone, slot.Opening, got, test.length)
		}
		evenly(t, times, slot.Opening, slot.Closing, 12, 0.2)
	}
}

// Others choose a time that lies after the expiry, or panic at lifetimes of zero and on 29 February.
func TestTimesThatOthersGotWrong(t *testing.T) {
	leap := time.Date(2028, 2, 29, 3, 0, 0, 0, time.UTC)
	daily := berlin(t)
	weekly := renewal.Policy{Jitter: 1, Windows: []renewal.Window{mustWindow(t, []string{"Sunday"}, "02:00", "05:00", "Europe/Berlin")}}
	allDay := renewal.Policy{Windows: []renewal.Window{mustWindow(t, []string{"Tuesday"}, "00:00", "24:00", "Etc/UTC")}}
	frozen := berlin(t)
	frozen.Freeze = []renewal.DateRange{mustDates(t, "2028-02-29", "2028-02-29")}
	for _, test := range []struct {
		name     string
		p        renewal.Policy
		lifetime time.Duration
		now      time.Duration // after it was issued
		reason   renewal.Reason
		from, to time.Duration // after it was issued
	}{
		{"no lifetime", daily, 0, 0, renewal.ReasonEmergency, 0, 0},
		{"a negative lifetime", daily, -time.Hour, 0, renewal.ReasonEmergency, 0, 0},
		{"expired", daily, time.Hour, 48 * time.Hour, renewal.ReasonEmergency, 0, time.Hour},
		{"a leap day", frozen, 2 * 24 * time.Hour, 0, renewal.ReasonWindow, 22 * time.Hour, 25 * time.Hour},
		{"shorter than between windows", weekly, 48 * time.Hour, 0, renewal.ReasonEmergency, 38 * time.Hour, 44 * time.Hour},
		{"too young as the last window opens", allDay, 5 * 24 * time.Hour, 0, renewal.ReasonWindow, 12 * time.Hour, 21 * time.Hour},
		{"the next window is after the end", weekly, 8 * 24 * time.Hour, 0, renewal.ReasonWindow, 118 * time.Hour, 121 * time.Hour},
	} {
		c := renewal.Certificate{ID: "ns/app", NotBefore: leap, NotAfter: leap.Add(test.lifetime)}
		got := next(test.p, c, leap.Add(test.now))
		if after := got.At.Sub(leap); got.Reason != test.reason || after < test.from || after > test.to {
			t.Errorf("%s: got %+v, %s after it was issued", test.name, got, after)
		}
	}
}

// Others admit windows by which a certificate cannot be renewed before it expires.
func TestWindowsThatLeaveNoTimeAreRefused(t *testing.T) {
	at := func(days []string, start, end string) renewal.Policy {
		return renewal.Policy{Jitter: 1, Windows: []renewal.Window{mustWindow(t, days, start, end, "Europe/Berlin")}}
	}
	frozen := at(nil, "02:00", "05:00")
	frozen.Freeze = []renewal.DateRange{mustDates(t, "2026-12-20", "2027-03-20")}
	early, tight := at(nil, "02:00", "05:00"), at(nil, "02:00", "05:00")
	early.Before, tight.Before = 85*24*time.Hour, time.Hour
	const day = 24 * time.Hour
	for _, test := range []struct {
		name     string
		p        renewal.Policy
		lifetime time.Duration
		want     string
	}{
		{"the default", at(nil, "02:00", "05:00"), 90 * day, ""},
		{"a day, every day", at(nil, "02:00", "05:00"), day, "windows: none opens from 2026-11-25 05:00 CET to 2026-11-26 02:00 CET, which is 21 h, but a certificate that is valid for 24 h has to find one within 19.2 h"},
		{"two days, every day", at(nil, "02:00", "05:00"), 2 * day, ""},
		{"a week, on Sundays", at([]string{"Sunday"}, "02:00", "05:00"), 7 * day, "windows: none opens"},
		{"ten days, on Sundays", at([]string{"Sunday"}, "02:00", "05:00"), 10 * day, ""},
		// On the last Sunday of March there is no 02:15.
		{"ten days, on Sundays at 02:15", at([]string{"Sunday"}, "02:15", "02:45"), 10 * day, "from 2027-03-21 02:45 CET to 2027-04-04 02:15 CEST"},
		{"a long freeze", frozen, 90 * day, "from 2026-12-19 05:00 CET to 2027-03-21 02:00 CET"},
		{"due at once", early, 90 * day, "renewal.before: 2040 h of the 2160 h"},
		{"due too late", tight, 90 * day, "renewal.before: 60 min leaves less than the margin, which is 24 h"},
	} {
		err := test.p.Check(test.lifetime, start)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
}

func TestWindowsThatAreNotUnderstood(t *testing.T) {
	for _, test := range []struct{ day, start, end, zone, want string }{
		{"Montag", "02:00", "05:00", "Etc/UTC", `days: there is no day "Montag"`},
		{"Monday", "2:00", "05:00", "Etc/UTC", `start: "2:00" is not a time of day`},
		{"Monday", "24:00", "05:00", "Etc/UTC", `start: "24:00" is not`},
		{"Monday", "02:00", "25:00", "Etc/UTC", `end: "25:00" is not`},
		{"Monday", "02:00", "05:00", "Europe/Berlln", `timeZone: "Europe/Berlln" is not known`},
		{"Monday", "02:00", "05:00", "", `timeZone: "" names no zone`},
		{"Monday", "02:00", "05:00", "Local", `timeZone: "Local" names no zone`},
	} {
		if _, err := renewal.ParseWindow([]string{test.day}, test.start, test.end, test.zone); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: got %v", test, err)
		}
	}
	w := mustWindow(t, []string{"Saturday", "Sunday"}, "22:00", "04:30", "Europe/Berlin")
	if got := w.String(); got != "Saturday, Sunday 22:00-04:30 Europe/Berlin" {
		t.Errorf("got %s", got)
	}
	for _, bad := range [][2]string{{"2026-12-40", "2027-01-01"}, {"2026-12-20", "20270101"}, {"2026-12-20", "2026-12-19"}} {
		if _, err := renewal.ParseDates(bad[0], bad[1]); err == nil {
			t.Errorf("%v was taken for dates", bad)
		}
	}
}
