package envoy

import (
	"testing"
	"time"
)

// The documented schedule: 204.6 s in all.
func TestRescueSchedule(t *testing.T) {
	b := budget{Rescue: Rescue{Tokens: 10, Delay: 200 * time.Millisecond}}
	var total time.Duration
	for n := range 10 {
		delay, ok := b.spend()
		if want := time.Duration(1<<n) * 200 * time.Millisecond; !ok || delay != want {
			t.Errorf("rescue %d waits %s, %t, want %s", n+1, delay, ok, want)
		}
		total += delay
	}
	if total != 204600*time.Millisecond {
		t.Errorf("all tokens take %s, want 204.6s", total)
	}
	if _, ok := b.spend(); ok || b.left() != 0 {
		t.Errorf("an eleventh rescue is given, %d are left", b.left())
	}
	b.refill()
	if delay, ok := b.spend(); !ok || delay != 200*time.Millisecond || b.left() != 9 {
		t.Errorf("after a refill the first rescue waits %s, %t, and %d are left", delay, ok, b.left())
	}
}

func TestConnectionsThatCount(t *testing.T) {
	for stats, want := range map[string]Connections{
		"": {},
		// Kept HTTP/1.1 connections without a request.
		"listener.inbound.downstream_cx_active: 5\nhttp.inbound_9080.downstream_cx_active: 5\n": {},
		// One of them with a request.
		"listener.inbound.downstream_cx_active: 5\nhttp.inbound_9080.downstream_cx_active: 5\nhttp.inbound_9080.downstream_rq_active: 1\n": {Inbound: 1},
		// HTTP/2 counts, TCP counts, each direction for itself.
		"listener.inbound.downstream_cx_active: 4\nhttp.inbound_80.downstream_cx_active: 3\nhttp.inbound_80.downstream_cx_http2_active: 1\nlistener.outbound.downstream_cx_active: 1\n": {Inbound: 2, Outbound: 1},
		// Workers' own gauges are in the listener's.
		"listener.inbound.worker_0.downstream_cx_active: 4\nlistener.admin.downstream_cx_active: 1\n": {},
	} {
		got, err := countConnections(stats)
		if err != nil || got != want {
			t.Errorf("%q are %+v, %v, want %+v", stats, got, err, want)
		}
	}
	if _, err := countConnections("listener.inbound.downstream_cx_active: many\n"); err == nil {
		t.Error("a gauge that is no number was taken")
	}
}
