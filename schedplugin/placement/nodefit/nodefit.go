// Package nodefit says whether a node suits what a pod asks for itself: tolerations, node selector, required affinity
// and requests. The policy of the namespace, which package placement knows, comes on top. Whoever asks gets the answer
// of Kubernetes' scheduler.
//
// It is pure: a pod and a node go in, what stands in the way comes out. The sentences are the callers'.
package nodefit

import (
	"slices"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/schedplugin/placement"
)

// Cordoned says that a node takes no more pods, and that this pod does not tolerate it.
func Cordoned(pod *corev1.Pod, node *corev1.Node) bool {
	taint := cordon()
	return node.Spec.Unschedulable && !Tolerates(pod, &taint)
}

// Untolerated returns the taints that keep a pod away. That of virtual nodes, exactly as it is, does not count there:
// it is a matter of policy, and the scheduler adds the toleration. Nor does what a cordon adds, which [Cordoned] tells.
func Untolerated(pod *corev1.Pod, node *corev1.Node) []corev1.Taint {
	cordon := cordon()
	var taints []corev1.Taint
	for _, taint := range node.Spec.Taints {
		switch {
		case taint.Effect == corev1.TaintEffectPreferNoSchedule,
			placement.IsVirtual(node) && Ours(&taint),
			node.Spec.Unschedulable && taint.MatchTaint(&cordon),
			Tolerates(pod, &taint):
		default:
			taints = append(taints, taint)
		}
	}
	return taints
}

// Ours says that a taint is that of virtual nodes, exactly as it is. With another value it is somebody else's.
func Ours(taint *corev1.Taint) bool {
	ours := v1beta1.Taint()
	return taint.MatchTaint(&ours) && taint.Value == ours.Value
}

// BelongsToNode says that a pod cannot be on another node than its own: a DaemonSet's, or one that a kubelet made from
// a file of its own.
func BelongsToNode(pod *corev1.Pod) bool {
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return true
	}
	owner := metav1.GetControllerOf(pod)
	return owner != nil && (owner.Kind == "DaemonSet" || owner.Kind == "Node")
}

// Tolerates says that one of the pod's tolerations covers a taint. Operators that compare numbers are off, as they are
// in Kubernetes by default.
func Tolerates(pod *corev1.Pod, taint *corev1.Taint) bool {
	return corev1helpers.TolerationsTolerateTaint(logr.Discard(), pod.Spec.Tolerations, taint, false)
}

// Matches says that a node is one that the pod's node selector and required node affinity ask for, matchFields
// included. The error is about an affinity that no scheduler understands.
func Matches(pod *corev1.Pod, node *corev1.Node) (bool, error) {
	return nodeaffinity.GetRequiredNodeAffinity(pod).Match(node)
}

// Lacking returns the resources of which less is there than requested, by name.
func Lacking(there, requests corev1.ResourceList) []corev1.ResourceName {
	var names []corev1.ResourceName
	for name, request := range requests {
		has := there[name]
		if request.Sign() > 0 && has.Cmp(request) < 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// cordon is the taint that stands for a cordon.
func cordon() corev1.Taint {
	return corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}
}
