package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// says is a target that answers with a text.
func says(name, text string) Target {
	return Target{Name: name, Open: func(context.Context) (io.ReadCloser, string, error) {
		return io.NopCloser(strings.NewReader(text)), "text/plain", nil
	}}
}

func handlerOf(targets ...Target) http.Handler {
	return NewHandler(Options{
		Agent: NewAgent(), Version: "v1", States: []string{"starting", "live"},
		State:   func() (string, int) { return "live", 3 },
		Targets: targets,
	})
}

// scrape returns what a scraper gets.
func scrape(handler http.Handler, headers ...string) string {
	request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	return recorder.Body.String()
}

// others is the answer without the agent's own families.
func others(answer string) string {
	var b strings.Builder
	for line := range strings.Lines(answer) {
		if !strings.Contains(line, ownPrefix) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// missing is what the answer says was left out, as "target reason".
func missing(answer string) (all []string) {
	for line := range strings.Lines(answer) {
		var target, reason string
		var n int
		line = strings.NewReplacer(`target="`, "", `",reason="`, " ", `"} `, " ").Replace(line)
		if _, err := fmt.Sscanf(line, ownPrefix+"scrape_errors_total{%s %s %d", &target, &reason, &n); err == nil && n > 0 {
			all = append(all, target+" "+reason)
		}
	}
	return all
}

func TestMerge(t *testing.T) {
	for _, test := range []struct {
		name        string
		envoy, app  string
		openMetrics bool
		want        string
		missing     string
	}{
		{"lines are as they were",
			"# HELP a Of \\\\ b.\n# TYPE a counter\na{l=\"x y\",m=\"\\\"\\n\",} 1e-3 1395066363000\na NaN\n", "b +Inf\n", false,
			"# HELP a Of \\\\ b.\n# TYPE a counter\na{l=\"x y\",m=\"\\\"\\n\",} 1e-3 1395066363000\na NaN\nb +Inf\n", ""},
		{"what would break the format is mended",
			"# a comment\n\n  a\t 1  \r\n# TYPE b COUNTER \n# HELP b with a \\q\nb 2\n# EOF", "c 3", false,
			"a\t 1\n# TYPE b counter\nb 2\nc 3\n", ""},
		{"OpenMetrics, though it was not asked for",
			"", "# TYPE a unknown\n# UNIT a seconds\na 1 1395066363.5\n# TYPE b info\nb_info{v=\"1\"} 1\n# TYPE c counter\nc_total 7 # {trace=\"x\"} 1 1.5\n# EOF\n", true,
			"# TYPE a untyped\na 1 1395066363500\n# TYPE b gauge\nb_info{v=\"1\"} 1\n# TYPE c counter\nc_total 7\n", ""},
		{"a family of both, called the same, is described once",
			"# HELP a First.\n# TYPE a counter\na{of=\"envoy\"} 1\n", "# HELP a Second.\n# TYPE a counter\na{of=\"app\"} 2\n", false,
			"# HELP a First.\n# TYPE a counter\na{of=\"envoy\"} 1\na{of=\"app\"} 2\n", ""},
		{"a family of both, called otherwise, is the first one's",
			"# TYPE a counter\na 1\n", "# TYPE a gauge\na 2\n# TYPE b gauge\nb 3\n", false,
			"# TYPE a counter\na 1\n# TYPE b gauge\nb 3\n", "application conflict"},
		{"a family of both that only the first one describes is the first one's",
			"# TYPE a counter\na 1\n", "a 2\nb 3\n", false,
			"# TYPE a counter\na 1\nb 3\n", "application conflict"},
		{"a family of both that only the second one describes",
			"a 1\n", "# TYPE a gauge\na 2\n# TYPE b gauge\nb 3\n", false,
			"a 1\na 2\n# TYPE b gauge\nb 3\n", ""},
		{"a family of both that nobody describes",
			"a 1\n", "a{l=\"\"} 2\n", false,
			"a 1\na{l=\"\"} 2\n", ""},
		{"a family that would be a part of another one's",
			"# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_count 1\na_sum 2\n", "# TYPE a_count counter\na_count 2\na_sums 3\n", false,
			"# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_count 1\na_sum 2\na_sums 3\n", "application conflict"},
		{"names that are the agent's own",
			"# TYPE fairlead_agent_epoch gauge\nfairlead_agent_epoch 1\nb 3\n", "", false,
			"b 3\n", "envoy conflict"},
		{"rubbish",
			"<!DOCTYPE html>\n<p>a 1\n", "a 1\n", false,
			"a 1\n", "envoy malformed"},
		{"rubbish after something",
			"a 1\n{\"b\": 2}\nc 3\n", "d 4\n", false,
			"a 1\nd 4\n", "envoy malformed"},
		{"a type that nobody knows",
			"# TYPE a number\na 1\n", "b 2\n", false,
			"b 2\n", "envoy malformed"},
		{"bounds that are no numbers",
			"# TYPE a histogram\na_bucket{le=\"much\"} 1\n", "# TYPE b summary\nb{quantile=\"most\"} 1\n", false,
			"# TYPE a histogram\n# TYPE b summary\n", "application malformed, envoy malformed"},
		{"a line without an end",
			"a 1\nb{l=\"" + strings.Repeat("x", longestLine) + "\"} 1\n", "c 3\n", false,
			"a 1\nc 3\n", "envoy malformed"},
	} {
		app := says("application", test.app)
		if test.openMetrics {
			app.Open = func(context.Context) (io.ReadCloser, string, error) {
				return io.NopCloser(strings.NewReader(test.app)), "application/openmetrics-text; version=1.0.0", nil
			}
		}
		answer := scrape(handlerOf(says("envoy", test.envoy), app))
		if got := others(answer); got != test.want {
			t.Errorf("%s:\n%swant\n%s", test.name, got, test.want)
		}
		if got := strings.Join(missing(answer), ", "); got != test.missing {
			t.Errorf("%s: left out is %q, want %q", test.name, got, test.missing)
		}
		if _, err := parse(answer); err != nil {
			t.Errorf("%s: Prometheus' library does not read it: %v\n%s", test.name, err, answer)
		}
	}
}

func TestLinesThatAreNone(t *testing.T) {
	for _, line := range []string{
		"a", "a ", "1 2", "a b", "a{} b", "a{", "a{l", "a{l}", "a{l=}", "a{l=\"}", "a{l=\"\" 1", "a{l=\"\"m=\"\"} 1", "a{l=\"\\q\"} 1", "a{l=\"\\",
		"a{l=\"1\",l=\"2\"} 1", "a{__name__=\"b\"} 1", "a{0=\"1\"} 1", "a{,} 1", "a 1 b", "a 1 1.5", "a 1 2 3", "a 0x1p1", "a 1_0", "a 1e999", "a{l=\"\xff\"} 1", "é 1",
		"{\"a\"} 1",
	} {
		if got := missing(scrape(handlerOf(says("envoy", line)))); len(got) != 1 || got[0] != "envoy malformed" {
			t.Errorf("%q is taken as a line: %q", line, got)
		}
	}
}

func TestOwnNumbers(t *testing.T) {
	a := NewAgent()
	a.Restarted(Hot, Succeeded)
	a.Rescued()
	a.RescueTokens(0)
	a.CertificateChanged(Refused)
	a.Drained(Complete)
	started := time.UnixMilli(1_795_500_000_250)
	a.CertificatesExpire(time.Now().Add(-time.Hour), time.Time{})
	answer := scrape(NewHandler(Options{
		Agent: a, Version: "v1.2.3", Started: started, States: []string{"starting", "live"}, State: func() (string, int) { return "live", 3 },
	}))
	families, err := parse(answer)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`fairlead_agent_state{state="starting"} 0`, `fairlead_agent_state{state="live"} 1`, `fairlead_agent_epoch 3`,
		`fairlead_agent_restarts_total{kind="hot",result="succeeded"} 1`, `fairlead_agent_restarts_total{kind="cold",result="failed"} 0`,
		`fairlead_agent_rescues_total 1`, `fairlead_agent_rescue_tokens 0`, `fairlead_agent_certificate_changes_total{result="refused"} 1`,
		`fairlead_agent_drains_total{result="complete"} 1`, `fairlead_agent_start_time_seconds 1.79550000025e+09`,
	} {
		if !strings.Contains(answer, "\n"+line+"\n") {
			t.Errorf("%s is missing in\n%s", line, answer)
		}
	}
	expiry := families["fairlead_agent_certificate_expiry_seconds"].GetMetric()
	if len(expiry) != 1 || expiry[0].GetGauge().GetValue() > -3600 {
		t.Errorf("a certificate that has expired an hour ago, and no root: %v", expiry)
	}
	for _, name := range []string{"build_info", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_goroutines"} {
		m := families[ownPrefix+name].GetMetric()
		if len(m) != 1 || m[0].GetGauge().GetValue()+m[0].GetCounter().GetValue() <= 0 {
			t.Errorf("%s is %v", name, m)
		}
	}
	for name, family := range families {
		if !strings.HasPrefix(name, ownPrefix) || family.GetHelp() == "" {
			t.Errorf("%s has the help %q", name, family.GetHelp())
		}
	}
}

// Whatever is not known is not told, in place of a number that means something else.
func TestUnknownNumbersAreNotTold(t *testing.T) {
	answer := scrape(handlerOf())
	for _, name := range []string{"rescue_tokens", "certificate_expiry_seconds", "scrape_target_up", "scrape_errors_total"} {
		if strings.Contains(answer, ownPrefix+name+" ") || strings.Contains(answer, ownPrefix+name+"{") {
			t.Errorf("%s is told in\n%s", name, answer)
		}
	}
}

// broken ends with an error.
type broken struct{ *strings.Reader }

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func TestTargetThatBreaksOff(t *testing.T) {
	half := Target{Name: "envoy", Open: func(context.Context) (io.ReadCloser, string, error) {
		return io.NopCloser(broken{strings.NewReader("a 1\nb 20")}), "", nil
	}}
	gone := Target{Name: "application", Open: func(context.Context) (io.ReadCloser, string, error) { return nil, "", errors.New("gone") }}
	answer := scrape(handlerOf(half, gone, says("third", "c 3\n")))
	// Of b only a part of its number may be there.
	if got := others(answer); got != "a 1\nc 3\n" {
		t.Errorf("left is\n%s", got)
	}
	if got := strings.Join(missing(answer), ", "); got != "application down, envoy down" {
		t.Errorf("left out is %q", got)
	}
	for target, up := range map[string]int{"envoy": 0, "application": 0, "third": 1} {
		if line := fmt.Sprintf("\nfairlead_agent_scrape_target_up{target=%q} %d\n", target, up); !strings.Contains(answer, line) {
			t.Errorf("%q is missing in\n%s", line, answer)
		}
	}
}

// stuckBody says something and then nothing more.
type stuckBody struct {
	text *strings.Reader
	ctx  context.Context
}

func (s stuckBody) Read(p []byte) (int, error) {
	if n, err := s.text.Read(p); err == nil {
		return n, nil
	}
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

func (s stuckBody) Close() error { return nil }

// One that is stuck takes nothing from those after it.
func TestStuckTargets(t *testing.T) {
	silent := Target{Name: "envoy", Open: func(ctx context.Context) (io.ReadCloser, string, error) {
		<-ctx.Done()
		return nil, "", ctx.Err()
	}}
	halting := Target{Name: "application", Open: func(ctx context.Context) (io.ReadCloser, string, error) {
		return stuckBody{strings.NewReader("a 1\nb 20"), ctx}, "", nil
	}}
	for _, test := range []struct {
		header string
		atMost time.Duration
	}{{"", longestScrape}, {"10", 8 * time.Second}, {"1", time.Second}, {"3600", longestScrape}, {"-1", longestScrape}, {"soon", longestScrape}} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			answer := scrape(handlerOf(silent, halting, says("third", "c 3\n")), "X-Prometheus-Scrape-Timeout-Seconds", test.header)
			if got := others(answer); got != "a 1\nc 3\n" {
				t.Errorf("left is\n%s", got)
			}
			if got := strings.Join(missing(answer), ", "); got != "application slow, envoy slow" {
				t.Errorf("left out is %q", got)
			}
			if took := time.Since(began); took > test.atMost {
				t.Errorf("a scraper that waits for %q s waited for %s", test.header, took)
			}
		})
	}
}

// A scraper that goes away is not held against the targets.
func TestScraperGoesAway(t *testing.T) {
	ctx, goAway := context.WithCancel(t.Context())
	handler := handlerOf(Target{Name: "envoy", Open: func(ctx context.Context) (io.ReadCloser, string, error) {
		goAway()
		<-ctx.Done()
		return nil, "", ctx.Err()
	}})
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/metrics", nil))
	handler.(*scrapes).missing.each(func(labels string, n uint64) {
		if n != 0 {
			t.Errorf("%s was counted", labels)
		}
	})
}

func FuzzMerge(f *testing.F) {
	f.Add("# HELP a A.\n# TYPE a counter\na{l=\"x\"} 1\n", "# TYPE a counter\na 2\n")
	f.Add("# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n", "# TYPE a_count gauge\na_count 1\n# TYPE a_bucket summary\n")
	f.Add("# TYPE a summary\na{quantile=\"0.5\"} 1\na_sum -1\na_count 1\n", "a_count 2 1\r\n# EOF")
	f.Add("# TYPE a histogram\na{le=\"1\"} -1\n", "a\n")
	f.Fuzz(func(t *testing.T, first, second string) {
		answer := scrape(handlerOf(says("envoy", first), says("application", second), says("last", "the_last_one 1\n")))
		families, err := parse(answer)
		if err != nil {
			t.Fatalf("Prometheus' library does not read it: %v\n%s", err, answer)
		}
		if families[ownPrefix+"state"] == nil || families[ownPrefix+"scrape_errors_total"] == nil {
			t.Errorf("the agent's own numbers are missing in\n%s", answer)
		}
	})
}

func parse(answer string) (map[string]*dto.MetricFamily, error) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(answer))
	return families, err
}
