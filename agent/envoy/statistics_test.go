package envoy_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/agent/metrics"
)

// scraper asks for metrics again and again, and notes each counter that went down.
type scraper struct {
	handler  http.Handler
	stop     func()
	scrapes  atomic.Int64
	mu       sync.Mutex
	highest  map[string]float64
	troubles []string
}

func startScraper(handler http.Handler) *scraper {
	ctx, cancel := context.WithCancel(context.Background())
	var scraping sync.WaitGroup
	s := &scraper{handler: handler, highest: map[string]float64{}}
	s.stop = func() {
		cancel()
		scraping.Wait()
	}
	DeferCleanup(s.stop)
	scraping.Go(func() {
		pace := time.NewTicker(100 * time.Millisecond)
		defer pace.Stop()
		for {
			s.scrape()
			select {
			case <-pace.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return s
}

// scrape returns the counters and counts of histograms that it got.
func (s *scraper) scrape() map[string]float64 {
	// One after the other: of two at a time the later answer may be noted first.
	s.mu.Lock()
	defer s.mu.Unlock()
	recorder := httptest.NewRecorder()
	s.handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	parser := expfmt.NewTextParser(model.LegacyValidation)
	text := recorder.Body.String()
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	s.scrapes.Add(1)
	if err != nil {
		s.troubles = append(s.troubles, "not Prometheus' format: "+err.Error())
	}
	got := map[string]float64{}
	for name, family := range families {
		if strings.HasPrefix(name, "fairlead_agent_") {
			continue
		}
		for _, m := range family.GetMetric() {
			countsOf(got, name, m)
		}
	}
	// An Envoy that cannot be asked is down; else nothing that was there may be missing.
	if families["fairlead_agent_scrape_target_up"].GetMetric()[0].GetGauge().GetValue() == 1 {
		for series, was := range s.highest {
			if now, there := got[series]; !there || now < was {
				s.troubles = append(s.troubles, fmt.Sprintf("%s went from %g to %g (there: %v)", series, was, now, there))
			}
		}
		maps.Copy(s.highest, got)
	}
	return got
}

// countsOf adds what must never go down of a series.
func countsOf(got map[string]float64, name string, m *dto.Metric) {
	labels := fmt.Sprint(m.GetLabel())
	switch {
	case m.GetCounter() != nil:
		got[name+labels] = m.GetCounter().GetValue()
	case m.GetHistogram() != nil:
		got[name+"_count"+labels] = float64(m.GetHistogram().GetSampleCount())
		got[name+"_sum"+labels] = m.GetHistogram().GetSampleSum()
		for _, b := range m.GetHistogram().GetBucket() {
			got[fmt.Sprintf("%s_bucket%s %g", name, labels, b.GetUpperBound())] = float64(b.GetCumulativeCount())
		}
	}
}

// of is the one series whose name begins so and that has the label's value.
func of(got map[string]float64, name, value string) float64 {
	GinkgoHelper()
	for series, n := range got {
		if strings.HasPrefix(series, name) && strings.Contains(series, `"`+value+`"`) {
			return n
		}
	}
	Fail("there is no " + name)
	return math.NaN()
}

var _ = Describe("Statistics", func() {
	var (
		h       *harness
		port    int
		handler http.Handler
	)
	BeforeEach(func() {
		h, port = newHarness(), freePort()
		h.options.Bootstrap = serving(h.dir, port, "here")
		statistics := metrics.NewStatistics(metrics.Envoy(h.dir.AdminSocket()))
		h.options.Statistics = statistics
		handler = metrics.NewHandler(metrics.Options{
			Agent: h.count.Agent, States: envoy.States, State: func() (string, int) { return "", 0 },
			Targets: []metrics.Target{statistics.Target()},
		})
	})
	gone := func(pid int) {
		GinkgoHelper()
		Eventually(func() error { return syscall.Kill(pid, 0) }).Within(patience).Should(MatchError(syscall.ESRCH), "the predecessor ends")
	}
	const requests, times = "envoy_http_downstream_rq_total", "envoy_http_downstream_rq_time_count"

	It("go on over hot restarts, as a scraper sees it", func() {
		h.run()
		previous := h.live().PID
		load, scraper := startLoad(port, 4), startScraper(handler)
		for n := range 3 {
			h.supervisor.Restart("the test wants one")
			pid := h.epoch(n + 1).PID
			gone(previous)
			previous = pid
		}
		load.stop()
		Expect(load.lost()).To(BeEmpty())
		scraper.stop()
		Expect(scraper.troubles).To(BeEmpty(), "no counter goes down")
		Expect(scraper.highest).NotTo(BeEmpty())
		Expect(scraper.scrapes.Load()).To(BeNumerically(">", 10))
		// What the last one has observed is in the answer after the next.
		scraper.scrape()
		scraper.scrape()
		got := scraper.scrape()
		asked := float64(load.asked.Load())
		GinkgoWriter.Printf("%g requests, %g counted, %g timed, in %d scrapes\n", asked, of(got, requests, "inbound_80"), of(got, times, "inbound_80"), scraper.scrapes.Load())
		Expect(of(got, requests, "inbound_80")).To(BeNumerically("~", asked, asked/100), "each request is counted once")
		Expect(of(got, times, "inbound_80")).To(And(BeNumerically("<=", asked), BeNumerically(">", asked/2)), "only what a predecessor observes is missing")
	})

	It("go on after an attempt that failed, and begin anew with a cold start", func() {
		h.options.Rescue = envoy.Rescue{Tokens: 1, Delay: time.Millisecond, Refill: time.Hour}
		var broken atomic.Bool
		// Not an address of this machine: validation does not bind.
		h.spoilWhile(&broken, `"127.0.0.1"`, `"203.0.113.7"`)
		h.run()
		h.live()
		load, scraper := startLoad(port, 1), startScraper(handler)
		h.supervisor.Restart("the first")
		h.epoch(1)
		broken.Store(true)
		h.supervisor.Restart("elsewhere")
		Eventually(h.supervisor.Status).Within(patience).Should(HaveField("LastRestart", HaveValue(HaveField("Result", "failed"))))
		broken.Store(false)
		h.supervisor.Restart("here again")
		h.epoch(2)
		load.stop()
		asked := float64(load.asked.Load())
		Eventually(func() float64 { return of(scraper.scrape(), requests, "inbound_80") }).Within(patience).
			Should(BeNumerically("~", asked, asked/50), "what was counted while nobody could ask is not lost")
		scraper.stop()
		Expect(scraper.troubles).To(BeEmpty(), "no counter goes down")

		Expect(syscall.Kill(h.supervisor.Status().PID, syscall.SIGKILL)).To(Succeed())
		Eventually(h.supervisor.Status).Within(patience).Should(And(HaveField("State", envoy.Live), HaveField("Epoch", 0)), "it is rescued")
		Expect(of(scraper.scrape(), requests, "inbound_80")).To(BeZero(), "what a crash has lost is not made up")
	})
})
