package peering

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of the credential of one provider. A nil *Metrics counts nothing.
type Metrics struct {
	expiry   prometheus.Gauge
	renewals *prometheus.CounterVec
}

// NewMetrics registers the metrics of the peering with a provider.
func NewMetrics(registerer prometheus.Registerer, awayID string) *Metrics {
	labels := prometheus.Labels{"remote_cluster_id": awayID}
	m := &Metrics{
		expiry: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "twinspace_peering_token_expiry_timestamp_seconds", ConstLabels: labels,
			Help: "When the token for the provider expires; minus time() it is the seconds that are left.",
		}),
		renewals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "twinspace_peering_token_renewals_total", ConstLabels: labels,
			Help: "Attempts to renew the token for the provider, by result (success, error).",
		}, []string{"result"}),
	}
	registerer.MustRegister(m.expiry, m.renewals)
	return m
}

func (m *Metrics) expires(at time.Time) {
	if m != nil {
		m.expiry.Set(float64(at.Unix()))
	}
}

func (m *Metrics) renewed(err error) {
	if m == nil {
		return
	}
	result := "success"
	if err != nil {
		result = "error"
	}
	m.renewals.WithLabelValues(result).Inc()
}
