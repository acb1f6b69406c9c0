package eviction

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/schedplugin/placement"
	"github.com/twinspace/twinspace/schedplugin/placement/nodefit"
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
	// foreign: its scheduler does not apply the policy, and would put its replacement back.
	foreign
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

// mayGo says that the pod leaves, or will as soon as something else happens. The others stay where they are.
func (v violation) mayGo() bool {
	return v.state != returning && v.state != foreign && v.state != single
}

// rules returns the rule of the namespace for pods of a RuntimeClass.
type rules func(class string) *placement.Rule

// violations returns the pods that run where the policy does not permit them, in the order in which they are to go:
// those that are not ready first, since nobody misses them. node returns nil for a node that is gone; ours are the
// names of the schedulers that apply the policy.
//
// A verdict of Waits is no violation: the pod will be permitted once something that is under way is done.
func violations(pods []corev1.Pod, of rules, node func(name string) *corev1.Node, ours []string) []violation {
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
		v.state, v.why = fate(pod, ours)
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

// fate is what the pod itself says about what becomes of it, and more about that.
func fate(pod *corev1.Pod, ours []string) (s state, why string) {
	switch {
	case pod.DeletionTimestamp != nil:
		return leaving, ""
	case metav1.GetControllerOf(pod) == nil:
		return single, ""
	case !scheduledBy(pod, ours):
		return foreign, "schedulerName " + pod.Spec.SchedulerName
	}
	return queued, ""
}

// scheduledBy says that the pod asks for one of the schedulers. Who asks for none gets the default one.
func scheduledBy(pod *corev1.Pod, schedulers []string) bool {
	return slices.Contains(schedulers, cmp.Or(pod.Spec.SchedulerName, corev1.DefaultSchedulerName))
}

// movable says that a pod runs, or is about to run, on a node that could be another one.
func movable(pod *corev1.Pod) bool {
	return pod.Spec.NodeName != "" && !finished(pod) && !nodefit.BelongsToNode(pod)
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
