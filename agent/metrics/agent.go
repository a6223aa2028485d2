// Package metrics is what a scraper gets from the sidecar: the agent's own numbers,
// Envoy's and the application's, as one answer in Prometheus' text format
// (https://prometheus.io/docs/instrumenting/exposition_formats/).
//
// It never keeps an answer, never waits for a target longer than a scrape has time, and
// never lets one target spoil what the others say. The agent's numbers are told to an
// Agent by whoever does the thing that is counted; Envoy's and the application's are
// fetched anew for each scrape and handed on line by line.
package metrics

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// How Envoy was restarted, for Agent.Restarted.
const (
	// Hot: the next epoch took over from the one before.
	Hot = "hot"
	// Cold: Envoy was started while no other ran.
	Cold = "cold"
)

// What became of something, for the methods of Agent. Not every result goes with
// every method; a word that is not listed here may be used, too.
const (
	// Succeeded: a new epoch became live, or Envoy serves the new certificate.
	Succeeded = "succeeded"
	// Refused: a check beforehand said no, and nothing was changed.
	Refused = "refused"
	// Failed: it was tried, and did not work.
	Failed = "failed"
	// Complete: no connection was left when a drain ended.
	Complete = "complete"
	// Deadline: a drain ended because its time was over.
	Deadline = "deadline"
	// Hurried: a drain was cut short by a second signal.
	Hurried = "hurried"
)

// Agent holds what the agent counts of itself. All methods may be called at any time
// from anywhere; those that count do nothing on a nil Agent.
type Agent struct {
	restarts, certificateChanges, drains counter
	rescues                              atomic.Uint64
	// rescueTokens is one more than there are: 0 is not known yet.
	rescueTokens atomic.Int64
	// Seconds since 1970; 0 is that there is none.
	certificateExpiry, rootExpiry atomic.Int64
}

// NewAgent returns an Agent that has counted nothing. What is to be expected is there
// with the value 0, so that its first occurrence is seen as an increase.
func NewAgent() *Agent {
	a := &Agent{}
	for _, kind := range []string{Hot, Cold} {
		for _, result := range []string{Succeeded, Refused, Failed} {
			a.restarts.add(0, "kind", kind, "result", result)
		}
	}
	for _, result := range []string{Succeeded, Refused, Failed} {
		a.certificateChanges.add(0, "result", result)
	}
	for _, result := range []string{Complete, Deadline, Hurried} {
		a.drains.add(0, "result", result)
	}
	return a
}

// Restarted counts a start of Envoy other than the first one.
func (a *Agent) Restarted(kind, result string) {
	if a != nil {
		a.restarts.add(1, "kind", kind, "result", result)
	}
}

// Rescued counts a rescue token that was spent because Envoy ended by itself.
func (a *Agent) Rescued() {
	if a != nil {
		a.rescues.Add(1)
	}
}

// RescueTokens sets how many rescue tokens are left.
func (a *Agent) RescueTokens(left int) {
	if a != nil {
		a.rescueTokens.Store(int64(left) + 1)
	}
}

// CertificateChanged counts a change of the certificates.
func (a *Agent) CertificateChanged(result string) {
	if a != nil {
		a.certificateChanges.add(1, "result", result)
	}
}

// CertificatesExpire sets when the workload's certificate and the first of its roots
// end. A zero time is that there is none.
func (a *Agent) CertificatesExpire(certificate, root time.Time) {
	if a == nil {
		return
	}
	for at, to := range map[*atomic.Int64]time.Time{&a.certificateExpiry: certificate, &a.rootExpiry: root} {
		if to.IsZero() {
			at.Store(0)
		} else {
			at.Store(to.Unix())
		}
	}
}

// Drained counts a drain of Envoy that has ended.
func (a *Agent) Drained(result string) {
	if a != nil {
		a.drains.add(1, "result", result)
	}
}

// counter counts by labels. The zero value is ready.
type counter struct {
	mu     sync.Mutex
	values map[string]uint64
}

// add takes the names and values of the labels in turn.
func (c *counter) add(n uint64, labels ...string) {
	key := labelSet(labels...)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.values == nil {
		c.values = map[string]uint64{}
	}
	c.values[key] += n
}

// each calls the function with every set of labels, sorted, and its value.
func (c *counter) each(f func(labels string, value uint64)) {
	c.mu.Lock()
	values := maps.Clone(c.values)
	c.mu.Unlock()
	for _, labels := range slices.Sorted(maps.Keys(values)) {
		f(labels, values[labels])
	}
}

// escapeLabel is what the text format asks for in a label's value.
var escapeLabel = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// labelSet writes names and values, given in turn, as they are in the text format.
func labelSet(labels ...string) string {
	var b strings.Builder
	for i := 0; i+1 < len(labels); i += 2 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(labels[i] + `="` + escapeLabel.Replace(labels[i+1]) + `"`)
	}
	return b.String()
}
