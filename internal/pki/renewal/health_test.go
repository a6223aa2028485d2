package renewal_test

import (
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/internal/pki/renewal"
)

// observed are minutes in which so many handshakes failed, and certificates were refused.
func observed(w *renewal.Watch, now time.Time, minutes int, failed, refused uint64) time.Time {
	for range minutes {
		w.Observe(now, failed, refused)
		now = now.Add(time.Minute)
	}
	return now
}

func TestRenewalsPauseWhileCertificatesAreRefused(t *testing.T) {
	for _, test := range []struct {
		name                      string
		usualFailed, usualRefused uint64
		failed, refused           uint64
		want                      string
	}{
		{"as usual", 10, 0, 10, 0, ""},
		{"some more", 10, 0, 20, 0, ""},
		{"four times as many", 10, 0, 40, 0, "handshakes failed in 5 minutes"},
		{"one is refused a minute", 0, 0, 1, 1, "certificates were refused in 5 minutes"},
		{"as many are refused as ever", 5, 5, 5, 5, ""},
	} {
		var w renewal.Watch
		now := observed(&w, start, 60, test.usualFailed, test.usualRefused)
		now = observed(&w, now, 6, test.failed, test.refused)
		got := w.Unwell(now)
		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestRenewalsGoOnAfterCalm(t *testing.T) {
	var w renewal.Watch
	now := observed(&w, start, 60, 0, 0)
	now = observed(&w, now, 6, 0, 10)
	now = observed(&w, now, 17, 0, 0)
	if got := w.Unwell(now); got == "" {
		t.Error("within 15 minutes of calm it does not count as bad any more")
	}
	now = observed(&w, now, 5, 0, 0)
	if got := w.Unwell(now); got != "" {
		t.Errorf("after calm: %q", got)
	}

	// What stays for a day without any renewal is not theirs.
	now = observed(&w, now, 23*60, 0, 10)
	if got := w.Unwell(now); got == "" {
		t.Error("within a day it does not count as bad any more")
	}
	now = observed(&w, now, 2*60, 0, 10)
	if got := w.Unwell(now); got != "" {
		t.Errorf("after a day: %q", got)
	}
	// But more is.
	now = observed(&w, now, 6, 0, 40)
	if got := w.Unwell(now); got == "" {
		t.Error("four times as much counts as usual")
	}
}

func TestHealthOverAClockThatWasSet(t *testing.T) {
	var w renewal.Watch
	now := observed(&w, start, 60, 0, 0)
	observed(&w, now, 6, 0, 10)
	for _, step := range []time.Duration{-3 * time.Hour, 400 * 24 * time.Hour} {
		if got := w.Unwell(now.Add(step)); got == "" {
			t.Errorf("a clock set by %s made the mesh well", step)
		}
	}
}
