package renewal

import (
	"fmt"
	"time"
)

// Watch judges whether the mesh is well enough for renewals by what agents report of handshakes. Five minutes are
// compared with what is usual, which is an average of the last hours in which all was well.
// It begins anew with each start of the manager. The zero value is ready; one goroutine at a
// time may use it.
type Watch struct {
	minute int64 // the present one, since 1970
	last   [window]counts
	usual  counts // in five minutes
	seen   int    // minutes that usual is made of, at most memory
	calm   int    // minutes
	// unwell is what is wrong since a time; empty: nothing is.
	unwell string
	since  time.Time
}

const (
	window = 5       // minutes that are looked at
	memory = 6 * 60  // minutes of which usual is the average
	rest   = 15      // minutes of calm after which renewals go on
	accept = 24 * 60 // minutes after which what is wrong is no renewal's doing: it is usual then
)

// counts are of failed handshakes, and of those in which a certificate was refused.
type counts [2]float64

// kinds have what is too many: so many times what is usual, and some more. Handshakes fail for
// many reasons, a certificate is refused for few.
var kinds = [2]struct {
	text        string
	times, more float64
}{{"handshakes failed", 3, 20}, {"certificates were refused", 2, 3}}

// Observe notes what was counted since the last time, over all proxies.
func (w *Watch) Observe(now time.Time, failed, refused uint64) {
	w.advance(now)
	w.last[0][0] += float64(failed)
	w.last[0][1] += float64(refused)
}

// Unwell returns what is wrong; empty: nothing is.
func (w *Watch) Unwell(now time.Time) string {
	w.advance(now)
	return w.unwell
}

// advance ends the minutes that are over. After a clock was set, it goes on from there.
func (w *Watch) advance(now time.Time) {
	minute := now.Unix() / 60
	if w.minute == 0 || minute < w.minute || minute > w.minute+accept {
		w.minute = minute
	}
	for ; w.minute < minute; w.minute++ {
		w.judge(time.Unix((w.minute+1)*60, 0))
		copy(w.last[1:], w.last[:])
		w.last[0] = counts{}
	}
}

// judge looks at the minutes up to the present one, which is over.
func (w *Watch) judge(now time.Time) {
	var sum counts
	for _, minute := range w.last {
		sum[0], sum[1] = sum[0]+minute[0], sum[1]+minute[1]
	}
	if w.seen < window {
		w.learn(sum) // too little is known to judge
		return
	}
	found := ""
	for i, kind := range kinds {
		if sum[i] > kind.times*w.usual[i]+kind.more {
			found = fmt.Sprintf("%.0f %s in %d minutes, %.1f are usual", sum[i], kind.text, window, w.usual[i])
		}
	}
	if w.calm++; found != "" {
		w.calm = 0
	}
	switch {
	case w.unwell == "" && found == "":
		w.learn(sum)
	case w.unwell == "":
		w.unwell, w.since = found, now
	case now.Sub(w.since) >= accept*time.Minute:
		w.unwell, w.usual = "", sum
	case w.calm >= rest:
		w.unwell = ""
	}
}

func (w *Watch) learn(sum counts) {
	w.seen = min(w.seen+1, memory)
	for i := range sum {
		w.usual[i] += (sum[i] - w.usual[i]) / float64(w.seen)
	}
}
