package chaos

import (
	"context"
	"crypto/tls"
	"fmt"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// target is where load goes.
type target struct {
	// http, grpc and tcp are addresses to connect to; none if empty.
	http, grpc, tcp string
	// httpHost and grpcHost are who is asked for, if not the address.
	httpHost, grpcHost string
	// paths are asked for in turn.
	paths []string
	// tls is nil for plaintext.
	tls *tls.Config
}

// Sorts of load, in the words of the page.
const (
	http1     = "HTTP/1.1"
	http1New  = "HTTP/1.1, a connection each"
	http2     = "HTTP/2"
	unary     = "gRPC"
	streams   = "gRPC streams"
	tcp       = "TCP connections"
	endless   = "endless gRPC streams"
	tcpForAll = "endless TCP connections"

	// notConnected is no end, since there was no beginning.
	notConnected = "not connected"
)

// load is what goes through the proxies until it is stopped.
type load struct {
	t       testing.TB
	ctx     context.Context
	cancel  context.CancelFunc
	workers sync.WaitGroup
	began   time.Time
	took    time.Duration
	sorts   []*sort
	// closers end what the workers used.
	closers []func()
	once    sync.Once
}

// sort is one kind of load and what became of it.
type sort struct {
	name  string
	tried atomic.Int64
	bytes atomic.Int64
	// again is what the client library itself sent again: gRPC's because the server had
	// told it that nothing of it had been looked at (RFC 9113, section 8.7), that of HTTP/2
	// because it had sent nothing yet.
	again atomic.Int64

	mu     sync.Mutex
	failed []failure
	ends   map[string]int
}

// failure is an attempt that was lost.
type failure struct {
	sort         string
	began, ended time.Time
	why          string
}

func (f failure) String() string { return f.sort + ": " + f.why }

// startLoad puts everything that the target takes under load.
func startLoad(t testing.TB, to target) *load {
	t.Helper()
	l := newLoad(t)
	if len(to.paths) == 0 {
		to.paths = []string{"/"}
	}
	if to.http != "" {
		l.startHTTP(to)
	}
	if to.grpc != "" {
		l.startGRPC(to)
	}
	if to.tcp != "" {
		l.startTCP(to)
	}
	return l
}

// startEndless has streams and connections only that have no end of their own.
func startEndless(t testing.TB, to target) *load {
	t.Helper()
	l := newLoad(t)
	l.startEndlessStreams(to)
	l.startEndlessTCP(to)
	return l
}

func newLoad(t testing.TB) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{t: t, ctx: ctx, cancel: cancel, began: time.Now()}
	t.Cleanup(l.stop)
	return l
}

// stop ends the load and waits for what is under way.
func (l *load) stop() {
	l.once.Do(func() {
		l.cancel()
		l.workers.Wait()
		l.took = time.Since(l.began)
		for _, end := range l.closers {
			end()
		}
	})
}

func (l *load) sort(name string) *sort {
	s := &sort{name: name, ends: map[string]int{}}
	l.sorts = append(l.sorts, s)
	return s
}

// repeat does something at most every interval, in several workers, until the load stops.
func (l *load) repeat(workers int, interval time.Duration, do func(worker, turn int)) {
	for worker := range workers {
		l.workers.Go(func() {
			pace := time.NewTicker(interval)
			defer pace.Stop()
			for turn := 0; ; turn++ {
				select {
				case <-l.ctx.Done():
					return
				case <-pace.C:
					do(worker, turn)
				}
			}
		})
	}
}

// attempt counts one try. Whatever began before the load was stopped is waited for.
func (s *sort) attempt(try func() error) {
	s.tried.Add(1)
	began := time.Now()
	if err := try(); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.failed = append(s.failed, failure{s.name, began, time.Now(), cause(err)})
	}
}

// ended counts how something that has no end of its own came to one.
func (s *sort) ended(how string) {
	if how == notConnected {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends[how]++
}

var (
	ports  = regexp.MustCompile(`127\.\d+\.\d+\.\d+:\d+`)
	spaces = regexp.MustCompile(`\s+`)
)

// cause is an error's text without what differs each time.
func cause(err error) string {
	return spaces.ReplaceAllString(ports.ReplaceAllString(err.Error(), "…"), " ")
}

// failures is what was lost until now.
func (l *load) failures() []failure {
	var all []failure
	for _, s := range l.sorts {
		s.mu.Lock()
		all = append(all, s.failed...)
		s.mu.Unlock()
	}
	return all
}

// requests is how many tries there were until now, of the sorts named or of all.
func (l *load) requests(names ...string) (n int64) {
	for _, s := range l.sorts {
		for _, name := range names {
			if s.name == name {
				n += s.tried.Load()
			}
		}
		if len(names) == 0 {
			n += s.tried.Load()
		}
	}
	return n
}

// carried is how many bytes there were until now of the sort that had least.
func (l *load) carried() int64 {
	least := l.sorts[0].bytes.Load()
	for _, s := range l.sorts[1:] {
		least = min(least, s.bytes.Load())
	}
	return least
}

// flows waits until each sort has done a number of tries more.
func (l *load) flows(n int64) {
	l.t.Helper()
	before := map[*sort]int64{}
	for _, s := range l.sorts {
		before[s] = s.tried.Load()
	}
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		behind := ""
		for _, s := range l.sorts {
			if (s.name != endless && s.name != tcpForAll) && s.tried.Load() < before[s]+n {
				behind = fmt.Sprintf("%s: %d more", s.name, s.tried.Load()-before[s])
			}
		}
		if behind == "" {
			return
		}
		select {
		case <-deadline.C:
			l.t.Fatalf("the load came to a standstill: %s; failures: %v", behind, summary(l.failures()))
		case <-tick.C:
		}
	}
}

// summary counts failures by what they say.
func summary(failures []failure) map[string]int {
	counts := map[string]int{}
	for _, f := range failures {
		counts[f.String()]++
	}
	return counts
}
