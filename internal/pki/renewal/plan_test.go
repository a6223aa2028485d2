package renewal_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/internal/pki/renewal"
)

type counts = map[renewal.Reason]int

// night is the opening on the night in which the certificates of newWorld are due.
var night = time.Date(2027, 1, 9, 1, 0, 0, 0, time.UTC) // 02:00 in Berlin

func TestCanariesAreProvenBeforeOthersAreRenewed(t *testing.T) {
	p := berlin(t)
	p.Canaries = []string{"app-0", "app-1"}
	w := newWorld(t, p, 300)
	w.proof = 50 * time.Second
	// One canary has another age: it goes ahead all the same.
	w.holders[1].NotBefore, w.holders[1].NotAfter = start, start.AddDate(0, 0, 110)
	w.run(night.Add(3 * time.Hour))
	w.wants(start, "in one night", counts{renewal.ReasonWindow: 300})
	for i, r := range w.log {
		if canary := w.holders[w.byID[r.ID]].Canary; canary != (i < 2) {
			t.Errorf("renewal %d is of %s", i, r.ID)
		}
	}
	if last, other := w.log[1].at, w.log[2].at; other.Before(last.Add(w.proof)) || last.After(night.Add(18*time.Minute)) || other.Before(night.Add(18*time.Minute)) {
		t.Errorf("the last canary is renewed at %s, the first of the others at %s", last, other)
	}
}

func TestACanaryThatDoesNotComeOffHoldsBackTheOthers(t *testing.T) {
	p := berlin(t)
	p.Canaries = []string{"app-0"}
	w := newWorld(t, p, 50)
	w.broken["prod/app-0"] = true
	w.run(night.Add(48 * time.Hour))
	w.wants(start, "with a canary that is not proven", counts{renewal.ReasonWindow: 1})
	if !strings.Contains(w.plan.Paused, "the canary prod/app-0 is not proven") || w.plan.Due != 0 {
		t.Errorf("it says %q, with %d due", w.plan.Paused, w.plan.Due)
	}
	// Emergencies go on, beside the one that hangs: nothing lapses.
	w.now = start.Add(87 * 24 * time.Hour)
	w.run(start.Add(w.lifetime))
	w.wants(start, "by the end", counts{renewal.ReasonWindow: 1, renewal.ReasonEmergency: 49})
}

func TestACanaryThatFailsIsWaitedFor(t *testing.T) {
	p := berlin(t)
	p.Canaries = []string{"app-0"}
	w := newWorld(t, p, 50)
	w.holders[0].Retry = night.Add(2 * time.Hour) // who signs refused
	w.run(night.Add(2*time.Hour - time.Second))
	w.wants(start, "before it is tried again", counts{})
	w.run(night.Add(3 * time.Hour))
	w.wants(start, "after", counts{renewal.ReasonWindow: 50})
	if w.log[0].ID != "prod/app-0" || !w.log[0].at.Equal(w.holders[0].Retry) {
		t.Errorf("the first renewal is %+v", w.log[0])
	}
}

func TestWhatDoesNotComeOffStopsAtMaxConcurrent(t *testing.T) {
	w := newWorld(t, berlin(t), 100)
	for _, h := range w.holders {
		w.broken[h.ID] = true
	}
	w.run(night.Add(72 * time.Hour))
	w.wants(start, "none of which is proven", counts{renewal.ReasonWindow: 10})
	if !strings.Contains(w.plan.Paused, "10 are not proven to use their new certificates, prod/app-") {
		t.Errorf("it says %q", w.plan.Paused)
	}
	// To force one that hangs may be the way out, and takes no other's place.
	since := w.now
	w.holders[w.byID[w.log[0].ID]].Forced = true
	w.step()
	w.wants(since, "by hand", counts{renewal.ReasonForced: 1})
	w.now = start.Add(87 * 24 * time.Hour)
	w.run(start.Add(w.lifetime))
	if got := w.count(since)[renewal.ReasonEmergency]; got != 90 || w.lapsed > 0 {
		t.Error("certificates lapsed behind those that hang")
	}
	if last := w.log[len(w.log)-1].at; last.After(start.Add(w.lifetime - 12*time.Hour)) {
		t.Errorf("emergencies waited for those that hang until %s", last)
	}
}

func TestLimitsPushRenewalsToTheNextWindow(t *testing.T) {
	p := berlin(t)
	p.MaxPerHour = 10
	w := newWorld(t, p, 100)
	for i := range 50 {
		w.holders[i].NotAfter = w.holders[i].NotAfter.Add(time.Hour) // these can wait longer
	}
	for n, want := range []int{30, 60, 90, 100} {
		w.run(night.Add(time.Duration(n)*24*time.Hour + 4*time.Hour))
		w.wants(start, fmt.Sprintf("in %d nights", n+1), counts{renewal.ReasonWindow: want})
	}
	for i, r := range w.log {
		if r.Missed != i/30 {
			t.Errorf("renewal %d has missed %d windows", i, r.Missed)
		}
	}
}

func TestAManagerThatWasDownRenewsNothingAtNoon(t *testing.T) {
	w := newWorld(t, berlin(t), 500)
	w.now = night.Add(9*24*time.Hour + 11*time.Hour) // noon
	w.step()
	w.wants(start, "at noon", counts{})
	if got := w.plan.Slots[0].Missed; got != 10 {
		t.Errorf("%d windows count as missed", got)
	}
	opening := night.Add(10 * 24 * time.Hour)
	w.run(opening.Add(3 * time.Hour))
	w.wants(start, "in the next night", counts{renewal.ReasonWindow: 500})
	evenly(t, w.times(), opening, opening.Add(3*time.Hour), 3, 0.2)

	// Back as a window ends: what has been missed of it is done by maxConcurrent, what expires
	// first at first.
	w = newWorld(t, berlin(t), 500)
	for i := range w.holders {
		w.holders[i].NotAfter = w.holders[i].NotAfter.Add(-time.Duration(i) * time.Second)
	}
	w.now = night.Add(3*time.Hour - 1)
	w.step()
	w.wants(start, "at the end of a window", counts{renewal.ReasonWindow: 10})
	for i, r := range w.log {
		if want := fmt.Sprintf("prod/app-%d", 499-i); r.ID != want {
			t.Errorf("renewal %d is of %s, but %s expires first", i, r.ID, want)
		}
	}
	if w.plan.Due != 500 || w.plan.Wake.After(w.now.Add(time.Minute)) {
		t.Errorf("%d are due, and the next plan is at %s", w.plan.Due, w.plan.Wake)
	}
}

func TestNothingIsLeftOfAClockThatWasSet(t *testing.T) {
	w := newWorld(t, berlin(t), 500)
	w.run(night.Add(90 * time.Minute))
	w.now = w.now.Add(-70 * time.Minute) // some are not valid yet now: no window is waited for
	before := len(w.log)
	w.run(night.Add(25 * time.Minute))
	again := w.count(start)[renewal.ReasonEmergency]
	if again == 0 || len(w.log)-before != again {
		t.Errorf("of %d renewals after the step back, %d are of those not valid yet", len(w.log)-before, again)
	}
	w.now = w.now.Add(26 * time.Hour) // the next window opens
	w.run(w.now.Add(3 * time.Hour))
	w.wants(start, "over the steps", counts{renewal.ReasonWindow: 500, renewal.ReasonEmergency: again})
}

func TestByHandPausedAndDryRun(t *testing.T) {
	noon := start.Add(10 * 24 * time.Hour)
	forced := func(w *world) {
		for i := range w.holders {
			w.holders[i].Forced = true
		}
	}
	moved := func(w *world) {
		for i := range w.holders {
			w.holders[i].Moved = true
		}
	}
	for _, test := range []struct {
		name   string
		change func(*world)
		first  counts // at noon, at once
		day    counts // within a day
		// with renewals paused, in a dry run, and with bad health, within a day
		paused, dry, bad counts
	}{
		{"forced", forced, counts{renewal.ReasonForced: 10}, counts{renewal.ReasonForced: 40},
			counts{renewal.ReasonForced: 40}, counts{}, counts{renewal.ReasonForced: 40}},
		{"moved", moved, counts{}, counts{renewal.ReasonAuthority: 40}, counts{}, counts{}, counts{}},
	} {
		for mode, want := range map[string]counts{"as usual": test.day, "paused": test.paused, "dry": test.dry, "bad": test.bad} {
			w := newWorld(t, berlin(t), 40)
			w.now = noon
			test.change(w)
			w.policy.Paused, w.policy.DryRun = mode == "paused", mode == "dry"
			if mode == "bad" {
				w.unwell = "40 certificates were refused"
			}
			w.step()
			if mode == "as usual" {
				if got := w.count(start); fmt.Sprint(got) != fmt.Sprint(test.first) {
					t.Errorf("%s: at once, %v, want %v", test.name, got, test.first)
				}
			}
			if (w.plan.Paused == "") != (mode == "as usual") {
				t.Errorf("%s, %s: it says %q", test.name, mode, w.plan.Paused)
			}
			w.run(noon.Add(24 * time.Hour))
			if got := w.count(start); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s, %s: within a day, %v, want %v", test.name, mode, got, want)
			}
		}
	}
}

func TestADryRunShowsWhatWouldBeRenewed(t *testing.T) {
	p := berlin(t)
	p.DryRun = true
	w := newWorld(t, p, 100)
	w.run(night.Add(2 * time.Hour))
	if w.plan.Due < 50 || len(w.plan.Now) > 0 || slices.ContainsFunc(w.plan.Slots, func(s renewal.Slot) bool { return s.At.Before(night) }) {
		t.Errorf("%d are due, shown is %+v", w.plan.Due, w.plan.Slots)
	}
	w.wants(start, "in a dry run", counts{})
	w.now = start.Add(87 * 24 * time.Hour)
	w.run(start.Add(w.lifetime))
	w.wants(start, "by the end", counts{renewal.ReasonEmergency: 100})
}

func TestEmergenciesAreSpreadToo(t *testing.T) {
	w := newWorld(t, renewal.Policy{Jitter: 1, MaxConcurrent: 10}, 600) // no window at all
	w.now = start.Add(87 * 24 * time.Hour)
	w.run(start.Add(w.lifetime))
	w.wants(start, "without windows", counts{renewal.ReasonEmergency: 600})
	evenly(t, w.times(), start.Add(88*24*time.Hour), start.Add(89*24*time.Hour), 3, 0.2)
}

func TestNoLimitMakesACertificateLapse(t *testing.T) {
	w := newWorld(t, berlin(t), 100)
	for left, want := range map[time.Duration]int{13 * time.Hour: 10, 11 * time.Hour: 100} {
		w.now = start.Add(w.lifetime - left)
		if got := len(w.policy.Plan(w.now, w.holders, "all is bad", nil).Now); got != want {
			t.Errorf("%s before they expire, %d are renewed at once, want %d", left, got, want)
		}
	}
}

func TestFrozenDates(t *testing.T) {
	for _, test := range []struct {
		name, from, to string
		first, last    string // nights on which the certificates, due on 8 January at noon, are renewed
	}{
		{"there is time after", "2027-01-01", "2027-01-31", "2027-02-01", "2027-02-01"},
		{"there is none after", "2027-01-01", "2027-03-31", "2026-12-31", "2026-12-31"},
	} {
		p := berlin(t)
		p.Freeze = []renewal.DateRange{mustDates(t, test.from, test.to)}
		w := newWorld(t, p, 200)
		w.now = start
		w.run(time.Date(2027, 2, 3, 0, 0, 0, 0, time.UTC))
		w.wants(start, test.name, counts{renewal.ReasonWindow: 200})
		if first, last := w.log[0].at.Format(time.DateOnly), w.log[199].at.Format(time.DateOnly); first != test.first || last != test.last {
			t.Errorf("%s: renewed from %s to %s", test.name, first, last)
		}
	}
}

// A year with everything that goes wrong: the manager is down for hours and days, its clock is
// set, one of twenty renewals fails, and a third of the nights has bad health.
func TestAYear(t *testing.T) {
	p := berlin(t)
	p.Freeze = []renewal.DateRange{mustDates(t, "2026-12-20", "2027-01-06")}
	p.Canaries, p.MaxPerHour = []string{"app-0", "app-1", "app-2"}, 200
	w := newWorld(t, p, 300)
	w.now = start
	w.fails, w.proof = 20, 40*time.Second
	for i := range w.holders {
		age := time.Duration(w.random.IntN(44*24)) * time.Hour
		w.holders[i].NotBefore, w.holders[i].NotAfter = start.Add(-age), start.Add(w.lifetime-age)
	}
	for end := start.AddDate(1, 0, 0); w.now.Before(end); {
		w.run(w.now.Add(time.Duration(1+w.random.IntN(20*24*60)) * time.Minute))
		switch w.random.IntN(4) {
		case 0:
			w.now = w.now.Add(time.Duration(w.random.IntN(5*24)) * time.Hour) // down
		case 1:
			w.now = w.now.Add(-time.Duration(w.random.IntN(120)) * time.Minute)
		case 2:
			w.unwell = "many handshakes failed"
			w.run(w.now.Add(8 * time.Hour))
			w.unwell = ""
		}
	}
	got := w.count(start)
	t.Logf("renewed %v, in %d plans; at most %d at once", got, w.plans, w.most)
	if w.lapsed > 0 || w.most > 10 || got[renewal.ReasonWindow] < 2000 || got[renewal.ReasonEmergency] > got[renewal.ReasonWindow]/50 {
		t.Errorf("renewed %v; %d lapsed, %d at once", got, w.lapsed, w.most)
	}
}
