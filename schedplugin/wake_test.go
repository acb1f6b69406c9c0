package schedplugin

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

func TestPodsAreNotWokenForNodesThatTheyDoNotWant(t *testing.T) {
	in := func(region string) *corev1.Pod {
		return build.Pod(region).Namespace("shop").NodeSelector(corev1.LabelTopologyRegion, region).Obj()
	}
	unreadable := build.Pod("unreadable").Namespace("shop").Spec(func(s *corev1.PodSpec) {
		s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{
					MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "tier", Operator: "Equals"}},
				}},
			},
		}}
	}).Obj()
	f := newFixture(t, namespace("shop"), virtual("provider-1", "eu"), virtual("provider-2", "us"))
	f.see(offload("shop", v1beta1.Remote), in("eu"), in("us"), unreadable)
	f.woken.take()
	for _, step := range []struct {
		name   string
		change func()
		want   string
	}{
		{
			"a twin is ready on a node that one of them wants",
			func() { f.policies.putMap(ready("provider-1", "shop")) }, "shop/eu shop/unreadable",
		},
		{
			"ordinary nodes are permitted, and nobody looks at each of them",
			func() { f.policies.putOffloading(offload("shop", v1beta1.LocalAndRemote)) },
			"shop/eu shop/unreadable shop/us",
		},
	} {
		step.change()
		if got := unique(f.woken.take()); got != step.want {
			t.Errorf("%s: woken %q, want %q", step.name, got, step.want)
		}
	}
}
