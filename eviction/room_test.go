package eviction

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

func TestWhoCouldTakeAPod(t *testing.T) {
	request := func(name corev1.ResourceName, quantity string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{name: resource.MustParse(quantity)}
		}
	}
	dedicated := corev1.Taint{Key: "example.com/dedicated", Effect: corev1.TaintEffectNoSchedule}
	tests := map[string]struct {
		off    *build.OffloadingBuilder // Local unless given
		pod    func(*corev1.Pod)
		node   func(*corev1.Node) // changes home-1, the only other node
		others []corev1.Pod
		want   string // why it cannot; "" when it can
	}{
		"an ordinary node": {},
		"one that the policy does not permit": {
			off:  build.Offloading("shop").Selector(build.Selector("region", "south")).Strategy("Remote"),
			want: "1 × strategy Remote sends the pods of this namespace to virtual nodes",
		},
		"one that another selector of the pod excludes": {
			pod:  func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"disk": "ssd"} },
			want: "1 × the pod's own node selector or affinity does not match",
		},
		"one that the pod's selector picks": {
			pod:  func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"disk": "ssd"} },
			node: func(n *corev1.Node) { n.Labels["disk"] = "ssd" },
		},
		"a provider that has no node so large": {
			off: build.Offloading("shop").Strategy("Remote"),
			pod: request("cpu", "4"),
			node: func(n *corev1.Node) {
				*n = *build.VirtualNodesNode(build.VirtualNode("c-1", "c", "region", "south"))
				n.Annotations = map[string]string{v1beta1.AnnotationLargestFree: `{"cpu":"2"}`}
			},
			want: "1 × largest free node has 2 CPUs, the pod asks for 4",
		},
		"a cordoned one": {
			node: func(n *corev1.Node) { n.Spec.Unschedulable = true }, want: "1 × the node is cordoned",
		},
		"a cordoned one that the pod tolerates": {
			node: func(n *corev1.Node) { n.Spec.Unschedulable = true },
			pod: func(p *corev1.Pod) {
				p.Spec.Tolerations = []corev1.Toleration{{
					Key: corev1.TaintNodeUnschedulable, Operator: corev1.TolerationOpExists,
				}}
			},
		},
		"one that is off": {
			node: func(n *corev1.Node) { n.Status.Conditions = nil }, want: "1 × the node is not ready",
		},
		"one that does not answer": {
			node: func(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionUnknown },
			want: "1 × the node is not ready",
		},
		"one that is going": {
			node: func(n *corev1.Node) { n.DeletionTimestamp = ptr.To(metav1.NewTime(morning)) },
			want: "1 × the node is being deleted",
		},
		"a tainted one": {
			node: func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{dedicated} },
			want: "1 × the node has taint example.com/dedicated, which the pod does not tolerate",
		},
		"a tainted one that the pod tolerates": {
			node: func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{dedicated} },
			pod: func(p *corev1.Pod) {
				p.Spec.Tolerations = []corev1.Toleration{{Key: dedicated.Key, Operator: corev1.TolerationOpExists}}
			},
		},
		"one whose taint is a preference": {
			node: func(n *corev1.Node) {
				n.Spec.Taints = []corev1.Taint{{Key: dedicated.Key, Effect: corev1.TaintEffectPreferNoSchedule}}
			},
		},
		"a full one": {
			pod:    request(corev1.ResourceCPU, "20"),
			others: []corev1.Pod{with(webPod("big", "home-1"), request(corev1.ResourceCPU, "20"))},
			want:   "1 × not enough cpu is free",
		},
		"one full of what has finished": {
			pod: request(corev1.ResourceCPU, "20"),
			others: []corev1.Pod{with(with(webPod("big", "home-1"), request(corev1.ResourceCPU, "20")),
				func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded })},
		},
		"one that is too small": {pod: request(corev1.ResourceMemory, "65Gi"), want: "1 × not enough memory is free"},
		"one without the device": {
			pod: request("example.com/gpu", "1"), want: "1 × not enough example.com/gpu is free",
		},
		"one with its last place taken": {
			node: func(n *corev1.Node) {
				n.Status.Allocatable = corev1.ResourceList{corev1.ResourcePods: resource.MustParse("1")}
			},
			others: []corev1.Pod{webPod("other", "home-1")},
			want:   "1 × not enough pods is free",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			home := *build.Node("home-1")
			if tc.node != nil {
				tc.node(&home)
			}
			off := tc.off
			if off == nil {
				off = local()
			}
			pod := webPod("web", "b-1")
			if tc.pod != nil {
				tc.pod(&pod)
			}
			got, err := roomIn(rulesOf(off), []corev1.Node{cluster()[0], home}, tc.others...).take(&pod)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

// The taint of virtual nodes keeps nobody away whom the policy permits; other taints there do.
func TestAVirtualNodeTakesPods(t *testing.T) {
	remote := rulesOf(build.Offloading("shop").Strategy("Remote"))
	pod := webPod("web", "home-1")
	node := cluster()[0]
	if why, err := roomIn(remote, []corev1.Node{node}).take(&pod); why != "" || err != nil {
		t.Errorf("%s, %v", why, err)
	}
	node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{Key: "full", Effect: corev1.TaintEffectNoExecute})
	if why, _ := roomIn(remote, []corev1.Node{node}).take(&pod); why != "1 × the node has taint full, which the pod "+
		"does not tolerate" {
		t.Errorf("why it cannot: %q", why)
	}
}

// Somebody else's taint with our key is none that the scheduler tolerates on behalf of the pod.
func TestOurTaintIsOursWithItsValueOnly(t *testing.T) {
	pod, node := webPod("web", "home-1"), cluster()[0]
	node.Spec.Taints = []corev1.Taint{v1beta1.Taint()}
	node.Spec.Taints[0].Value = "another"
	why, err := roomIn(rulesOf(build.Offloading("shop").Strategy("Remote")), []corev1.Node{node}).take(&pod)
	want := "1 × the node has taint " + v1beta1.Taint().Key + ", which the pod does not tolerate"
	if why != want || err != nil {
		t.Errorf("why it cannot: %q, %v", why, err)
	}
}

func TestAVolumeTiesAPodToItsNodes(t *testing.T) {
	there, err := nodeaffinity.NewNodeSelector(&corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{
			Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{"home-2"},
		}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	room := roomIn(rulesOf(local()), cluster()[1:3])
	room.pins = func(*corev1.Pod) ([]*nodeaffinity.NodeSelector, error) {
		return []*nodeaffinity.NodeSelector{there}, nil
	}
	pod := webPod("web", "b-1")
	want := "1 × a volume of the pod cannot be reached from there, " +
		"1 × strategy Local keeps the pods of this namespace at home"
	if why, _ := room.take(&pod); why != want {
		t.Errorf("why it cannot: %q", why)
	}
	room.nodes = cluster()
	if why, _ := room.take(&pod); why != "" {
		t.Errorf("home-2 cannot: %q", why)
	}
}

// Nodes are asked for their pods once, those that cannot be it never.
func TestWhatIsBoundIsReadOnlyWhereItMatters(t *testing.T) {
	nodes := append(cluster(), *build.Node("home-3"))
	room := roomIn(rulesOf(local()), nodes)
	var asked []string
	room.bound = func(node string) ([]corev1.Pod, error) {
		asked = append(asked, node)
		return nil, nil
	}
	for _, name := range []string{"a", "b", "c"} {
		pod := with(webPod(name, "b-1"), func(p *corev1.Pod) {
			p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("16")}
		})
		if why, err := room.take(&pod); why != "" || err != nil {
			t.Fatalf("%s: %s, %v", name, why, err)
		}
	}
	if diff := cmp.Diff([]string{"home-1", "home-2"}, asked); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
}
