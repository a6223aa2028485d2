package chaos

import (
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

// row is an event and what it may cost.
type row struct {
	// name is that of the test, event what happens, in the words of the page.
	name, event string
	// mayLose says what may be lost, in the words of the page. allowed judges by the same
	// rule; nil is that nothing may be lost.
	mayLose string
	allowed func(*scene, failure) bool
	// times is how often it happens in the full run, short in the other, 0 for not at all.
	times, short int
	// rate is how many requests of HTTP a second the full run has to show it at, at least.
	rate int64
	// play does it and notes what it saw.
	play func(*scene)
}

// nothing is what may be lost where no request that ends within the drain deadline is.
const nothing = "nothing that ends within the drain deadline"

// scene is a row that is being played.
type scene struct {
	*stage
	row   row
	times int
	load  *load
	seen  []string
	// down is from when to when there was nobody to answer.
	down [][2]time.Time
}

// saw notes something for the page.
func (s *scene) saw(format string, values ...any) {
	s.seen = append(s.seen, fmt.Sprintf(format, values...))
}

// under starts the load and waits until it flows.
func (s *scene) under(to target) {
	s.t.Helper()
	s.load = startLoad(s.t, to)
	s.load.flows(5)
}

// run plays a row and judges it.
func (r row) run(t *testing.T) *scene {
	s := &scene{stage: newStage(t), row: r, times: r.short}
	if full {
		s.times = r.times
	}
	r.play(s)
	s.load.flows(5)
	s.load.stop()
	var lost []failure
	for _, f := range s.load.failures() {
		if r.allowed == nil || !r.allowed(s, f) {
			lost = append(lost, f)
		}
	}
	t.Logf("%s: %s; %d/s; %s; may be lost: %s; lost: %v; %s", r.event, s.load.volume(), s.load.rate(), s.load.apart(), r.mayLose,
		summary(s.load.failures()), strings.Join(s.seen, "; "))
	s.g.Expect(summary(lost)).To(BeEmpty(), "what is lost beyond: "+r.mayLose)
	if full {
		s.g.Expect(s.load.rate()).To(BeNumerically(">=", r.rate), "the machine is too busy to show it at that rate")
	}
	return s
}

// whileDown allows what was under way while nobody could answer, and, as clients come
// back by and by, what was begun just then.
func whileDown(s *scene, f failure) bool {
	for _, d := range s.down {
		if f.ended.After(d[0]) && f.began.Before(d[1].Add(4*redial)) {
			return true
		}
	}
	return false
}

// failed is how much was lost, by sort.
func (l *load) failed() string {
	counts := map[string]int{}
	for _, f := range l.failures() {
		counts[f.sort]++
	}
	var parts []string
	for _, s := range l.sorts {
		if counts[s.name] > 0 {
			parts = append(parts, fmt.Sprintf("%s: %d", s.name, counts[s.name]))
		}
	}
	if len(parts) == 0 {
		return "0"
	}
	return strings.Join(parts, ", ")
}

// volume is how much there was.
func (l *load) volume() string {
	var parts []string
	var all int64
	for _, s := range l.sorts {
		all += s.bytes.Load()
		if s.name == endless || s.name == tcpForAll {
			continue
		}
		part := fmt.Sprintf("%s: %d", s.name, s.tried.Load())
		if again := s.again.Load(); again > 0 {
			part += fmt.Sprintf(" (%d sent again by the library)", again)
		}
		parts = append(parts, part)
	}
	return fmt.Sprintf("%s; %.1f MB", strings.Join(parts, ", "), float64(all)/1e6)
}

// rate is how many requests of HTTP there were in a second.
func (l *load) rate() int64 {
	return int64(float64(l.requests(http1, http1New, http2)) / l.took.Seconds())
}

// apart is what has no end of its own, and how it came to one.
func (l *load) apart() string {
	var parts []string
	for _, s := range l.sorts {
		s.mu.Lock()
		for _, how := range sorted(s.ends) {
			parts = append(parts, fmt.Sprintf("%d %s: %s", s.ends[how], s.name, how))
		}
		s.mu.Unlock()
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}
