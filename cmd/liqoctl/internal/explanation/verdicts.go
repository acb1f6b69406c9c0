package explanation

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/schedplugin/placement"
)

// verdicts returns the answer for each virtual node, by name, and then for the ordinary nodes, those with equal answers
// together. Without a pod only the policy is asked.
func (f *Facts) verdicts(class string, pod *corev1.Pod) []Verdict {
	rule := f.rule(class, pod)
	if why := f.Unread[Nodes]; why != "" {
		return f.unseen(&rule, pod, why)
	}
	var virtual, ordinary []Verdict
	for i := range f.Nodes {
		v := f.verdict(&rule, &f.Nodes[i], pod)
		if v.Virtual {
			virtual = append(virtual, v)
		} else {
			ordinary = gather(ordinary, v)
		}
	}
	virtual = append(virtual, f.declared(&rule, pod)...)
	slices.SortFunc(virtual, func(a, b Verdict) int { return cmp.Compare(a.Nodes[0], b.Nodes[0]) })
	for _, v := range ordinary {
		slices.Sort(v.Nodes)
	}
	slices.SortStableFunc(ordinary, func(a, b Verdict) int { return cmp.Compare(a.Nodes[0], b.Nodes[0]) })
	return append(virtual, ordinary...)
}

func (f *Facts) verdict(rule *placement.Rule, node *corev1.Node, pod *corev1.Pod) Verdict {
	v := Verdict{Nodes: []string{node.Name}, Virtual: placement.IsVirtual(node)}
	if v.Virtual {
		v.Cluster = node.Labels[v1beta1.LabelRemoteClusterID]
		v.Notes = nodeNotes(node)
	}
	v.Outcome, v.Reasons = f.judge(rule, node)
	if pod == nil {
		if v.Virtual && node.Spec.Unschedulable {
			v.Notes = append(v.Notes, "the node is cordoned")
		}
		return v
	}
	for _, misfit := range append(rule.Volumes(node), rule.Misfits(node)...) {
		v.Outcome = worse(v.Outcome, Outcome(misfit.Outcome.String()))
		v.Reasons = append(v.Reasons, Reason{misfit.Reason, misfit.Message})
	}
	if own := podRules(pod, node); len(own) > 0 {
		v.Outcome, v.Reasons = Refused, append(v.Reasons, own...)
	}
	return v
}

// worse returns the one of two outcomes that is farther from permission.
func worse(a, b Outcome) Outcome {
	order := []Outcome{Permitted, Unknown, Waits, Refused}
	if slices.Index(order, a) < slices.Index(order, b) {
		return b
	}
	return a
}

// nodeNotes returns what is wrong with a node that no rule need know.
func nodeNotes(node *corev1.Node) []string {
	var notes []string
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
			notes = append(notes, "the node is not ready: "+cmp.Or(c.Message, c.Reason, "it does not say why"))
		}
	}
	return notes
}

// gather adds a verdict to those that are equal.
func gather(groups []Verdict, v Verdict) []Verdict {
	for i := range groups {
		if groups[i].Outcome == v.Outcome && slices.Equal(groups[i].Reasons, v.Reasons) {
			groups[i].Nodes = append(groups[i].Nodes, v.Nodes...)
			return groups
		}
	}
	return append(groups, v)
}

// declared returns verdicts about virtual nodes that are asked for but whose Node does not exist, which is what a
// peering looks like whose agent does not run.
func (f *Facts) declared(rule *placement.Rule, pod *corev1.Pod) []Verdict {
	var out []Verdict
	for i := range f.VirtualNodes {
		v := &f.VirtualNodes[i]
		if v.Spec.CreateNode != nil && !*v.Spec.CreateNode || !v.DeletionTimestamp.IsZero() || f.node(v.Name) != nil {
			continue
		}
		node := &corev1.Node{}
		node.Name, node.Labels = v.Name, v.NodeLabels()
		outcome, reasons := f.judge(rule, node)
		if outcome == Permitted {
			outcome = Waits
		}
		var notes []string
		if pod != nil {
			notes = append(notes, "not looked at: the pod's own rules, which need the node")
		}
		out = append(out, Verdict{
			Nodes: []string{v.Name}, Notes: notes, Virtual: true, Cluster: v.Spec.ClusterID, Outcome: outcome,
			Reasons: append(reasons, Reason{ReasonNoNode, "the node does not exist yet: is the provider's agent " +
				"running?"}),
		})
	}
	return out
}

// unseen returns what can be said without seeing the nodes: the policy's verdicts that hold for all nodes of a kind.
func (f *Facts) unseen(rule *placement.Rule, pod *corev1.Pod, why string) []Verdict {
	unknown := []Reason{{placement.ReasonUnknown, why}}
	away := Verdict{Nodes: []string{}, Virtual: true, Outcome: Unknown, Reasons: unknown}
	if v, all := rule.Away(); all && v.Reason != placement.ReasonUnknown {
		away.Outcome, away.Reasons = Outcome(v.Outcome.String()), []Reason{{v.Reason, v.Message}}
	}
	home := Verdict{Nodes: []string{}}
	home.Outcome, home.Reasons = f.judge(rule, &corev1.Node{})
	if home.Outcome == Permitted && pod != nil {
		home.Outcome, home.Reasons = Unknown, unknown // its own rules, or their taints, may keep the pod away
	}
	if f.Offloading != nil && away.Outcome == Unknown {
		away.Notes = stated(f.Offloading)
	}
	return []Verdict{away, home}
}

// stated returns what the status of a NamespaceOffloading says of each cluster, for those who may see nothing else.
func stated(off *v1beta1.NamespaceOffloading) []string {
	var notes []string
	for id, conditions := range off.Status.RemoteNamespacesConditions {
		for _, c := range conditions {
			if c.Type == v1beta1.ConditionReady {
				notes = append(notes, fmt.Sprintf("its NamespaceOffloading says of the twin on cluster %q: %s", id,
					cmp.Or(c.Reason, string(c.Status))))
			}
		}
	}
	slices.Sort(notes)
	return notes
}

// onNode returns the policy's verdict about the node that a pod is on, nil when that is not known.
func (f *Facts) onNode(class, name string) *Verdict {
	rule := f.rule(class, nil) // what it takes itself is part of what the provider no longer has
	if why := f.Unread[Nodes]; why != "" {
		return &Verdict{Nodes: []string{name}, Outcome: Unknown, Reasons: []Reason{{placement.ReasonUnknown, why}}}
	}
	node := f.node(name)
	if node == nil {
		return &Verdict{Nodes: []string{name}, Outcome: Refused, Reasons: []Reason{{ReasonNoNode, "the node does " +
			"not exist"}}}
	}
	v := f.verdict(&rule, node, nil)
	return &v
}

func (f *Facts) node(name string) *corev1.Node {
	for i := range f.Nodes {
		if f.Nodes[i].Name == name {
			return &f.Nodes[i]
		}
	}
	return nil
}
