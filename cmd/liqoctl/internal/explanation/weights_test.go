package explanation_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/cmd/liqoctl/internal/explanation"
	"github.com/twinspace/twinspace/e2e/build"
)

func TestWeightsThatAreIgnored(t *testing.T) {
	const none = "label cost is ignored, because it is no integer of at least 0, on nodes: "
	for name, test := range map[string]struct {
		spread *v1beta1.Spread
		costs  map[string]string
		want   []string
	}{
		"weights": {
			spread: &v1beta1.Spread{Policy: v1beta1.SpreadWeighted, WeightLabel: "cost"},
			costs:  map[string]string{"worker-1": "0", "provider-1": "12"},
		},
		"words": {
			spread: &v1beta1.Spread{Policy: v1beta1.SpreadWeighted, WeightLabel: "cost"},
			costs:  map[string]string{"worker-1": "1", "provider-1": "low", "provider-2": "-1"},
			want:   []string{none + `provider-1 ("low"), provider-2 ("-1")`},
		},
		"many words": {
			spread: &v1beta1.Spread{Policy: v1beta1.SpreadWeighted, WeightLabel: "cost"},
			costs: map[string]string{
				"worker-1": "a", "worker-2": "b", "provider-1": "c", "provider-2": "d", "provider-3": "e",
			},
			want: []string{none + `provider-1 ("c"), provider-2 ("d"), provider-3 ("e") and 2 more`},
		},
		"words that nobody reads": {
			spread: &v1beta1.Spread{Policy: "Even", WeightLabel: "cost"}, costs: map[string]string{"worker-1": "a"},
		},
		"a namespace without spread": {costs: map[string]string{"worker-1": "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			facts := shop(func(off *v1beta1.NamespaceOffloading) { off.Spec.Spread = test.spread }).Facts
			for i := range facts.Nodes {
				if cost, found := test.costs[facts.Nodes[i].Name]; found {
					facts.Nodes[i].Labels["cost"] = cost
				}
			}
			subject := explanation.Subject{Pod: inShop(build.Pod("a").Obj()), Live: true}
			for what, e := range map[string]*explanation.Explanation{
				"namespace": explanation.OfNamespace(facts, ""),
				"pod":       explanation.OfPod(facts, subject),
			} {
				var got []string
				for _, note := range e.Notes {
					if strings.Contains(note, "is ignored") {
						got = append(got, note)
					}
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("%s (-want,+got):\n%s", what, diff)
				}
			}
		})
	}
}
