package eviction

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/schedplugin/placement"
)

// state is what becomes of a pod that is where it may not be.
type state int

const (
	// queued: it is not its turn yet.
	queued state = iota
	// next: it may be evicted now.
	next
	// leaving: it is being deleted.
	leaving
	// budget: a PodDisruptionBudget does not let it go yet.
	budget
	// failed: the API server could not evict it.
	failed
	// stuck: no other permitted node could take it.
	stuck
	// returning: its like come back to the node however often they are evicted.
	returning
	// single: it has no controller, so nothing would replace it.
	single
)

// violation is a pod that runs where the policy does not permit it.
type violation struct {
	pod     *corev1.Pod
	verdict placement.Verdict
	// home says that it is on an ordinary node.
	home  bool
	state state
	// why has more about the state, "" when there is nothing to add.
	why string
}

// rules returns the rule of the namespace for pods of a RuntimeClass.
type rules func(class string) *placement.Rule

// violations returns the pods that run where the policy does not permit them, in the order in which they are to go:
// those that are not ready first, since nobody misses them. node returns nil for a node that is gone.
//
// A verdict of Waits is no violation: the pod will be permitted once something that is under way is done.
func violations(pods []corev1.Pod, of rules, node func(name string) *corev1.Node) []violation {
	var found []violation
	for i := range pods {
		pod := &pods[i]
		if !movable(pod) {
			continue
		}
		on := node(pod.Spec.NodeName)
		if on == nil {
			continue // its pods are deleted by Kubernetes
		}
		verdict := of(placement.RuntimeClass(pod)).On(on)
		if verdict.Outcome != placement.Refused {
			continue
		}
		v := violation{pod: pod, verdict: verdict, home: !placement.IsVirtual(on)}
		switch {
		case pod.DeletionTimestamp != nil:
			v.state = leaving
		case metav1.GetControllerOf(pod) == nil:
			v.state = single
		}
		found = append(found, v)
	}
	slices.SortFunc(found, func(a, b violation) int {
		if ready := cmp.Compare(rank(a.pod), rank(b.pod)); ready != 0 {
			return ready
		}
		return cmp.Compare(a.pod.Name, b.pod.Name)
	})
	return found
}

// movable says that a pod runs, or is about to run, on a node that could be another one. The pods of a DaemonSet and
// the kubelet's own belong to their nodes.
func movable(pod *corev1.Pod) bool {
	if pod.Spec.NodeName == "" || finished(pod) {
		return false
	}
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return false
	}
	owner := metav1.GetControllerOf(pod)
	return owner == nil || owner.Kind != "DaemonSet" && owner.Kind != "Node"
}

func finished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func rank(pod *corev1.Pod) int {
	if ready(pod) {
		return 1
	}
	return 0
}
