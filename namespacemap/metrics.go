package namespacemap

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Metrics counts what is done on providers. A nil *Metrics counts nothing.
type Metrics struct {
	calls *prometheus.CounterVec
}

// NewMetrics registers the metrics of this package.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{calls: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "twinspace", Subsystem: "twins", Name: "calls_total",
		Help: "Calls to the provider about twin namespaces and our rights in them, by operation (read, create, " +
			"delete, bind, unbind) and result (ok, or the reason of the failure).",
	}, []string{"operation", "result"})}
	if err := registerer.Register(m.calls); err != nil {
		return nil, fmt.Errorf("register metrics of twins: %w", err)
	}
	return m, nil
}

func (m *Metrics) count(operation string, err error) {
	if m == nil {
		return
	}
	result := "ok"
	switch reason := apierrors.ReasonForError(err); {
	case err == nil:
	case reason != "":
		result = string(reason)
	default:
		result = "Unreachable"
	}
	m.calls.WithLabelValues(operation, result).Inc()
}
