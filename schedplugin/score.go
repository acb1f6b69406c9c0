package schedplugin

import (
	"context"
	"fmt"
	"iter"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/schedplugin/spread"
)

var (
	_ fwk.PreScorePlugin = &Offloading{}
	_ fwk.ScorePlugin    = &Offloading{}
	_ fwk.ReservePlugin  = &Offloading{}
)

const orderKey fwk.StateKey = Name + "/order"

// order is the order of the nodes that may take the pod of a cycle.
type order struct{ *spread.Order }

// Clone implements [fwk.StateData]; an order never changes.
func (o order) Clone() fwk.StateData { return o }

// PreScore puts the nodes that may take the pod in the order that its namespace wishes. It skips Score when there is
// nothing to choose between: pods of ordinary namespaces pay for one look at what PreFilter found out.
func (o *Offloading) PreScore(
	_ context.Context, state fwk.CycleState, pod *corev1.Pod, infos []fwk.NodeInfo,
) *fwk.Status {
	c, err := cycleOf(state)
	if err != nil {
		return fwk.AsStatus(err)
	}
	if c.rule.HomeOnly() {
		return fwk.NewStatus(fwk.Skip)
	}
	facts := spread.Facts{Spread: o.spread(pod.Namespace), Virtual: c.virtual}
	switch facts.Spread.Policy {
	case v1beta1.SpreadEven:
		if facts.Pods, err = o.counts.of(pod.Namespace); err != nil {
			return fwk.AsStatus(err)
		}
	case v1beta1.SpreadWeighted:
		o.warnings.misread(c.identity, pod.Namespace, facts.Spread.WeightLabel, nodes(infos))
	}
	if facts.Preference, err = preference(pod); err != nil {
		return fwk.AsStatus(err)
	}
	among, some := spread.Among(facts, nodes(infos))
	if !some {
		return fwk.NewStatus(fwk.Skip)
	}
	state.Write(orderKey, order{among})
	return nil
}

// Score returns the score of one node. Nodes between which the namespace sees no difference score alike, and are for
// other plugins to choose from.
func (o *Offloading) Score(_ context.Context, state fwk.CycleState, _ *corev1.Pod, info fwk.NodeInfo) (
	int64, *fwk.Status,
) {
	data, err := state.Read(orderKey)
	if err != nil {
		return 0, fwk.AsStatus(fmt.Errorf("%s has not run PreScore: %w", Name, err))
	}
	among, ok := data.(order)
	if !ok {
		return 0, fwk.AsStatus(fmt.Errorf("order of %s is a %T", Name, data))
	}
	return among.Score(info.Node()), nil
}

// ScoreExtensions returns nil: scores are between 0 and the maximum from the start, since PreScore saw all nodes.
func (o *Offloading) ScoreExtensions() fwk.ScoreExtensions { return nil }

// Reserve counts a pod where it is going to run, until the scheduler sees it there.
func (o *Offloading) Reserve(_ context.Context, state fwk.CycleState, pod *corev1.Pod, node string) *fwk.Status {
	c, err := cycleOf(state)
	if err != nil {
		return fwk.AsStatus(err)
	}
	if !c.rule.HomeOnly() && o.spread(pod.Namespace).Policy == v1beta1.SpreadEven {
		o.counts.expect(pod, node)
	}
	return nil
}

// Unreserve forgets a pod that is not going to run there after all.
func (o *Offloading) Unreserve(_ context.Context, _ fwk.CycleState, pod *corev1.Pod, _ string) {
	o.counts.forget(pod)
}

// spread returns how the pods of a namespace are to be spread.
func (o *Offloading) spread(namespace string) v1beta1.Spread {
	if chosen := o.policies.spread(namespace); chosen != nil {
		return *chosen
	}
	return o.args.Spread
}

// spread returns what the NamespaceOffloading of a namespace says about the matter, nil if nothing.
func (p *policies) spread(namespace string) *v1beta1.Spread {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.offloadings[namespace].spread
}

// batches says whether nodes stay in order while pods that are alike are scheduled. The scheduler then schedules
// several by one order, and goes on to the next node when one is full. PreferHome and Weighted look at nodes only, so
// that is right for them; Even looks at where the last pod went.
func batches(s v1beta1.Spread) bool { return s.Policy != v1beta1.SpreadEven }

// preference returns how much a pod prefers nodes by its own preferred node affinity, nil if it has none.
func preference(pod *corev1.Pod) (func(*corev1.Node) int64, error) {
	affinity := pod.Spec.Affinity
	if affinity == nil || affinity.NodeAffinity == nil ||
		len(affinity.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution) == 0 {
		return nil, nil
	}
	terms, err := nodeaffinity.NewPreferredSchedulingTerms(
		affinity.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
	if err != nil {
		return nil, fmt.Errorf("read the pod's preferred node affinity: %w", err)
	}
	return terms.Score, nil
}

func nodes(infos []fwk.NodeInfo) iter.Seq[*corev1.Node] {
	return func(yield func(*corev1.Node) bool) {
		for _, info := range infos {
			if !yield(info.Node()) {
				return
			}
		}
	}
}
