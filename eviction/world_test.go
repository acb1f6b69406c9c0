package eviction

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/schedplugin/placement"
)

// morning is when everything happens.
var morning = time.Date(2026, 1, 2, 8, 0, 0, 0, time.UTC)

// ours returns the schedulers that apply the policy unless told otherwise.
func ours() []string { return (&Reconciler{}).schedulers() }

// podOf returns a ready pod of a controller of the given kind and name; "" stands for none.
func podOf(kind, owner, name, node string) corev1.Pod {
	pod := build.Pod(name).Namespace("shop").UID("uid-" + name).Node(node).Phase(corev1.PodRunning).Obj()
	if owner != "" {
		pod.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: "apps/v1", Kind: kind, Name: owner, UID: types.UID("uid-" + owner), Controller: ptr.To(true),
		}}
	}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	return *pod
}

func webPod(name, node string) corev1.Pod { return podOf("ReplicaSet", "web", name, node) }

// with changes a pod.
func with(pod corev1.Pod, change func(*corev1.Pod)) corev1.Pod {
	change(&pod)
	return pod
}

func unready(pod *corev1.Pod) { pod.Status.Conditions = nil }

func scheduledAs(name string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Spec.SchedulerName = name }
}

func deleted(pod *corev1.Pod) {
	pod.DeletionTimestamp = ptr.To(metav1.NewTime(morning))
	pod.Finalizers = []string{"example.com/held"} // a fake API server takes no other
}

// cluster has two ordinary nodes and the virtual ones of providers b and c.
func cluster() []corev1.Node {
	return []corev1.Node{
		*build.VirtualNodesNode(build.VirtualNode("b-1", "b", "region", "north")),
		*build.VirtualNodesNode(build.VirtualNode("c-1", "c", "region", "south")),
		*build.Node("home-1"), *build.Node("home-2"),
	}
}

// rulesOf is what an offloading that was processed, and whose twins are ready, says.
func rulesOf(off *build.OffloadingBuilder) rules {
	processed := off.Obj()
	processed.Status.ObservedGeneration = 1
	policy := placement.Compile(processed)
	return func(class string) *placement.Rule {
		rule := placement.Decide(placement.Facts{
			Labels: map[string]string{v1beta1.LabelSchedulingEnabled: "true"}, Policy: policy, RuntimeClass: class,
			Twin: func(string) v1beta1.TwinStatus { return v1beta1.TwinStatus{Phase: v1beta1.MappingAccepted} },
		})
		return &rule
	}
}

func local() *build.OffloadingBuilder { return build.Offloading("shop").Strategy(v1beta1.Local) }

// roomIn is the room of nodes on which pods are bound already.
func roomIn(of rules, nodes []corev1.Node, bound ...corev1.Pod) *room {
	return &room{
		nodes: nodes, of: of,
		bound: func(node string) ([]corev1.Pod, error) {
			var there []corev1.Pod
			for _, pod := range bound {
				if pod.Spec.NodeName == node {
					there = append(there, pod)
				}
			}
			return there, nil
		},
		pins: func(*corev1.Pod) ([]*nodeaffinity.NodeSelector, error) { return nil, nil },
	}
}

// words are the states as tests name them.
var words = map[state]string{
	queued: "queued", next: "next", leaving: "leaving", budget: "budget", failed: "failed", stuck: "stuck",
	single: "single", returning: "returning", foreign: "foreign",
}

// states returns each pod's name and state, in the order of the violations.
func states(found []violation) []string {
	var all []string
	for _, v := range found {
		all = append(all, v.pod.Name+" "+words[v.state])
	}
	return all
}

// decided finds the violations and decides about them.
func decided(t *testing.T, of rules, nodes []corev1.Node, pods []corev1.Pod) []violation {
	t.Helper()
	found := violations(pods, of, byName(nodes), ours())
	if err := decide(found, pods, nil, DefaultPace(), roomIn(of, nodes, pods...)); err != nil {
		t.Fatal(err)
	}
	return found
}

func webAwayOn(node string) []corev1.Pod { return []corev1.Pod{webPod("x", node)} }
