package metrics

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// ContentType is the only format that is spoken, whatever a scraper would accept.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

const (
	// longestScrape leaves time for the rest within Prometheus' default of 10 s.
	longestScrape = 8 * time.Second
	// slowScraper is how much longer a scraper may take to read what is there.
	slowScraper = 5 * time.Second
)

// Why a target's metrics, or a part of them, are missing from an answer.
const (
	down      = "down"
	slow      = "slow"
	malformed = "malformed"
	conflict  = "conflict"
)

// Options are what a Handler needs. Agent and State are required.
type Options struct {
	Agent *Agent
	// Version is the agent's.
	Version string
	// Started is when the agent did.
	Started time.Time
	// States are all states that there are, and State says which one it is, and the
	// epoch of the Envoy that serves.
	States []string
	State  func() (state string, epoch int)
	// Targets follow the agent's own numbers, in this order. At most 8.
	Targets []Target
}

// scrapes is the handler of NewHandler.
type scrapes struct {
	Options
	missing counter
	// Buffers are as long as the longest line, and scrapes are seldom at once.
	readers sync.Pool
}

// NewHandler returns what answers /metrics: the agent's own numbers, then those of each
// target, then what was wrong with the targets. What is missing is counted by target
// and reason:
//
//   - down: it cannot be reached, or answers with another status than 200
//   - slow: it had not ended in time; what came until then is there
//   - malformed: it is not the text format from some line on; what came before is there
//   - conflict: families that a target before it has, too, but of another type, or
//     whose names begin like the agent's own
func NewHandler(options Options) http.Handler {
	s := &scrapes{Options: options}
	s.readers.New = func() any { return bufio.NewReaderSize(nil, longestLine) }
	for _, t := range options.Targets {
		for _, reason := range []string{down, slow, malformed, conflict} {
			s.missing.add(0, "target", t.Name, "reason", reason)
		}
	}
	return s
}

func (s *scrapes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	longest := scrapeTime(r.Header)
	// Not every writer has deadlines; the server's have.
	_ = http.NewResponseController(w).SetWriteDeadline(started.Add(longest + slowScraper))
	w.Header().Set("Content-Type", ContentType)
	out := bufio.NewWriterSize(w, 16<<10)

	// All are asked at once, and each has its share of the time: one that is stuck takes
	// nothing from those after it.
	opened := make([]*opening, len(s.Targets))
	for i, t := range s.Targets {
		share := longest * time.Duration(i+1) / time.Duration(len(s.Targets))
		opened[i] = open(r.Context(), t, share)
	}
	defer func() {
		for _, o := range opened {
			o.close()
		}
	}()

	var own page
	s.writeOwn(&own, started)
	_, _ = out.Write(own.Bytes())
	own.Reset()
	merged := newMerger(out)
	p := &own
	p.family(ownPrefix+"scrape_target_up", "gauge", "1 if all metrics of the target are in this answer, else 0.")
	for i, o := range opened {
		reason := s.hand(o, merged, 1<<i)
		if r.Context().Err() != nil {
			// The scraper has gone, which is no fault of the target's.
			return
		}
		up := 1.0
		if reason != "" {
			up = 0
			s.missing.add(1, "target", o.target.Name, "reason", reason)
		}
		p.sample(ownPrefix+"scrape_target_up", labelSet("target", o.target.Name), up)
	}
	if len(opened) > 0 {
		p.counters(ownPrefix+"scrape_errors_total", "Scrapes in which metrics of a target were missing.", &s.missing)
		_, _ = out.Write(p.Bytes())
	}
	// An error means that the scraper has gone.
	_ = out.Flush()
}

// hand writes the metrics of a target, and returns why some are missing.
func (s *scrapes) hand(o *opening, merged *merger, bit uint8) (reason string) {
	<-o.done
	if o.err != nil {
		if o.ctx.Err() != nil {
			return slow
		}
		return down
	}
	in := s.readers.Get().(*bufio.Reader)
	in.Reset(o.body)
	defer func() {
		in.Reset(nil)
		s.readers.Put(in)
	}()
	mediaType, _, _ := mime.ParseMediaType(o.contentType)
	a := &answer{merger: merged, target: bit, openMetrics: mediaType == "application/openmetrics-text"}
	switch err := a.read(in); {
	case errors.Is(err, errMalformed):
		return malformed
	case err != nil && o.ctx.Err() != nil:
		return slow
	case err != nil:
		return down
	case a.conflicts:
		return conflict
	default:
		return ""
	}
}

// opening is a target that is being asked.
type opening struct {
	target Target
	ctx    context.Context
	cancel context.CancelFunc
	// done is closed once the rest is set.
	done        chan struct{}
	body        io.ReadCloser
	contentType string
	err         error
}

func open(ctx context.Context, t Target, longest time.Duration) *opening {
	o := &opening{target: t, done: make(chan struct{})}
	o.ctx, o.cancel = context.WithTimeoutCause(ctx, longest, fmt.Errorf("%s had not answered after %s", t.Name, longest))
	go func() {
		defer close(o.done)
		o.body, o.contentType, o.err = t.Open(o.ctx)
	}()
	return o
}

// close ends what is under way and waits for it.
func (o *opening) close() {
	o.cancel()
	<-o.done
	if o.err == nil {
		_ = o.body.Close()
	}
}

// scrapeTime is how long the targets have, for a scraper that may say how long it waits:
// https://prometheus.io/docs/prometheus/latest/configuration/configuration/#scrape_config
func scrapeTime(header http.Header) time.Duration {
	seconds, err := strconv.ParseFloat(header.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64)
	if err != nil || !(seconds > 0 && seconds < longestScrape.Seconds()/0.8) {
		return longestScrape
	}
	return time.Duration(seconds * 0.8 * float64(time.Second))
}
