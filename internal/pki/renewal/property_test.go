package renewal_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	_ "time/tzdata" // the same zones on every machine

	"fairlead.dev/fairlead/internal/pki/renewal"
)

// zones have their clocks set in all the ways there are: at 01:00, 02:00 and at midnight, by
// half an hour and by two hours, in both hemispheres, for Ramadan, and never.
var zones = []string{
	"Europe/Berlin", "America/New_York", "America/Santiago", "Africa/Cairo", "Africa/Casablanca",
	"Australia/Lord_Howe", "Antarctica/Troll", "Asia/Kathmandu", "Pacific/Chatham", "America/St_Johns",
}

var spans = [][2]string{
	{"02:00", "05:00"}, {"22:30", "04:15"}, {"00:00", "00:00"}, {"00:00", "24:00"}, {"02:15", "02:45"},
	{"01:45", "02:15"}, {"23:59", "00:01"}, {"13:00", "12:00"}, {"03:00", "03:30"},
}

// shows is what a window means, said in another way than the package does: by the wall clock.
func shows(w renewal.Window, at time.Time) bool {
	at = at.In(w.Zone)
	clock := time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute +
		time.Duration(at.Second())*time.Second + time.Duration(at.Nanosecond())
	on := func(d time.Weekday) bool { return len(w.Days) == 0 || slices.Contains(w.Days, d) }
	if w.End > w.Start {
		return on(at.Weekday()) && clock >= w.Start && clock < w.End
	}
	return on(at.Weekday()) && clock >= w.Start || on((at.Weekday()+6)%7) && clock < w.End
}

// next is when a certificate is to be renewed, as seen at a time.
func next(p renewal.Policy, c renewal.Certificate, now time.Time) renewal.Slot {
	return p.Plan(now, []renewal.Holder{{Certificate: c}}, "", nil).Slots[0]
}

func frozen(p renewal.Policy, w renewal.Window, at time.Time) bool {
	date := at.In(w.Zone).Format(time.DateOnly)
	return slices.ContainsFunc(p.Freeze, func(r renewal.DateRange) bool {
		return date >= r.From.Format(time.DateOnly) && date <= r.To.Format(time.DateOnly)
	})
}

func allowed(p renewal.Policy, at time.Time) bool {
	return slices.ContainsFunc(p.Windows, func(w renewal.Window) bool { return shows(w, at) && !frozen(p, w, at) })
}

func mustWindow(t testing.TB, days []string, start, end, zone string) renewal.Window {
	t.Helper()
	w, err := renewal.ParseWindow(days, start, end, zone)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func mustDates(t testing.TB, from, to string) renewal.DateRange {
	t.Helper()
	r, err := renewal.ParseDates(from, to)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var start = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// Certificates live through ten years: whatever the policy that Check has let pass, each is
// renewed in a window, with its margin left, and never as soon as it is issued.
func TestTenYearsWithinWindows(t *testing.T) {
	var renewals, policies int
	for _, zone := range zones {
		random := rand.New(rand.NewPCG(5, uint64(len(zone)))) //nolint:gosec // repeatable
		for range 25 {
			p := randomPolicy(t, random, zone)
			lifetime := time.Duration(1+random.IntN(100*24)) * time.Hour
			p.Before = time.Duration(random.Int64N(int64(lifetime)))
			if p.Check(lifetime, start) != nil {
				continue
			}
			policies++
			c := renewal.Certificate{ID: fmt.Sprint(random.Uint64())}
			for now := start.Add(time.Duration(random.IntN(1e6)) * time.Second); now.Before(start.AddDate(10, 0, 0)); renewals++ {
				c.NotBefore, c.NotAfter = now.Add(-5*time.Minute), now.Add(lifetime)
				slot := next(p, c, now)
				switch {
				case slot.Reason != renewal.ReasonWindow || slot.Missed != 0:
					t.Fatalf("%v of %s, issued at %s: %+v", p, lifetime, now, slot)
				case !allowed(p, slot.At):
					t.Fatalf("%v: %s is outside of the windows", p, slot.At.In(p.Windows[0].Zone))
				case slot.At.Add(renewal.Margin(lifetime)).After(c.NotAfter):
					t.Fatalf("%v: %s leaves no margin before %s", p, slot.At, c.NotAfter)
				case slot.At.Before(now.Add(lifetime / 11)):
					t.Fatalf("%v: %s is renewed at %s", p, now, slot.At)
				}
				now = slot.At
			}
		}
	}
	t.Logf("%d renewals by %d policies in %d zones", renewals, policies, len(zones))
	if renewals < 20_000 || policies < 150 {
		t.Errorf("%d renewals by %d policies show little", renewals, policies)
	}
}

func randomPolicy(t testing.TB, random *rand.Rand, zone string) renewal.Policy {
	p := renewal.Policy{Jitter: float64(random.IntN(5)) / 4}
	for range 1 + random.IntN(3) {
		s, days := spans[random.IntN(len(spans))], []string(nil)
		for d := time.Sunday; d <= time.Saturday && random.IntN(2) == 0; d += time.Weekday(1 + random.IntN(3)) {
			days = append(days, d.String())
		}
		p.Windows = append(p.Windows, mustWindow(t, days, s[0], s[1], zone))
	}
	if random.IntN(2) == 0 {
		p.Freeze = append(p.Freeze, mustDates(t, "2026-12-20", "2027-01-02"), mustDates(t, "2027-03-28", "2027-03-28"))
	}
	if random.IntN(2) == 0 {
		p.Canaries = []string{"a"}
	}
	return p
}

func TestOpeningsDoNotOverlap(t *testing.T) {
	p := renewal.Policy{Windows: []renewal.Window{mustWindow(t, nil, "02:00", "05:00", "Etc/UTC"), mustWindow(t, nil, "03:00", "06:00", "Etc/UTC")}}
	opening, closing, _ := p.Open(time.Date(2027, 1, 1, 5, 30, 0, 0, time.UTC))
	if opening.UTC().Hour() != 5 || closing.UTC().Hour() != 6 {
		t.Errorf("the later of two windows is open from %s to %s", opening, closing)
	}
}

// At each quarter of an hour around changes of the clocks, and a second before, openings are what the wall clock says.
func TestOpeningsFollowTheWallClock(t *testing.T) {
	for _, zone := range append(zones, "Pacific/Apia") {
		location, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		if zone == "Pacific/Apia" {
			from = time.Date(2011, 11, 1, 0, 0, 0, 0, time.UTC) // it had no 30 December
		}
		at := from.In(location)
		for range 4 {
			if _, end := at.ZoneBounds(); !end.IsZero() {
				at = end
			}
			for i, s := range spans {
				p := renewal.Policy{Windows: []renewal.Window{mustWindow(t, nil, s[0], s[1], zone)}}
				if i%2 == 0 {
					p.Windows[0].Days = []time.Weekday{at.Weekday(), (at.Weekday() + 5) % 7}
				}
				for minute := at.Add(-36 * time.Hour); minute.Before(at.Add(36 * time.Hour)); minute = minute.Add(15 * time.Minute) {
					for _, at := range [...]time.Time{minute.Add(-time.Second), minute} {
						if opening, closing, open := p.Open(at); open != allowed(p, at) {
							t.Fatalf("%s, %v: %s counts as open: %v, from %s to %s", zone, p.Windows, at.In(location), open, opening, closing)
						}
					}
				}
			}
		}
	}
}
