package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// speaker is an Envoy whose words can be changed; empty is an Envoy that does not answer.
type speaker struct {
	text  string
	asked int
}

func (s *speaker) target() Target {
	return Target{Name: "envoy", Open: func(context.Context) (io.ReadCloser, string, error) {
		s.asked++
		if s.text == "" {
			return nil, "", errors.New("nobody there")
		}
		return io.NopCloser(strings.NewReader(s.text)), "text/plain", nil
	}}
}

// remembered is what is said after a hot restart from one answer to another.
func remembered(t *testing.T, answers ...string) string {
	t.Helper()
	proxy := &speaker{text: answers[0]}
	statistics := NewStatistics(proxy.target())
	for _, answer := range answers[1:] {
		if err := statistics.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		proxy.text = answer
		statistics.Keep()
	}
	return scrape(handlerOf(statistics.Target()))
}

func TestCountsGoOn(t *testing.T) {
	const histogram = "# TYPE h histogram\nh_bucket{le=\"1\"} %d\nh_bucket{le=\"+Inf\"} %d\nh_sum{} %g\nh_count{} %d\n"
	for _, test := range []struct {
		name    string
		answers []string
		want    string
	}{
		{"once", []string{"# TYPE a counter\na{l=\"x\"} 3\na{l=\"y\"} 0\n", "# TYPE a counter\na{l=\"x\"} 2\na{l=\"y\"} 1\n"},
			"# TYPE a counter\na{l=\"x\"} 5\na{l=\"y\"} 1\n"},
		{"more than once", []string{"# TYPE a counter\na 3\n", "# TYPE a counter\na 2\n", "# TYPE a counter\na{} 7\na 1\n"},
			"# TYPE a counter\na{} 7\na 6\n"},
		{"large, and with a time", []string{"# TYPE a counter\na 1234567890123\n", "# TYPE a counter\na 1 1395066363000\n"},
			"# TYPE a counter\na 1234567890124 1395066363000\n"},
		{"gauges do not", []string{"# TYPE a gauge\na 3\nb 3\n", "# TYPE a gauge\na 2\nb 2\n"}, "# TYPE a gauge\na 2\nb 2\n"},
		{"one that is not there yet stays in its family",
			[]string{"# TYPE a counter\na{l=\"x\"} 3\na{l=\"y\"} 4\n# TYPE b counter\nb 1\n", "# TYPE a counter\na{l=\"x\"} 1\n# HELP b B.\n# TYPE b counter\nb 1\n"},
			"# TYPE a counter\na{l=\"x\"} 4\na{l=\"y\"} 4\n# HELP b B.\n# TYPE b counter\nb 2\n"},
		{"the last family, and whole ones",
			[]string{"# TYPE a counter\na 3\n# TYPE b counter\nb{l=\"x\"} 3\n# TYPE c counter\nc 0\n", "# TYPE z counter\nz 1\n# TYPE b counter\n"},
			"# TYPE z counter\nz 1\n# TYPE b counter\nb{l=\"x\"} 3\n# TYPE a counter\na 3\n"},
		{"one that was away for an epoch",
			[]string{"# TYPE a counter\na{l=\"x\"} 3\na{l=\"y\"} 1\n# TYPE b counter\nb 5\n", "# TYPE a counter\na{l=\"y\"} 1\n", "# TYPE a counter\na{l=\"x\"} 2\n# TYPE b counter\nb 1\n"},
			"# TYPE a counter\na{l=\"x\"} 5\na{l=\"y\"} 2\n# TYPE b counter\nb 6\n"},
		{"one of another kind is another one", []string{"# TYPE a counter\na 3\n", "# TYPE a gauge\na 1\n"}, "# TYPE a gauge\na 1\n"},
		{"histograms", []string{fmt.Sprintf(histogram, 0, 2, 7.5, 2), fmt.Sprintf(histogram, 1, 1, 0.5, 1)},
			"# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 3\nh_sum{} 8\nh_count{} 3\n"},
		{"a histogram that is gone", []string{fmt.Sprintf(histogram, 0, 2, 7.5, 2), "# TYPE a counter\n"},
			"# TYPE a counter\n" + fmt.Sprintf(histogram, 0, 2, 7.5, 2)},
		{"what is no number is left alone", []string{"# TYPE a counter\na NaN\n# TYPE b counter\nb +Inf\n", "# TYPE a counter\na 1\n# TYPE b counter\nb 2\n"},
			"# TYPE a counter\na 1\n# TYPE b counter\nb 2\n"},
		{"a name that begins like another one", []string{"# TYPE a counter\na 1\nab 5\n", "# TYPE a counter\na 1\nab 6\n"}, "# TYPE a counter\na 2\nab 6\n"},
	} {
		answer := remembered(t, test.answers...)
		if got := others(answer); got != test.want {
			t.Errorf("%s:\n%swant\n%s", test.name, got, test.want)
		}
		if _, err := parse(answer); err != nil {
			t.Errorf("%s: Prometheus' library does not read it: %v\n%s", test.name, err, answer)
		}
		if m := missing(answer); m != nil {
			t.Errorf("%s: left out is %q", test.name, m)
		}
	}
}

func counter1(value int) string { return fmt.Sprintf("# TYPE a counter\na %d\n", value) }

// attempt is a hot restart: what the predecessor says, or nothing, and whether it succeeds.
func attempt(t *testing.T, s *Statistics, succeeds bool) error {
	t.Helper()
	err := s.Snapshot(t.Context())
	if succeeds {
		s.Keep()
	} else {
		s.Drop()
	}
	return err
}

func TestAttempts(t *testing.T) {
	proxy := &speaker{text: counter1(10)}
	s := NewStatistics(proxy.target())
	handler := handlerOf(s.Target())
	says := func(want int, why string) {
		t.Helper()
		if got := others(scrape(handler)); got != counter1(want) {
			t.Errorf("%s: it says\n%swant\n%s", why, got, counter1(want))
		}
	}
	succeeds := func(yes, remembers bool) {
		t.Helper()
		if err := attempt(t, s, yes); (err == nil) != remembers {
			t.Errorf("the snapshot's error is %v", err)
		}
	}
	says(10, "at first")
	succeeds(false, true)
	proxy.text = counter1(11)
	says(11, "after a failure it is the same Envoy")
	succeeds(true, true)
	proxy.text = counter1(1)
	says(12, "after a success it is another one")

	// A failure takes the administration interface away.
	succeeds(false, true)
	proxy.text = ""
	if got := missing(scrape(handler)); len(got) != 1 {
		t.Errorf("an Envoy that does not answer has what is missing: %q", got)
	}
	succeeds(true, true)
	proxy.text = counter1(2)
	says(14, "the one before could not be asked again, and had not been asked since")

	// Asked since, it has told others what its successor will not be given.
	succeeds(false, true)
	says(14, "after a failure it is the same Envoy")
	proxy.text = ""
	succeeds(true, false)
	proxy.text = counter1(3)
	says(3, "nothing is known of what was before")

	succeeds(true, true)
	s.Reset()
	says(3, "a cold start is a new beginning")
}

func TestAnswerThatBreaksOff(t *testing.T) {
	whole := counter1(1) + "# TYPE b counter\nb 2\n"
	proxy := &speaker{text: whole}
	s := NewStatistics(proxy.target())
	if err := attempt(t, s, true); err != nil {
		t.Fatal(err)
	}
	half := Target{Name: "envoy", Open: func(context.Context) (io.ReadCloser, string, error) {
		return io.NopCloser(broken{strings.NewReader("# TYPE a counter\na 1\n# TYPE b counter\nb 2")}), "", nil
	}}
	s.proxy = half
	answer := scrape(handlerOf(s.Target()))
	if got := others(answer); got != counter1(2)+"# TYPE b counter\n" {
		t.Errorf("left is\n%s", got)
	}
	if got := missing(answer); len(got) != 1 || got[0] != "envoy down" {
		t.Errorf("left out is %q", got)
	}
	if err := attempt(t, s, true); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half an answer is remembered: %v", err)
	}
}

// Nobody asks Envoy while it is not known which one answers.
func TestScrapesWaitForAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := &speaker{text: counter1(10)}
		s := NewStatistics(proxy.target())
		handler := handlerOf(s.Target())
		if err := s.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		asked := proxy.asked
		answers := make(chan string, 2)
		for _, seconds := range []string{"1", "10"} {
			go func() { answers <- scrape(handler, "X-Prometheus-Scrape-Timeout-Seconds", seconds) }()
		}
		if got := missing(<-answers); len(got) != 1 || got[0] != "envoy slow" {
			t.Errorf("a scraper with little time is told that there is no %q", got)
		}
		synctest.Wait()
		if proxy.asked != asked {
			t.Error("Envoy was asked meanwhile")
		}
		proxy.text = counter1(1)
		s.Keep()
		if got := others(<-answers); got != counter1(11) {
			t.Errorf("a scraper with time gets\n%s", got)
		}
	})
}

// A snapshot comes after whatever was asked before it.
func TestSnapshotWaitsForAScrape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []string
		s := NewStatistics(Target{Name: "envoy", Open: func(context.Context) (io.ReadCloser, string, error) {
			order = append(order, "asked")
			<-time.After(3 * time.Second)
			order = append(order, "answered")
			return io.NopCloser(strings.NewReader(counter1(1))), "", nil
		}})
		done := make(chan string)
		go func() { done <- scrape(handlerOf(s.Target())) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Snapshot(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the snapshot did not wait: %v", err)
		}
		s.Drop()
		if err := s.Snapshot(t.Context()); err != nil {
			t.Error(err)
		}
		s.Keep()
		if got := others(<-done); got != counter1(1) {
			t.Errorf("the scrape that had begun says\n%s", got)
		}
		if want := slices.Repeat([]string{"asked", "answered"}, 3); !slices.Equal(order, want) {
			t.Errorf("the order was %q", order)
		}
	})
}

// A cold start is not added to, even if the scrape had begun before.
func TestColdStartDuringAScrape(t *testing.T) {
	proxy := &speaker{text: counter1(10)}
	s := NewStatistics(proxy.target())
	if err := attempt(t, s, true); err != nil {
		t.Fatal(err)
	}
	open := s.proxy.Open
	s.proxy.Open = func(ctx context.Context) (io.ReadCloser, string, error) {
		s.Reset()
		return open(ctx)
	}
	if got := missing(scrape(handlerOf(s.Target()))); len(got) != 1 || got[0] != "envoy down" {
		t.Errorf("left out is %q", got)
	}
}

// FuzzContinue: no answer is so strange that counts go down or the format breaks.
func FuzzContinue(f *testing.F) {
	f.Add("# TYPE a counter\na{l=\"x\"} 1\n", "# TYPE a counter\na{l=\"y\"} 2\n")
	f.Add("# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n", "# TYPE a_count counter\na_count 1\n# TYPE a counter\na 1\n")
	f.Add("# TYPE a counter\na 1\n# TYPE b counter\nb 1\n", "# TYPE a gauge\na 3\n# HELP b x\n")
	f.Fuzz(func(t *testing.T, first, second string) {
		if first == "" || second == "" {
			return
		}
		proxy := &speaker{text: first}
		s := NewStatistics(proxy.target())
		_ = attempt(t, s, true)
		proxy.text = second
		answer := scrape(handlerOf(s.Target()))
		if _, err := parse(answer); err != nil {
			t.Fatalf("Prometheus' library does not read it: %v\n%s", err, answer)
		}
	})
}

// large is an answer with so many counters of as many clusters as a large mesh has.
func large(series, value int) string {
	var text strings.Builder
	for family := range 10 {
		name := fmt.Sprintf("envoy_cluster_upstream_rq_of_kind_%d", family)
		text.WriteString("# TYPE " + name + " counter\n")
		for cluster := range series / 10 {
			host := fmt.Sprintf("service-%d.shop.svc.cluster.local", cluster)
			fmt.Fprintf(&text, "%s{envoy_cluster_name=\"outbound|80||%s\",destination_port=\"80\",destination_host=%q} %d\n", name, host, host, value)
		}
	}
	return text.String()
}

// BenchmarkPast remembers and hands on 5,000 series, all of them used.
func BenchmarkPast(b *testing.B) {
	text := large(5000, 12345)
	s := NewStatistics((&speaker{text: text}).target())
	handler := handlerOf(s.Target())
	scrape(handler)
	before := heap()
	if err := s.Snapshot(b.Context()); err != nil {
		b.Fatal(err)
	}
	s.Keep()
	kept := heap() - before
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		scrape(handler)
	}
	b.ReportMetric(kept/1e6, "MB-kept")
	runtime.KeepAlive(s)
}

func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// What is never used costs nothing to remember.
func TestZeroesAreNotRemembered(t *testing.T) {
	p, err := readPast(strings.NewReader(large(5000, 0)), nil)
	if err != nil || len(p.families) != 0 {
		t.Errorf("remembered are %v, %v", slices.Collect(maps.Keys(p.families)), err)
	}
	p, err = readPast(strings.NewReader(large(5000, math.MaxInt32)), p)
	if err != nil || len(p.families) != 10 {
		t.Errorf("remembered are %v, %v", slices.Collect(maps.Keys(p.families)), err)
	}
}
