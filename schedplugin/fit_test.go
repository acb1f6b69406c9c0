package schedplugin

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

const (
	tooLarge = "largest free node has 2 CPUs, the pod asks for 4"
	unfit    = `{"web-1":"2026-11-21T18:00:00Z"}`
)

// telling returns provider-1's Node in region eu, which says what its provider has left.
func telling(largest, unfit string) *corev1.Node {
	node := virtual("provider-1", "eu")
	node.Annotations = map[string]string{}
	if largest != "" {
		node.Annotations[v1beta1.AnnotationLargestFree] = largest
	}
	if unfit != "" {
		node.Annotations[v1beta1.AnnotationUnfit] = unfit
	}
	return node
}

func asking(name, cpu, controller string) *corev1.Pod {
	return build.Pod(name).Namespace("shop").UID(name).Request("cpu", cpu).
		Controller("ReplicaSet", controller, controller).Obj()
}

func TestAPodThatDoesNotFitIsRefusedByWhoeverLooks(t *testing.T) {
	for _, strategy := range []v1beta1.PodOffloadingStrategy{v1beta1.Remote, v1beta1.LocalAndRemote} {
		t.Run(string(strategy), func(t *testing.T) {
			small := telling(`{"cpu":"2"}`, unfit)
			f := newFixture(t, namespace("shop"), small)
			f.see(offload("shop", strategy), ready("provider-1", "shop"))
			for pod, want := range map[*corev1.Pod]string{
				asking("fits", "2", "web-2"):  "",
				asking("large", "4", "web-2"): tooLarge,
				asking("unfit", "1", "web-1"): "no node of the provider took pods of ReplicaSet web-1: none is sent " +
					"there before 2026-11-21T18:00:00Z",
			} {
				if got := f.try(pod).on(small); got != want {
					t.Errorf("%s: got %q, want %q", pod.Name, got, want)
				}
			}
			if got := f.try(asking("large", "4", "web-2")).on(telling("", "")); got != "" {
				t.Errorf("a node that says nothing any more: %q", got)
			}
		})
	}
}

// Both plugins refuse, each some pods, so the hints of both must wake; and both must let sleep whom it does not help.
func TestNewsOfAProvidersRoomWakesExactlyThePodsThatItHelps(t *testing.T) {
	f := newFixture(t, namespace("shop"), namespace("ordinary"), telling(`{"cpu":"2"}`, unfit))
	f.see(offload("shop", v1beta1.LocalAndRemote), ready("provider-1", "shop"))
	large, huge, again := asking("large", "4", "web-2"), asking("huge", "64", "web-2"), asking("again", "1", "web-1")
	golden := large.DeepCopy()
	golden.Spec.NodeSelector = map[string]string{"tier": "gold"}
	stranger := large.DeepCopy()
	stranger.Namespace = "ordinary"
	type pods map[string]fwk.QueueingHint
	for name, test := range map[string]struct {
		before, after *corev1.Node
		want          pods
	}{
		"a larger node is free": {
			telling(`{"cpu":"2"}`, unfit), telling(`{"cpu":"4"}`, unfit), pods{"large": fwk.Queue},
		},
		"nothing is said of size any more": {
			telling(`{"cpu":"2"}`, unfit), telling("", unfit), pods{"large": fwk.Queue, "huge": fwk.Queue},
		},
		"a controller is no longer unfit": {
			telling(`{"cpu":"2"}`, unfit), telling(`{"cpu":"2"}`, ""), pods{"again": fwk.Queue},
		},
		"another one is no longer unfit": {
			telling(`{"cpu":"2"}`, `{"web-1":"2026-11-21T18:00:00Z","x":"2026-11-21T18:00:00Z"}`),
			telling(`{"cpu":"2"}`, unfit), pods{},
		},
		"less is free":                 {telling(`{"cpu":"8"}`, unfit), telling(`{"cpu":"4"}`, unfit), pods{}},
		"more is free, but not enough": {telling(`{"cpu":"1"}`, unfit), telling(`{"cpu":"3"}`, unfit), pods{}},
		"more of what nobody lacks": {
			telling(`{"cpu":"2","memory":"1Gi"}`, unfit), telling(`{"cpu":"2","memory":"2Gi"}`, unfit), pods{},
		},
	} {
		for _, plugin := range []fwk.EnqueueExtensions{f.offloading, f.taints} {
			t.Run(fmt.Sprintf("%s, %T", name, plugin), func(t *testing.T) {
				events, err := plugin.EventsToRegister(f.ctx)
				if err != nil {
					t.Fatal(err)
				}
				got := pods{}
				for _, pod := range []*corev1.Pod{large, huge, again, golden, stranger} {
					if f.hinted(events, pod, test.before, test.after) == fwk.Queue {
						got[pod.Name] = fwk.Queue
					}
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("woken (-want,+got):\n%s", diff)
				}
			})
		}
	}
}

// hinted answers as the scheduler's queue does when annotations of a node change: one hint that wakes is enough.
func (f *fixture) hinted(events []fwk.ClusterEventWithHint, pod *corev1.Pod, before, after *corev1.Node,
) fwk.QueueingHint {
	f.Helper()
	for _, event := range events {
		if event.Event.Resource != fwk.Node || event.Event.ActionType&fwk.UpdateNodeAnnotation == 0 {
			continue
		}
		hint, err := event.QueueingHintFn(f.policies.logger, pod, before, after)
		if err != nil {
			f.Fatal(err)
		}
		if hint == fwk.Queue {
			return hint
		}
	}
	return fwk.QueueSkip
}

func TestPodsAreNotWokenForProvidersThatTheyDoNotFit(t *testing.T) {
	f := newFixture(t, namespace("shop"), telling(`{"cpu":"2"}`, unfit))
	f.see(offload("shop", v1beta1.Remote), asking("fits", "2", "web-2"), asking("large", "4", "web-2"),
		asking("unfit", "1", "web-1"))
	f.woken.take()
	f.policies.putMap(ready("provider-1", "shop"))
	if got, want := f.woken.take(), "shop/fits"; got != want {
		t.Errorf("a twin is ready: woken %q, want %q", got, want)
	}
}

func TestSignaturesTellWhoDoesNotFit(t *testing.T) {
	f := newFixture(t, namespace("shop"), namespace("ordinary"), telling(`{"cpu":"2"}`, unfit))
	f.see(offload("shop", v1beta1.Remote))
	sign := func(pod *corev1.Pod) any {
		t.Helper()
		fragments, status := f.offloading.SignPod(f.ctx, pod)
		if !status.IsSuccess() || len(fragments) == 0 {
			t.Fatalf("SignPod: %v, %v: batches are off", fragments, status)
		}
		return fragments
	}
	stranger := func(name, cpu, controller string) *corev1.Pod {
		pod := asking(name, cpu, controller)
		pod.Namespace = "ordinary"
		return pod
	}
	fits := sign(asking("a", "1", "web-2"))
	for name, test := range map[string]struct {
		other any
		same  bool
	}{
		"another controller, of which nobody speaks": {sign(asking("b", "1", "web-3")), true},
		"other requests, that fit as well":           {sign(asking("b", "2", "web-2")), true},
		"too large":                                  {sign(asking("b", "4", "web-2")), false},
		"unfit":                                      {sign(asking("b", "1", "web-1")), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := cmp.Equal(fits, test.other); got != test.same {
				t.Errorf("alike: %v, want %v: %+v and %+v", got, test.same, fits, test.other)
			}
		})
	}
	if !cmp.Equal(sign(stranger("a", "1", "web-2")), sign(stranger("b", "64", "web-1"))) {
		t.Error("pods of an ordinary namespace are told apart by what providers have left")
	}
	f.see(telling(`{"cpu":"4"}`, unfit))
	if !cmp.Equal(fits, sign(asking("b", "4", "web-2"))) {
		t.Error("a pod signs as too large for a node that says otherwise now")
	}
}

func TestTextsAreReadOnceUntilTheyChange(t *testing.T) {
	r := newRooms()
	small, large := telling(`{"cpu":"2"}`, ""), telling(`{"cpu":"4"}`, "")
	reads := func(node *corev1.Node) bool {
		before := r.known[node.Name]
		r.of(node)
		return !cmp.Equal(before[0].largest, r.known[node.Name][0].largest)
	}
	for _, step := range []struct {
		name string
		node *corev1.Node
		want bool
	}{
		{"the first look", small, true},
		{"another look", small.DeepCopy(), false},
		{"it says something else", large, true},
		{"the node as it was", small, false},
		{"the node as it is", large, false},
		{"a node without annotations", telling("", ""), false},
	} {
		if got := reads(step.node); got != step.want {
			t.Errorf("%s: read %v, want %v", step.name, got, step.want)
		}
	}
	if r.forget("provider-1"); len(r.known) != 0 {
		t.Errorf("remembered of a node that is gone: %v", r.known)
	}
}

// The scheduler's own hints may hear of a node before the plugin does, and let a pod sleep whose twin is not ready.
func TestAPodIsWokenForWhatANodeSaysByNow(t *testing.T) {
	f := newFixture(t, namespace("shop"), telling(`{"cpu":"2"}`, ""))
	f.see(offload("shop", v1beta1.Remote), asking("large", "4", "web-2"))
	if err := f.factory.Core().V1().Nodes().Informer().GetIndexer().Update(telling(`{"cpu":"4"}`, "")); err != nil {
		t.Fatal(err)
	}
	f.woken.take()
	f.policies.putMap(ready("provider-1", "shop"))
	if got, want := f.woken.take(), "shop/large"; got != want {
		t.Errorf("woken %q, want %q", got, want)
	}
}
