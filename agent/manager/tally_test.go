package manager

import (
	"testing"
	"time"

	"fairlead.dev/fairlead/agent/certs"
	"fairlead.dev/fairlead/agent/envoy"
)

func proven(generation int, at time.Time) certs.Status {
	return certs.Status{Certificate: &certs.Certificate{Generation: generation}, Proven: at}
}

// Counters go on from one process to the next, and over one whose process id came again.
func TestCountersGoOnOverProcesses(t *testing.T) {
	var sum tally
	now := time.Now()
	for _, step := range []struct {
		pid       int
		now, want uint64
	}{{1, 10, 10}, {1, 15, 15}, {2, 3, 18}, {2, 3, 18}, {2, 1, 19}, {3, 40, 59}} {
		sum.add(now, step.pid, envoy.Counts{Requests: step.now, HandshakesFailed: 2 * step.now}, certs.Status{})
		if sum.total.Requests != step.want || sum.total.HandshakesFailed != 2*step.want {
			t.Errorf("after %+v the sum is %+v", step, sum.total)
		}
	}
}

// RawQuiet is what the old root waits for.
func TestRawConnectionsAreQuietSince(t *testing.T) {
	var (
		sum   tally
		begin = time.Now()
		at    = func(minute int) time.Time { return begin.Add(time.Duration(minute) * time.Minute) }
		first = proven(1, at(0))
		raw   = func(n uint64) envoy.Counts { return envoy.Counts{RawTaken: 5, NotHTTP: n} }
	)
	for _, step := range []struct {
		what         string
		minute       int
		counts       envoy.Counts
		certificates certs.Status
		raw          uint64
		quiet        int
	}{
		{"nothing is proven yet", 1, raw(0), certs.Status{Certificate: first.Certificate}, 0, -1},
		{"some are open", 2, raw(2), first, 2, -1},
		{"none is open", 3, raw(0), first, 0, 3},
		{"still none", 4, raw(0), first, 0, 3},
		{"one again: quiet when it was seen last", 5, raw(1), first, 1, 4},
		{"and still", 6, raw(1), first, 1, 4},
		{"none again", 7, raw(0), first, 0, 7},
		{"one that may be of the certificate before", 8, raw(1), proven(2, at(7)), 1, -1},
		{"none since the new one is served", 9, raw(0), proven(2, at(7)), 0, 9},
	} {
		sum.add(at(step.minute), 1, step.counts, step.certificates)
		want := time.Time{}
		if step.quiet >= 0 {
			want = at(step.quiet)
		}
		if sum.raw != step.raw || !sum.quietWith(step.certificates).Equal(want) {
			t.Errorf("%s: %d, quiet since %s, want %d, %s", step.what, sum.raw, sum.quietWith(step.certificates), step.raw, want)
		}
	}
	if !sum.quietWith(proven(3, at(9))).IsZero() || !sum.quietWith(certs.Status{Certificate: &certs.Certificate{Generation: 2}}).IsZero() {
		t.Error("what was quiet with one certificate is told of another")
	}
}

// Where nothing was ever handed on as TCP, a connection in its handshake is none of TCP.
func TestHandshakesAreNotRaw(t *testing.T) {
	var sum tally
	sum.add(time.Now(), 1, envoy.Counts{NotHTTP: 7}, proven(1, time.Now()))
	if sum.raw != 0 || sum.quiet.IsZero() {
		t.Errorf("%d are raw", sum.raw)
	}
}
