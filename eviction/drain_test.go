package eviction

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/e2e/build"
)

// leavingNode is the cordoned Node b-1, with pods of namespace shop.
func leavingNode(pods ...corev1.Pod) []client.Object {
	node := build.VirtualNodesNode(build.VirtualNode("b-1", "b"))
	node.Spec.Unschedulable = true
	objects := []client.Object{node}
	for _, pod := range pods {
		objects = append(objects, &pod)
	}
	return objects
}

// overBudget is how the API server answers for a PodDisruptionBudget.
func overBudget(words string) error {
	err := apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", 0)
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes,
		metav1.StatusCause{Type: policyv1.DisruptionBudgetCause, Message: words})
	return err
}

func bare(name string) corev1.Pod { return podOf("", "", name, "b-1") }

func TestDrain(t *testing.T) {
	anything := corev1.Toleration{Operator: corev1.TolerationOpExists}
	mirror := func(pod *corev1.Pod) { pod.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} }
	for name, tc := range map[string]struct {
		pods    []corev1.Pod
		refuse  map[string]error
		open    bool // not cordoned
		want    string
		evicted []string
		wantErr bool
	}{
		"an empty node": {},
		"a node without cordon": {
			pods: []corev1.Pod{webPod("a", "b-1")}, open: true, want: "waiting for the agent to cordon Node b-1",
		},
		"an empty node without cordon may get a pod yet": {
			open: true, want: "waiting for the agent to cordon Node b-1",
		},
		"all pods go, those without a controller too": {
			pods: []corev1.Pod{webPod("b", "b-1"), bare("a")}, evicted: []string{"a", "b"},
			want: "waiting for 2 pods to leave; leaving: shop/a, shop/b",
		},
		"pods on other nodes stay": {pods: []corev1.Pod{webPod("a", "c-1")}},
		"what is finished needs no attention": {
			pods: []corev1.Pod{with(webPod("a", "b-1"), func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed })},
		},
		"what leaves is waited for": {
			pods: []corev1.Pod{with(webPod("a", "b-1"), deleted)}, want: "waiting for 1 pods to leave; leaving: shop/a",
		},
		"pods of a DaemonSet go, since the taint keeps them away": {
			pods: []corev1.Pod{podOf("DaemonSet", "agents", "a", "b-1")}, evicted: []string{"a"},
			want: "waiting for 1 pods to leave; leaving: shop/a",
		},
		"but for those that come back whatever the taint": {
			pods: []corev1.Pod{with(podOf("DaemonSet", "agents", "a", "b-1"), func(p *corev1.Pod) {
				p.Spec.Tolerations = []corev1.Toleration{anything}
			}), with(bare("static"), func(p *corev1.Pod) {
				mirror(p)
				p.Spec.Tolerations = []corev1.Toleration{anything}
			})},
		},
		"budgets hold": {
			pods:    []corev1.Pod{webPod("a", "b-1"), webPod("b", "b-1")},
			refuse:  map[string]error{"evict a": overBudget("The disruption budget web needs 2 pods and has 2")},
			evicted: []string{"b"},
			want: "waiting for 2 pods to leave; leaving: shop/b; held by a PodDisruptionBudget: shop/a (The " +
				"disruption budget web needs 2 pods and has 2)",
		},
		"a failure keeps no other pod": {
			pods:    []corev1.Pod{webPod("a", "b-1"), webPod("b", "b-1")},
			refuse:  map[string]error{"evict a": apierrors.NewInternalError(errors.New("down"))},
			evicted: []string{"b"}, wantErr: true,
			want: "waiting for 2 pods to leave; tried again because the eviction failed: shop/a (evict pod a: " +
				"Internal error occurred: down); leaving: shop/b",
		},
		"a pod that is gone meanwhile": {
			pods:   []corev1.Pod{webPod("a", "b-1")},
			refuse: map[string]error{"evict a": apierrors.NewNotFound(corev1.Resource("pods"), "a")},
			want:   "waiting for 1 pods to leave; leaving: shop/a",
		},
	} {
		t.Run(name, func(t *testing.T) {
			objects := leavingNode(tc.pods...)
			objects[0].(*corev1.Node).Spec.Unschedulable = !tc.open
			r, s := newReconciler(t, objects...)
			s.refuse = func(what string) error { return tc.refuse[what] }
			got, err := r.Drain(t.Context(), "b-1")
			if (err != nil) != tc.wantErr {
				t.Errorf("error %v", err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.evicted, s.evicted); diff != "" {
				t.Errorf("evicted (-want,+got):\n%s", diff)
			}
		})
	}
}

func TestDrainOfWhatIsNoVirtualNode(t *testing.T) {
	r, s := newReconciler(t, build.Node("home-1"), &[]corev1.Pod{webPod("a", "home-1")}[0])
	for _, name := range []string{"home-1", "nowhere"} {
		if got, err := r.Drain(t.Context(), name); got != "" || err != nil || len(s.evicted) > 0 {
			t.Errorf("%s: %q, %v, evicted %v", name, got, err, s.evicted)
		}
	}
}

func TestDrainIsToldOnce(t *testing.T) {
	r, s := newReconciler(t, leavingNode(webPod("a", "b-1"))...)
	words := "needs 2 healthy pods"
	s.refuse = func(what string) error {
		if !strings.HasPrefix(what, "evict") || words == "" {
			return nil
		}
		return overBudget(words)
	}
	for _, step := range []struct {
		words string
		want  []string
	}{
		{"needs 2 healthy pods", []string{"Warning VirtualNodeDrainHeld needs 2 healthy pods"}},
		{"needs 2 healthy pods", nil},
		{"needs 3 healthy pods", []string{"Warning VirtualNodeDrainHeld needs 3 healthy pods"}},
		{"", []string{"Normal VirtualNodeDrained virtual node b-1 is on its way out"}},
	} {
		words = step.words
		if _, err := r.Drain(t.Context(), "b-1"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.want, told(r)); diff != "" {
			t.Errorf("told (-want,+got):\n%s", diff)
		}
	}
	if len(r.toldHeld) > 0 {
		t.Errorf("it remembers %v", r.toldHeld)
	}
}

// A node may drain for weeks, and others like it may come and go.
func TestDrainForgetsPodsThatItDoesNotHoldAnyMore(t *testing.T) {
	r, s := newReconciler(t, leavingNode(webPod("a", "b-1"), webPod("b", "b-1"))...)
	clock := clocktesting.NewFakePassiveClock(morning)
	r.Clock = clock
	s.refuse = func(what string) error {
		if !strings.HasPrefix(what, "evict") {
			return nil
		}
		return overBudget("needs 2 pods")
	}
	drain := func(node string) {
		t.Helper()
		if _, err := r.Drain(t.Context(), node); err != nil {
			t.Fatal(err)
		}
	}
	remembered := func() (uids []types.UID) {
		for _, held := range r.toldHeld {
			uids = slices.AppendSeq(uids, maps.Keys(held.told))
		}
		slices.Sort(uids)
		return uids
	}
	drain("b-1")
	if diff := cmp.Diff([]types.UID{"uid-a", "uid-b"}, remembered()); diff != "" {
		t.Fatalf("(-want,+got):\n%s", diff)
	}
	a := webPod("a", "b-1")
	if err := r.Home.Delete(t.Context(), &a); err != nil {
		t.Fatal(err)
	}
	drain("b-1")
	if diff := cmp.Diff([]types.UID{"uid-b"}, remembered()); diff != "" {
		t.Errorf("somebody deleted a pod (-want,+got):\n%s", diff)
	}
	drain("c-1") // another node says nothing of this one's pods
	if diff := cmp.Diff([]types.UID{"uid-b"}, remembered()); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
	clock.SetTime(morning.Add(heldFor))
	drain("c-1")
	if got := remembered(); len(got) > 0 {
		t.Errorf("a node that is not drained any more is remembered: %v", got)
	}
}

func TestDrainKeepsTheLimitOfAllEvictions(t *testing.T) {
	r, s := newReconciler(t, leavingNode(webPod("a", "b-1"), webPod("b", "b-1"), webPod("c", "b-1"))...)
	r.Limit = &nothingLeft{accepted: 2}
	got, err := r.Drain(t.Context(), "b-1")
	if err != nil {
		t.Fatal(err)
	}
	want := "waiting for 3 pods to leave; leaving: shop/a, shop/b; waiting for their turn: shop/c"
	if diff := cmp.Diff(want, got); diff != "" || len(s.evicted) != 2 {
		t.Errorf("evicted %v (-want,+got):\n%s", s.evicted, diff)
	}
}

func TestDrainNeedsToReadPods(t *testing.T) {
	r, s := newReconciler(t, leavingNode(webPod("a", "b-1"))...)
	s.refuse = func(what string) error {
		if what == "list pods" {
			return errors.New("down")
		}
		return nil
	}
	if got, err := r.Drain(t.Context(), "b-1"); err == nil || got != "" {
		t.Errorf("%q, %v", got, err)
	}
}
