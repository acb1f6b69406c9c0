package schedplugin

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

var theirs = corev1.Toleration{Key: "theirs", Operator: corev1.TolerationOpExists}

// bound starts an attempt for a pod of an offloaded namespace and binds it to a node.
func (f *fixture) bound(pod *corev1.Pod, node string) *fwk.Status {
	f.Helper()
	if err := f.client.Tracker().Add(pod); err != nil {
		f.Fatal(err)
	}
	return f.offloading.Bind(f.ctx, f.try(pod).state, pod, node)
}

func (f *fixture) patches() []string {
	var all []string
	for _, action := range f.client.Actions() {
		if patch, ok := action.(clienttesting.PatchAction); ok {
			all = append(all, string(patch.GetPatch()))
		}
	}
	return all
}

func offloaded(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t, namespace("shop"), virtual("provider-1", "eu"), build.Node("worker-1"))
	f.see(offload("shop", v1beta1.LocalAndRemote), ready("provider-1", "shop"))
	return f
}

func TestBindLeavesTheBindingToOthers(t *testing.T) {
	ours := v1beta1.Toleration()
	for name, test := range map[string]struct {
		pod  *build.PodBuilder
		node string
		want []corev1.Toleration // that the patch asks for, nil when there is none
	}{
		"to an ordinary node": {
			pod: build.Pod("web").Tolerate(theirs), node: "worker-1",
		},
		"to a virtual node": {
			pod: build.Pod("web").Tolerate(theirs), node: "provider-1", want: []corev1.Toleration{theirs, ours},
		},
		"to a virtual node, without any toleration": {
			pod: build.Pod("web"), node: "provider-1", want: []corev1.Toleration{ours},
		},
		"to a virtual node that the pod tolerates": {
			pod: build.Pod("web").Tolerate(theirs).Tolerate(ours), node: "provider-1",
		},
		"to a virtual node, with a universal toleration": {
			pod: build.Pod("web").Tolerate(everywhere()), node: "provider-1",
		},
		"to a virtual node, with a toleration of another effect": {
			pod: build.Pod("web").Tolerate(corev1.Toleration{
				Key: v1beta1.TaintKey, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule,
			}),
			node: "provider-1",
			want: []corev1.Toleration{
				{Key: v1beta1.TaintKey, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
				ours,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := offloaded(t)
			pod := test.pod.Namespace("shop").UID("u-1").Obj()
			pod.ResourceVersion = "7"
			before := pod.DeepCopy()
			if status := f.bound(pod, test.node); !status.IsSkip() {
				t.Fatalf("got %s: %s; want Skip, so that the next plugin binds", status.Code(), status.Message())
			}
			if diff := cmp.Diff(before, pod); diff != "" {
				t.Errorf("the scheduler's copy of the pod was changed (-want +got):\n%s", diff)
			}
			patches := f.patches()
			if test.want == nil {
				if len(patches) > 0 {
					t.Errorf("the pod was written: %s", patches)
				}
				return
			}
			if len(patches) != 1 {
				t.Fatalf("%d patches, want 1: %s", len(patches), patches)
			}
			type body struct {
				Metadata struct{ UID, ResourceVersion string }
				Spec     struct{ Tolerations []corev1.Toleration }
			}
			var got, want body
			want.Metadata.UID, want.Metadata.ResourceVersion, want.Spec.Tolerations = "u-1", "7", test.want
			if err := json.Unmarshal([]byte(patches[0]), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("patch (-want +got):\n%s", diff)
			}
		})
	}
}

// conflicts makes the next patches fail as they do when somebody else was faster, who also changes the pod.
func (f *fixture) conflicts(times int, change func(*corev1.Pod)) {
	f.client.PrependReactor("patch", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if times--; times < 0 {
			return false, nil, nil
		}
		name := action.(clienttesting.PatchAction).GetName()
		resource := corev1.SchemeGroupVersion.WithResource("pods")
		obj, err := f.client.Tracker().Get(resource, action.GetNamespace(), name)
		if err != nil {
			return true, nil, err
		}
		pod := obj.(*corev1.Pod).DeepCopy()
		pod.ResourceVersion += "0"
		change(pod)
		if err := f.client.Tracker().Update(resource, pod, pod.Namespace); err != nil {
			return true, nil, err
		}
		return true, nil, apierrors.NewConflict(resource.GroupResource(), name, nil)
	})
}

func TestBindAmongOthers(t *testing.T) {
	for name, test := range map[string]struct {
		conflicts   int
		change      func(*corev1.Pod)
		want        string // an error, "" when it goes well
		wantPatches int
	}{
		"somebody adds a toleration meanwhile: both stay": {
			conflicts: 1, wantPatches: 2,
			change: func(pod *corev1.Pod) { pod.Spec.Tolerations = append(pod.Spec.Tolerations, theirs) },
		},
		"somebody adds ours meanwhile: it is there once": {
			conflicts: 1, wantPatches: 1,
			change: func(pod *corev1.Pod) { pod.Spec.Tolerations = append(pod.Spec.Tolerations, v1beta1.Toleration()) },
		},
		"another pod of the name takes its place": {
			conflicts: 1, wantPatches: 1,
			change: func(pod *corev1.Pod) { pod.UID = "u-2" },
			want:   "pod shop/web was replaced by another of its name",
		},
		"somebody never stops": {
			conflicts: 100, wantPatches: 4,
			change: func(*corev1.Pod) {},
			want:   "pod shop/web changed 4 times meanwhile",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := offloaded(t)
			f.conflicts(test.conflicts, test.change)
			pod := build.Pod("web").Namespace("shop").UID("u-1").Obj()
			pod.ResourceVersion = "7"
			status := f.bound(pod, "provider-1")
			if test.want == "" && !status.IsSkip() {
				t.Errorf("got %s: %s", status.Code(), status.Message())
			}
			if test.want != "" && (status.Code() != fwk.Error || !strings.Contains(status.Message(), test.want)) {
				t.Errorf("got %s: %s; want %q", status.Code(), status.Message(), test.want)
			}
			patches := f.patches()
			if len(patches) != test.wantPatches {
				t.Errorf("%d patches, want %d: %s", len(patches), test.wantPatches, patches)
			}
			if test.conflicts == 1 && test.wantPatches == 2 && !strings.Contains(patches[1], theirs.Key) {
				t.Errorf("the second patch forgets what was added meanwhile: %s", patches[1])
			}
		})
	}
}

func TestBindFails(t *testing.T) {
	pod := func() *corev1.Pod { return build.Pod("web").Namespace("shop").Obj() }
	t.Run("when the policy changed, without an error of the scheduler", func(t *testing.T) {
		f := offloaded(t)
		f.live["shop"] = identity{UID: "1", Generation: 2}
		if status := f.bound(pod(), "provider-1"); status.Code() != fwk.Unschedulable || len(f.patches()) > 0 {
			t.Errorf("got %s: %s, patches %s", status.Code(), status.Message(), f.patches())
		}
	})
	t.Run("when the policy does not permit the node that the taint let the pod go to", func(t *testing.T) {
		f := offloaded(t)
		f.see(virtual("provider-2", "us"))
		status := f.bound(pod(), "provider-2")
		if status.Code() != fwk.Error || !strings.Contains(status.Message(), "cluster is not selected") {
			t.Errorf("got %s: %s", status.Code(), status.Message())
		}
		if len(f.patches()) > 0 {
			t.Errorf("the pod tolerates it now: %s", f.patches())
		}
	})
	t.Run("when the node is gone", func(t *testing.T) {
		if status := offloaded(t).bound(pod(), "provider-9"); status.Code() != fwk.Error {
			t.Errorf("got %s: %s", status.Code(), status.Message())
		}
	})
	t.Run("when the pod is gone", func(t *testing.T) {
		f := offloaded(t)
		p := pod()
		if status := f.offloading.Bind(f.ctx, f.try(p).state, p, "provider-1"); status.Code() != fwk.Error {
			t.Errorf("got %s: %s", status.Code(), status.Message())
		}
	})
	t.Run("without PreFilter", func(t *testing.T) {
		f := offloaded(t)
		status := f.offloading.Bind(f.ctx, framework.NewCycleState(), pod(), "worker-1")
		if status.Code() != fwk.Error {
			t.Errorf("got %s: %s", status.Code(), status.Message())
		}
	})
}

func TestAProfileThatBindsPastUsIsNoticed(t *testing.T) {
	f := offloaded(t)
	f.see(namespace("ordinary"))
	pod := build.Pod("web").Namespace("shop").Obj()

	looked := f.try(pod)
	if status := f.bound(pod, "worker-1"); !status.IsSkip() {
		t.Fatal(status.Message())
	}
	f.offloading.Bind(f.ctx, looked.state, pod, "worker-1")
	f.offloading.PostBind(f.ctx, looked.state, pod, "worker-1")
	if got := f.try(pod).on(virtual("provider-1", "eu")); got != "" {
		t.Fatalf("a right profile is taken for a wrong one: %s", got)
	}

	f.offloading.PostBind(f.ctx, f.try(pod).state, pod, "provider-1")
	const want = "the scheduler's configuration must list NamespaceOffloading first under bind"
	if got := f.try(pod).on(virtual("provider-1", "eu")); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := f.try(build.Pod("web").Namespace("ordinary").Obj()).on(build.Node("worker-1")); got != "" {
		t.Errorf("ordinary pods pay for it: %s", got)
	}
}
