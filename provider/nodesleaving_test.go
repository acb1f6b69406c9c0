package provider

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// ofDaemonSet makes a pod one of a DaemonSet.
func ofDaemonSet(pod *corev1.Pod) *corev1.Pod {
	pod.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: "apps/v1", Kind: "DaemonSet", Name: "agents", UID: "1", Controller: ptr.To(true),
	}}
	return pod
}

// dying is a pod that is being deleted.
func dying(pod *corev1.Pod) *corev1.Pod {
	pod.DeletionTimestamp = ptr.To(metav1.Now())
	return pod
}

// placed is a remote pod of a virtual Node.
func placed(name, node string, phase corev1.PodPhase) *corev1.Pod {
	return build.Pod(name).Namespace("shop-a").Label(v1beta1.LabelNodeName, node).Phase(phase).Obj()
}

func TestWhichPodsANodeWaitsFor(t *testing.T) {
	anything := corev1.Toleration{Operator: corev1.TolerationOpExists}
	home := func(name string) *build.PodBuilder { return build.Pod(name).Namespace("shop").Phase(corev1.PodRunning) }
	for name, tc := range map[string]struct {
		home, away []*corev1.Pod
		want       []string
	}{
		"none": {},
		"those that run, once": {
			home: []*corev1.Pod{home("web").Obj()}, away: []*corev1.Pod{placed("web", "vn-1", corev1.PodRunning)},
			want: []string{"shop/web"},
		},
		"not those that are finished": {home: []*corev1.Pod{home("job").Phase(corev1.PodSucceeded).Obj()}},
		"finished ones that are being deleted": {
			home: []*corev1.Pod{dying(home("job").Phase(corev1.PodFailed).Obj())}, want: []string{"shop/job"},
		},
		"remote pods whose home pod is gone": {
			away: []*corev1.Pod{placed("web", "vn-1", corev1.PodRunning)},
			want: []string{"shop-a/web (at the provider)"},
		},
		"remote pods that run on although home holds them for finished": {
			home: []*corev1.Pod{home("web").Phase(corev1.PodFailed).Obj()},
			away: []*corev1.Pod{placed("web", "vn-1", corev1.PodRunning)},
			want: []string{"shop-a/web (at the provider)"},
		},
		"not the remote pods of another Node": {away: []*corev1.Pod{placed("web", "vn-2", corev1.PodRunning)}},
		"not remote pods that are finished":   {away: []*corev1.Pod{placed("web", "vn-1", corev1.PodFailed)}},
		"those of a DaemonSet, which do not come back": {
			home: []*corev1.Pod{ofDaemonSet(home("agent").Obj())}, want: []string{"shop/agent"},
		},
		"not those of a DaemonSet that come back whatever the Node says": {
			home: []*corev1.Pod{ofDaemonSet(home("agent").Tolerate(anything).Obj())},
			away: []*corev1.Pod{placed("agent", "vn-1", corev1.PodRunning)},
		},
		"any other that tolerates everything": {
			home: []*corev1.Pod{home("web").Tolerate(anything).Obj()}, want: []string{"shop/web"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPods(PodsOptions{})
			defer p.queue.ShutDown()
			p.nodes["vn-1"] = &node{name: "vn-1", watch: watchOf(t, tc.home...)}
			p.twins["shop"] = &twin{home: "shop", phase: twinReady, watch: watchOf(t, tc.away...)}
			got, known := p.left("vn-1")
			if diff := cmp.Diff(tc.want, got); diff != "" || !known {
				t.Errorf("known %t (-want,+got):\n%s", known, diff)
			}
		})
	}
}

func TestWhetherANodesPodsAreAllKnown(t *testing.T) {
	complete := func(t *testing.T) *watch { return watchOf(t) }
	for name, tc := range map[string]struct {
		home, away func(*testing.T) *watch
		want       bool
	}{
		"all are":             {complete, complete, true},
		"those at home":       {complete, unsynced, false},
		"those over there":    {unsynced, complete, false},
		"the Node is unknown": {func(*testing.T) *watch { return nil }, complete, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPods(PodsOptions{})
			defer p.queue.ShutDown()
			p.nodes["vn-1"] = &node{name: "vn-1", watch: tc.home(t)}
			p.twins["shop"] = &twin{home: "shop", phase: twinReady, watch: tc.away(t)}
			if _, known := p.left("vn-1"); known != tc.want {
				t.Errorf("known %t", known)
			}
		})
	}
}

func TestHeld(t *testing.T) {
	deleted := metav1.NewTime(time.Unix(1000, 0))
	says := func(status v1beta1.VirtualNodeConditionStatus) []v1beta1.VirtualNodeCondition {
		return []v1beta1.VirtualNodeCondition{
			{Type: v1beta1.NodeCondition, Status: v1beta1.StatusDeleting},
			{Type: v1beta1.VirtualKubeletCondition, Status: status},
		}
	}
	for name, tc := range map[string]struct {
		change func(*v1beta1.VirtualNode)
		want   bool
	}{
		"one that is being deleted, before the controller-manager has spoken": {func(*v1beta1.VirtualNode) {}, true},
		"one that is drained": {func(vn *v1beta1.VirtualNode) {
			vn.Status.Conditions = says(v1beta1.StatusDraining)
		}, true},
		"one that may go": {func(vn *v1beta1.VirtualNode) {
			vn.Status.Conditions = says(v1beta1.StatusDeleting)
		}, false},
		"one that is forced": {func(vn *v1beta1.VirtualNode) {
			vn.Annotations = map[string]string{v1beta1.AnnotationForceRemoval: "true"}
		}, false},
		"one that nobody holds": {func(vn *v1beta1.VirtualNode) {
			vn.Finalizers = []string{"example.com/theirs"}
		}, false},
		"one that stays": {func(vn *v1beta1.VirtualNode) { vn.DeletionTimestamp = nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			vn := build.VirtualNode("vn-1", provider)
			vn.Finalizers, vn.DeletionTimestamp = []string{v1beta1.FinalizerVirtualNode}, &deleted
			tc.change(vn)
			if got := held(vn); got != tc.want {
				t.Errorf("held %t", got)
			}
		})
	}
}

// A binding that is under way while the Node is cordoned has time to show, however often the Node's own events bring us
// back.
func TestANodeStaysClosedForAWhile(t *testing.T) {
	c := clocktesting.NewFakeClock(time.Unix(1000, 0))
	pods := NewPods(PodsOptions{})
	defer pods.queue.ShutDown()
	pods.nodes["vn-1"] = &node{name: "vn-1", watch: watchOf(t)}
	n := &Nodes{Pods: pods, Clock: clock.Clock(c)}
	vn := build.VirtualNode("vn-1", provider)
	at := build.VirtualNodesNode(vn)
	at.UID = "1"
	open := n.remaining(vn, at)
	c.Step(time.Minute)
	at.Spec.Unschedulable = true
	cordoned, again := n.remaining(vn, at), n.remaining(vn, at)
	c.Step(drainPoll)
	got := []string{open, cordoned, again, n.remaining(vn, at)}
	const wait = "waiting for pods that were on their way when the Node was cordoned"
	if diff := cmp.Diff([]string{wait, wait, wait, ""}, got); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
}

func TestTheFormOfALeavingNode(t *testing.T) {
	f := form{vn: build.VirtualNode("vn-1", provider), offer: Offer{OS: "linux"}, leaving: true}
	live := build.VirtualNodesNode(f.vn)
	ours := []string{v1beta1.FinalizerNode}
	if out := f.metadata(live); !*out.Spec.Unschedulable || !slices.Equal(out.Finalizers, ours) {
		t.Errorf("it is %+v, %v", out.Spec, out.Finalizers)
	}
	if diff := cmp.Diff([]corev1.Taint{v1beta1.Taint(), v1beta1.TaintLeaving()}, f.taints(nil, "")); diff != "" {
		t.Errorf("taints (-want,+got):\n%s", diff)
	}
	if _, guessed := f.labels()[corev1.LabelArchStable]; guessed {
		t.Error("an architecture that nobody knows is told")
	}
	live = dyingNode(live)
	if out := f.metadata(live); len(out.Finalizers) > 0 {
		t.Errorf("a Node that is being deleted takes no finalizers: %v", out.Finalizers)
	}
	live.Finalizers = []string{v1beta1.FinalizerNode}
	if out := f.metadata(live); len(out.Finalizers) != 1 {
		t.Error("the finalizer would be taken back")
	}
	f.leaving = false
	if out := f.metadata(live); out.Spec != nil {
		t.Errorf("a cordon is not ours to say: %+v", out.Spec)
	}
	before := taintKeys([]corev1.Taint{v1beta1.Taint(), v1beta1.TaintLeaving()})
	stays := f.taints([]corev1.Taint{v1beta1.Taint(), v1beta1.TaintLeaving()}, before)
	if diff := cmp.Diff([]corev1.Taint{v1beta1.Taint()}, stays); diff != "" {
		t.Errorf("taints of a Node that stays after all (-want,+got):\n%s", diff)
	}
}

func dyingNode(n *corev1.Node) *corev1.Node {
	n.DeletionTimestamp = ptr.To(metav1.Now())
	return n
}

func TestWhatANodeSaysOfItsPods(t *testing.T) {
	f := form{vn: build.VirtualNode("vn-1", provider), free: `{"cpu":"1"}`, crowded: "pod shop/web: exceeded quota: q"}
	ours := taintKeys([]corev1.Taint{v1beta1.Taint()})
	f.vn.Spec.Annotations = map[string]string{"note": "n", annotationTaints: "made up"}
	want := map[string]string{"note": "n", v1beta1.AnnotationLargestFree: `{"cpu":"1"}`, annotationTaints: ours}
	if diff := cmp.Diff(want, f.annotations()); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
	f.vn.Spec.Annotations[v1beta1.AnnotationLargestFree] = `{"cpu":"64"}`
	want[v1beta1.AnnotationLargestFree] = `{"cpu":"64"}`
	if diff := cmp.Diff(want, f.annotations()); diff != "" {
		t.Errorf("a provider that grows on demand (-want,+got):\n%s", diff)
	}
	quota := func() string {
		for _, c := range f.conditions() {
			if c.Type == QuotaPressure {
				return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
			}
		}
		return "absent"
	}
	if got, want := quota(), "True QuotaExceeded: pod shop/web: exceeded quota: q"; got != want {
		t.Errorf("want %s, got %s", want, got)
	}
	f.crowded = ""
	if got, want := quota(), "False QuotaHasRoom: the provider refuses no pod for a quota"; got != want {
		t.Errorf("want %s, got %s", want, got)
	}
}

// Each provider is its own zone, or losing three of five virtual nodes would stop all eviction.
func TestZones(t *testing.T) {
	zone := corev1.LabelTopologyZone
	for name, tc := range map[string]struct {
		vn   *v1beta1.VirtualNode
		want string
	}{
		"of its own":          {build.VirtualNode("vn-1", provider), provider},
		"as declared":         {build.VirtualNode("vn-1", provider, zone, "eu-1a"), "eu-1a"},
		"declared to be none": {build.VirtualNode("vn-1", provider, zone, ""), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := (form{vn: tc.vn}).labels()[zone]; got != tc.want {
				t.Errorf("zone %q, want %q", got, tc.want)
			}
		})
	}
}
