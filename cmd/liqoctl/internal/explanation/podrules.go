package explanation

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"

	"github.com/twinspace/twinspace/schedplugin/placement/nodefit"
)

// What Kubernetes' scheduler says, so that its events can be found here.
const (
	sayNodeName      = "node(s) didn't match the requested node name"
	sayUnschedulable = "node(s) were unschedulable"
	sayTaint         = "node(s) had untolerated taint(s)"
	sayAffinity      = "node(s) didn't match Pod's node affinity/selector"
	sayInsufficient  = "Insufficient "
	sayTooMany       = "Too many pods"
)

// podRules returns each of the pod's own rules that keeps it from a node, in the order in which Kubernetes' scheduler
// asks.
func podRules(pod *corev1.Pod, node *corev1.Node) []Reason {
	var out []Reason
	for _, rule := range []func(*corev1.Pod, *corev1.Node) []Reason{cordoned, named, tainted, matched, fits} {
		out = append(out, rule(pod, node)...)
	}
	return out
}

func named(pod *corev1.Pod, node *corev1.Node) []Reason {
	if want := pod.Spec.NodeName; want != "" && want != node.Name {
		return []Reason{{ReasonNodeName, sayNodeName + ": " + want}}
	}
	return nil
}

func cordoned(pod *corev1.Pod, node *corev1.Node) []Reason {
	if !nodefit.Cordoned(pod, node) {
		return nil
	}
	return []Reason{{ReasonUnschedulable, sayUnschedulable + ": kubectl uncordon " + node.Name + " ends that"}}
}

func tainted(pod *corev1.Pod, node *corev1.Node) []Reason {
	var taints []string
	for _, taint := range nodefit.Untolerated(pod, node) {
		taints = append(taints, taint.ToString())
	}
	if len(taints) == 0 {
		return nil
	}
	return []Reason{{ReasonTaint, sayTaint + ": " + strings.Join(taints, ", ")}}
}

// matched looks at node selector and required node affinity, matchFields included.
func matched(pod *corev1.Pod, node *corev1.Node) []Reason {
	ok, err := nodefit.Matches(pod, node)
	if err != nil {
		return []Reason{{ReasonAffinity, sayAffinity + ": it is invalid: " + err.Error()}}
	}
	if ok {
		return nil
	}
	var why []string
	for _, key := range slices.Sorted(maps.Keys(pod.Spec.NodeSelector)) {
		if value, found := node.Labels[key]; !found || value != pod.Spec.NodeSelector[key] {
			why = append(why, fmt.Sprintf("nodeSelector %s=%s", key, pod.Spec.NodeSelector[key]))
		}
	}
	only := &corev1.Pod{Spec: corev1.PodSpec{Affinity: pod.Spec.Affinity}}
	if ok, err := nodefit.Matches(only, node); err != nil || !ok {
		required := pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
		why = append(why, "affinity "+termsText(required.NodeSelectorTerms))
	}
	return []Reason{{ReasonAffinity, sayAffinity + ": " + strings.Join(why, "; ")}}
}

// fits compares requests with what the node has in all, whatever else runs there.
func fits(pod *corev1.Pod, node *corev1.Node) []Reason {
	requests := resource.PodRequests(pod, resource.PodResourcesOptions{})
	var out []Reason
	for _, name := range nodefit.Lacking(node.Status.Allocatable, requests) {
		request, has := requests[name], node.Status.Allocatable[name]
		out = append(out, Reason{ReasonResources, fmt.Sprintf("%s%s: the pod requests %s, the node has %s in all",
			sayInsufficient, name, request.String(), has.String())})
	}
	if node.Status.Allocatable.Pods().Sign() <= 0 {
		out = append(out, Reason{ReasonResources, sayTooMany + ": the node takes none at all"})
	}
	return out
}
