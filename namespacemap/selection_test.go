package namespacemap

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

func TestSelect(t *testing.T) {
	const region = corev1.LabelTopologyRegion
	in := func(key string, values ...string) corev1.NodeSelectorRequirement {
		return corev1.NodeSelectorRequirement{Key: key, Operator: corev1.NodeSelectorOpIn, Values: values}
	}
	term := func(requirements ...corev1.NodeSelectorRequirement) corev1.NodeSelectorTerm {
		return corev1.NodeSelectorTerm{MatchExpressions: requirements}
	}
	selector := func(terms ...corev1.NodeSelectorTerm) *v1beta1.ClusterSelector {
		return &v1beta1.ClusterSelector{NodeSelectorTerms: terms}
	}
	nodes := Candidates([]v1beta1.VirtualNode{
		*build.VirtualNode("b-1", "b", region, "north", "tier", "gold"),
		*build.VirtualNode("b-2", "b", region, "south"),
		*build.VirtualNode("c-1", "c", region, "south", "tier", "gold", "cores", "64"),
		*build.VirtualNode("d-1", "d"),
	}, nil)

	tests := map[string]struct {
		selector *v1beta1.ClusterSelector
		want     []string
		wantErr  string
	}{
		"none is every virtual node":              {selector: nil, want: []string{"b", "c", "d"}},
		"one without terms is every virtual node": {selector: selector(), want: []string{"b", "c", "d"}},
		"the default selector": {selector: build.Selector(v1beta1.LabelNodeType,
			v1beta1.NodeTypeVirtual), want: []string{"b", "c", "d"}},
		"one label": {selector: selector(term(in(region, "north"))), want: []string{"b"}},
		"several values are alternatives": {selector: selector(term(in(region, "north", "south"))),
			want: []string{"b", "c"}},
		"expressions of a term are all needed": {
			selector: selector(term(in(region, "south"), in("tier", "gold"))), want: []string{"c"},
		},
		"terms are alternatives": {
			selector: selector(term(in(region, "north")), term(in(v1beta1.LabelRemoteClusterID, "d"))),
			want:     []string{"b", "d"},
		},
		"one of a cluster's nodes is enough": {selector: selector(term(in(region, "south"))), want: []string{"b", "c"}},
		"by the node's name": {
			selector: selector(corev1.NodeSelectorTerm{
				MatchFields: []corev1.NodeSelectorRequirement{in("metadata.name", "c-1")},
			}),
			want: []string{"c"},
		},
		"by name and label, of two nodes": {
			selector: selector(corev1.NodeSelectorTerm{
				MatchFields:      []corev1.NodeSelectorRequirement{in("metadata.name", "b-1")},
				MatchExpressions: []corev1.NodeSelectorRequirement{in(region, "south")},
			}),
			want: nil,
		},
		"a label that must be missing": {
			selector: selector(term(corev1.NodeSelectorRequirement{Key: region,
				Operator: corev1.NodeSelectorOpDoesNotExist})),
			want: []string{"d"},
		},
		"a number": {
			selector: selector(term(corev1.NodeSelectorRequirement{
				Key: "cores", Operator: corev1.NodeSelectorOpGt, Values: []string{"32"}})),
			want: []string{"c"},
		},
		"an empty term matches nothing, as everywhere in Kubernetes": {selector: selector(corev1.NodeSelectorTerm{}),
			want: nil},
		"nothing matches": {selector: selector(term(in(region, "east"))), want: nil},
		"In without values is an error in the parser's words": {
			selector: selector(term(corev1.NodeSelectorRequirement{Key: region, Operator: corev1.NodeSelectorOpIn})),
			wantErr:  "spec.clusterSelector.nodeSelectorTerms[0].matchExpressions[0].values",
		},
		"one bad term spoils the others": {
			selector: selector(term(in(region, "north")),
				term(corev1.NodeSelectorRequirement{Key: "a/b/c", Operator: "Exists"})),
			wantErr: "nodeSelectorTerms[1]",
		},
		"an operator that does not exist": {
			selector: selector(term(corev1.NodeSelectorRequirement{Key: region, Operator: "Equals",
				Values: []string{"x"}})),
			wantErr: `Unsupported value: "Equals"`,
		},
		"Gt of a word": {
			selector: selector(term(corev1.NodeSelectorRequirement{Key: "cores", Operator: "Gt",
				Values: []string{"x"}})),
			wantErr: "values",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Select(tc.selector, nodes)
			if diff := cmp.Diff(tc.want, slices.Sorted(maps.Keys(got))); diff != "" {
				t.Errorf("clusters (-want,+got):\n%s", diff)
			}
			switch {
			case tc.wantErr == "" && err != nil:
				t.Errorf("error: %v", err)
			case tc.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tc.wantErr)):
				t.Errorf("error %v does not say %q", err, tc.wantErr)
			}
		})
	}
}

func TestCandidates(t *testing.T) {
	leaving := build.VirtualNode("b-1", "b")
	leaving.DeletionTimestamp = &metav1.Time{}
	leaving.DeletionTimestamp.Time = leaving.DeletionTimestamp.AddDate(2026, 1, 1)
	lost := build.VirtualNode("b-1", "b")
	lost.Namespace = "shop"

	tests := map[string]struct {
		node       *v1beta1.VirtualNode
		nodeLabels map[string]map[string]string
		want       []string
		wantLabels map[string]string
	}{
		"a virtual node without Node has the labels that its Node will have": {
			node: build.VirtualNode("b-1", "b", "tier", "gold"), want: []string{"b-1"},
			wantLabels: map[string]string{"tier": "gold", v1beta1.LabelNodeType: v1beta1.NodeTypeVirtual},
		},
		"what the agent learnt about the nodes counts": {
			node: build.VirtualNode("b-1", "b"),
			nodeLabels: map[string]map[string]string{
				"b-1":   {corev1.LabelOSStable: "linux", corev1.LabelArchStable: "arm64"},
				"other": {corev1.LabelOSStable: "windows"},
			},
			want:       []string{"b-1"},
			wantLabels: map[string]string{corev1.LabelOSStable: "linux", corev1.LabelArchStable: "arm64"},
		},
		"other labels of the Node do not: its agent could choose them": {
			node:       build.VirtualNode("b-1", "b"),
			nodeLabels: map[string]map[string]string{"b-1": {"team": "red", corev1.LabelTopologyRegion: "north"}},
			want:       []string{"b-1"}, wantLabels: map[string]string{"team": "", corev1.LabelTopologyRegion: ""},
		},
		"the declaration wins over the Node": {
			node: build.VirtualNode("b-1", "b", "tier", "gold", corev1.LabelArchStable, "amd64"),
			nodeLabels: map[string]map[string]string{"b-1": {
				"tier": "lead", v1beta1.LabelRemoteClusterID: "z", corev1.LabelArchStable: "arm64",
			}},
			want: []string{"b-1"}, wantLabels: map[string]string{
				"tier": "gold", v1beta1.LabelRemoteClusterID: "b", corev1.LabelArchStable: "amd64",
			},
		},
		"one on its way out":                 {node: leaving},
		"one outside its tenant's namespace": {node: lost},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := Candidates([]v1beta1.VirtualNode{*tc.node}, tc.nodeLabels)
			var names []string
			for _, c := range got {
				names = append(names, c.NodeName)
				for key, want := range tc.wantLabels {
					if c.Labels[key] != want {
						t.Errorf("label %s is %q, want %q", key, c.Labels[key], want)
					}
				}
			}
			if diff := cmp.Diff(tc.want, names); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

func TestCandidatesLeaveTheirSourcesAlone(t *testing.T) {
	node := build.VirtualNode("b-1", "b")
	labels := map[string]map[string]string{"b-1": {"team": "red"}}
	Candidates([]v1beta1.VirtualNode{*node}, labels)
	if diff := cmp.Diff(map[string]map[string]string{"b-1": {"team": "red"}}, labels); diff != "" {
		t.Errorf("the Node's cached labels were changed (-want,+got):\n%s", diff)
	}
	if len(node.Spec.Labels) != 0 {
		t.Errorf("the VirtualNode's labels were changed: %v", node.Spec.Labels)
	}
}
