package schedplugin

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/tainttoleration"

	"github.com/twinspace/twinspace/schedplugin/placement"
)

// Taints is the in-tree TaintToleration, except that the taint of virtual nodes is a matter of policy: a pod whose
// namespace may use them is looked at as if it tolerated that one taint. All other taints refuse as ever, and pods of
// namespaces that stay at home meet the plain in-tree plugin.
type Taints struct {
	*tainttoleration.TaintToleration
	policies *policies
	refusals *refusals
}

var (
	_ fwk.FilterPlugin      = &Taints{}
	_ fwk.PreScorePlugin    = &Taints{}
	_ fwk.ScorePlugin       = &Taints{}
	_ fwk.SignPlugin        = &Taints{}
	_ fwk.EnqueueExtensions = &Taints{}
)

func newTaints(inTree fwk.Plugin, p *policies, r *refusals) (*Taints, error) {
	taints, ok := inTree.(*tainttoleration.TaintToleration)
	if !ok {
		return nil, fmt.Errorf("start plugin %s: in-tree plugin is a %T", TaintName, inTree)
	}
	return &Taints{TaintToleration: taints, policies: p, refusals: r}, nil
}

// Name returns the plugin's name in configurations.
func (t *Taints) Name() string { return TaintName }

// Filter leaves ordinary nodes to the in-tree plugin, and tells those without any taint by that, which is cheaper than
// a look at their labels.
func (t *Taints) Filter(ctx context.Context, state fwk.CycleState, pod *corev1.Pod, info fwk.NodeInfo) *fwk.Status {
	if len(info.Node().Spec.Taints) == 0 || !placement.IsVirtual(info.Node()) {
		return t.TaintToleration.Filter(ctx, state, pod, info)
	}
	c, err := cycleOf(state)
	if err != nil { // without the policy plugin, every taint means what it means in-tree
		return t.TaintToleration.Filter(ctx, state, pod, info)
	}
	if c.tolerant != nil {
		if status := t.TaintToleration.Filter(ctx, state, c.tolerant, info); !status.IsSuccess() {
			return status
		}
	}
	return t.refusals.status(c, c.rule.On(info.Node()))
}

// EventsToRegister returns the in-tree events; their hints look at a pod in the same way as Filter, or a virtual node
// that loses another taint would never wake the pods that were refused for it. Since the policy refuses virtual nodes
// here, what ends such a refusal wakes here as well.
func (t *Taints) EventsToRegister(ctx context.Context) ([]fwk.ClusterEventWithHint, error) {
	events, err := t.TaintToleration.EventsToRegister(ctx)
	if err != nil {
		return nil, fmt.Errorf("events of %s: %w", tainttoleration.Name, err)
	}
	for i := range events {
		events[i].QueueingHintFn = t.tolerantly(events[i].QueueingHintFn)
	}
	return append(append(events, t.policies.claimEvents()...), fwk.ClusterEventWithHint{
		Event: fwk.ClusterEvent{
			Resource: fwk.Node, ActionType: fwk.UpdateNodeLabel | fwk.UpdateNodeAnnotation,
		},
		QueueingHintFn: t.policies.afterNode,
	}), nil
}

func (t *Taints) tolerantly(hint fwk.QueueingHintFn) fwk.QueueingHintFn {
	if hint == nil {
		return nil
	}
	return func(logger klog.Logger, pod *corev1.Pod, before, after any) (fwk.QueueingHint, error) {
		rule, _ := t.policies.rule(pod)
		if node, ok := after.(*corev1.Node); ok && placement.IsVirtual(node) {
			if rule.On(node).Outcome != placement.Permitted || !accepts(pod, node) {
				return fwk.QueueSkip, nil
			}
		}
		if !rule.HomeOnly() {
			pod = tolerant(pod)
		}
		return hint(logger, pod, before, after)
	}
}
