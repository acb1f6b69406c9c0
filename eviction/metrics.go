package eviction

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/twinspace/twinspace/schedplugin/placement"
)

// Metrics counts evictions. A nil *Metrics counts nothing.
type Metrics struct {
	evicted   *prometheus.CounterVec
	violating *prometheus.GaugeVec
}

// NewMetrics registers the metrics of this package.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		evicted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "twinspace", Subsystem: "eviction", Name: "evicted_total",
			Help: "Pods evicted from where the policy does not permit them, by its reason.",
		}, []string{"reason"}),
		violating: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "twinspace", Subsystem: "eviction", Name: "violating_pods",
			Help: "Pods where the policy does not permit them, by namespace that evicts such pods.",
		}, []string{"namespace"}),
	}
	if err := errors.Join(registerer.Register(m.evicted), registerer.Register(m.violating)); err != nil {
		return nil, fmt.Errorf("register metrics of eviction: %w", err)
	}
	return m, nil
}

func (m *Metrics) countEvicted(reason placement.Reason) {
	if m != nil {
		m.evicted.WithLabelValues(string(reason)).Inc()
	}
}

func (m *Metrics) setViolating(namespace string, pods int) {
	if m != nil {
		m.violating.WithLabelValues(namespace).Set(float64(pods))
	}
}

// forget drops a namespace that does not evict pods (any more).
func (m *Metrics) forget(namespace string) {
	if m != nil {
		m.violating.DeleteLabelValues(namespace)
	}
}
