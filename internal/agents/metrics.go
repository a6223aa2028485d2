package agents

import "github.com/prometheus/client_golang/prometheus"

// Metrics are what operators watch of the agents' streams.
type Metrics struct {
	connected prometheus.Gauge
	refused   *prometheus.CounterVec
	requests  *prometheus.CounterVec
}

// NewMetrics registers the metrics, if a registerer is given.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	m := &Metrics{
		connected: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fairlead_agents_connected", Help: "Agents that hold a stream to this replica.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fairlead_calls_refused_total", Help: "Calls over the network whose caller did not prove who it is, by the proof that was shown: certificate, token or none.",
		}, []string{"proof"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fairlead_agents_signing_requests_total", Help: "Requests of agents for a certificate, by result: Issued, or why not.",
		}, []string{"result"}),
	}
	if registerer != nil {
		registerer.MustRegister(m.connected, m.refused, m.requests)
	}
	return m
}
