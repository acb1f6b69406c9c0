package explanation

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/schedplugin/placement/nodefit"
)

// may says in a few words where pods may go.
func may(f *Facts, verdicts []Verdict) string {
	count := map[Outcome]int{}
	total := 0
	for _, v := range verdicts {
		count[v.Outcome] += max(len(v.Nodes), 1)
		total += max(len(v.Nodes), 1)
	}
	switch {
	case f.Unread[Nodes] != "" && count[Unknown] > 0:
		return "may go to nodes that are not known: " + f.Unread[Nodes]
	case f.Unread[Nodes] != "" && count[Permitted] > 0:
		return "may go to ordinary nodes only"
	case total == 0:
		return "may go nowhere: the cluster has no nodes"
	case count[Permitted] > 0:
		return fmt.Sprintf("may go to %s", nodes(count[Permitted], total))
	case count[Unknown] > 0:
		return fmt.Sprintf("may perhaps go to %s: not everything is known", nodes(count[Unknown], total))
	case count[Waits] > 0:
		return "may go to no node yet: see what they wait for"
	}
	return "may go to no node"
}

func nodes(n, total int) string {
	switch {
	case total == 1:
		return "the only node"
	case n == total:
		return fmt.Sprintf("all %d nodes", n)
	}
	return fmt.Sprintf("%d of %d nodes", n, total)
}

func (e *Explanation) subject() string {
	if e.Pod.From != "" {
		return fmt.Sprintf("pods of %s in namespace %s", e.Pod.From, e.Namespace)
	}
	return fmt.Sprintf("pod %s/%s", e.Namespace, e.Pod.Name)
}

// summary says in one sentence how it stands with a pod.
func summary(f *Facts, e *Explanation, pod *corev1.Pod) string {
	who := e.subject()
	switch e.Pod.State {
	case StateFinished:
		return fmt.Sprintf("%s has finished (%s)%s: it is not scheduled again", who, pod.Status.Phase, on(pod))
	case StateDeleting:
		return fmt.Sprintf("%s is being deleted%s: it is not scheduled again", who, on(pod))
	case StateRunning:
		return fmt.Sprintf("%s runs on %s", who, placed(e.Pod, "no longer permits", stays(f, pod)))
	case StateBound:
		return fmt.Sprintf("%s is bound to %s", who, placed(e.Pod, "does not permit", ""))
	case StateGated:
		return fmt.Sprintf("%s is held by its scheduling gate %s: no scheduler looks at it until that is removed",
			who, gates(pod))
	case StateNotCreated:
		text := fmt.Sprintf("%s, if created, %s", who, may(f, e.Verdicts))
		if len(pod.Spec.SchedulingGates) > 0 {
			text += ", once its scheduling gate " + gates(pod) + " is removed"
		}
		return text
	}
	return fmt.Sprintf("%s is pending: it %s", who, may(f, e.Verdicts))
}

func on(pod *corev1.Pod) string {
	if pod.Spec.NodeName == "" {
		return ""
	}
	return " on " + pod.Spec.NodeName
}

func gates(pod *corev1.Pod) string {
	var names []string
	for _, gate := range pod.Spec.SchedulingGates {
		names = append(names, gate.Name)
	}
	return strings.Join(names, ", ")
}

// placed says of the node that a pod is on whether the policy permits it and, if it does not, what comes of that.
func placed(pod *Pod, not, then string) string {
	var why []string
	for _, r := range pod.OnNode.Reasons {
		why = append(why, r.Message)
	}
	because := strings.Join(why, "; ")
	switch pod.OnNode.Outcome {
	case Permitted:
		return pod.Node + ", permitted"
	case Unknown:
		return pod.Node + "; whether the policy permits that is not known: " + because
	case Waits:
		return pod.Node + ", to which a new pod would wait to go: " + because
	}
	if pod.OnNode.Reasons[0].Reason == ReasonNoNode {
		return pod.Node + ", which does not exist"
	}
	return fmt.Sprintf("%s, which the policy %s: %s%s", pod.Node, not, because, then)
}

// stays says for how long a pod stays where it may not be.
func stays(f *Facts, pod *corev1.Pod) string {
	if f.Offloading == nil || f.Offloading.Spec.PodEvictionStrategy != v1beta1.EvictOnPolicyChange {
		return " (it stays until it is deleted)"
	}
	if why := tied(pod); why != "" {
		return " (it stays" + why + ")"
	}
	return " (it is evicted while another permitted node could take it)"
}

// Evictable says that a pod is one of those that are evicted where pods follow a change of policy.
func Evictable(pod *corev1.Pod) bool { return tied(pod) == "" }

// tied says why a pod is never evicted, "" if it may be.
func tied(pod *corev1.Pod) string {
	switch name := scheduler(pod); {
	case nodefit.BelongsToNode(pod):
		return ": pods that belong to their node are not evicted"
	case metav1.GetControllerOf(pod) == nil:
		return " until it is deleted: pods that no controller would replace are not evicted"
	case name != corev1.DefaultSchedulerName && name != v1beta1.SchedulerName:
		return ": its scheduler is none of ours and would put another one there"
	}
	return ""
}

// podNotes says what the verdicts do not.
func podNotes(f *Facts, e *Explanation, pod *corev1.Pod) []string {
	var notes []string
	over := e.Pod.State == StateFinished || e.Pod.State == StateDeleting
	if over {
		return notes
	}
	if e.Pod.State == StateNotCreated && pod.Spec.NodeName != "" {
		notes = append(notes, direct(f, pod.Spec.NodeName))
	} else if note := whose(f, e.Pod.Scheduler); note != "" {
		notes = append(notes, note)
	}
	if e.Pod.State == StateBound && pod.Status.Reason != "" {
		notes = append(notes, strings.TrimSuffix("the node says: "+pod.Status.Reason+": "+pod.Status.Message, ": "))
	}
	if len(podAffinity(pod)) > 0 {
		notes = append(notes, "not looked at: the pod's "+strings.Join(podAffinity(pod), ", "))
	}
	return append(notes, "not looked at: what else runs on the nodes, so a permitted node may be full")
}

// direct is about a pod that names its node and so passes the scheduler by.
func direct(f *Facts, name string) string {
	if f.Unread[Nodes] == "" && f.node(name) == nil {
		return fmt.Sprintf("spec.nodeName passes the scheduler by, and node %s does not exist: the pod is deleted "+
			"again", name)
	}
	return "spec.nodeName passes the scheduler by; a virtual node checks the policy itself and leaves a pod that is " +
		"not permitted Pending, with reason OffloadingBackOff"
}

// whose warns of schedulers that do not apply the policy.
func whose(f *Facts, scheduler string) string {
	const so = "the policy is not applied by scheduler %q%s: the verdicts are what the policy says, not what it " +
		"does; set schedulerName: %s"
	switch {
	case scheduler == v1beta1.SchedulerName, scheduler == corev1.DefaultSchedulerName && !f.Beside &&
		f.Unread[Leases] == "":
		return ""
	case scheduler != corev1.DefaultSchedulerName && f.Beside:
		return fmt.Sprintf(so, scheduler, "", v1beta1.SchedulerName)
	case scheduler != corev1.DefaultSchedulerName:
		return fmt.Sprintf(so, scheduler, " unless it is one of ours", corev1.DefaultSchedulerName+
			" or "+v1beta1.SchedulerName)
	case f.Beside:
		return fmt.Sprintf(so, scheduler, ", beside which ours runs here", v1beta1.SchedulerName)
	}
	return fmt.Sprintf("whether scheduler %q applies the policy is not known (%s): where ours runs beside another, "+
		"only pods with schedulerName: %s follow the policy", scheduler, f.Unread[Leases], v1beta1.SchedulerName)
}

// podAffinity names those of the pod's rules that depend on other pods or on volumes.
func podAffinity(pod *corev1.Pod) []string {
	var rules []string
	if a := pod.Spec.Affinity; a != nil && (a.PodAffinity != nil || a.PodAntiAffinity != nil) {
		rules = append(rules, "affinity to other pods")
	}
	if len(pod.Spec.TopologySpreadConstraints) > 0 {
		rules = append(rules, "topology spread")
	}
	if slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return v.PersistentVolumeClaim != nil || v.Ephemeral != nil
	}) {
		rules = append(rules, "zones and limits of volumes")
	}
	if slices.ContainsFunc(pod.Spec.Containers, func(c corev1.Container) bool {
		return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.HostPort > 0 })
	}) {
		rules = append(rules, "host ports")
	}
	return rules
}
