package provider

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are what an operator watches of the pod loop. A nil one counts nothing.
type Metrics struct {
	actions  *prometheus.CounterVec
	failures prometheus.Counter
	changes  *prometheus.CounterVec
	releases prometheus.Counter
	tokens   *prometheus.CounterVec
	streams  *prometheus.GaugeVec
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
			Help: "Calls of an API server by the pod loop that failed and are tried again, " +
				"and watches that are refused for long.",
		}),
	}
	m.releases = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "twinspace_pod_releases_total",
		Help: "Home pods that were evicted because no node of the provider took them.",
	})
	m.tokens = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "twinspace_pod_tokens_total",
		Help: "Tokens of home for remote pods: Secrets written, refusals by either cluster, failed attempts.",
	}, []string{"result"})
	m.changes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "twinspace_pod_changes_total",
		Help: "Changes of home pods sent to remote pods, and repairs of these, by result: taken or refused.",
	}, []string{"result"})
	m.streams = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "twinspace_streams",
		Help: "Streams into remote pods that are open, by kind: exec, attach, portforward.",
	}, []string{"kind"})
	r.MustRegister(m.changes, m.actions, m.failures, m.releases, m.tokens, m.streams)
	return m
}

func (m *Metrics) action(a action) {
	if m != nil {
		m.actions.WithLabelValues(string(a)).Inc()
	}
}

func (m *Metrics) release() {
	if m != nil {
		m.releases.Inc()
	}
}

func (m *Metrics) change(refused bool) {
	if m == nil {
		return
	}
	result := "taken"
	if refused {
		result = "refused"
	}
	m.changes.WithLabelValues(result).Inc()
}

func (m *Metrics) failure() {
	if m != nil {
		m.failures.Inc()
	}
}

// stream counts a stream until what it returns is called.
func (m *Metrics) stream(kind string) (end func()) {
	if m == nil {
		return func() {}
	}
	open := m.streams.WithLabelValues(kind)
	open.Inc()
	return open.Dec
}

// What became of an attempt to give a pod tokens of home.
const (
	tokenIssued  = "issued"
	tokenRefused = "refused"
	tokenFailed  = "failed"
)

func (m *Metrics) token(result string) {
	if m != nil {
		m.tokens.WithLabelValues(result).Inc()
	}
}
