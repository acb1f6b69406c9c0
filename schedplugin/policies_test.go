package schedplugin

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

func TestChangesWakeThePodsThatTheyHelp(t *testing.T) {
	both := "shop/classy shop/web"
	deleting := func(off *v1beta1.NamespaceOffloading) *v1beta1.NamespaceOffloading {
		off.DeletionTimestamp = &metav1.Time{}
		return off
	}
	us := func(off *v1beta1.NamespaceOffloading) *v1beta1.NamespaceOffloading {
		off.Spec.ClusterSelector = build.Selector(corev1.LabelTopologyRegion, "us")
		return off
	}
	for name, test := range map[string]struct {
		before func(*fixture)
		change func(*fixture)
		want   string
	}{
		"the namespace is offloaded, twin ready before": {
			before: func(f *fixture) { f.see(ready("provider-1", "shop")) },
			change: func(f *fixture) { f.policies.putOffloading(offload("shop", v1beta1.Remote)) },
			want:   both,
		},
		"the namespace is offloaded, no twin yet: there is nowhere to go": {
			change: func(f *fixture) { f.policies.putOffloading(offload("shop", v1beta1.Remote)) },
		},
		"the namespace is offloaded with Local: only the class opens something": {
			before: func(f *fixture) { f.see(ready("provider-1", "shop")) },
			change: func(f *fixture) { f.policies.putOffloading(offload("shop", v1beta1.Local)) },
			want:   "shop/classy",
		},
		"a twin becomes ready": {
			before: func(f *fixture) { f.see(offload("shop", v1beta1.LocalAndRemote)) },
			change: func(f *fixture) { f.policies.putMap(ready("provider-1", "shop")) },
			want:   both,
		},
		"a twin becomes ready, with Local": {
			before: func(f *fixture) { f.see(offload("shop", v1beta1.Local)) },
			change: func(f *fixture) { f.policies.putMap(ready("provider-1", "shop")) },
			want:   "shop/classy",
		},
		"a twin becomes ready on a cluster that is not selected": {
			before: func(f *fixture) { f.see(offload("shop", v1beta1.Remote)) },
			change: func(f *fixture) { f.policies.putMap(ready("provider-2", "shop")) },
		},
		"a twin of another namespace becomes ready": {
			before: func(f *fixture) { f.see(offload("shop", v1beta1.Remote)) },
			change: func(f *fixture) { f.policies.putMap(ready("provider-1", "mall")) },
		},
		"a twin that was ready is reported again": {
			before: func(f *fixture) { f.see(offload("shop", v1beta1.Remote), ready("provider-1", "shop")) },
			change: func(f *fixture) { f.policies.putMap(ready("provider-1", "shop")) },
		},
		"a twin goes": {
			before: func(f *fixture) { f.see(offload("shop", v1beta1.Remote), ready("provider-1", "shop")) },
			change: func(f *fixture) { f.policies.dropMap(ready("provider-1", "shop")) },
		},
		"a twin becomes ready in a map outside its tenant namespace": {
			before: func(f *fixture) { f.see(offload("shop", v1beta1.Remote)) },
			change: func(f *fixture) {
				m := ready("provider-1", "shop")
				m.Namespace = "elsewhere"
				f.policies.putMap(m)
			},
		},
		"all maps are read anew and one has a ready twin": {
			before: func(f *fixture) { f.see(offload("shop", v1beta1.Remote)) },
			change: func(f *fixture) { f.policies.replaceMaps([]*v1beta1.NamespaceMap{ready("provider-1", "shop")}) },
			want:   both,
		},
		"Local becomes LocalAndRemote: the class was free before": {
			before: func(f *fixture) { f.see(ready("provider-1", "shop"), offload("shop", v1beta1.Local)) },
			change: func(f *fixture) { f.policies.putOffloading(offload("shop", v1beta1.LocalAndRemote)) },
			want:   "shop/web",
		},
		"Remote becomes Local": {
			before: func(f *fixture) { f.see(ready("provider-1", "shop"), offload("shop", v1beta1.Remote)) },
			change: func(f *fixture) { f.policies.putOffloading(offload("shop", v1beta1.Local)) },
			want:   "shop/web",
		},
		"LocalAndRemote becomes Remote": {
			before: func(f *fixture) { f.see(ready("provider-1", "shop"), offload("shop", v1beta1.LocalAndRemote)) },
			change: func(f *fixture) { f.policies.putOffloading(offload("shop", v1beta1.Remote)) },
		},
		"the selector takes in another cluster": {
			before: func(f *fixture) { f.see(ready("provider-2", "shop"), offload("shop", v1beta1.Remote)) },
			change: func(f *fixture) { f.policies.putOffloading(us(offload("shop", v1beta1.Remote))) },
			want:   both,
		},
		"the offloading is being removed: Remote waits on": {
			before: func(f *fixture) { f.see(ready("provider-1", "shop"), offload("shop", v1beta1.Remote)) },
			change: func(f *fixture) { f.policies.putOffloading(deleting(offload("shop", v1beta1.Remote))) },
		},
		"the offloading is gone": {
			before: func(f *fixture) { f.see(deleting(offload("shop", v1beta1.Remote))) },
			change: func(f *fixture) { f.policies.dropOffloading(deleting(offload("shop", v1beta1.Remote))) },
			want:   "shop/web",
		},
		"all offloadings are read anew and one is gone": {
			before: func(f *fixture) { f.see(offload("shop", v1beta1.Remote)) },
			change: func(f *fixture) { f.policies.replaceOffloadings(nil) },
			want:   "shop/web",
		},
		"a NamespaceOffloading of another name comes and goes": {
			before: func(f *fixture) { f.see(ready("provider-1", "shop")) },
			change: func(f *fixture) {
				off := offload("shop", v1beta1.Remote)
				off.Name = "other"
				f.policies.putOffloading(off)
				f.policies.dropOffloading(off)
			},
		},
		"another namespace is offloaded": {
			before: func(f *fixture) { f.see(ready("provider-1", "mall")) },
			change: func(f *fixture) { f.policies.putOffloading(offload("mall", v1beta1.Remote)) },
			want:   "mall/web",
		},
		"a namespace that the scheduler has not heard of is offloaded": {
			change: func(f *fixture) { f.policies.putOffloading(offload("unheard-of", v1beta1.Remote)) },
		},
		"the namespace is announced": {
			change: func(f *fixture) { f.policies.relabel(namespace("shop"), announced("shop")) },
		},
		"the announcement is taken back": {
			change: func(f *fixture) { f.policies.relabel(announced("shop"), namespace("shop")) },
			want:   "shop/web",
		},
		"the namespace is heard of": {
			change: func(f *fixture) { f.policies.relabel(nil, namespace("shop")) },
			want:   "shop/web",
		},
		"the first answer": {
			before: func(f *fixture) { f.policies.read = false },
			change: func(f *fixture) { f.policies.replaceOffloadings(nil) },
			want:   "mall/web shop/classy shop/web",
		},
		"the answer that there is nothing, again": {
			change: func(f *fixture) { f.policies.noOffloadings() },
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, namespace("shop"), namespace("mall"))
			f.see(
				virtual("provider-1", "eu"), virtual("provider-2", "us"),
				build.Pod("web").Namespace("shop").Obj(),
				build.Pod("classy").Namespace("shop").RuntimeClass("liqo").Obj(),
				build.Pod("bound").Namespace("shop").Node("worker-1").Obj(), build.Pod("web").Namespace("mall").Obj(),
			)
			if test.before != nil {
				test.before(f)
			}
			f.woken.take()
			test.change(f)
			// A pod is woken once or twice, which is the same to the queue.
			if got := f.woken.take(); unique(got) != test.want {
				t.Errorf("woken %q, want %q", got, test.want)
			}
		})
	}
}

func TestNothingIsKnownHalfway(t *testing.T) {
	f := newFixture(t, namespace("shop"), virtual("provider-1", "eu"))
	f.policies.read = false
	pod := build.Pod("web").Namespace("shop").Obj()
	f.see(pod)
	// Whenever the queue hears of it, the pod must meet the policy and not an empty cluster.
	f.policies.queue = queueFunc(func() {
		if rule, _ := f.policies.rule(pod); rule.HomeOnly() {
			t.Error("a pod was woken while NamespaceOffloadings counted as read and were not there")
		}
	})
	f.policies.replaceOffloadings([]*v1beta1.NamespaceOffloading{offload("shop", v1beta1.Remote)})
}

func TestRemovedMapsAreForgottenOnARelist(t *testing.T) {
	f := newFixture(t, namespace("shop"), virtual("provider-1", "eu"), virtual("provider-2", "eu"))
	f.see(offload("shop", v1beta1.Remote), ready("provider-1", "shop"), ready("provider-2", "shop"))
	f.policies.replaceMaps([]*v1beta1.NamespaceMap{ready("provider-2", "shop")})
	a := f.try(build.Pod("web").Namespace("shop").Obj())
	if got := a.on(virtual("provider-2", "eu")); got != "" {
		t.Errorf("the twin that is still there: %s", got)
	}
	if got := a.on(virtual("provider-1", "eu")); got == "" {
		t.Error("a twin counts as ready though its map is gone")
	}
}

func TestAnAttemptKeepsTheTwinsThatItStartedWith(t *testing.T) {
	f := newFixture(t, namespace("shop"), virtual("provider-1", "eu"))
	f.see(offload("shop", v1beta1.Remote), ready("provider-1", "shop"))
	a := f.try(build.Pod("web").Namespace("shop").Obj())
	f.policies.dropMap(ready("provider-1", "shop"))
	if got := a.on(virtual("provider-1", "eu")); got != "" {
		t.Errorf("the verdict changed in the middle of an attempt: %s", got)
	}
}

func TestBareVirtualNodesAreNoticed(t *testing.T) {
	bare := func(name string) *corev1.Node {
		node := virtual(name, "eu")
		node.Spec.Taints = nil
		return node
	}
	weak := virtual("provider-1", "eu")
	weak.Spec.Taints[0].Effect = corev1.TaintEffectNoSchedule
	unlabelled := bare("provider-1")
	delete(unlabelled.Labels, v1beta1.LabelNodeType)
	for name, test := range map[string]struct {
		change func(*policies)
		want   bool
	}{
		"a node with its taint":      {func(p *policies) { p.putNode(virtual("provider-1", "eu")) }, false},
		"a node without":             {func(p *policies) { p.putNode(bare("provider-1")) }, true},
		"a node with a weaker taint": {func(p *policies) { p.putNode(weak) }, true},
		"an ordinary node":           {func(p *policies) { p.putNode(build.Node("worker-1")) }, false},
		"a node that gets its taint": {
			func(p *policies) { p.putNode(bare("a")); p.putNode(virtual("a", "eu")) }, false,
		},
		"a node that is gone": {func(p *policies) { p.putNode(bare("a")); p.dropNode("a") }, false},
		"one of two":          {func(p *policies) { p.putNode(bare("a")); p.putNode(virtual("b", "eu")) }, true},
		"a node that was virtual once": {
			func(p *policies) { p.putNode(bare("provider-1")); p.putNode(unlabelled) }, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			test.change(f.policies)
			if got := f.policies.anyBare(); got != test.want {
				t.Errorf("anyBare() = %v, want %v", got, test.want)
			}
		})
	}
}
