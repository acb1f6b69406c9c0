package reflection

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count what reflection does. Depth and age of the queues are in the workqueue metrics, under the names
// reflection_<resource>.
type Metrics struct {
	passes  *prometheus.CounterVec
	latency *prometheus.HistogramVec
	objects *objects
}

// Outcomes of one look at one object, the values of label outcome.
const (
	outcomeCreate = "create"
	outcomePatch  = "patch"
	outcomeDelete = "delete"
	outcomeNoop   = "noop"
	outcomeError  = "error"
	// outcomeFeedback comes beside one of the others: a status was written at home.
	outcomeFeedback = "feedback"
)

// NewMetrics registers the metrics; all Mirrors of a process share them.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		passes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "liqo_reflection_passes_total",
			Help: "Looks at reflected objects, by what came of them: one API write each, except noop and error. " +
				"Error also counts attempts to watch that are refused for long.",
		}, []string{"destination", "resource", "outcome"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "liqo_reflection_latency_seconds",
			Help:    "Time from a change at home to the write on the provider.",
			Buckets: prometheus.ExponentialBuckets(0.002, 2, 15),
		}, []string{"destination", "resource"}),
		objects: newObjects(),
	}
	for _, c := range []prometheus.Collector{m.passes, m.latency, m.objects} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) count(destination, resource, outcome string) {
	m.passes.WithLabelValues(destination, resource, outcome).Inc()
}

func (m *Metrics) observe(destination, resource string, took time.Duration) {
	m.latency.WithLabelValues(destination, resource).Observe(took.Seconds())
}
