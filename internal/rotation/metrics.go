package rotation

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/pki/rollover"
)

// counters are metrics that count; all others are computed when they are asked for.
type counters struct {
	renewals, failures *prometheus.CounterVec
	missedWindows      prometheus.Counter
}

func newCounters() counters {
	return counters{
		renewals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fairlead_certificate_renewals_total", Help: "Certificates issued, and Secrets changed, by reason: new, window, emergency, forced, authority, damaged; trust for roots alone; unwanted for Secrets deleted.",
		}, []string{"reason"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fairlead_certificate_failures_total", Help: "Attempts to issue a certificate or to change a Secret that failed, by reason of the attempt.",
		}, []string{"reason"}),
		missedWindows: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fairlead_certificate_missed_windows_total", Help: "Windows that ended without the renewal of a certificate that was meant for them.",
		}),
	}
}

var (
	expiryDesc = prometheus.NewDesc("fairlead_certificate_expiry_seconds",
		"Seconds until the first certificate expires: of leaves (by namespace), and of the root and the intermediate that sign now.", []string{"kind", "namespace"}, nil)
	countDesc = prometheus.NewDesc("fairlead_certificates",
		"Certificates that there are to be, by state: current, due, unproven, expired, missing.", []string{"state"}, nil)
	pausedDesc = prometheus.NewDesc("fairlead_renewals_paused",
		"Groups of certificates whose renewals wait, but for emergencies.", nil, nil)
	phaseDesc = prometheus.NewDesc("fairlead_root_phase",
		"1 for the phase that the change of the root is in, else 0.", []string{"phase"}, nil)
	phaseAgeDesc = prometheus.NewDesc("fairlead_root_phase_seconds",
		"Seconds since the phase of the root began.", nil, nil)
	waitingDesc = prometheus.NewDesc("fairlead_root_waiting",
		"How many the change of the root waits for.", nil, nil)
	generationDesc = prometheus.NewDesc("fairlead_proxies",
		"Proxies on the stream, by the generation of the root that their certificate leads to; 0 for one that is not the mesh's, or none.", []string{"generation"}, nil)
)

// Describe implements prometheus.Collector.
func (e *Engine) Describe(out chan<- *prometheus.Desc) {
	for _, c := range []prometheus.Collector{e.renewals, e.failures, e.missedWindows} {
		c.Describe(out)
	}
	for _, d := range []*prometheus.Desc{expiryDesc, countDesc, pausedDesc, phaseDesc, phaseAgeDesc, waitingDesc, generationDesc} {
		out <- d
	}
}

// Collect implements prometheus.Collector. A replica that does not lead knows nothing, and
// tells nothing but what it has counted.
func (e *Engine) Collect(out chan<- prometheus.Metric) {
	for _, c := range []prometheus.Collector{e.renewals, e.failures, e.missedWindows} {
		c.Collect(out)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.root.terms == nil {
		return
	}
	now := e.Clock.Now()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	e.collectRoot(now, gauge)
	states := map[State]int{Current: 0, Due: 0, Unproven: 0, Expired: 0, Missing: 0}
	first := map[string]time.Time{}
	for _, h := range e.holders {
		if e.terms(h) == nil {
			continue
		}
		states[e.stateOf(h, now)]++
		first[h.key.Namespace] = earliest(first[h.key.Namespace], h.certificate().NotAfter)
	}
	for state, n := range states {
		gauge(countDesc, float64(n), string(state))
	}
	for namespace, at := range first {
		if !at.IsZero() {
			gauge(expiryDesc, at.Sub(now).Seconds(), "leaf", namespace)
		}
	}
	paused := 0
	for _, g := range e.groups {
		if g.plan.Paused != "" {
			paused++
		}
	}
	gauge(pausedDesc, float64(paused))
}

func (e *Engine) collectRoot(now time.Time, gauge func(*prometheus.Desc, float64, ...string)) {
	authority := e.Source.Get()
	if authority != nil {
		active := authority.Signer()
		gauge(expiryDesc, active.Root.NotAfter.Sub(now).Seconds(), "root", "")
		if active.Signing != nil {
			gauge(expiryDesc, active.Signing.NotAfter.Sub(now).Seconds(), "intermediate", "")
		}
		e.collectProxies(authority, gauge)
	}
	r := &e.root
	for _, phase := range []rollover.Phase{rollover.Stable, rollover.Prepared, rollover.TrustDistributed, rollover.Activated, rollover.LeavesMoved, rollover.Revoked} {
		value := 0.0
		if r.state.Phase == phase {
			value = 1
		}
		gauge(phaseDesc, value, string(phase))
	}
	if !r.state.Since.IsZero() {
		gauge(phaseAgeDesc, now.Sub(r.state.Since).Seconds())
	}
	gauge(waitingDesc, float64(len(r.waiting.For)))
}

func (e *Engine) collectProxies(authority *pki.Authority, gauge func(*prometheus.Desc, float64, ...string)) {
	numbers, proxies := map[string]int{}, map[int]int{}
	for _, g := range authority.Generations {
		numbers[pki.RootID(g.Root)], proxies[g.Number] = g.Number, 0
	}
	for _, h := range e.holders {
		if h.proxy != nil {
			proxies[numbers[h.proxy.Report.GetCertificate().GetRoot()]]++
		}
	}
	for number, n := range proxies {
		gauge(generationDesc, float64(n), strconv.Itoa(number))
	}
}
