package schedplugin

import (
	"context"
	"fmt"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/schedplugin/placement"
)

// Offloading is the plugin that applies the policy of namespaces.
type Offloading struct {
	args     Args
	policies *policies
	proofs   *proofs
	refusals *refusals
	counts   *counts
	warnings *warnings
	nodes    corelisters.NodeLister
	pods     corev1client.PodsGetter
	// unordered is set when a pod was bound past Bind, which only a wrong configuration does.
	unordered atomic.Bool
}

var (
	_ fwk.PreFilterPlugin   = &Offloading{}
	_ fwk.FilterPlugin      = &Offloading{}
	_ fwk.BindPlugin        = &Offloading{}
	_ fwk.PostBindPlugin    = &Offloading{}
	_ fwk.SignPlugin        = &Offloading{}
	_ fwk.EnqueueExtensions = &Offloading{}
)

// Name returns the plugin's name in configurations.
func (o *Offloading) Name() string { return Name }

// cycle is what is known about a pod for the length of one attempt to schedule it.
type cycle struct {
	rule     placement.Rule
	identity identity
	// virtual tells virtual nodes from ordinary ones.
	virtual func(*corev1.Node) bool
	// tolerant is the pod as it would be on a virtual node, nil if it cannot get there.
	tolerant *corev1.Pod
	// counted has a bit for each reason that was counted, since reasons are counted per attempt, not per node.
	counted atomic.Uint32
	// checked says that Bind had its turn.
	checked atomic.Bool
}

const cycleKey fwk.StateKey = Name

// Clone implements [fwk.StateData]. Nothing in a cycle depends on the pods of a node, which is what clones differ in.
func (c *cycle) Clone() fwk.StateData { return c }

func cycleOf(state fwk.CycleState) (*cycle, error) {
	data, err := state.Read(cycleKey)
	if err != nil {
		return nil, fmt.Errorf("%s has not run PreFilter: %w", Name, err)
	}
	c, ok := data.(*cycle)
	if !ok {
		return nil, fmt.Errorf("state of %s is a %T", Name, data)
	}
	return c, nil
}

// PreFilter decides what does not depend on the node. Pods that may stay at home skip Filter, so that ordinary nodes
// cost nothing: the taint keeps the pods off virtual nodes, and [Taints] asks the policy about those, unless a pod
// tolerates the taint by itself or a node lacks it.
func (o *Offloading) PreFilter(_ context.Context, state fwk.CycleState, pod *corev1.Pod, _ []fwk.NodeInfo) (
	*fwk.PreFilterResult, *fwk.Status,
) {
	c := &cycle{virtual: o.policies.tellVirtual()}
	c.rule, c.identity = o.policies.rule(pod)
	state.Write(cycleKey, c)
	if verdict, nowhere := c.rule.Nowhere(); nowhere {
		return nil, o.refusals.status(c, verdict)
	}
	if !c.rule.HomeOnly() {
		if o.unordered.Load() {
			c.rule = placement.Unknown("the scheduler's configuration must list " + Name + " first under bind")
			verdict, _ := c.rule.Nowhere()
			return nil, o.refusals.status(c, verdict)
		}
		c.tolerant = tolerant(pod)
	}
	if c.rule.Home().Outcome == placement.Permitted && !tolerates(pod) && !o.policies.anyBare() {
		return nil, fwk.NewStatus(fwk.Skip)
	}
	return nil, nil
}

// PreFilterExtensions returns nil: pods on a node do not change the policy.
func (o *Offloading) PreFilterExtensions() fwk.PreFilterExtensions { return nil }

// Filter looks up the verdict about one node. A refusal is unresolvable, so nobody is preempted for it.
func (o *Offloading) Filter(_ context.Context, state fwk.CycleState, _ *corev1.Pod, info fwk.NodeInfo) *fwk.Status {
	c, err := cycleOf(state)
	if err != nil {
		return fwk.AsStatus(err)
	}
	if !c.virtual(info.Node()) {
		return o.refusals.status(c, c.rule.Home())
	}
	return o.refusals.status(c, c.rule.On(info.Node()))
}

// signature is what Filter and Score depend on, besides the node. Pods of all ordinary namespaces sign alike.
type signature struct {
	Namespace string   `json:",omitempty"`
	Policy    identity `json:",omitzero"`
	Class     string   `json:",omitempty"`
	// Misfits are the virtual nodes that cannot take the pod. They say all that matters of its requests and its
	// controller, so pods of different controllers still sign alike.
	Misfits []string `json:",omitempty"`
	// Claims are the pod's, as far as placement has something to say about them.
	Claims []placement.Claim `json:",omitempty"`
	Spread v1beta1.Spread    `json:",omitzero"`
}

const signatureKey = "liqo.io/" + Name

// SignPod tells the pods apart that Filter or Score may treat differently, so that scheduling in batches stays on. Only
// pods that are spread evenly are no part of one.
func (o *Offloading) SignPod(_ context.Context, pod *corev1.Pod) ([]fwk.SignFragment, *fwk.Status) {
	rule, identity := o.policies.rule(pod)
	if rule.HomeOnly() {
		return []fwk.SignFragment{{Key: signatureKey, Value: signature{}}}, nil
	}
	wish := o.spread(pod.Namespace)
	if !batches(wish) {
		return nil, fwk.NewStatus(fwk.Unschedulable, "where the last pod went decides where the next one goes")
	}
	affinity, err := fwk.NodeAffinitySigner(pod)
	if err != nil {
		return nil, fwk.AsStatus(err)
	}
	return []fwk.SignFragment{
		{Key: signatureKey, Value: signature{
			pod.Namespace, identity, asked(pod), o.policies.misfits(&rule), o.policies.claims.of(pod), wish,
		}},
		{Key: fwk.NodeAffinitySignerName, Value: affinity},
	}, nil
}

// EventsToRegister names the scheduler's own events that can end a refusal. Changes of our kinds and of namespaces wake
// pods by themselves, see [policies.change]: the scheduler would not start while a kind that it is told to watch is
// missing. Taints are among the events because kube-scheduler would otherwise wake every pod that the policy refused
// whenever the taints of any node change. Annotations tell what a provider has left. Claims, their volumes and classes
// tell where the data of a pod are.
func (o *Offloading) EventsToRegister(context.Context) ([]fwk.ClusterEventWithHint, error) {
	events := fwk.Add | fwk.UpdateNodeLabel | fwk.UpdateNodeTaint | fwk.UpdateNodeAnnotation
	return append(o.policies.claimEvents(), fwk.ClusterEventWithHint{
		Event:          fwk.ClusterEvent{Resource: fwk.Node, ActionType: events},
		QueueingHintFn: o.policies.afterNode,
	}), nil
}
