package placement_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/schedplugin/placement"
)

func TestSelects(t *testing.T) {
	in := func(key string, values ...string) corev1.NodeSelectorRequirement {
		return corev1.NodeSelectorRequirement{Key: key, Operator: corev1.NodeSelectorOpIn, Values: values}
	}
	labelled := func(r ...corev1.NodeSelectorRequirement) corev1.NodeSelectorTerm {
		return corev1.NodeSelectorTerm{MatchExpressions: r}
	}
	called := func(r ...corev1.NodeSelectorRequirement) corev1.NodeSelectorTerm {
		return corev1.NodeSelectorTerm{MatchFields: r}
	}
	selector := func(terms ...corev1.NodeSelectorTerm) *v1beta1.ClusterSelector {
		return &v1beta1.ClusterSelector{NodeSelectorTerms: terms}
	}
	const region, zone = corev1.LabelTopologyRegion, corev1.LabelTopologyZone
	node := build.VirtualNodesNode(
		build.VirtualNode("provider-1", "provider-1", region, "eu", zone, "eu-1", "cost", "7"),
	)
	for name, test := range map[string]struct {
		selector *v1beta1.ClusterSelector
		want     bool
		wantErr  bool
	}{
		"absent: every virtual node":        {selector: nil, want: true},
		"without terms: every virtual node": {selector: selector(), want: true},
		"the default":                       {selector: build.Selector("liqo.io/type", "virtual-node"), want: true},
		"one empty term matches nothing":    {selector: selector(corev1.NodeSelectorTerm{}), want: false},
		"label matches":                     {selector: selector(labelled(in(region, "eu", "us"))), want: true},
		"label differs":                     {selector: selector(labelled(in(region, "us"))), want: false},
		"expressions of a term are ANDed": {
			selector: selector(labelled(in(region, "eu"), in(zone, "eu-2"))),
			want:     false,
		},
		"terms are ORed": {
			selector: selector(labelled(in(region, "us")), labelled(in(zone, "eu-1"))),
			want:     true,
		},
		"an empty term beside a match": {
			selector: selector(corev1.NodeSelectorTerm{}, labelled(in(zone, "eu-1"))),
			want:     true,
		},
		"by name": {
			selector: selector(called(in(metav1.ObjectNameField, "provider-1"))),
			want:     true,
		},
		"by another name": {
			selector: selector(called(in(metav1.ObjectNameField, "provider-2"))),
			want:     false,
		},
		"names are ORed in terms of their own": {
			selector: selector(
				called(in(metav1.ObjectNameField, "provider-2")), called(in(metav1.ObjectNameField, "provider-1")),
			),
			want: true,
		},
		"name and label of one term are ANDed": {
			selector: selector(corev1.NodeSelectorTerm{
				MatchExpressions: []corev1.NodeSelectorRequirement{in(region, "us")},
				MatchFields:      []corev1.NodeSelectorRequirement{in(metav1.ObjectNameField, "provider-1")},
			}),
			want: false,
		},
		"not in": {
			selector: selector(labelled(corev1.NodeSelectorRequirement{
				Key: region, Operator: corev1.NodeSelectorOpNotIn, Values: []string{"us"},
			})),
			want: true,
		},
		"does not exist": {
			selector: selector(labelled(corev1.NodeSelectorRequirement{
				Key: "gpu", Operator: corev1.NodeSelectorOpDoesNotExist,
			})),
			want: true,
		},
		"greater than": {
			selector: selector(labelled(corev1.NodeSelectorRequirement{
				Key: "cost", Operator: corev1.NodeSelectorOpGt, Values: []string{"6"},
			})),
			want: true,
		},
		"unknown operator": {
			selector: selector(labelled(corev1.NodeSelectorRequirement{Key: region, Operator: "Equals"})),
			wantErr:  true,
		},
		"In without values": {selector: selector(labelled(in(region))), wantErr: true},
		"one bad term spoils the selector, or a typing error would move pods": {
			selector: selector(labelled(in(region, "eu")), labelled(in("not a key", "x"))), wantErr: true,
		},
		"several names in one expression": {
			selector: selector(called(in(metav1.ObjectNameField, "provider-1", "provider-2"))), wantErr: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			policy := placement.Compile(build.Offloading("shop").Selector(test.selector).Obj())
			if got := policy.Selects(node); got != test.want {
				t.Errorf("Selects() = %v, want %v", got, test.want)
			}
			if err := policy.SelectorError(); (err != nil) != test.wantErr {
				t.Errorf("SelectorError() = %v, want an error: %v", err, test.wantErr)
			}
		})
	}
}

func TestANamespaceWithoutOffloadingSelectsNothing(t *testing.T) {
	policy := placement.Compile(nil)
	if policy.Selects(build.VirtualNodesNode(build.VirtualNode("provider-1", "provider-1"))) {
		t.Error("a namespace without NamespaceOffloading selects a cluster")
	}
}

func TestProcessedIsSeenByPhaseOrGeneration(t *testing.T) {
	byGeneration := build.Offloading("shop").Obj()
	byGeneration.Status.ObservedGeneration = 1
	for name, off := range map[string]*v1beta1.NamespaceOffloading{
		"phase, as older controllers write": build.Offloading("shop").Phase(v1beta1.PhaseReady).Obj(),
		"observed generation":               byGeneration,
	} {
		t.Run(name, func(t *testing.T) {
			if !placement.Compile(off).Processed() {
				t.Error("it counts as not processed")
			}
			rule := placement.Decide(placement.Facts{Labels: announced, Policy: placement.Compile(off)})
			if v := rule.On(nodes["ordinary node"]); v.Outcome != placement.Permitted {
				t.Errorf("got %+v, want permitted: the offloading was processed", v)
			}
		})
	}
}

func TestRuntimeClass(t *testing.T) {
	if got := placement.RuntimeClass(build.Pod("web").Obj()); got != "" {
		t.Errorf("got %q of a pod without RuntimeClass", got)
	}
	if got := placement.RuntimeClass(build.Pod("web").RuntimeClass("liqo").Obj()); got != "liqo" {
		t.Errorf("got %q, want liqo", got)
	}
}

func BenchmarkOn(b *testing.B) {
	rule := placement.Decide(placement.Facts{
		Policy: placement.Compile(offloading(v1beta1.LocalAndRemote).Obj()), Twin: twins,
	})
	for name, node := range nodes {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				rule.On(node)
			}
		})
	}
}
