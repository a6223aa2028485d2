package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// request is one request to the front and what came of it.
type request struct {
	begun time.Time
	took  time.Duration
	// reviews is the version of reviews that answered; empty if err is set.
	reviews string
	err     error
}

// caller asks the front, as a browser would.
type caller struct {
	url    string
	client *http.Client
}

func newCaller(url string) *caller {
	transport := &http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Minute}
	return &caller{url: url, client: &http.Client{Transport: transport, Timeout: 15 * time.Second}}
}

// page is what the front answers: what each app in the chain said of itself.
type page struct {
	Service string `json:"service"`
	Version string `json:"version"`
	Error   string `json:"error"`
	Calls   *page  `json:"calls"`
}

// ask sends one request. It is a failure unless the whole chain answered.
func (c *caller) ask(header http.Header) request {
	r := request{begun: time.Now()}
	r.reviews, r.err = c.get(header)
	r.took = time.Since(r.begun)
	return r
}

func (c *caller) get(header http.Header) (reviews string, err error) {
	// Not the demo's context: a request that is under way when the demo is told to stop is
	// no failure of the mesh.
	out, err := http.NewRequestWithContext(context.Background(), http.MethodGet, c.url, nil)
	if err != nil {
		return "", err
	}
	maps.Copy(out.Header, header)
	response, err := c.client.Do(out)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var front page
	err = json.NewDecoder(response.Body).Decode(&front)
	switch {
	case response.StatusCode != http.StatusOK:
		return "", fmt.Errorf("answered %s: %s", response.Status, front.Error)
	case err != nil:
		return "", fmt.Errorf("answered without JSON: %w", err)
	case front.Calls == nil || front.Calls.Service != "reviews" || front.Calls.Calls == nil || front.Calls.Calls.Service != "ratings":
		return "", fmt.Errorf("the chain front, reviews, ratings is not whole in the answer")
	}
	return front.Calls.Version, nil
}

// batch sends n requests, several at a time, and returns what came of them.
func (c *caller) batch(ctx context.Context, n int, header http.Header) (tally, error) {
	const together = 8
	results := make([]request, n)
	var next atomic.Int64
	var group sync.WaitGroup
	for range together {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && ctx.Err() == nil; i = next.Add(1) - 1 {
				results[i] = c.ask(header)
			}
		})
	}
	group.Wait()
	return tally(results), ctx.Err()
}

// load is constant load: requests begin at a fixed rate, whether or not earlier ones have
// been answered, as they do with many independent users.
type load struct {
	stopping chan struct{}
	group    sync.WaitGroup

	mu       sync.Mutex
	requests tally
}

// startLoad begins one request every interval until stop is called.
func (c *caller) startLoad(interval time.Duration) *load {
	l := &load{stopping: make(chan struct{})}
	l.group.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-l.stopping:
				return
			case <-ticker.C:
				l.group.Go(func() {
					r := c.ask(nil)
					l.mu.Lock()
					defer l.mu.Unlock()
					l.requests = append(l.requests, r)
				})
			}
		}
	})
	return l
}

// stop ends the load and returns all its requests, each of them answered or failed.
func (l *load) stop() tally {
	close(l.stopping)
	l.group.Wait()
	return l.requests
}

// tally is a number of requests and what can be counted of them.
type tally []request

// between returns the requests that began in a span of time.
func (t tally) between(from, to time.Time) tally {
	var some tally
	for _, r := range t {
		if !r.begun.Before(from) && r.begun.Before(to) {
			some = append(some, r)
		}
	}
	return some
}

// versions counts the answers by version of reviews.
func (t tally) versions() map[string]int {
	counts := map[string]int{}
	for _, r := range t {
		if r.err == nil {
			counts[r.reviews]++
		}
	}
	return counts
}

// failures counts the failed requests, and returns each kind of failure with its number.
func (t tally) failures() (int, []string) {
	count, kinds := 0, map[string]int{}
	for _, r := range t {
		if r.err != nil {
			count++
			kinds[r.err.Error()]++
		}
	}
	var list []string
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		list = append(list, fmt.Sprintf("%d x %s", kinds[kind], kind))
	}
	return count, list
}

// percentile returns the time within which the given share of the answers came.
func (t tally) percentile(share float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	times := make([]time.Duration, len(t))
	for i, r := range t {
		times[i] = r.took
	}
	slices.Sort(times)
	return times[min(int(share*float64(len(times))), len(times)-1)]
}

// String gives the counts by version, as "v1 901, v2 99".
func (t tally) String() string {
	counts := t.versions()
	var parts []string
	for _, version := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", version, counts[version]))
	}
	if failed, _ := t.failures(); failed > 0 {
		parts = append(parts, fmt.Sprintf("failed %d", failed))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}
