package metrics_test

import (
	"bytes"
	"context"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/proto"

	"fairlead.dev/fairlead/agent/bootstrap"
	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/agent/metrics"
	"fairlead.dev/fairlead/test/testenv"
)

// recorded keeps what a target said.
func recorded(t metrics.Target) (metrics.Target, *bytes.Buffer) {
	said := new(bytes.Buffer)
	open := t.Open
	t.Open = func(ctx context.Context) (io.ReadCloser, string, error) {
		body, contentType, err := open(ctx)
		if err != nil {
			return nil, "", err
		}
		return struct {
			io.Reader
			io.Closer
		}{io.TeeReader(body, said), body}, contentType, nil
	}
	return t, said
}

func scrape(t *testing.T, targets ...metrics.Target) string {
	t.Helper()
	recorder := httptest.NewRecorder()
	metrics.NewHandler(metrics.Options{
		Agent: metrics.NewAgent(), States: []string{"live"}, State: func() (string, int) { return "live", 0 }, Targets: targets,
	}).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if got := recorder.Header().Get("Content-Type"); got != metrics.ContentType {
		t.Errorf("the format is called %q", got)
	}
	return recorder.Body.String()
}

func parse(t *testing.T, text string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("Prometheus' library does not read it: %v", err)
	}
	return families
}

// startEnvoy runs a real Envoy, whose control plane is missing, and returns the path of
// its administration interface.
func startEnvoy(t *testing.T) string {
	t.Helper()
	dir, err := testenv.SocketDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	proxy, err := testenv.StartProxy(dir, bootstrap.Config{
		Pod: "web", Workload: "web", Namespace: "shop", XDSSocket: filepath.Join(dir, "xds.sock"), Protocol: bootstrap.Delta,
		MaxConnections: bootstrap.DefaultMaxConnections,
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proxy.Stop(); err != nil {
			t.Error(err)
		}
	})
	NewWithT(t).Eventually(func() error {
		_, err := proxy.Get(t.Context(), "/server_info")
		return err
	}).WithTimeout(30*time.Second).Should(Succeed(), "Envoy answers its administration interface")
	return envoy.AdminSocket(filepath.Join(dir, "web"))
}

// startApplication serves what a program with Prometheus' library does: what the library
// says of every program, and families of all kinds with values of all kinds.
func startApplication(t *testing.T, random *rand.Rand) metrics.Target {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	values := []float64{0, 1, -1, math.Inf(1), math.NaN(), math.SmallestNonzeroFloat64, math.MaxFloat64, 1e21, 0.1}
	words := []string{"", "a b", "\\", "\"quoted\"", "line\nbreak", "{x=\"1\"} 2", "# EOF", "é", ","}
	for i := range 20 {
		name := "app_" + strconv.Itoa(i)
		labels := prometheus.Labels{"word": words[random.IntN(len(words))]}
		gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: name + "_g", Help: words[random.IntN(len(words))], ConstLabels: labels})
		gauge.Set(values[random.IntN(len(values))])
		counter := prometheus.NewCounter(prometheus.CounterOpts{Name: name + "_total", Help: name, ConstLabels: labels})
		counter.Add(random.Float64() * 1e9)
		histogram := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name + "_h", ConstLabels: labels})
		summary := prometheus.NewSummary(prometheus.SummaryOpts{Name: name + "_s", Objectives: map[float64]float64{0.5: 0.1}})
		for range random.IntN(10) {
			histogram.Observe(random.NormFloat64())
			summary.Observe(random.NormFloat64())
		}
		registry.MustRegister(gauge, counter, histogram, summary)
	}
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	url, err := metrics.ParseApplication(server.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	return metrics.Application(url)
}

// Every value is what its source said, and nothing is there that nobody said.
func TestValuesAreTheSources(t *testing.T) {
	socket := startEnvoy(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for round := range uint64(20) {
		proxy, ofEnvoy := recorded(metrics.Envoy(socket))
		app, ofApplication := recorded(startApplication(t, rand.New(rand.NewPCG(seed, round))))
		answer := parse(t, scrape(t, proxy, app))
		for source, said := range map[string]*bytes.Buffer{"Envoy": ofEnvoy, "the application": ofApplication} {
			families := parse(t, said.String())
			if len(families) < 20 {
				t.Fatalf("%s said only %d families", source, len(families))
			}
			for name, family := range families {
				if !proto.Equal(answer[name], family) {
					t.Errorf("%s said\n%v\nthe answer has\n%v", source, family, answer[name])
				}
				delete(answer, name)
			}
		}
		for name := range answer {
			if !strings.HasPrefix(name, "fairlead_agent_") {
				t.Errorf("nobody said %s", name)
			}
		}
	}
}

func TestEnvoyIsGone(t *testing.T) {
	answer := scrape(t, metrics.Envoy("/nowhere/admin.sock"), startApplication(t, rand.New(rand.NewPCG(1, 2))))
	if !strings.Contains(answer, "\nfairlead_agent_scrape_errors_total{target=\"envoy\",reason=\"down\"} 1\n") || !strings.Contains(answer, "\ngo_goroutines ") {
		t.Errorf("without Envoy the answer is\n%s", answer)
	}
}

func TestApplicationIsAskedForText(t *testing.T) {
	var seen *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, "/metrics", http.StatusFound)
		case "/broken":
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = io.WriteString(w, "a 1\n")
	}))
	defer server.Close()
	for path, want := range map[string]bool{"/metrics?x=1": true, "/away": false, "/broken": false} {
		answer := scrape(t, metrics.Application(server.URL+path))
		if there := strings.Contains(answer, "\na 1\n"); there != want || seen.URL.RequestURI() != path {
			t.Errorf("%s: there is %v, asked for %s, in\n%s", path, there, seen.URL, answer)
		}
		if up := strings.Contains(answer, "\nfairlead_agent_scrape_target_up{target=\"application\"} 1\n"); up != want {
			t.Errorf("%s: the target is up: %v", path, up)
		}
		if accept := seen.Header.Get("Accept"); !strings.HasPrefix(accept, "text/plain;version=0.0.4,") || seen.Header.Get("Accept-Encoding") != "" {
			t.Errorf("asked with %v", seen.Header)
		}
	}
}

func TestParseApplication(t *testing.T) {
	for _, url := range []string{
		"http://127.0.0.1:8080/metrics", "http://localhost:8080/m?a=b", "https://[::1]:1/", "http://127.1.2.3/metrics", "http://[::ffff:127.0.0.1]:80/",
	} {
		if got, err := metrics.ParseApplication(url); err != nil || got != url {
			t.Errorf("%s is read as %q, %v", url, got, err)
		}
	}
	const fix = ": give where the application serves its metrics in this Pod, such as http://127.0.0.1:8080/metrics"
	for url, want := range map[string]string{
		"":                          `is "", which does not begin with http:// or https://`,
		"127.0.0.1:8080/metrics":    `is "127.0.0.1:8080/metrics": first path segment in URL cannot contain colon`,
		"ftp://127.0.0.1/":          `is "ftp://127.0.0.1/", which does not begin with http:// or https://`,
		"http://10.1.2.3:80/":       `is "http://10.1.2.3:80/", whose host is not a loopback address`,
		"http://localhost.evil/":    `is "http://localhost.evil/", whose host is not a loopback address`,
		"http:///metrics":           `is "http:///metrics", whose host is not a loopback address`,
		"http://127.0.0.1:0/":       `is "http://127.0.0.1:0/": "0" is not a port from 1 to 65535`,
		"http://127.0.0.1:65536/":   `is "http://127.0.0.1:65536/": "65536" is not a port from 1 to 65535`,
		"ftp://user:pw@127.0.0.1/":  `has a user name or password, which everybody who lists processes would see`,
		"http://user:pw@host\x7f/":  `is "a text with '@'": net/url: invalid control character in URL`,
		"http://user:pw@127.0.0.1/": `has a user name or password, which everybody who lists processes would see`,
	} {
		if got, err := metrics.ParseApplication(url); err == nil {
			t.Errorf("%s is read as %q", url, got)
		} else if err.Error() != want+fix {
			t.Errorf("%s: %q, want %q", url, err, want+fix)
		}
	}
}

// BenchmarkScrape hands on as much as Envoy says of some hundred clusters.
func BenchmarkScrape(b *testing.B) {
	var text strings.Builder
	for family := range 50 {
		name := "envoy_cluster_" + strconv.Itoa(family)
		text.WriteString("# TYPE " + name + " counter\n")
		for cluster := range 100 {
			text.WriteString(name + "{envoy_cluster_name=\"outbound|80||service-" + strconv.Itoa(cluster) + ".shop.svc.cluster.local\"} 12345\n")
		}
	}
	said := text.String()
	handler := metrics.NewHandler(metrics.Options{
		Agent: metrics.NewAgent(), State: func() (string, int) { return "live", 0 },
		Targets: []metrics.Target{{Name: "envoy", Open: func(context.Context) (io.ReadCloser, string, error) {
			return io.NopCloser(strings.NewReader(said)), "", nil
		}}},
	})
	b.SetBytes(int64(len(said)))
	b.ReportAllocs()
	for b.Loop() {
		handler.ServeHTTP(discard{http.Header{}}, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	}
}

// discard is a scraper that forgets.
type discard struct{ header http.Header }

func (d discard) Header() http.Header       { return d.header }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}
