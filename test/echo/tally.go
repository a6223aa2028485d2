package echo

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Tally counts replies: by version where the status is 200, else by "HTTP 503" and what was
// said with it.
type Tally map[string]int

// Total is the number of replies.
func (t Tally) Total() int {
	total := 0
	for n := range maps.Values(t) {
		total += n
	}
	return total
}

// Failed returns what is not an answer of an application.
func (t Tally) Failed() Tally {
	failed := Tally{}
	for word, n := range t {
		if !strings.HasPrefix(word, "v") {
			failed[word] = n
		}
	}
	return failed
}

// Deviation is how far a count of n independent requests, each of which had the chance, may be
// from n times the chance: 4.5 standard deviations, which chance leaves once in 150,000 times.
func Deviation(n int, chance float64) float64 {
	return 4.5 * math.Sqrt(float64(n)*chance*(1-chance))
}

// word says what a reply counts as.
func word(r Reply, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case r.Status != http.StatusOK:
		if r.Body == "" || r.Version != "" {
			return fmt.Sprintf("HTTP %d", r.Status)
		}
		return fmt.Sprintf("HTTP %d: %.200s", r.Status, r.Body)
	}
	return r.Version
}

// Many sends n GET requests, several at a time.
func Many(client *http.Client, n int, url string, headers ...string) Tally {
	const together = 8
	var (
		next  atomic.Int64
		group sync.WaitGroup
		mu    sync.Mutex
	)
	counts := Tally{}
	for range together {
		group.Go(func() {
			for next.Add(1) <= int64(n) {
				said := word(Send(client, http.MethodGet, url, "", headers...))
				mu.Lock()
				counts[said]++
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return counts
}

// Load is constant load: requests begin at a fixed rate from every caller, answered or not, as
// those of many independent users do.
type Load struct {
	stopping chan struct{}
	stopOnce sync.Once
	group    sync.WaitGroup

	mu     sync.Mutex
	counts Tally
}

// StartLoad has every client send a request to the URL, with headers as Send takes them, at each
// interval until Stop.
func StartLoad(interval time.Duration, url string, headers []string, from ...*http.Client) *Load {
	l := &Load{stopping: make(chan struct{}), counts: Tally{}}
	for _, client := range from {
		l.group.Go(func() { l.run(interval, client, url, headers) })
	}
	return l
}

func (l *Load) run(interval time.Duration, client *http.Client, url string, headers []string) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-l.stopping:
			return
		case <-ticker.C:
			l.group.Go(func() {
				said := word(Send(client, http.MethodGet, url, "", headers...))
				l.mu.Lock()
				defer l.mu.Unlock()
				l.counts[said]++
			})
		}
	}
}

// Stop ends the load and returns what became of all its requests.
func (l *Load) Stop() Tally {
	l.stopOnce.Do(func() { close(l.stopping) })
	l.group.Wait()
	return l.counts
}

// Counts are those of the answers so far.
func (l *Load) Counts() Tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.counts)
}
