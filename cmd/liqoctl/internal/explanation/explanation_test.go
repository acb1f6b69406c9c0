package explanation_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/cmd/liqoctl/internal/explanation"
	"github.com/twinspace/twinspace/e2e/build"
)

// shop returns the facts of most cases: two ordinary nodes; provider-1 selected with its twin ready, provider-2
// selected without, provider-3 not selected.
func shop(change ...func(*v1beta1.NamespaceOffloading)) *scene {
	off := build.Offloading("shop").Strategy(v1beta1.Remote).Phase(v1beta1.PhaseInProgress).
		Selector(build.Selector("region", "eu")).Obj()
	for _, f := range change {
		f(off)
	}
	virtual := func(name, region string) corev1.Node {
		return *build.VirtualNodesNode(build.VirtualNode(name, name, "region", region))
	}
	return &scene{&explanation.Facts{
		Namespace: "shop", Labels: map[string]string{v1beta1.LabelSchedulingEnabled: "true"}, Offloading: off,
		Nodes: []corev1.Node{
			*build.Node("worker-2"), virtual("provider-3", "us"), *build.Node("worker-1"), virtual("provider-1", "eu"),
			virtual("provider-2", "eu"),
		},
		Maps: []v1beta1.NamespaceMap{
			*build.Map("provider-1").Has("shop", "shop-home", v1beta1.MappingAccepted).Obj(),
		},
		Classes: map[string]*nodev1.RuntimeClass{v1beta1.RuntimeClass: liqoClass()},
		Unread:  map[explanation.Source]string{},
	}}
}

// scene is facts that a case can change in a word.
type scene struct{ *explanation.Facts }

// only keeps the named nodes.
func (s *scene) only(names ...string) *scene {
	s.Nodes = slices.DeleteFunc(s.Nodes, func(n corev1.Node) bool { return !slices.Contains(names, n.Name) })
	return s
}

// declares adds VirtualNodes of region eu, but provider-3 of us.
func (s *scene) declares(names ...string) *scene {
	for _, name := range names {
		region := map[bool]string{true: "us", false: "eu"}[name == "provider-3"]
		s.VirtualNodes = append(s.VirtualNodes, *build.VirtualNode(name, name, "region", region))
	}
	return s
}

// troubled cordons worker-1, gives worker-2 the taint of virtual nodes, and provider-1 another and no agent.
func (s *scene) troubled() *scene {
	for i := range s.Nodes {
		switch n := &s.Nodes[i]; n.Name {
		case "worker-1":
			n.Spec.Unschedulable = true
			n.Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}}
		case "worker-2":
			n.Spec.Taints = []corev1.Taint{v1beta1.Taint(), {Key: "soft", Effect: corev1.TaintEffectPreferNoSchedule}}
		case "provider-1":
			n.Spec.Taints = append(n.Spec.Taints,
				corev1.Taint{Key: "gpu", Value: "yes", Effect: corev1.TaintEffectNoSchedule})
			n.Status.Conditions[0].Status, n.Status.Conditions[0].Message = corev1.ConditionFalse, "the agent is gone"
		}
	}
	return s
}

// disguised gives a cordoned worker-1 the taint of a cordon with another effect, and provider-1 our taint with another
// value.
func (s *scene) disguised() *scene {
	for i := range s.Nodes {
		switch n := &s.Nodes[i]; n.Name {
		case "worker-1":
			n.Spec.Unschedulable = true
			n.Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoExecute}}
		case "provider-1":
			n.Spec.Taints[0].Value = "another"
		}
	}
	return s
}

// empty has nodes that did not say yet what they have.
func (s *scene) empty() *scene {
	for i := range s.Nodes {
		s.Nodes[i].Status.Allocatable = nil
	}
	return s
}

func (s *scene) cordoned() *scene {
	for i := range s.Nodes {
		s.Nodes[i].Spec.Unschedulable = true
	}
	return s
}

// bare takes the offloading away.
func (s *scene) bare() *scene {
	s.Offloading, s.Labels = nil, nil
	return s
}

// beside has our scheduler run beside another.
func (s *scene) beside() *scene {
	s.Beside = true
	return s
}

// telling has the Node of a provider say what that has left.
func (s *scene) telling(node, largest, unfit string) *scene {
	for i := range s.Nodes {
		if s.Nodes[i].Name == node {
			s.Nodes[i].Annotations = map[string]string{
				v1beta1.AnnotationLargestFree: largest, v1beta1.AnnotationUnfit: unfit,
			}
		}
	}
	return s
}

// without says that there is no such RuntimeClass.
func (s *scene) without(class string) *scene {
	s.Classes[class] = nil
	return s
}

// unread says what may not be read.
func (s *scene) unread(sources ...explanation.Source) *scene {
	for _, source := range sources {
		s.Unread[source] = "you may not read " + string(source)
		switch source {
		case explanation.Nodes:
			s.Nodes = nil
		case explanation.Maps:
			s.Maps = nil
		case explanation.Namespaces:
			s.Labels = nil
		case explanation.Offloadings:
			s.Offloading = nil
		}
	}
	return s
}

func liqoClass() *nodev1.RuntimeClass {
	class := &nodev1.RuntimeClass{Scheduling: &nodev1.Scheduling{
		NodeSelector: map[string]string{v1beta1.LabelNodeType: v1beta1.NodeTypeVirtual},
		Tolerations:  []corev1.Toleration{v1beta1.Toleration()},
	}}
	class.Name = v1beta1.RuntimeClass
	return class
}

func strategy(s v1beta1.PodOffloadingStrategy) func(*v1beta1.NamespaceOffloading) {
	return func(off *v1beta1.NamespaceOffloading) { off.Spec.PodOffloadingStrategy = s }
}

// lines puts verdicts in one line each, as a reader would.
func lines(verdicts []explanation.Verdict) []string {
	var out []string
	for _, v := range verdicts {
		line := fmt.Sprintf("%s: %s", strings.Join(v.Nodes, ","), v.Outcome)
		for _, r := range v.Reasons {
			line += fmt.Sprintf(" | %s: %s", r.Reason, r.Message)
		}
		for _, note := range v.Notes {
			line += " | (" + note + ")"
		}
		out = append(out, line)
	}
	return out
}

const (
	remote      = "StrategyRemote: strategy Remote sends the pods of this namespace to virtual nodes"
	local       = "StrategyLocal: strategy Local keeps the pods of this namespace at home"
	twinWaits   = `TwinNotReady: the twin namespace on cluster "provider-2" is not ready yet`
	notSelected = "ClusterNotSelected: cluster is not selected for this namespace"
	affinity    = "NodeAffinity: node(s) didn't match Pod's node affinity/selector: "
	tooMuch     = "InsufficientResources: Insufficient cpu: the pod requests 33, the node has 32 in all | " +
		"InsufficientResources: Insufficient example.com/gpu: the pod requests 1, the node has 0 in all"
	class   = `RuntimeClass: RuntimeClass "liqo" asks for a virtual node`
	largest = "TooLargeForProvider: largest free node has "
	lately  = "RecentlyUnfit: no node of the provider took pods of ReplicaSet web-5d: none is sent there before " +
		"2026-11-21T18:00:00Z"
)

func onNodes(op corev1.NodeSelectorOperator, names ...string) func(*corev1.PodSpec) {
	return func(s *corev1.PodSpec) {
		term := corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{{
			Key: metav1.ObjectNameField, Operator: op, Values: names,
		}}}
		s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{term},
			},
		}}
	}
}

func TestWhereAPodMayGo(t *testing.T) {
	for name, test := range map[string]struct {
		facts *scene
		pod   *build.PodBuilder
		want  []string
	}{
		"the policy alone": {
			facts: shop(), pod: build.Pod("web"),
			want: []string{
				"provider-1: permitted", "provider-2: waits | " + twinWaits, "provider-3: refused | " + notSelected,
				"worker-1,worker-2: refused | " + remote,
			},
		},
		"the policy and the pod's node selector: both are named": {
			facts: shop(), pod: build.Pod("web").NodeSelector("disk", "ssd"),
			want: []string{
				"provider-1: refused | " + affinity + "nodeSelector disk=ssd",
				"provider-2: refused | " + twinWaits + " | " + affinity + "nodeSelector disk=ssd",
				"provider-3: refused | " + notSelected + " | " + affinity + "nodeSelector disk=ssd",
				"worker-1,worker-2: refused | " + remote + " | " + affinity + "nodeSelector disk=ssd",
			},
		},
		"affinity by the name of a node": {
			facts: shop(strategy(v1beta1.Local)), pod: build.Pod("web").Spec(onNodes("In", "worker-1")),
			want: []string{
				"provider-1: refused | " + local + " | " + affinity + "affinity metadata.name in (worker-1)",
				"provider-2: refused | " + local + " | " + affinity + "affinity metadata.name in (worker-1)",
				"provider-3: refused | " + local + " | " + affinity + "affinity metadata.name in (worker-1)",
				"worker-1: permitted",
				"worker-2: refused | " + affinity + "affinity metadata.name in (worker-1)",
			},
		},
		"an affinity that no scheduler understands": {
			facts: shop(strategy(v1beta1.LocalAndRemote)).only("worker-1"),
			pod:   build.Pod("web").Spec(onNodes("Gt", "1")),
			want: []string{
				"worker-1: refused | " + affinity + "it is invalid: nodeSelectorTerms[0].matchFields[0].operator: " +
					`Unsupported value: "Gt": supported values: "In", "NotIn"`,
			},
		},
		"class liqo, given its selector by admission": {
			facts: shop(strategy(v1beta1.Local)), pod: build.Pod("web").RuntimeClass("liqo"),
			want: []string{
				"provider-1: permitted", "provider-2: waits | " + twinWaits, "provider-3: refused | " + notSelected,
				"worker-1,worker-2: refused | " + class + " | " + affinity + "nodeSelector liqo.io/type=virtual-node",
			},
		},
		"requests of more than a node has": {
			facts: shop(strategy(v1beta1.LocalAndRemote)).only("worker-1", "provider-1"),
			pod:   build.Pod("web").Request("cpu", "33").Request("example.com/gpu", "1").Request("memory", "1Gi"),
			want: []string{
				"provider-1: refused | " + tooMuch, "worker-1: refused | " + tooMuch,
			},
		},
		"limits of more than a node has: who requests nothing requests those": {
			facts: shop(strategy(v1beta1.LocalAndRemote)).only("worker-1"),
			pod: build.Pod("web").Spec(func(s *corev1.PodSpec) {
				s.Containers[0].Resources = corev1.ResourceRequirements{Limits: corev1.ResourceList{
					"cpu": resource.MustParse("33"), "example.com/gpu": resource.MustParse("1"),
				}}
			}),
			want: []string{"worker-1: refused | " + tooMuch},
		},
		"limits of the pod as a whole, of which its containers request a part": {
			facts: shop(strategy(v1beta1.LocalAndRemote)).only("worker-1"),
			pod: build.Pod("web").Request("memory", "1Gi").Spec(func(s *corev1.PodSpec) {
				s.Resources = &corev1.ResourceRequirements{Limits: corev1.ResourceList{
					"cpu": resource.MustParse("33"), "memory": resource.MustParse("1Pi"),
				}}
			}),
			want: []string{
				"worker-1: refused | InsufficientResources: Insufficient cpu: the pod requests 33, the node has 32 " +
					"in all",
			},
		},
		"a node that takes no pods (yet)": {
			facts: shop().only("provider-1").empty(), pod: build.Pod("web"),
			want: []string{
				"provider-1: refused | InsufficientResources: Too many pods: the node takes none at all",
			},
		},
		"what providers have left": {
			facts: shop().only("provider-1", "provider-2").telling("provider-1", `{"cpu":"2"}`, "{}").
				telling("provider-2", `{"cpu":"3"}`, `{"1":"2026-11-21T18:00:00Z"}`),
			pod: build.Pod("web").Request("cpu", "4").Controller("ReplicaSet", "web-5d", "1"),
			want: []string{
				"provider-1: refused | " + largest + "2 CPUs, the pod asks for 4",
				"provider-2: refused | " + twinWaits + " | " + largest + "3 CPUs, the pod asks for 4 | " + lately,
			},
		},
		"a controller whose pods a provider did not take lately": {
			facts: shop().only("provider-1").telling("provider-1", "", `{"1":"2026-11-21T18:00:00Z"}`),
			pod:   build.Pod("web").Controller("ReplicaSet", "web-5d", "1"),
			want:  []string{"provider-1: waits | " + lately},
		},
		"a node that is named": {
			facts: shop(strategy(v1beta1.LocalAndRemote)).only("worker-1", "worker-2"),
			pod:   build.Pod("web").Node("worker-2"),
			want: []string{
				"worker-1: refused | NodeName: node(s) didn't match the requested node name: worker-2",
				"worker-2: permitted",
			},
		},
		"a toleration of everything does not override the policy": {
			facts: shop(strategy(v1beta1.Local)).only("provider-1", "worker-1"),
			pod:   build.Pod("web").Tolerate(corev1.Toleration{Operator: corev1.TolerationOpExists}),
			want:  []string{"provider-1: refused | " + local, "worker-1: permitted"},
		},
		"cordons and taints": {
			facts: shop(strategy(v1beta1.LocalAndRemote)).only("provider-1", "worker-1", "worker-2").troubled(),
			pod:   build.Pod("web"),
			want: []string{
				"provider-1: refused | UntoleratedTaint: node(s) had untolerated taint(s): gpu=yes:NoSchedule | " +
					"(the node is not ready: the agent is gone)",
				"worker-1: refused | NodeUnschedulable: node(s) were unschedulable: kubectl uncordon worker-1 ends " +
					"that",
				"worker-2: refused | UntoleratedTaint: node(s) had untolerated taint(s): " +
					"virtual-node.liqo.io/not-allowed=true:NoExecute",
			},
		},
		"taints that only look like those of a cordon and of a virtual node": {
			facts: shop(strategy(v1beta1.LocalAndRemote)).only("provider-1", "worker-1").disguised(),
			pod:   build.Pod("web"),
			want: []string{
				"provider-1: refused | UntoleratedTaint: node(s) had untolerated taint(s): " +
					"virtual-node.liqo.io/not-allowed=another:NoExecute",
				"worker-1: refused | NodeUnschedulable: node(s) were unschedulable: kubectl uncordon worker-1 ends " +
					"that | UntoleratedTaint: node(s) had untolerated taint(s): " +
					"node.kubernetes.io/unschedulable:NoExecute",
			},
		},
		"cordons and taints that the pod tolerates": {
			facts: shop(strategy(v1beta1.LocalAndRemote)).only("provider-1", "worker-1", "worker-2").troubled(),
			pod: build.Pod("web").Tolerate(corev1.Toleration{Key: "gpu", Operator: corev1.TolerationOpExists}).
				Tolerate(corev1.Toleration{Key: corev1.TaintNodeUnschedulable, Operator: corev1.TolerationOpExists}).
				Tolerate(v1beta1.Toleration()),
			want: []string{
				"provider-1: permitted | (the node is not ready: the agent is gone)", "worker-1,worker-2: permitted",
			},
		},
		"a virtual node whose Node does not exist": {
			facts: shop().only("worker-1").declares("provider-1", "provider-3"), pod: build.Pod("web"),
			want: []string{
				"provider-1: waits | NodeMissing: the node does not exist yet: is the provider's agent running?" +
					" | (not looked at: the pod's own rules, which need the node)",
				"provider-3: refused | " + notSelected +
					" | NodeMissing: the node does not exist yet: is the provider's agent running?" +
					" | (not looked at: the pod's own rules, which need the node)",
				"worker-1: refused | " + remote,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := explanation.OfPod(test.facts.Facts, explanation.Subject{Pod: test.pod.Namespace("shop").Obj()})
			if diff := cmp.Diff(test.want, lines(got.Verdicts)); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}
