package provider

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// amounts is a list of resources in pairs of name and quantity.
func amounts(pairs ...string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for i := 0; i+1 < len(pairs); i += 2 {
		out[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return out
}

func TestLargestFree(t *testing.T) {
	has := func(name string, pairs ...string) *corev1.Node {
		return worker(name, "amd64", func(n *corev1.Node) { n.Status.Allocatable = amounts(pairs...) })
	}
	closed := has("closed", "cpu", "64")
	closed.Spec.Unschedulable = true
	down := has("down", "cpu", "64")
	down.Status.Conditions[0].Status = corev1.ConditionUnknown
	tainted := has("tainted", "cpu", "8")
	tainted.Spec.Taints = []corev1.Taint{{Key: "gpu", Effect: corev1.TaintEffectNoSchedule}}
	for name, tc := range map[string]struct {
		nodes []*corev1.Node
		taken map[string]corev1.ResourceList
		want  string
	}{
		"without nodes there is nothing": {want: `{}`},
		"an empty node is free": {
			nodes: []*corev1.Node{has("a", "cpu", "4", "memory", "8Gi")}, want: `{"cpu":"4","memory":"8Gi"}`,
		},
		"what our pods take is gone": {
			nodes: []*corev1.Node{has("a", "cpu", "4", "memory", "8Gi")},
			taken: map[string]corev1.ResourceList{"a": amounts("cpu", "1500m", "memory", "1Gi")},
			want:  `{"cpu":"2500m","memory":"7Gi"}`,
		},
		"each resource has its own largest node": {
			nodes: []*corev1.Node{has("a", "cpu", "4", "memory", "8Gi"), has("b", "cpu", "2", "memory", "64Gi")},
			want:  `{"cpu":"4","memory":"64Gi"}`,
		},
		"what is taken of one node does not count on another": {
			nodes: []*corev1.Node{has("a", "cpu", "4"), has("b", "cpu", "3")},
			taken: map[string]corev1.ResourceList{"a": amounts("cpu", "3500m")}, want: `{"cpu":"3"}`,
		},
		"a node that is full has nothing, not less": {
			nodes: []*corev1.Node{has("a", "cpu", "1")},
			taken: map[string]corev1.ResourceList{"a": amounts("cpu", "2", "memory", "1Gi")}, want: `{"cpu":"0"}`,
		},
		"pods on a node that is gone take nothing": {
			nodes: []*corev1.Node{has("a", "cpu", "1")},
			taken: map[string]corev1.ResourceList{"b": amounts("cpu", "1")}, want: `{"cpu":"1"}`,
		},
		"nodes that are closed or down have nothing to give": {
			nodes: []*corev1.Node{closed, down, has("a", "cpu", "1")}, want: `{"cpu":"1"}`,
		},
		"a taint may be tolerated": {nodes: []*corev1.Node{tainted, has("a", "cpu", "1")}, want: `{"cpu":"8"}`},
		"how many pods a node takes is not for pods to ask": {
			nodes: []*corev1.Node{has("a", "cpu", "1", "pods", "110")}, want: `{"cpu":"1"}`,
		},
		"what only some nodes have counts": {
			nodes: []*corev1.Node{has("a", "cpu", "1"), has("b", "example.com/gpu", "2")},
			want:  `{"cpu":"1","example.com/gpu":"2"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, freeText(largestFree(tc.nodes, tc.taken))); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

// The order in which nodes come makes no other text: each would be a write.
func TestTheLargestFreeIsStable(t *testing.T) {
	a := worker("a", "amd64", func(n *corev1.Node) { n.Status.Allocatable = amounts("memory", "1Gi") })
	b := worker("b", "amd64", func(n *corev1.Node) { n.Status.Allocatable = amounts("memory", "1073741824") })
	first := freeText(largestFree([]*corev1.Node{a, b}, nil))
	if second := freeText(largestFree([]*corev1.Node{b, a}, nil)); first != second {
		t.Errorf("%s, and %s the other way round", first, second)
	}
}

func TestWhatIsKeptOfARemotePodTellsWhatItTakes(t *testing.T) {
	two := func(s *corev1.PodSpec) {
		s.NodeName = "worker-1"
		s.Containers = append(s.Containers, corev1.Container{Name: "b", Resources: corev1.ResourceRequirements{
			Requests: amounts("cpu", "250m"),
		}})
		s.InitContainers = []corev1.Container{{Name: "first", Resources: corev1.ResourceRequirements{
			Requests: amounts("memory", "2Gi"),
		}}}
		s.Overhead = amounts("cpu", "50m")
	}
	for name, tc := range map[string]struct {
		pod  *corev1.Pod
		want corev1.ResourceList
	}{
		"containers together, the largest init container, the overhead": {
			build.Pod("web").Request("cpu", "100m").Request("memory", "1Gi").Spec(two).Obj(),
			amounts("cpu", "400m", "memory", "2Gi"),
		},
		"what the pod asks for as a whole": {
			build.Pod("web").Request("cpu", "100m").Spec(func(s *corev1.PodSpec) {
				s.Resources = &corev1.ResourceRequirements{Requests: amounts("cpu", "3")}
			}).Obj(),
			amounts("cpu", "3"),
		},
		"nothing": {build.Pod("web").Obj(), nil},
	} {
		t.Run(name, func(t *testing.T) {
			tc.pod.Labels = map[string]string{v1beta1.LabelNodeName: "vn-1", "app": "web"}
			node := tc.pod.Spec.NodeName
			kept, err := onlyStatus(tc.pod)
			if err != nil {
				t.Fatal(err)
			}
			pod := kept.(*corev1.Pod)
			got := ptr.Deref(pod.Spec.Resources, corev1.ResourceRequirements{}).Requests
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
			if pod.Spec.NodeName != node || pod.Labels[v1beta1.LabelNodeName] != "vn-1" ||
				len(pod.Spec.Containers) > 0 {
				t.Errorf("kept is %+v of %v", pod.Spec, pod.Labels)
			}
		})
	}
}

// watchOf is a watch that shows the pods.
func watchOf(t *testing.T, pods ...*corev1.Pod) *watch {
	t.Helper()
	a := newAsked(t, pods...)
	a.synced = true
	return &watch{informer: a}
}

// unsynced is a watch whose first list is not in.
func unsynced(t *testing.T) *watch {
	t.Helper()
	return &watch{informer: newAsked(t)}
}

// placedPod is what is kept of a remote pod.
func placedPod(t *testing.T, name, node, cpus string, phase corev1.PodPhase) *corev1.Pod {
	t.Helper()
	kept, err := onlyStatus(build.Pod(name).Namespace("shop-a").Node(node).Request("cpu", cpus).Phase(phase).Obj())
	if err != nil {
		t.Fatal(err)
	}
	return kept.(*corev1.Pod)
}

func TestTaken(t *testing.T) {
	shop := &twin{home: "shop", phase: twinReady, watch: watchOf(t,
		placedPod(t, "a", "worker-1", "1", corev1.PodRunning), placedPod(t, "b", "worker-1", "500m", corev1.PodPending),
		placedPod(t, "done", "worker-1", "8", corev1.PodSucceeded), placedPod(t, "waits", "", "16", corev1.PodPending),
	)}
	bank := &twin{home: "bank", phase: twinLeaving, watch: watchOf(t,
		placedPod(t, "a", "worker-1", "2", corev1.PodRunning), placedPod(t, "c", "worker-2", "4", corev1.PodRunning),
	)}
	for name, tc := range map[string]struct {
		twins []*twin
		want  map[string]corev1.ResourceList
		known bool
		home  *watch
	}{
		"without twins nothing is taken": {want: map[string]corev1.ResourceList{}, known: true},
		"pods at home that have no remote pod, or a finished one": {
			want: map[string]corev1.ResourceList{}, known: true, home: watchOf(t,
				build.Pod("a").Namespace("shop").UID("1").Phase(corev1.PodPending).Obj(),
				build.Pod("b").Namespace("shop").UID("2").Phase(corev1.PodSucceeded).Obj()),
		},
		"a pod at home in whose twin nobody has looked": {
			want: map[string]corev1.ResourceList{},
			home: watchOf(t, build.Pod("a").Namespace("shop").UID("1").Phase(corev1.PodRunning).Obj()),
		},
		"a Node whose pods are not all read": {want: map[string]corev1.ResourceList{}, home: unsynced(t)},
		"the pods of all twins that are on a node and not finished": {
			twins: []*twin{shop, bank},
			want:  map[string]corev1.ResourceList{"worker-1": amounts("cpu", "3500m"), "worker-2": amounts("cpu", "4")},
			known: true,
		},
		"a twin that is gone has no watch": {
			twins: []*twin{bank, {home: "old", phase: twinGone}},
			want:  map[string]corev1.ResourceList{"worker-1": amounts("cpu", "2"), "worker-2": amounts("cpu", "4")},
			known: true,
		},
		"a twin whose pods are not all read": {
			twins: []*twin{shop, {home: "new", phase: twinReady, watch: unsynced(t)}},
			want:  map[string]corev1.ResourceList{"worker-1": amounts("cpu", "1500m")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPods(PodsOptions{})
			defer p.queue.ShutDown()
			for _, twin := range tc.twins {
				p.twins[twin.home] = twin
			}
			if tc.home != nil {
				p.nodes["vn-1"] = &node{name: "vn-1", watch: tc.home}
			}
			got, known := p.taken()
			if diff := cmp.Diff(tc.want, got); diff != "" || known != tc.known {
				t.Errorf("known %t (-want,+got):\n%s", known, diff)
			}
		})
	}
}

func TestCrowded(t *testing.T) {
	refused := func(name, why string) *corev1.Pod {
		pod := build.Pod(name).Namespace("shop").Phase(corev1.PodPending).Obj()
		pod.Status.Reason, pod.Status.Message = ReasonFailedCreate, why
		return pod
	}
	const words = "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"
	for name, tc := range map[string]struct {
		pods []*corev1.Pod
		want string
	}{
		"nothing is refused": {pods: []*corev1.Pod{build.Pod("web").Namespace("shop").Obj()}},
		"a pod is refused for another reason": {
			pods: []*corev1.Pod{refused("web", "hostPath volumes are not allowed")},
		},
		"a pod speaks of a quota of its own": {pods: []*corev1.Pod{func() *corev1.Pod {
			pod := refused("web", words)
			pod.Status.Reason = "Evicted"
			return pod
		}()}},
		"of several, the first by name": {
			pods: []*corev1.Pod{refused("web-2", words), refused("web-1", words)}, want: "pod shop/web-1: " + words,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, crowded(watchOf(t, tc.pods...))); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
	if got := crowded(nil); got != "" {
		t.Errorf("without a watch %q", got)
	}
}

// An agent that has just started knows of no pods, and not that there are none.
func TestARestartLeavesTheLargestFreeAsItIs(t *testing.T) {
	const said = `{"cpu":"1"}`
	live := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: "vn-1", Annotations: map[string]string{v1beta1.AnnotationLargestFree: said},
	}}
	n := &Nodes{
		Pods: NewPods(PodsOptions{}), Offers: NewOffers(fake.NewClientset(), provider),
		Clock: clocktesting.NewFakeClock(noon),
	}
	defer n.Pods.queue.ShutDown()
	n.Offers.current = &Offer{}
	for name, want := range map[string]string{"before its pods are watched": said, "when they are all read": "{}"} {
		if want != said {
			n.Pods.nodes["vn-1"] = &node{name: "vn-1", watch: watchOf(t)}
		} else {
			delete(n.Pods.nodes, "vn-1")
		}
		if f, _, err := n.form(build.VirtualNode("vn-1", provider), live, false); err != nil || f.free != want {
			t.Errorf("%s: want %s, got %s, %v", name, want, f.free, err)
		}
	}
}
