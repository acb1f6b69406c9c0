package namespacemap

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
			"delete, bind, unbind) and result (ok, the reason of the failure, Other, or Unreachable).",
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
	m.calls.WithLabelValues(operation, resultOf(err)).Inc()
}

// resultOf returns one of few words: what a provider answers, or a webhook there, may be anything.
func resultOf(err error) string {
	var answer apierrors.APIStatus
	switch {
	case err == nil:
		return "ok"
	case !errors.As(err, &answer):
		return "Unreachable"
	}
	switch reason := answer.Status().Reason; reason {
	case metav1.StatusReasonUnauthorized, metav1.StatusReasonForbidden, metav1.StatusReasonNotFound,
		metav1.StatusReasonAlreadyExists, metav1.StatusReasonConflict, metav1.StatusReasonGone,
		metav1.StatusReasonInvalid, metav1.StatusReasonServerTimeout, metav1.StatusReasonTimeout,
		metav1.StatusReasonTooManyRequests, metav1.StatusReasonBadRequest, metav1.StatusReasonMethodNotAllowed,
		metav1.StatusReasonRequestEntityTooLarge, metav1.StatusReasonInternalError, metav1.StatusReasonExpired,
		metav1.StatusReasonServiceUnavailable:
		return string(reason)
	default:
		return "Other"
	}
}
