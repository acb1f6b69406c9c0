package explanation

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/schedplugin/placement"
)

// Source is something that facts are read from.
type Source string

// The sources.
const (
	Namespaces     Source = "namespaces"
	Offloadings    Source = "namespaceoffloadings"
	Maps           Source = "namespacemaps"
	Nodes          Source = "nodes"
	VirtualNodes   Source = "virtualnodes"
	RuntimeClasses Source = "runtimeclasses"
	Leases         Source = "leases"
	Claims         Source = "persistentvolumeclaims"
	Volumes        Source = "persistentvolumes"
	StorageClasses Source = "storageclasses"
)

// Facts are what is known of a namespace and the cluster around it.
type Facts struct {
	Namespace string
	// Labels are the namespace's.
	Labels map[string]string
	// Offloading is the namespace's, nil when it has none.
	Offloading   *v1beta1.NamespaceOffloading
	Maps         []v1beta1.NamespaceMap
	Nodes        []corev1.Node
	VirtualNodes []v1beta1.VirtualNode
	// Classes are RuntimeClasses by name; nil stands for one that does not exist.
	Classes map[string]*nodev1.RuntimeClass
	// Claims are those that the pod refers to, as far as they exist.
	Claims []placement.Claim
	// Beside says that our scheduler runs beside one that knows no policy.
	Beside bool
	// Unread says by source why it could not be read, in a sentence that names the missing right.
	Unread map[Source]string
}

// Own returns the same facts with an own list of what could not be read, for what concerns one pod alone.
func (f *Facts) Own() *Facts {
	own := *f
	own.Unread = maps.Clone(f.Unread)
	return &own
}

// missing returns what could not be read and matters to every answer, in a stable order.
func (f *Facts) missing() []string {
	out := []string{}
	for _, source := range slices.Sorted(maps.Keys(f.Unread)) {
		if source != VirtualNodes && source != Leases {
			out = append(out, f.Unread[source])
		}
	}
	return out
}

// rule returns what is decided about pods with a RuntimeClass, as far as it is known: by the policy alone, or also, for
// a pod to come, by what providers have left.
func (f *Facts) rule(class string, pod *corev1.Pod) placement.Rule {
	if why := f.Unread[Offloadings]; why != "" {
		return placement.Unknown(why)
	}
	policy := placement.Compile(f.Offloading)
	if why := f.Unread[Namespaces]; why != "" && !policy.Processed() {
		return placement.Unknown(why) // the namespace's label may say that pods wait
	}
	return placement.Decide(placement.Facts{
		Labels: f.Labels, Policy: policy, RuntimeClass: class, Twin: f.twin, Pod: pod, Claims: f.Claims,
	})
}

// twin returns the state of the namespace's twin. Like the scheduler it trusts the map in the cluster's own tenant
// namespace only. What may not be read counts as ready here and is told apart by [Facts.judge].
func (f *Facts) twin(cluster string) v1beta1.TwinStatus {
	if f.Unread[Maps] != "" {
		return v1beta1.TwinStatus{Phase: v1beta1.MappingAccepted}
	}
	for _, m := range f.Maps {
		if m.Name == cluster && m.Namespace == v1beta1.TenantNamespace(cluster) {
			return m.Status.CurrentMapping[f.Namespace]
		}
	}
	return v1beta1.TwinStatus{}
}

// judge returns the policy's verdict about a node as outcome and reasons.
func (f *Facts) judge(rule *placement.Rule, node *corev1.Node) (Outcome, []Reason) {
	v := rule.Policy(node)
	cluster := node.Labels[v1beta1.LabelRemoteClusterID]
	switch {
	case v.Reason == placement.ReasonUnknown:
		return Unknown, []Reason{{v.Reason, v.Message}}
	case v.Outcome != placement.Permitted:
		return Outcome(v.Outcome.String()), []Reason{{v.Reason, v.Message}}
	case placement.IsVirtual(node) && f.Unread[Maps] != "":
		return Unknown, []Reason{{placement.ReasonUnknown, fmt.Sprintf(
			"whether the twin namespace on cluster %q is ready is not known: %s", cluster, f.Unread[Maps])}}
	}
	return Permitted, []Reason{}
}

// Policy is what a namespace says about its pods.
type Policy struct {
	Offloaded bool `json:"offloaded"`
	// Unknown says why the policy could not be read.
	Unknown string `json:"unknown,omitempty"`
	// Phase is the NamespaceOffloading's.
	Phase string `json:"phase,omitempty"`
	// Strategy is the pod offloading strategy.
	Strategy string `json:"strategy,omitempty"`
	// Selector is which clusters are used, as a sentence's part.
	Selector string `json:"clusterSelector,omitempty"`
	// Spread is the policy by which the scheduler prefers some permitted nodes to others.
	Spread string `json:"spread,omitempty"`
	// Eviction is whether running pods are moved when the policy changes.
	Eviction string `json:"podEvictionStrategy,omitempty"`
}

const schedulersDefault = "the scheduler's default"

func (f *Facts) policy() Policy {
	off := f.Offloading
	if off == nil {
		return Policy{Unknown: f.Unread[Offloadings]}
	}
	p := Policy{
		Offloaded: true, Phase: string(off.Status.OffloadingPhase), Strategy: string(off.Spec.PodOffloadingStrategy),
		Selector: SelectorText(off.Spec.ClusterSelector), Spread: schedulersDefault,
		Eviction: string(off.Spec.PodEvictionStrategy),
	}
	if !off.DeletionTimestamp.IsZero() {
		p.Phase = string(v1beta1.PhaseTerminating)
	}
	if p.Strategy == "" {
		p.Strategy = string(v1beta1.LocalAndRemote)
	}
	if p.Eviction == "" {
		p.Eviction = string(v1beta1.EvictNever)
	}
	if spread := off.Spec.Spread; spread != nil {
		p.Spread = string(spread.Policy)
		if spread.WeightLabel != "" {
			p.Spread += " by label " + spread.WeightLabel
		}
	}
	return p
}

// SelectorText puts a cluster selector in one line.
func SelectorText(s *v1beta1.ClusterSelector) string {
	if s == nil || len(s.NodeSelectorTerms) == 0 {
		return "every virtual node"
	}
	return termsText(s.NodeSelectorTerms)
}

func termsText(all []corev1.NodeSelectorTerm) string {
	var terms []string
	for _, term := range all {
		var all []string
		for _, r := range slices.Concat(term.MatchExpressions, term.MatchFields) {
			all = append(all, requirementText(r))
		}
		if len(all) == 0 {
			all = []string{"nothing"}
		}
		terms = append(terms, strings.Join(all, " and "))
	}
	return strings.Join(terms, ", or ")
}

func requirementText(r corev1.NodeSelectorRequirement) string {
	switch values := strings.Join(r.Values, ", "); r.Operator {
	case corev1.NodeSelectorOpIn:
		return fmt.Sprintf("%s in (%s)", r.Key, values)
	case corev1.NodeSelectorOpNotIn:
		return fmt.Sprintf("%s not in (%s)", r.Key, values)
	case corev1.NodeSelectorOpExists:
		return r.Key + " exists"
	case corev1.NodeSelectorOpDoesNotExist:
		return r.Key + " does not exist"
	case corev1.NodeSelectorOpGt:
		return r.Key + " > " + values
	case corev1.NodeSelectorOpLt:
		return r.Key + " < " + values
	default:
		return strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Key, r.Operator, values))
	}
}
