package explanation_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/cmd/liqoctl/internal/explanation"
)

func TestThePolicyInForce(t *testing.T) {
	for name, test := range map[string]struct {
		facts *scene
		want  explanation.Policy
	}{
		"none": {facts: shop().bare()},
		"one that may not be read": {
			facts: shop().unread(explanation.Offloadings),
			want:  explanation.Policy{Unknown: "you may not read namespaceoffloadings"},
		},
		"defaults": {
			facts: shop(func(off *v1beta1.NamespaceOffloading) { off.Spec = v1beta1.NamespaceOffloadingSpec{} }),
			want: explanation.Policy{
				Offloaded: true, Phase: "InProgress", Strategy: "LocalAndRemote", Selector: "every virtual node",
				Spread: "the scheduler's default", Eviction: "Never",
			},
		},
		"everything": {
			facts: shop(func(off *v1beta1.NamespaceOffloading) {
				off.Spec.Spread = &v1beta1.Spread{Policy: v1beta1.SpreadWeighted, WeightLabel: "cost"}
				off.Spec.PodEvictionStrategy = v1beta1.EvictOnPolicyChange
				off.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
				off.Spec.ClusterSelector = &v1beta1.ClusterSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
					{MatchExpressions: []corev1.NodeSelectorRequirement{
						{Key: "a", Operator: "In", Values: []string{"b", "c"}}, {Key: "d", Operator: "Exists"},
						{Key: "e", Operator: "NotIn", Values: []string{"f"}},
					}},
					{MatchExpressions: []corev1.NodeSelectorRequirement{
						{Key: "g", Operator: "Gt", Values: []string{"1"}}, {Key: "h", Operator: "DoesNotExist"},
						{Key: "i", Operator: "Lt", Values: []string{"2"}},
					}},
					{},
				}}
			}),
			want: explanation.Policy{
				Offloaded: true, Phase: "Terminating", Strategy: "Remote",
				Selector: "a in (b, c) and d exists and e not in (f), or g > 1 and h does not exist and i < 2, or " +
					"nothing",
				Spread: "Weighted by label cost", Eviction: "OnPolicyChange",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := explanation.OfNamespace(test.facts.Facts, "").Policy
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}
