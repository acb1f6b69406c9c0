package nodefit_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/schedplugin/placement/nodefit"
)

func cordonTaint(effect corev1.TaintEffect) corev1.Taint {
	return corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: effect}
}

func TestUntolerated(t *testing.T) {
	ours := v1beta1.Taint()
	other := ours
	other.Value = "another"
	dedicated := corev1.Taint{Key: "example.com/dedicated", Value: "db", Effect: corev1.TaintEffectNoSchedule}
	everything := corev1.Toleration{Operator: corev1.TolerationOpExists}
	tests := map[string]struct {
		virtual  bool
		cordoned bool
		taints   []corev1.Taint
		tolerate []corev1.Toleration
		want     []corev1.Taint
	}{
		"a node without taints":                            {},
		"the taint of virtual nodes is a matter of policy": {virtual: true, taints: []corev1.Taint{ours}},
		"with another value it is not ours": {
			virtual: true, taints: []corev1.Taint{other}, want: []corev1.Taint{other},
		},
		"on an ordinary node it is a taint like others": {taints: []corev1.Taint{ours}, want: []corev1.Taint{ours}},
		"all that count are named": {
			virtual: true, taints: []corev1.Taint{dedicated, ours, other}, want: []corev1.Taint{dedicated, other},
		},
		"a preference keeps nobody away": {
			taints: []corev1.Taint{{Key: "soft", Effect: corev1.TaintEffectPreferNoSchedule}},
		},
		"what the pod tolerates": {taints: []corev1.Taint{dedicated, other}, tolerate: []corev1.Toleration{everything}},
		"what it tolerates with another value": {
			taints: []corev1.Taint{dedicated}, want: []corev1.Taint{dedicated},
			tolerate: []corev1.Toleration{{Key: dedicated.Key, Operator: corev1.TolerationOpEqual, Value: "web"}},
		},
		"that of a cordon is told as the cordon": {
			cordoned: true, taints: []corev1.Taint{cordonTaint(corev1.TaintEffectNoSchedule)},
		},
		"one that evicts from a cordoned node is not the cordon's": {
			cordoned: true, taints: []corev1.Taint{cordonTaint(corev1.TaintEffectNoExecute)},
			want: []corev1.Taint{cordonTaint(corev1.TaintEffectNoExecute)},
		},
		"that of a cordon which has ended": {
			taints: []corev1.Taint{cordonTaint(corev1.TaintEffectNoSchedule)},
			want:   []corev1.Taint{cordonTaint(corev1.TaintEffectNoSchedule)},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			node := build.Node("a")
			if tc.virtual {
				node = build.VirtualNodesNode(build.VirtualNode("b", "b"))
			}
			node.Spec.Unschedulable, node.Spec.Taints = tc.cordoned, tc.taints
			pod := build.Pod("web").Obj()
			pod.Spec.Tolerations = tc.tolerate
			if diff := cmp.Diff(tc.want, nodefit.Untolerated(pod, node)); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

func TestCordoned(t *testing.T) {
	tolerant := corev1.Toleration{Key: corev1.TaintNodeUnschedulable, Operator: corev1.TolerationOpExists}
	for name, tc := range map[string]struct {
		unschedulable bool
		tolerate      []corev1.Toleration
		want          bool
	}{
		"a node that takes pods":      {},
		"a cordoned node":             {unschedulable: true, want: true},
		"a pod that goes there still": {unschedulable: true, tolerate: []corev1.Toleration{tolerant}},
	} {
		t.Run(name, func(t *testing.T) {
			node, pod := build.Node("a"), build.Pod("web").Obj()
			node.Spec.Unschedulable, pod.Spec.Tolerations = tc.unschedulable, tc.tolerate
			if got := nodefit.Cordoned(pod, node); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestMatches(t *testing.T) {
	byName := func(op corev1.NodeSelectorOperator, name string) func(*corev1.PodSpec) {
		return func(s *corev1.PodSpec) {
			s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
					NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{{
						Key: metav1.ObjectNameField, Operator: op, Values: []string{name},
					}}}},
				},
			}}
		}
	}
	for name, tc := range map[string]struct {
		pod     *build.PodBuilder
		want    bool
		invalid bool
	}{
		"a pod that asks for nothing":     {pod: build.Pod("web"), want: true},
		"the label that it selects":       {pod: build.Pod("web").NodeSelector("disk", "ssd"), want: true},
		"another value of that label":     {pod: build.Pod("web").NodeSelector("disk", "hdd")},
		"the node that it names":          {pod: build.Pod("web").Spec(byName("In", "a")), want: true},
		"another node than the named one": {pod: build.Pod("web").Spec(byName("In", "b"))},
		"selector and affinity, of which one does not match": {
			pod: build.Pod("web").NodeSelector("disk", "hdd").Spec(byName("In", "a")),
		},
		"nonsense": {pod: build.Pod("web").Spec(byName("Gt", "a")), invalid: true},
	} {
		t.Run(name, func(t *testing.T) {
			node := build.Node("a")
			node.Labels["disk"] = "ssd"
			got, err := nodefit.Matches(tc.pod.Obj(), node)
			if got != tc.want || (err != nil) != tc.invalid {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestLacking(t *testing.T) {
	list := func(pairs ...string) corev1.ResourceList {
		all := corev1.ResourceList{}
		for i := 0; i < len(pairs); i += 2 {
			all[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
		}
		return all
	}
	for name, tc := range map[string]struct {
		there, requests corev1.ResourceList
		want            []corev1.ResourceName
	}{
		"nothing is asked for":             {there: list("cpu", "1")},
		"just enough":                      {there: list("cpu", "1"), requests: list("cpu", "1000m")},
		"too little":                       {there: list("cpu", "1"), requests: list("cpu", "1.1"), want: names("cpu")},
		"what the node does not have":      {requests: list("example.com/gpu", "1"), want: names("example.com/gpu")},
		"none of what it does not have":    {requests: list("example.com/gpu", "0")},
		"none of what is overbooked":       {there: list("cpu", "-1"), requests: list("cpu", "0")},
		"several, always in the one order": {requests: list("memory", "1", "cpu", "1"), want: names("cpu", "memory")},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, nodefit.Lacking(tc.there, tc.requests)); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

func names(all ...corev1.ResourceName) []corev1.ResourceName { return all }

func TestBelongsToNode(t *testing.T) {
	owned := func(kind string, controls bool) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.OwnerReferences = []metav1.OwnerReference{{Kind: kind, Name: "x", Controller: &controls}}
		}
	}
	for name, tc := range map[string]struct {
		change func(*corev1.Pod)
		want   bool
	}{
		"a pod of nobody's":                      {change: func(*corev1.Pod) {}},
		"a ReplicaSet's":                         {change: owned("ReplicaSet", true)},
		"a DaemonSet's":                          {change: owned("DaemonSet", true), want: true},
		"a kubelet's own":                        {change: owned("Node", true), want: true},
		"one that a DaemonSet only lays hold on": {change: owned("DaemonSet", false)},
		"the mirror of a static pod": {want: true, change: func(p *corev1.Pod) {
			p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "hash"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			pod := build.Pod("web").Obj()
			tc.change(pod)
			if got := nodefit.BelongsToNode(pod); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
