// Package explanation says of every node whether it may take a pod and, when it may not, each rule that forbids it. It
// is pure: facts and a pod go in, sentences come out.
//
// What the policy of a namespace says comes from package placement, in the very sentences of the scheduler. The pod's
// own rules come on top, in the words of Kubernetes' scheduler followed by what they are about. What could not be read
// is never guessed: the outcome is then "unknown", with a sentence that names the missing right.
package explanation

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/twinspace/twinspace/schedplugin/placement"
)

// The type of the structure that scripts get. Fields may be added; none changes its meaning.
const (
	APIVersion = "liqoctl.liqo.io/v1"
	Kind       = "PlacementExplanation"
	ListKind   = "PlacementExplanationList"
)

// Explanation is the answer about one pod, or about a namespace's pods in general.
type Explanation struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace"`
	// Pod is absent when a namespace is explained.
	Pod *Pod `json:"pod,omitempty"`
	// RuntimeClass is the pod's, or the one asked about.
	RuntimeClass string `json:"runtimeClass,omitempty"`
	Policy       Policy `json:"policy"`
	// Summary is one sentence.
	Summary string `json:"summary"`
	// Verdicts are about virtual nodes, one each, and about ordinary ones, those with equal verdicts together.
	Verdicts []Verdict `json:"verdicts"`
	// Notes are sentences about what the verdicts do not say.
	Notes []string `json:"notes"`
}

// List is the answer about several pods.
type List struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Items      []*Explanation `json:"items"`
}

// Pod is what the pod in question is doing.
type Pod struct {
	Name string `json:"name"`
	// From is the object whose template the pod is made from, such as Deployment/web.
	From  string `json:"from,omitempty"`
	State State  `json:"state"`
	// Node is the one that the pod is bound to.
	Node string `json:"node,omitempty"`
	// OnNode is the policy's verdict about that node.
	OnNode *Verdict `json:"onNode,omitempty"`
	// Scheduler is the name of the scheduler that the pod asks for.
	Scheduler string `json:"scheduler"`
	// SchedulerSays is what the scheduler last said about the pod.
	SchedulerSays string `json:"schedulerSays,omitempty"`
}

// State is how far a pod has come.
type State string

// The states.
const (
	StateNotCreated State = "NotCreated"
	StateGated      State = "Gated"
	StatePending    State = "Pending" // not bound to a node
	StateBound      State = "Bound"   // to a node, where it has not started
	StateRunning    State = "Running"
	StateFinished   State = "Finished"
	StateDeleting   State = "Deleting"
)

// Outcome is the short form of a verdict: one of placement's, or unknown.
type Outcome string

// The outcomes.
const (
	Permitted Outcome = "permitted"
	Refused   Outcome = "refused"
	Waits     Outcome = "waits"
	Unknown   Outcome = "unknown"
)

// Verdict is the answer about one node, or about several that are alike.
type Verdict struct {
	// Nodes is empty when nodes may not be read: then all nodes of the kind are meant.
	Nodes   []string `json:"nodes"`
	Virtual bool     `json:"virtual"`
	Cluster string   `json:"clusterID,omitempty"`
	Outcome Outcome  `json:"outcome"`
	// Reasons are all rules that stand in the way; there is none when the outcome is permitted.
	Reasons []Reason `json:"reasons"`
	// Notes are what is worth knowing about a node besides, such as that it is not ready.
	Notes []string `json:"notes,omitempty"`
}

// Reason is one rule that keeps a pod from a node.
type Reason struct {
	// Reason is one of placement's, or one of those below.
	Reason placement.Reason `json:"reason"`
	// Message is one sentence.
	Message string `json:"message"`
}

// The reasons that are not the policy's but the pod's own, or the node's.
const (
	ReasonNodeName      placement.Reason = "NodeName"
	ReasonUnschedulable placement.Reason = "NodeUnschedulable"
	ReasonTaint         placement.Reason = "UntoleratedTaint"
	ReasonAffinity      placement.Reason = "NodeAffinity"
	ReasonResources     placement.Reason = "InsufficientResources"
	ReasonNoNode        placement.Reason = "NodeMissing"
)

// Subject is a pod to be explained.
type Subject struct {
	Pod *corev1.Pod
	// From is the object whose template the pod is made from, "" for a pod of its own.
	From string
	// Live says that the pod exists, so that admission is behind it.
	Live bool
}

// OfNamespace explains where the pods of a namespace may go that have the RuntimeClass and no rules of their own.
func OfNamespace(f *Facts, class string) *Explanation {
	e := newExplanation(f, class)
	e.Verdicts = f.verdicts(class, nil)
	e.Summary = "pods of namespace " + f.Namespace
	if class != "" {
		e.Summary += " with RuntimeClass " + class
	}
	e.Summary += " " + may(f, e.Verdicts)
	e.Notes = append(e.Notes, "pods may have rules of their own (node selector, affinity, resources): "+
		"liqoctl explain pod looks at these too")
	return e
}

// OfPod explains where a pod may go, and what stands in its way.
func OfPod(f *Facts, s Subject) *Explanation {
	pod, class := s.Pod.DeepCopy(), placement.RuntimeClass(s.Pod)
	e := newExplanation(f, class)
	e.Pod = &Pod{Name: pod.Name, From: s.From, State: state(s), Node: pod.Spec.NodeName, Scheduler: scheduler(pod)}
	if s.Live {
		e.Pod.SchedulerSays = said(pod)
	} else {
		e.Notes = append(append(e.Notes, f.admit(pod)...), "not looked at: requests that a LimitRange of the "+
			"namespace gives to containers when the pod is created")
	}
	if !s.Live || pod.Spec.NodeName == "" {
		e.Verdicts = f.verdicts(class, pod)
	} else {
		e.Pod.OnNode = f.onNode(class, pod.Spec.NodeName)
		elsewhere := pod.DeepCopy()
		elsewhere.Spec.NodeName = "" // it is where it is; the question is where one like it could go
		e.Verdicts = f.verdicts(class, elsewhere)
	}
	e.Summary = summary(f, e, pod)
	e.Notes = append(e.Notes, podNotes(f, e, pod)...)
	return e
}

func newExplanation(f *Facts, class string) *Explanation {
	return &Explanation{
		APIVersion: APIVersion, Kind: Kind, Namespace: f.Namespace, RuntimeClass: class,
		Policy: f.policy(), Notes: append(f.missing(), f.misread()...),
	}
}

func scheduler(pod *corev1.Pod) string {
	if pod.Spec.SchedulerName == "" {
		return corev1.DefaultSchedulerName
	}
	return pod.Spec.SchedulerName
}

// said returns the scheduler's last words about a pod.
func said(pod *corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status != corev1.ConditionTrue {
			return strings.Join(strings.Fields(c.Message), " ")
		}
	}
	return ""
}

func state(s Subject) State {
	finished := []corev1.PodPhase{corev1.PodSucceeded, corev1.PodFailed}
	switch {
	case !s.Live:
		return StateNotCreated
	case slices.Contains(finished, s.Pod.Status.Phase):
		return StateFinished
	case !s.Pod.DeletionTimestamp.IsZero():
		return StateDeleting
	case s.Pod.Spec.NodeName != "" && s.Pod.Status.Phase == corev1.PodRunning:
		return StateRunning
	case s.Pod.Spec.NodeName != "":
		return StateBound
	case len(s.Pod.Spec.SchedulingGates) > 0:
		return StateGated
	}
	return StatePending
}
