package schedplugin

import (
	"k8s.io/component-base/metrics"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/twinspace/twinspace/schedplugin/placement"
)

// refusals turns verdicts into the scheduler's language and counts those that are no permission.
type refusals struct {
	// counters and bits are by reason, made beforehand because Filter runs once per node.
	counters map[placement.Reason]metrics.CounterMetric
	bits     map[placement.Reason]uint32
}

// newRefusals registers the counter. An error means that another scheduler of this process, as tests have them, did so
// before; then the counts of this one are lost.
func newRefusals(register func(metrics.Registerable) error) *refusals {
	vec := metrics.NewCounterVec(&metrics.CounterOpts{
		Subsystem: "scheduler",
		Name:      "offloading_refusals_total",
		Help: "Attempts to schedule a pod in which the policy of its namespace, or what a provider has left, kept it " +
			"from at least one node, by reason.",
		StabilityLevel: metrics.ALPHA,
	}, []string{"reason"})
	_ = register(vec)
	r := &refusals{counters: map[placement.Reason]metrics.CounterMetric{}, bits: map[placement.Reason]uint32{}}
	for i, reason := range placement.Reasons() {
		r.counters[reason] = vec.WithLabelValues(string(reason))
		r.bits[reason] = 1 << i
	}
	return r
}

// status returns nil for a permission, and otherwise a status that keeps the pod from the node, tells why, and tries no
// preemption.
func (r *refusals) status(c *cycle, v placement.Verdict) *fwk.Status {
	if v.Outcome == placement.Permitted {
		return nil
	}
	if bit := r.bits[v.Reason]; c.counted.Load()&bit == 0 && c.counted.Or(bit)&bit == 0 {
		r.counters[v.Reason].Inc()
	}
	return fwk.NewStatus(fwk.UnschedulableAndUnresolvable, v.Message)
}
