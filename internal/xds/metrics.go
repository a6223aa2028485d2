package xds

import "github.com/prometheus/client_golang/prometheus"

// Metrics are what operators watch of the serving of proxies.
type Metrics struct {
	connected   prometheus.Gauge
	responses   *prometheus.CounterVec
	resources   *prometheus.CounterVec
	rejections  *prometheus.CounterVec
	propagation prometheus.Histogram
}

// NewMetrics registers the metrics, if a registerer is given.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	m := &Metrics{
		connected: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fairlead_xds_connected_proxies", Help: "Proxies that hold a stream to this replica.",
		}),
		responses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fairlead_xds_responses_total", Help: "Responses sent to proxies, by type of resource.",
		}, []string{"type"}),
		resources: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fairlead_xds_resources_total", Help: "Resources sent to proxies or removed from them, by type.",
		}, []string{"type"}),
		rejections: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fairlead_xds_rejections_total", Help: "Responses that a proxy refused, by type of resource.",
		}, []string{"type"}),
		propagation: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "fairlead_propagation_seconds", Help: "From the publication of an object's generation to its acknowledgement by the last proxy concerned.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
	}
	if registerer != nil {
		registerer.MustRegister(m.connected, m.responses, m.resources, m.rejections, m.propagation)
	}
	return m
}
