package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// tally counts replies: by version where the status is 200, else by "HTTP 503" and what was
// said with it.
type tally map[string]int

func (t tally) total() int {
	total := 0
	for n := range maps.Values(t) {
		total += n
	}
	return total
}

// failed returns what is not an answer of an application.
func (t tally) failed() tally {
	failed := tally{}
	for word, n := range t {
		if !strings.HasPrefix(word, "v") {
			failed[word] = n
		}
	}
	return failed
}

// word says what a reply counts as.
func word(r reply, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case r.Status != http.StatusOK:
		if r.Body == "" {
			return fmt.Sprintf("HTTP %d", r.Status)
		}
		return fmt.Sprintf("HTTP %d: %.200s", r.Status, r.Body)
	}
	return r.Version
}

// many sends n requests, several at a time.
func (w *workload) many(n int, url string, headers ...string) tally {
	const together = 8
	var (
		next  atomic.Int64
		group sync.WaitGroup
		mu    sync.Mutex
	)
	counts := tally{}
	for range together {
		group.Go(func() {
			for next.Add(1) <= int64(n) {
				r, err := send(w.http, http.MethodGet, url, headers...)
				mu.Lock()
				counts[word(r, err)]++
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return counts
}

// load is constant load: requests begin at a fixed rate from every caller, answered or
// not, as those of many independent users do.
type load struct {
	stopping chan struct{}
	stopOnce sync.Once
	group    sync.WaitGroup

	mu     sync.Mutex
	counts tally
}

// loadInterval is the time between two requests of one caller, as a rule.
const loadInterval = 20 * time.Millisecond

// startLoad sends requests to the URL until the spec or container ends.
func startLoad(url string, from ...*workload) *load { return startLoadAt(loadInterval, url, from...) }

func startLoadAt(interval time.Duration, url string, from ...*workload) *load {
	l := &load{stopping: make(chan struct{}), counts: tally{}}
	for _, caller := range from {
		l.group.Go(func() { l.run(interval, caller.http, url) })
	}
	DeferCleanup(l.stop)
	return l
}

func (l *load) run(interval time.Duration, client *http.Client, url string) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-l.stopping:
			return
		case <-ticker.C:
			l.group.Go(func() {
				said := word(send(client, http.MethodGet, url))
				l.mu.Lock()
				defer l.mu.Unlock()
				l.counts[said]++
			})
		}
	}
}

// stop ends the load and returns what became of all its requests.
func (l *load) stop() tally {
	l.stopOnce.Do(func() { close(l.stopping) })
	l.group.Wait()
	return l.counts
}

// answered is how many requests were answered so far.
func (l *load) answered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts.total()
}

// goesOn returns after some more requests: whatever is now has its effect on them.
func (l *load) goesOn() {
	GinkgoHelper()
	Eventually(l.answered).Should(BeNumerically(">", l.answered()+50), "the load goes on")
}

// versions are those that answered so far.
func (l *load) versions() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.counts)
}
