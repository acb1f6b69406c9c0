package provider

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are what an operator watches of the pod loop. A nil one counts nothing.
type Metrics struct {
	actions  *prometheus.CounterVec
	failures prometheus.Counter
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		actions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "twinspace_pod_decisions_total",
			Help: "Decisions of the pod loop, by action. wait and mirror are the ones of a steady system.",
		}, []string{"action"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "twinspace_pod_failures_total",
			Help: "Calls of an API server by the pod loop that failed and are tried again.",
		}),
	}
	r.MustRegister(m.actions, m.failures)
	return m
}

func (m *Metrics) action(a action) {
	if m != nil {
		m.actions.WithLabelValues(string(a)).Inc()
	}
}

func (m *Metrics) failure() {
	if m != nil {
		m.failures.Inc()
	}
}
