package serving

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics tell an operator of an agent's certificates. A nil *Metrics counts nothing.
type Metrics struct {
	expiry   *prometheus.GaugeVec
	requests *prometheus.CounterVec
}

// NewMetrics registers the metrics of an agent's serving certificates.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		expiry: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "twinspace", Subsystem: "serving", Name: "certificate_expiry_timestamp_seconds",
			Help: "When the serving certificate of a virtual node expires; minus time() it is the seconds left.",
		}, []string{"node"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "twinspace", Subsystem: "serving", Name: "certificate_requests_total",
			Help: "Requests for a serving certificate, by what came of them (issued, denied, failed, lost).",
		}, []string{"result"}),
	}
	if err := errors.Join(registerer.Register(m.expiry), registerer.Register(m.requests)); err != nil {
		return nil, fmt.Errorf("register metrics of serving certificates: %w", err)
	}
	return m, nil
}

func (m *Metrics) came(result string) {
	if m != nil {
		m.requests.WithLabelValues(result).Inc()
	}
}

func (m *Metrics) expires(node string, at time.Time) {
	if m != nil {
		m.expiry.WithLabelValues(node).Set(float64(at.Unix()))
	}
}

func (m *Metrics) forget(node string) {
	if m != nil {
		m.expiry.DeleteLabelValues(node)
	}
}

// ApproverMetrics count what an [Approver] decides. A nil *ApproverMetrics counts nothing.
type ApproverMetrics struct{ answers *prometheus.CounterVec }

// NewApproverMetrics registers the metrics of an [Approver].
func NewApproverMetrics(registerer prometheus.Registerer) (*ApproverMetrics, error) {
	m := &ApproverMetrics{answers: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "twinspace", Subsystem: "serving", Name: "approvals_total",
		Help: "Decisions about serving certificates that agents ask for, by answer (approved, denied).",
	}, []string{"answer"})}
	if err := registerer.Register(m.answers); err != nil {
		return nil, fmt.Errorf("register metrics of the approver: %w", err)
	}
	return m, nil
}

func (m *ApproverMetrics) answered(a answer) {
	if m != nil {
		m.answers.WithLabelValues(string(a)).Inc()
	}
}
