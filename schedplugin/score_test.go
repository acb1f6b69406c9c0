package schedplugin

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

const costLabel = "example.com/cost"

// wishes returns a processed NamespaceOffloading of shop with strategy LocalAndRemote that selects region eu.
func wishes(policy v1beta1.SpreadPolicy, label string) *v1beta1.NamespaceOffloading {
	off := offload("shop", v1beta1.LocalAndRemote)
	off.Spec.Spread = &v1beta1.Spread{Policy: policy, WeightLabel: label}
	return off
}

// shop is a cluster with one ordinary and two virtual nodes, on which namespace shop may run.
func shop(t *testing.T, objs ...client.Object) (*fixture, []*corev1.Node) {
	t.Helper()
	nodes := []*corev1.Node{build.Node("worker-1"), virtual("provider-1", "eu"), virtual("provider-2", "eu")}
	f := newFixture(t, namespace("shop"), namespace("ordinary"), offload("shop", v1beta1.LocalAndRemote),
		ready("provider-1", "shop"), ready("provider-2", "shop"), nodes[0], nodes[1], nodes[2])
	f.see(objs...)
	return f, nodes
}

func pod(name string) *build.PodBuilder {
	return build.Pod(name).Namespace("shop").UID(name).Request(corev1.ResourceCPU, "1")
}

func TestSpreadInTheRuntimeOfKubeScheduler(t *testing.T) {
	tolerant := build.Pod("web").Namespace("ordinary").Tolerate(everywhere()).Obj()
	preferring := func(key, value string) *corev1.Pod { return prefer(pod("web").Obj(), key, value) }
	running := func(namespace, name, node string) client.Object {
		return build.Pod(name).Namespace(namespace).UID(name).Node(node).Obj()
	}
	for name, test := range map[string]struct {
		objs []client.Object
		pod  *corev1.Pod
		want map[string]int64 // nil when the plugin skips
	}{
		"home comes first unless somebody says otherwise": {
			pod:  pod("web").Obj(),
			want: map[string]int64{"worker-1": 200000, "provider-1": 0, "provider-2": 0},
		},
		"a namespace that is not offloaded has nothing to spread": {pod: build.Pod("web").Namespace("ordinary").Obj()},
		"tolerating the taint changes nothing about that":         {pod: tolerant},
		"a pod that asks for virtual nodes has no home to prefer": {pod: pod("web").RuntimeClass("liqo").Obj()},
		"None": {objs: []client.Object{wishes(v1beta1.SpreadNone, "")}, pod: pod("web").Obj()},
		"Even in an empty namespace": {
			objs: []client.Object{wishes(v1beta1.SpreadEven, "")}, pod: pod("web").Obj(),
		},
		"Even counts pods of this namespace only": {
			objs: []client.Object{
				wishes(v1beta1.SpreadEven, ""), running("shop", "a", "provider-1"), running("shop", "b", "provider-1"),
				running("shop", "c", "worker-1"), running("ordinary", "d", "worker-1"),
				running("ordinary", "e", "worker-1"),
			},
			pod:  pod("web").Obj(),
			want: map[string]int64{"worker-1": 100000, "provider-1": 0, "provider-2": 200000},
		},
		"Weighted": {
			objs: []client.Object{
				wishes(v1beta1.SpreadWeighted, costLabel), weigh(build.Node("worker-1"), "3"),
				weigh(virtual("provider-1", "eu"), "1"),
			},
			pod:  pod("web").Obj(),
			want: map[string]int64{"worker-1": 100000, "provider-1": 200000, "provider-2": 0},
		},
		"what the pod prefers goes first": {
			pod:  preferring(v1beta1.LabelRemoteClusterID, "provider-2"),
			want: map[string]int64{"worker-1": 100000, "provider-1": 0, "provider-2": 200000},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, nodes := shop(t, test.objs...)
			for i, node := range nodes { // as labelled by the case
				nodes[i], _ = f.offloading.nodes.Get(node.Name)
			}
			s := f.schedule(f.runtimeOf("replace-default.yaml", nil, nodes...), test.pod)
			if test.want == nil {
				test.want = map[string]int64{}
			}
			if diff := cmp.Diff(test.want, s.ours); diff != "" {
				t.Errorf("weighted scores of this plugin (-want +got):\n%s", diff)
			}
			if skipped := s.state.GetSkipScorePlugins().Has(Name); skipped != (len(test.want) == 0) {
				t.Errorf("Score skipped: %v", skipped)
			}
		})
	}
}

func weigh(node *corev1.Node, cost string) *corev1.Node {
	node.Labels[costLabel] = cost
	return node
}

func prefer(pod *corev1.Pod, key, value string) *corev1.Pod {
	pod.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{
			Weight: 1, Preference: corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{
				{Key: key, Operator: corev1.NodeSelectorOpIn, Values: []string{value}},
			}},
		}},
	}}
	return pod
}

// TestTheWeightOutweighsAllOthers is the arithmetic of DESIGN.md: the least difference that the plugin makes counts
// more than everything that all other plugins together can bring up against it.
func TestTheWeightOutweighsAllOthers(t *testing.T) {
	for _, file := range []string{"replace-default.yaml", "side-by-side.yaml"} {
		t.Run(file, func(t *testing.T) {
			f, nodes := shop(t)
			var ours, others int32
			for _, plugin := range f.runtimeOf(file, nil, nodes...).ListPlugins().Score.Enabled {
				if plugin.Name == Name {
					ours = plugin.Weight
				} else {
					others += plugin.Weight
				}
			}
			if others != 15 {
				t.Errorf("the other plugins weigh %d, not 15 as in DESIGN.md", others)
			}
			const least, most = 1, int32(fwk.MaxNodeScore)
			if ours*least <= others*most {
				t.Errorf("weight %d, want more than %d", ours, others*most)
			}
		})
	}
}

// TestHomeComesFirstAgainstAllOdds lets everything else speak against the ordinary node: it is nearly full, to be
// avoided, without the image, and far from the pod's friends.
func TestHomeComesFirstAgainstAllOdds(t *testing.T) {
	f, nodes := shop(t)
	home, away := nodes[0], nodes[1]
	home.Spec.Taints = []corev1.Taint{{Key: "busy", Effect: corev1.TaintEffectPreferNoSchedule}}
	away.Status.Images = []corev1.ContainerImage{{Names: []string{"registry/app:1"}, SizeBytes: 1 << 30}}
	away.Status.Allocatable[corev1.ResourceCPU] = resource.MustParse("10000")
	friend := pod("friend").Label("app", "web").Node(away.Name).Obj()
	pods := []*corev1.Pod{friend}
	for i := range 31 {
		pods = append(pods, pod(fmt.Sprint("filler-", i)).Label("app", "web").Node(home.Name).Obj())
	}
	labels := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
	web := pod("web").Label("app", "web").Spec(func(s *corev1.PodSpec) {
		s.Containers[0].Image = "registry/app:1"
		s.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
			MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway,
			LabelSelector: labels,
		}}
		s.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{
			PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{
				Weight: 100, PodAffinityTerm: corev1.PodAffinityTerm{
					TopologyKey: v1beta1.LabelNodeType, LabelSelector: labels,
				},
			}},
		}}
	}).Obj()

	s := f.schedule(f.runtimeOf("replace-default.yaml", pods, home, away), web)
	if got := s.best(); got != home.Name {
		t.Errorf("best is %s, scores %v; want home", got, s.totals)
	}
	without := map[string]int64{}
	for node, total := range s.totals {
		without[node] = total - s.ours[node]
	}
	if without[home.Name] >= without[away.Name] {
		t.Errorf("without this plugin the scores are %v; the case proves nothing", without)
	}
	f.see(wishes(v1beta1.SpreadNone, ""))
	if got := f.schedule(f.runtimeOf("replace-default.yaml", pods, home, away), web).best(); got != away.Name {
		t.Errorf("with policy None, best is %s; want the virtual node, which looks emptier", got)
	}
}

// TestEvenCountsPodsThatAreOnTheirWay schedules more pods than the scheduler's cache of pods ever hears of.
func TestEvenCountsPodsThatAreOnTheirWay(t *testing.T) {
	f, nodes := shop(t, wishes(v1beta1.SpreadEven, ""))
	fw := f.runtimeOf("replace-default.yaml", nil, nodes...)
	got := map[string]int{}
	for i := range 99 {
		p := pod(fmt.Sprint("web-", i)).Obj()
		f.see(p)
		got[f.schedule(fw, p).take()]++
	}
	if diff := cmp.Diff(map[string]int{"worker-1": 33, "provider-1": 33, "provider-2": 33}, got); diff != "" {
		t.Errorf("pods by node (-want +got):\n%s", diff)
	}
}

func TestEvenForgetsPodsThatDoNotGoThereAfterAll(t *testing.T) {
	f, nodes := shop(t, wishes(v1beta1.SpreadEven, ""))
	fw := f.runtimeOf("replace-default.yaml", nil, nodes...)
	p := pod("web").Obj()
	f.see(p)
	s := f.schedule(fw, p)
	where := s.take()
	other := pod("other").Obj()
	if got := f.schedule(fw, other).ours[where]; got != 0 {
		t.Errorf("node %s scores %d while a pod is on its way to it", where, got)
	}
	fw.RunReservePluginsUnreserve(f.ctx, s.state, p, where)
	if s := f.schedule(fw, other); len(s.ours) != 0 {
		t.Errorf("scores %v after the only pod was turned back; want no preference", s.ours)
	}
}

func TestReserveCountsOnlyWhatIsSpreadEvenly(t *testing.T) {
	f, nodes := shop(t)
	fw := f.runtimeOf("replace-default.yaml", nil, nodes...)
	for _, p := range []*corev1.Pod{pod("web").Obj(), build.Pod("web").Namespace("ordinary").UID("o").Obj()} {
		f.schedule(fw, p).take()
	}
	if n := len(f.offloading.counts.expected); n != 0 {
		t.Errorf("%d pods are remembered that nobody counts", n)
	}
}

func TestTheConfigurationSpeaksForNamespacesThatDoNot(t *testing.T) {
	f, nodes := shop(t)
	f.offloading.args.Spread = v1beta1.Spread{Policy: v1beta1.SpreadWeighted, WeightLabel: costLabel}
	weigh(nodes[0], "2")
	weigh(nodes[1], "1")
	fw := f.runtimeOf("replace-default.yaml", nil, nodes...)
	if got := f.schedule(fw, pod("web").Obj()).best(); got != "provider-1" {
		t.Errorf("best is %s, want the cheapest", got)
	}
	f.see(wishes(v1beta1.SpreadPreferHome, ""))
	if got := f.schedule(fw, pod("web").Obj()).best(); got != "worker-1" {
		t.Errorf("best is %s, want home as the namespace wishes", got)
	}
}

// TestBatchesAreOfPodsThatChooseAlike: the scheduler takes pods with equal signatures for interchangeable.
func TestBatchesAreOfPodsThatChooseAlike(t *testing.T) {
	sign := func(f *fixture, pod *corev1.Pod) string {
		fragments, status := f.offloading.SignPod(f.ctx, pod)
		if !status.IsSuccess() {
			if status.Code() == fwk.Error {
				t.Errorf("signing failed: %v", status.AsError())
			}
			return ""
		}
		return fmt.Sprintf("%+v", fragments)
	}
	f, _ := shop(t)
	home := sign(f, pod("web").Obj())
	if home == "" || home != sign(f, pod("web-2").Obj()) {
		t.Error("pods of one namespace with policy PreferHome sign differently, or not at all")
	}
	if home == sign(f, prefer(pod("web-3").Obj(), "a", "b")) {
		t.Error("a pod that prefers nodes signs like one that does not")
	}
	seen := map[string]string{home: "PreferHome"}
	for name, off := range map[string]*v1beta1.NamespaceOffloading{
		"None": wishes(v1beta1.SpreadNone, ""), "Weighted by cost": wishes(v1beta1.SpreadWeighted, costLabel),
		"Weighted by latency": wishes(v1beta1.SpreadWeighted, "example.com/latency"),
	} {
		f, _ := shop(t, off)
		signed := sign(f, pod("web").Obj())
		if other, twice := seen[signed]; signed == "" || twice {
			t.Errorf("%s signs as %q, like %s", name, signed, other)
		}
		seen[signed] = name
	}
	even, _ := shop(t, wishes(v1beta1.SpreadEven, ""))
	if signed := sign(even, pod("web").Obj()); signed != "" {
		t.Errorf("Even signs as %q, though each pod changes the order of nodes for the next", signed)
	}
	if sign(even, build.Pod("web").Namespace("ordinary").Obj()) == "" {
		t.Error("Even in one namespace keeps the pods of others from being batched")
	}
	even.see(offload("ordinary", v1beta1.Local))
	even.offloading.args.Spread.Policy = v1beta1.SpreadEven
	if sign(even, build.Pod("web").Namespace("ordinary").Obj()) == "" {
		t.Error("pods that stay at home are not batched because of how others are spread")
	}
}

func TestPluginsOutOfOrderFailWithASentence(t *testing.T) {
	f, nodes := shop(t)
	info := framework.NewNodeInfo()
	info.SetNode(nodes[0])
	empty := framework.NewCycleState()
	if status := f.offloading.PreScore(f.ctx, empty, pod("web").Obj(), nil); status.Code() != fwk.Error {
		t.Errorf("PreScore without PreFilter: %v", status)
	}
	if status := f.offloading.Reserve(f.ctx, empty, pod("web").Obj(), "worker-1"); status.Code() != fwk.Error {
		t.Errorf("Reserve without PreFilter: %v", status)
	}
	if _, status := f.offloading.Score(f.ctx, empty, pod("web").Obj(), info); status.Code() != fwk.Error ||
		!strings.Contains(status.Message(), "has not run PreScore") {
		t.Errorf("Score without PreScore: %v", status)
	}
	empty.Write(orderKey, &cycle{})
	if _, status := f.offloading.Score(f.ctx, empty, pod("web").Obj(), info); status.Code() != fwk.Error {
		t.Errorf("Score with a foreign state: %v", status)
	}
	broken := prefer(pod("web").Obj(), "not a label!", "x")
	a := f.try(broken)
	if status := f.offloading.PreScore(f.ctx, a.state, broken, nil); status.Code() != fwk.Error ||
		!strings.Contains(status.Message(), "preferred node affinity") {
		t.Errorf("PreScore of a pod whose affinity cannot be read: %v", status)
	}
}

// misreadings returns the events of one attempt after another.
func (f *fixture) misreadings() []string {
	var said []string
	for {
		select {
		case event := <-f.events.Events:
			said = append(said, event)
		default:
			return said
		}
	}
}

func TestTheUserHearsOfLabelsThatAreNoWeights(t *testing.T) {
	nodes := []*corev1.Node{weigh(virtual("provider-1", "eu"), "cheap"), build.Node("worker-1")}
	for i := 2; i < 6; i++ {
		nodes = append(nodes, weigh(build.Node(fmt.Sprint("worker-", i)), "1.5"))
	}
	f, _ := shop(t, wishes(v1beta1.SpreadWeighted, costLabel))
	fw := f.runtimeOf("replace-default.yaml", nil, nodes...)
	f.schedule(fw, pod("web").Obj())
	want := []string{"Warning WeightIgnored label example.com/cost is ignored, because it is no integer of " +
		`at least 0, on nodes: provider-1 ("cheap"), worker-2 ("1.5"), worker-3 ("1.5") and 2 more`}
	if diff := cmp.Diff(want, f.misreadings()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	f.schedule(fw, pod("web-2").Obj())
	if said := f.misreadings(); len(said) != 0 {
		t.Errorf("said again: %q", said)
	}
	weigh(nodes[0], "dear")
	f.schedule(fw, pod("web-3").Obj())
	if said := strings.Join(f.misreadings(), "\n"); !strings.HasSuffix(said, `on nodes: provider-1 ("dear")`) {
		t.Errorf("events %q, want one about the value that is new", said)
	}
}

func TestWhatWasSaidIsNotRememberedForEver(t *testing.T) {
	w := newWarnings(nil)
	for i := range remembered + 10 {
		w.first(misreading{node: fmt.Sprint(i), offloading: types.UID("1")})
	}
	if n := len(w.said); n > remembered {
		t.Errorf("%d events are remembered, want %d at most", n, remembered)
	}
}
