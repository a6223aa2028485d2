package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const whole = `{"service":"front","calls":{"service":"reviews","version":"%s","calls":{"service":"ratings","version":"v1"}}}`

// front answers as the demo's front does: every tenth request by v2.
func front(t *testing.T) *caller {
	t.Helper()
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		version := "v1"
		if n.Add(1)%10 == 0 {
			version = "v2"
		}
		if r.Header.Get("End-User") == "ann" {
			version = "v3"
		}
		_, _ = fmt.Fprintf(w, whole, version)
	}))
	t.Cleanup(server.Close)
	return newCaller(server.URL)
}

func TestABatchIsCountedByVersion(t *testing.T) {
	requests, err := front(t).batch(t.Context(), 100, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := requests.String(); got != "v1 90, v2 10" {
		t.Errorf("counted %q", got)
	}
	requests, err = front(t).batch(t.Context(), 20, http.Header{"End-User": {"ann"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := requests.String(); got != "v3 20" {
		t.Errorf("with the header counted %q", got)
	}
}

func TestEveryKindOfFailureIsCounted(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"an error": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "no healthy upstream", http.StatusServiceUnavailable)
		},
		"an error with JSON": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = fmt.Fprintf(w, whole, "v1")
		},
		"no JSON":                  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) },
		"a chain that ends early":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"service":"front"}`)) },
		"a connection that breaks": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(answer)
			t.Cleanup(server.Close)
			requests, err := newCaller(server.URL).batch(t.Context(), 3, nil)
			if err != nil {
				t.Fatal(err)
			}
			failed, kinds := requests.failures()
			if failed != 3 || len(kinds) == 0 || len(requests.versions()) != 0 {
				t.Errorf("counted %d failures, kinds %q, versions %v", failed, kinds, requests.versions())
			}
		})
	}
}

func TestLoadAnswersForEveryRequestThatItBegan(t *testing.T) {
	var served atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		served.Add(1)
		_, _ = fmt.Fprintf(w, whole, "v1")
	}))
	t.Cleanup(server.Close)
	l := newCaller(server.URL).startLoad(time.Millisecond)
	for served.Load() < 50 {
		if err := pause(t.Context(), time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	requests := l.stop()
	if int64(len(requests)) != served.Load() {
		t.Errorf("%d requests were served, %d are told of", served.Load(), len(requests))
	}
	if failed, kinds := requests.failures(); failed > 0 {
		t.Errorf("%d failed: %q", failed, kinds)
	}
}

func TestATallyIsCutByTheTimeThatRequestsBegan(t *testing.T) {
	zero := time.Unix(1000, 0)
	var all tally
	for i := range 10 {
		all = append(all, request{begun: zero.Add(time.Duration(i) * time.Second), took: time.Duration(i+1) * time.Millisecond, reviews: "v1"})
	}
	if got := len(all.between(zero.Add(2*time.Second), zero.Add(5*time.Second))); got != 3 {
		t.Errorf("from second 2 up to 5: %d requests", got)
	}
	if got := all.percentile(.5); got != 6*time.Millisecond {
		t.Errorf("p50 is %s", got)
	}
	if got := all.percentile(.99); got != 10*time.Millisecond {
		t.Errorf("p99 is %s", got)
	}
	if got := tally(nil).percentile(.5); got != 0 {
		t.Errorf("p50 of nothing is %s", got)
	}
}

func TestASplitIsJudgedByWhatChanceAllows(t *testing.T) {
	for count, want := range map[int]bool{100: true, 60: true, 140: true, 40: false, 160: false, 0: false, 1000: false} {
		if got := nearly(count, 1000, 0.1); got != want {
			t.Errorf("%d of 1000 for a tenth: %t", count, got)
		}
	}
	if nearly(1, 1000, 0) || !nearly(0, 1000, 0) {
		t.Error("a share of nothing is nothing")
	}
}

func TestTheHistogramIsReadFromTheManagersMetrics(t *testing.T) {
	text := `# HELP fairlead_propagation_seconds ...
# TYPE fairlead_propagation_seconds histogram
fairlead_propagation_seconds_bucket{le="0.01"} %d
fairlead_propagation_seconds_bucket{le="0.05"} %d
fairlead_propagation_seconds_bucket{le="+Inf"} %d
fairlead_propagation_seconds_sum 0.1
fairlead_propagation_seconds_count 7
`
	read := func(counts ...any) buckets {
		b, err := parseBuckets(strings.NewReader(fmt.Sprintf(text, counts...)), "fairlead_propagation_seconds")
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	fresh := read(10, 15, 17).since(read(3, 5, 7))
	if fresh[.01] != 7 || fresh[.05] != 10 {
		t.Errorf("read %v", fresh)
	}
	if _, err := parseBuckets(strings.NewReader("up 1\n"), "fairlead_propagation_seconds"); err == nil {
		t.Error("no error though the metric is missing")
	}
}

func TestFiguresDecide(t *testing.T) {
	f := &figures{}
	f.note("a time", "1 s")
	f.judge("a count", true, "0")
	if f.held() {
		t.Error("a story that has not come to its end passed")
	}
	f.complete = true
	if !f.held() {
		t.Error("a story with all its figures failed")
	}
	f.judge("another", false, "1")
	if f.held() {
		t.Error("a story with a wrong figure passed")
	}
	var out strings.Builder
	f.print(&out)
	if !strings.Contains(out.String(), "FAILED  another") {
		t.Errorf("printed:\n%s", out.String())
	}
}
