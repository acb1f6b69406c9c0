package placement

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Policy is what a namespace says about its pods, compiled for many of them. It never changes.
type Policy struct {
	strategy    v1beta1.PodOffloadingStrategy // "" when there is no NamespaceOffloading
	processed   bool
	terminating bool
	every       bool // every virtual node is selected
	selector    *nodeaffinity.NodeSelector
	selectorErr error
}

// Compile reads a NamespaceOffloading; nil stands for a namespace without one.
func Compile(off *v1beta1.NamespaceOffloading) *Policy {
	if off == nil {
		return &Policy{}
	}
	p := &Policy{
		strategy:    off.Spec.PodOffloadingStrategy,
		processed:   off.Status.ObservedGeneration > 0 || off.Status.OffloadingPhase != "",
		terminating: off.DeletionTimestamp != nil,
	}
	if p.strategy == "" {
		p.strategy = v1beta1.LocalAndRemote
	}
	if off.Spec.ClusterSelector == nil || len(off.Spec.ClusterSelector.NodeSelectorTerms) == 0 {
		p.every = true
		return p
	}
	p.selector, p.selectorErr = nodeaffinity.NewNodeSelector(&corev1.NodeSelector{
		NodeSelectorTerms: off.Spec.ClusterSelector.NodeSelectorTerms,
	})
	return p
}

// Selects says whether the cluster selector picks a virtual node. It evaluates labels and the field metadata.name.
func (p *Policy) Selects(node *corev1.Node) bool {
	return p.every || p.selector != nil && p.selector.Match(node)
}

// Processed says whether somebody has acted on the NamespaceOffloading, so that no label can make its pods wait.
func (p *Policy) Processed() bool { return p.processed }

// SelectorError returns what is wrong with the cluster selector, in the parser's words, or nil.
func (p *Policy) SelectorError() error { return p.selectorErr }

// home returns the verdict on ordinary nodes for a pod that does not ask for a virtual one.
func (p *Policy) home() Verdict {
	switch {
	case p.strategy != v1beta1.Remote:
		return Verdict{Reason: ReasonPermitted}
	case p.terminating:
		return wait(ReasonTwinsLeaving, "waiting until the twin namespaces of this namespace are gone")
	default:
		return refuse(ReasonStrategyRemote, "strategy Remote sends the pods of this namespace to virtual nodes")
	}
}

// away returns the verdict on virtual nodes for a pod that does not ask for one; it is provisional when it permits.
func (p *Policy) away() Verdict {
	switch {
	case p.strategy == "":
		return refuse(ReasonNotOffloaded, "namespace is not offloaded")
	case p.terminating:
		return refuse(ReasonTerminating, "the offloading of this namespace is being removed")
	case p.strategy == v1beta1.Local:
		return refuse(ReasonStrategyLocal, "strategy Local keeps the pods of this namespace at home")
	default:
		return p.selection()
	}
}

func (p *Policy) selection() Verdict {
	if p.selectorErr != nil {
		why := p.selectorErr.Error()
		return refuse(ReasonSelectorInvalid, "the cluster selector of this namespace is invalid: "+why)
	}
	return Verdict{Reason: ReasonPermitted}
}
