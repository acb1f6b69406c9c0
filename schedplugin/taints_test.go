package schedplugin

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

func TestTaintsWithoutThePolicyPluginAreInTree(t *testing.T) {
	f := newFixture(t, namespace("shop"))
	f.see(offload("shop", v1beta1.Remote), ready("provider-1", "shop"))
	info := framework.NewNodeInfo()
	info.SetNode(virtual("provider-1", "eu"))
	status := f.taints.Filter(f.ctx, framework.NewCycleState(), build.Pod("web").Namespace("shop").Obj(), info)
	if got, want := status.Message(), "node(s) had untolerated taint(s)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTaintsKeepTheRestOfTheInTreePlugin(t *testing.T) {
	f := newFixture(t)
	if got := f.taints.Name(); got != TaintName {
		t.Errorf("Name() = %q, want %q", got, TaintName)
	}
	fragments, status := f.taints.SignPod(f.ctx, build.Pod("web").Tolerate(everywhere()).Obj())
	if !status.IsSuccess() || len(fragments) != 1 || fragments[0].Key != fwk.TolerationsSignerName {
		t.Errorf("SignPod = %v, %v; want the signature of the tolerations", fragments, status)
	}
	soft := build.Node("worker-1")
	soft.Spec.Taints = []corev1.Taint{{Key: "slow", Effect: corev1.TaintEffectPreferNoSchedule}}
	info, state, pod := framework.NewNodeInfo(), framework.NewCycleState(), build.Pod("web").Obj()
	info.SetNode(soft)
	if status := f.taints.PreScore(f.ctx, state, pod, nil); !status.IsSuccess() {
		t.Fatalf("PreScore: %s", status.Message())
	}
	if score, status := f.taints.Score(f.ctx, state, pod, info); score != 1 || !status.IsSuccess() {
		t.Errorf("Score = %d, %v; want one intolerable soft taint", score, status)
	}
	if _, err := newTaints(f.offloading, f.policies, nil); err == nil {
		t.Error("a plugin that is not TaintToleration was wrapped")
	}
}

func TestTaintsThatWake(t *testing.T) {
	f := newFixture(t, namespace("shop"), namespace("ordinary"))
	f.see(offload("shop", v1beta1.Remote), ready("provider-1", "shop"))
	events, err := f.taints.EventsToRegister(f.ctx)
	if err != nil {
		t.Fatal(err)
	}
	// hint answers as the scheduler's queue does: one event that wakes is enough.
	hint := func(pod *corev1.Pod, resource fwk.EventResource, before, after any) fwk.QueueingHint {
		t.Helper()
		for _, event := range events {
			if event.Event.Resource != resource {
				continue
			}
			if got, err := event.QueueingHintFn(f.policies.logger, pod, before, after); err != nil || got == fwk.Queue {
				return fwk.Queue
			}
		}
		return fwk.QueueSkip
	}
	notReady := func(node *corev1.Node) *corev1.Node {
		node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{
			Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule,
		})
		return node
	}
	offloaded := build.Pod("web").Namespace("shop").UID("1").Obj()
	ordinary := build.Pod("web").Namespace("ordinary").UID("2").Obj()
	golden := build.Pod("golden").Namespace("shop").UID("3").NodeSelector("tier", "gold").Obj()
	for name, test := range map[string]struct {
		pod           *corev1.Pod
		before, after *corev1.Node
		want          fwk.QueueingHint
	}{
		"a virtual node becomes ready, for a pod that may go there": {
			offloaded, notReady(virtual("provider-1", "eu")), virtual("provider-1", "eu"), fwk.Queue,
		},
		"a virtual node becomes ready, for a pod that may not": {
			ordinary, notReady(virtual("provider-1", "eu")), virtual("provider-1", "eu"), fwk.QueueSkip,
		},
		"a virtual node becomes ready that is not selected": {
			offloaded, notReady(virtual("provider-1", "us")), virtual("provider-1", "us"), fwk.QueueSkip,
		},
		"a virtual node becomes ready that the pod does not want": {
			golden, notReady(virtual("provider-1", "eu")), virtual("provider-1", "eu"), fwk.QueueSkip,
		},
		"a virtual node becomes unready": {
			offloaded, virtual("provider-1", "eu"), notReady(virtual("provider-1", "eu")), fwk.QueueSkip,
		},
		"a virtual node becomes selected, for a pod that may go there": {
			offloaded, virtual("provider-1", "us"), virtual("provider-1", "eu"), fwk.Queue,
		},
		"a virtual node becomes selected, for a pod that may not": {
			ordinary, virtual("provider-1", "us"), virtual("provider-1", "eu"), fwk.QueueSkip,
		},
		"a virtual node becomes selected whose twin is coming": {
			offloaded, virtual("provider-2", "us"), virtual("provider-2", "eu"), fwk.QueueSkip,
		},
		"an ordinary node becomes ready": {
			ordinary, notReady(build.Node("worker-1")), build.Node("worker-1"), fwk.Queue,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := hint(test.pod, fwk.Node, test.before, test.after); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
	t.Run("the pod itself gets a toleration", func(t *testing.T) {
		if got := hint(offloaded, fwk.Pod, offloaded, tolerant(offloaded)); got != fwk.Queue {
			t.Errorf("got %s, want it queued", got)
		}
	})
	if f.taints.tolerantly(nil) != nil {
		t.Error("an event without a hint, which always wakes, got one")
	}
}
