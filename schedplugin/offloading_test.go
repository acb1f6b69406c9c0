package schedplugin

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

func TestFiltering(t *testing.T) {
	other := corev1.Taint{Key: "maintenance", Effect: corev1.TaintEffectNoSchedule}
	tainted := virtual("provider-1", "eu")
	tainted.Spec.Taints = append(tainted.Spec.Taints, other)
	bare := virtual("provider-1", "eu")
	bare.Spec.Taints = nil
	const otherTaint = "node(s) had untolerated taint(s)"

	type want struct {
		Ordinary, Virtual string
		Skip              bool // Filter of the policy plugin costs nothing
	}
	for name, test := range map[string]struct {
		objs []client.Object
		pod  *build.PodBuilder
		node *corev1.Node // the virtual one
		want want
	}{
		"ordinary namespace": {
			pod:  build.Pod("web"),
			want: want{"", "namespace is not offloaded", true},
		},
		"ordinary namespace, universal toleration": {
			pod:  build.Pod("web").Tolerate(everywhere()),
			want: want{"", "namespace is not offloaded", false},
		},
		"ordinary namespace, toleration of our taint": {
			pod:  build.Pod("web").Tolerate(v1beta1.Toleration()),
			want: want{"", "namespace is not offloaded", false},
		},
		"ordinary namespace, virtual node without its taint": {
			pod: build.Pod("web"), node: bare,
			want: want{"", "namespace is not offloaded", false},
		},
		"ordinary namespace, virtual node with another taint": {
			pod: build.Pod("web"), node: tainted,
			want: want{"", "namespace is not offloaded", true},
		},
		"ordinary namespace, class liqo": {
			pod:  build.Pod("web").RuntimeClass("liqo"),
			want: want{"namespace is not offloaded", "namespace is not offloaded", false},
		},
		"Local": {
			objs: []client.Object{offload("shop", v1beta1.Local), ready("provider-1", "shop")},
			pod:  build.Pod("web"),
			want: want{"", "strategy Local keeps the pods of this namespace at home", true},
		},
		"Local, class liqo": {
			objs: []client.Object{offload("shop", v1beta1.Local), ready("provider-1", "shop")},
			pod:  build.Pod("web").RuntimeClass("liqo"),
			want: want{`RuntimeClass "liqo" asks for a virtual node`, "", false},
		},
		"Remote": {
			objs: []client.Object{offload("shop", v1beta1.Remote), ready("provider-1", "shop")},
			pod:  build.Pod("web"),
			want: want{"strategy Remote sends the pods of this namespace to virtual nodes", "", false},
		},
		"LocalAndRemote": {
			objs: []client.Object{offload("shop", v1beta1.LocalAndRemote), ready("provider-1", "shop")},
			pod:  build.Pod("web"),
			want: want{"", "", true},
		},
		"LocalAndRemote, virtual node with another taint": {
			objs: []client.Object{offload("shop", v1beta1.LocalAndRemote), ready("provider-1", "shop")},
			pod:  build.Pod("web"), node: tainted,
			want: want{"", otherTaint, true},
		},
		"LocalAndRemote, virtual node with another taint that is tolerated": {
			objs: []client.Object{offload("shop", v1beta1.LocalAndRemote), ready("provider-1", "shop")},
			pod:  build.Pod("web").Tolerate(corev1.Toleration{Key: "maintenance", Operator: corev1.TolerationOpExists}),
			node: tainted,
			want: want{"", "", true},
		},
		"LocalAndRemote, twin on its way": {
			objs: []client.Object{offload("shop", v1beta1.LocalAndRemote)},
			pod:  build.Pod("web"),
			want: want{"", `the twin namespace on cluster "provider-1" is not ready yet`, true},
		},
		"a map outside its tenant namespace makes no twin ready": {
			objs: []client.Object{offload("shop", v1beta1.LocalAndRemote), func() client.Object {
				m := ready("provider-1", "shop")
				m.Namespace = "shop"
				return m
			}()},
			pod:  build.Pod("web"),
			want: want{"", `the twin namespace on cluster "provider-1" is not ready yet`, true},
		},
		"a NamespaceOffloading of another name says nothing": {
			objs: []client.Object{func() client.Object {
				off := offload("shop", v1beta1.Remote)
				off.Name = "other"
				return off
			}()},
			pod:  build.Pod("web"),
			want: want{"", "namespace is not offloaded", true},
		},
		"not selected": {
			objs: []client.Object{offload("shop", v1beta1.LocalAndRemote), ready("provider-1", "shop")},
			pod:  build.Pod("web"), node: virtual("provider-1", "us"),
			want: want{"", "cluster is not selected for this namespace", true},
		},
		"a namespace that the scheduler has not heard of": {
			pod: build.Pod("web").Namespace("unheard-of"),
			want: want{
				"the scheduler has not seen this namespace yet", "the scheduler has not seen this namespace yet", false,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			node := test.node
			if node == nil {
				node = virtual("provider-1", "eu")
			}
			f := newFixture(t, namespace("shop"), node)
			f.see(test.objs...)
			pod := test.pod.Obj()
			if pod.Namespace == corev1.NamespaceDefault {
				pod.Namespace = "shop"
			}
			a := f.try(pod)
			got := want{Ordinary: a.on(build.Node("worker-1")), Virtual: a.on(node), Skip: a.skip}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("refusals (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNothingIsDecidedBeforeTheFirstAnswer(t *testing.T) {
	f := newFixture(t, namespace("shop"), build.Pod("web").Namespace("shop").Obj())
	f.policies.read = false
	pod := build.Pod("web").Namespace("shop").Obj()
	const unread = "the scheduler has not read the NamespaceOffloadings yet"
	if got := f.try(pod).on(build.Node("worker-1")); got != unread {
		t.Errorf("got %q, want %q", got, unread)
	}
	f.policies.noOffloadings()
	if got := f.woken.take(); got != "shop/web" {
		t.Errorf("woken %q, want the pending pod", got)
	}
	if got := f.try(pod).on(build.Node("worker-1")); got != "" {
		t.Errorf("refused without definitions: %s", got)
	}
}

func TestFilterNeedsPreFilter(t *testing.T) {
	f := newFixture(t)
	info := framework.NewNodeInfo()
	info.SetNode(build.Node("worker-1"))
	status := f.offloading.Filter(f.ctx, framework.NewCycleState(), build.Pod("web").Obj(), info)
	if status.Code() != fwk.Error {
		t.Errorf("got %s, want an error: the profile is wrong", status.Code())
	}
}

func TestCyclesAreSharedByClones(t *testing.T) {
	f := newFixture(t, namespace("shop"), virtual("provider-1", "eu"))
	f.see(offload("shop", v1beta1.Remote), ready("provider-1", "shop"))
	a := f.try(build.Pod("web").Namespace("shop").Obj())
	a.state = a.state.Clone() // as preemption does
	if got := a.on(virtual("provider-1", "eu")); got != "" {
		t.Errorf("refused: %s", got)
	}
	if f.offloading.PreFilterExtensions() != nil {
		t.Error("pods on a node change nothing, so there is nothing to extend")
	}
}

func TestSignatures(t *testing.T) {
	f := newFixture(t, namespace("one"), namespace("two"), namespace("shop"), namespace("mall"), namespace("farm"))
	f.see(offload("shop", v1beta1.Remote), offload("mall", v1beta1.Remote), offload("farm", v1beta1.Local))
	sign := func(pod *build.PodBuilder) any {
		t.Helper()
		fragments, status := f.offloading.SignPod(f.ctx, pod.Obj())
		if !status.IsSuccess() || len(fragments) == 0 {
			t.Fatalf("SignPod: %v, %v: batches are off", fragments, status)
		}
		return fragments
	}
	shop := func() *build.PodBuilder { return build.Pod("b").Namespace("shop") }
	ordinary, remote := sign(build.Pod("a").Namespace("one")), sign(shop())
	for name, test := range map[string]struct {
		a, b any
		same bool
	}{
		"two pods of an ordinary namespace":  {ordinary, sign(build.Pod("b").Namespace("one")), true},
		"pods of two ordinary namespaces":    {ordinary, sign(build.Pod("b").Namespace("two")), true},
		"ordinary and Local":                 {ordinary, sign(build.Pod("b").Namespace("farm")), true},
		"another class":                      {remote, sign(shop().RuntimeClass("gvisor")), true},
		"two pods of an offloaded namespace": {remote, sign(build.Pod("b").Namespace("shop")), true},
		"pods of two offloaded namespaces":   {remote, sign(build.Pod("b").Namespace("mall")), false},
		"ordinary and offloaded":             {ordinary, remote, false},
		"class liqo or not":                  {remote, sign(shop().RuntimeClass("liqo")), false},
		"Local, class liqo or not": {
			sign(build.Pod("a").Namespace("farm")), sign(build.Pod("b").Namespace("farm").RuntimeClass("liqo")), false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := cmp.Equal(test.a, test.b); got != test.same {
				t.Errorf("alike: %v, want %v: %+v and %+v", got, test.same, test.a, test.b)
			}
		})
	}
	edited := offload("shop", v1beta1.Remote)
	edited.Generation++
	f.see(edited)
	if cmp.Equal(remote, sign(build.Pod("b").Namespace("shop"))) {
		t.Error("pods sign alike before and after an edit of their policy")
	}
}

func TestNodesThatWake(t *testing.T) {
	f := newFixture(t, namespace("shop"))
	f.see(offload("shop", v1beta1.Remote), ready("provider-1", "shop"))
	events, err := f.offloading.EventsToRegister(f.ctx)
	if err != nil || len(events) != 4 {
		t.Fatalf("EventsToRegister: %v, %v", events, err)
	}
	events = events[3:] // those before are about volumes
	want := fwk.ClusterEvent{
		Resource:   fwk.Node,
		ActionType: fwk.Add | fwk.UpdateNodeLabel | fwk.UpdateNodeTaint | fwk.UpdateNodeAnnotation,
	}
	if diff := cmp.Diff(want, events[0].Event); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	pod := build.Pod("web").Namespace("shop").Obj()
	golden := build.Pod("golden").Namespace("shop").NodeSelector("tier", "gold").Obj()
	eu, us := virtual("provider-1", "eu"), virtual("provider-1", "us")
	gold := eu.DeepCopy()
	gold.Labels["tier"] = "gold"
	untainted := eu.DeepCopy()
	untainted.Spec.Taints = nil
	for name, test := range map[string]struct {
		pod           *corev1.Pod
		before, after any
		want          fwk.QueueingHint
		wantErr       bool
	}{
		"a permitted node is new":                     {pod, nil, eu, fwk.Queue, false},
		"a node becomes selected":                     {pod, us, eu, fwk.Queue, false},
		"a node was permitted before":                 {pod, eu, eu.DeepCopy(), fwk.QueueSkip, false},
		"a permitted node has other taints":           {pod, eu, untainted, fwk.QueueSkip, false},
		"a node is not selected any more":             {pod, eu, us, fwk.QueueSkip, false},
		"an ordinary node is new":                     {pod, nil, build.Node("worker-1"), fwk.QueueSkip, false},
		"a node is new whose twin is coming":          {pod, nil, virtual("provider-2", "eu"), fwk.QueueSkip, false},
		"a permitted node is new but not wanted":      {golden, nil, eu, fwk.QueueSkip, false},
		"a permitted node becomes what the pod wants": {golden, eu, gold, fwk.Queue, false},
		"what the pod wants becomes selected":         {golden, us, gold, fwk.Queue, false},
		"not a node":                                  {pod, nil, pod, fwk.Queue, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := events[0].QueueingHintFn(f.policies.logger, test.pod, test.before, test.after)
			if got != test.want || (err != nil) != test.wantErr {
				t.Errorf("got %s, %v; want %s, an error: %v", got, err, test.want, test.wantErr)
			}
		})
	}
}
