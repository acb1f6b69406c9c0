// Package placement decides which nodes may take a pod, and says why in words that the pod's owner understands.
//
// It is pure: facts go in, verdicts come out. The scheduler asks it before binding, the agent asks it again about
// pods that were bound behind the scheduler's back, and liqoctl asks it to explain; so all three give the same answer
// in the same sentence.
//
// What depends on the namespace alone is computed once per change ([Compile]), what depends on the pod once per pod
// ([Decide]), and what is left per node ([Rule.On]) is a look at the node's labels and annotations.
package placement

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Facts are all that a decision about a pod depends on, besides the node.
type Facts struct {
	// Labels are the labels of the pod's namespace.
	Labels map[string]string
	// Policy is what the namespace's NamespaceOffloading says; Compile(nil) or nil when there is none.
	Policy *Policy
	// Twin returns the state of the namespace's twin on the cluster with the given id; the zero value when there is
	// none. It is called while nodes are looked at and must be safe for that.
	Twin func(clusterID string) v1beta1.TwinStatus
	// RuntimeClass is the pod's, "" when it has none; see [RuntimeClass].
	RuntimeClass string
	// Pod is the one whose requests and controller are compared with what providers have left. Without it the policy
	// alone decides, which is the question about a pod that runs already.
	Pod *corev1.Pod
	// Claims are those that the pod refers to, as far as they exist. They count only with Pod.
	Claims []Claim
	// Room returns what a virtual node says of its provider; [ReadRoom] unless given. It is called while nodes are
	// looked at and must be safe for that.
	Room func(node *corev1.Node) Room
}

// RuntimeClass returns the name of the pod's RuntimeClass, "" when it has none.
func RuntimeClass(pod *corev1.Pod) string {
	if pod.Spec.RuntimeClassName == nil {
		return ""
	}
	return *pod.Spec.RuntimeClassName
}

// Rule is the decision about one pod, ready to be asked about nodes. Its zero value is of no use: get one from [Decide]
// or [Unknown].
type Rule struct {
	home   Verdict // on ordinary nodes
	away   Verdict // on virtual nodes; when it permits, selection and twin have the last word
	policy *Policy
	twin   func(clusterID string) v1beta1.TwinStatus
	claims []Claim
	asks   asks
	room   func(node *corev1.Node) Room // nil when the policy alone decides
}

// Decide applies the namespace's policy to a pod.
func Decide(f Facts) Rule {
	policy := f.Policy
	if policy == nil {
		policy = Compile(nil)
	}
	r := Rule{policy: policy, twin: f.Twin}
	if f.Labels[v1beta1.LabelSchedulingEnabled] == "true" && !policy.processed {
		r.home, r.away = unprocessed(), unprocessed()
		return r
	}
	r.home, r.away = policy.home(), policy.away()
	if f.RuntimeClass == v1beta1.RuntimeClass {
		r.home = refuse(ReasonRuntimeClass, `RuntimeClass "liqo" asks for a virtual node`)
		if r.away.Reason == ReasonStrategyLocal { // the class is the way out of home
			r.away = policy.selection()
		}
	}
	if f.Pod != nil {
		r.about(f)
	}
	return r
}

// about adds what depends on the pod where its policy permits.
func (r *Rule) about(f Facts) {
	if verdict, all := away(f.Claims); all && r.home.Outcome == Permitted {
		r.home = verdict
	}
	if r.away.Outcome != Permitted {
		return
	}
	if verdict, all := atHome(f.Claims); all {
		r.away = verdict
		return
	}
	r.claims, r.asks, r.room = f.Claims, asksOf(f.Pod), f.Room
	if r.room == nil {
		r.room = ReadRoom
	}
}

// Unknown returns a rule under which a pod waits, on every node, because the caller does not have the facts yet; why
// is a sentence about it.
func Unknown(why string) Rule {
	v := Verdict{Outcome: Waits, Reason: ReasonUnknown, Message: why}
	return Rule{home: v, away: v}
}

// On returns the verdict about a node. The pod's own node selector, affinity and tolerations apply on top; none of
// them overrides it.
func (r *Rule) On(node *corev1.Node) Verdict {
	verdict := r.Policy(node)
	if verdict.Outcome == Permitted {
		if volumes := r.Volumes(node); len(volumes) > 0 {
			return volumes[0]
		}
		if misfits := r.Misfits(node); len(misfits) > 0 {
			return misfits[0]
		}
	}
	return verdict
}

// Misfits returns what keeps the pod off a virtual node because of what its provider has left; see [Misfits].
func (r *Rule) Misfits(node *corev1.Node) []Verdict {
	if r.room == nil || !IsVirtual(node) {
		return nil
	}
	return r.asks.misfits(r.room(node))
}

// Policy returns the verdict about a node as far as the namespace's policy goes.
func (r *Rule) Policy(node *corev1.Node) Verdict {
	if !IsVirtual(node) {
		return r.home
	}
	if r.away.Outcome != Permitted {
		return r.away
	}
	if !r.policy.Selects(node) {
		return refuse(ReasonNotSelected, "cluster is not selected for this namespace")
	}
	cluster := node.Labels[v1beta1.LabelRemoteClusterID]
	var twin v1beta1.TwinStatus
	if r.twin != nil {
		twin = r.twin(cluster)
	}
	return ready(cluster, twin)
}

// HomeOnly says that the pod may run on every ordinary node and on no virtual one, whatever the nodes are like.
func (r *Rule) HomeOnly() bool {
	return r.home.Outcome == Permitted && r.away.Outcome != Permitted
}

// Nowhere returns the verdict that holds for a pod which no node can take, however many there are, and true; or false
// when it depends on the node. It prefers the reason that a user can do something about.
func (r *Rule) Nowhere() (Verdict, bool) {
	if r.home.Outcome == Permitted || r.away.Outcome == Permitted {
		return Verdict{}, false
	}
	if r.home.Outcome == Waits {
		return r.home, true
	}
	return r.away, true
}

// Home returns the verdict that holds on every ordinary node.
func (r *Rule) Home() Verdict { return r.home }

// Away returns the verdict that holds on every virtual node, and true; or false when it depends on the node.
func (r *Rule) Away() (Verdict, bool) { return r.away, r.away.Outcome != Permitted }

// IsVirtual tells virtual nodes from ordinary ones, by their label.
func IsVirtual(node *corev1.Node) bool {
	return node.Labels[v1beta1.LabelNodeType] == v1beta1.NodeTypeVirtual
}
