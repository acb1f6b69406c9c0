package spread_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/schedplugin/spread"
)

const cost = "example.com/cost"

// home returns an ordinary node, away one of a provider's; both with labels given as key, value, ...
func home(name string, labels ...string) *corev1.Node { return label(build.Node(name), labels...) }

func away(name, provider string, labels ...string) *corev1.Node {
	return label(build.VirtualNodesNode(build.VirtualNode(name, provider)), labels...)
}

func label(node *corev1.Node, labels ...string) *corev1.Node {
	for i := 0; i < len(labels); i += 2 {
		node.Labels[labels[i]] = labels[i+1]
	}
	return node
}

func only(policy v1beta1.SpreadPolicy) v1beta1.Spread { return v1beta1.Spread{Policy: policy} }

func weighted() v1beta1.Spread {
	return v1beta1.Spread{Policy: v1beta1.SpreadWeighted, WeightLabel: cost}
}

func TestWhichNodesComeFirst(t *testing.T) {
	for name, test := range map[string]struct {
		facts spread.Facts
		nodes []*corev1.Node
		// want are the scores in the order of the nodes, nil when the policy has no say.
		want []int64
	}{
		"PreferHome puts every ordinary node before every virtual one": {
			facts: spread.Facts{Spread: only(v1beta1.SpreadPreferHome)},
			nodes: []*corev1.Node{home("a"), home("b"), away("v", "p1"), away("w", "p2")},
			want:  []int64{100, 100, 0, 0},
		},
		"PreferHome has no say at home": {
			facts: spread.Facts{Spread: only(v1beta1.SpreadPreferHome)},
			nodes: []*corev1.Node{home("a"), home("b")},
		},
		"PreferHome leaves the choice among virtual nodes to others": {
			facts: spread.Facts{Spread: only(v1beta1.SpreadPreferHome)},
			nodes: []*corev1.Node{away("v", "p1"), away("w", "p2")},
		},
		"Even prefers where the fewest pods are": {
			facts: spread.Facts{Spread: only(v1beta1.SpreadEven), Pods: map[spread.Place]int{
				spread.Home: 4, "p1": 1, "p2": 2,
			}},
			nodes: []*corev1.Node{home("a"), home("b"), away("v", "p1"), away("w", "p2")},
			want:  []int64{0, 0, 100, 50},
		},
		"Even takes a place without pods for empty": {
			facts: spread.Facts{Spread: only(v1beta1.SpreadEven), Pods: map[spread.Place]int{"p1": 1}},
			nodes: []*corev1.Node{home("a"), away("v", "p1"), away("w", "p2")},
			want:  []int64{100, 0, 100},
		},
		"Even takes two virtual nodes of one provider for one place": {
			facts: spread.Facts{Spread: only(v1beta1.SpreadEven), Pods: map[spread.Place]int{spread.Home: 1, "p1": 2}},
			nodes: []*corev1.Node{home("a"), away("v", "p1"), away("w", "p1")},
			want:  []int64{100, 0, 0},
		},
		"Even has no say where all places are equal": {
			facts: spread.Facts{Spread: only(v1beta1.SpreadEven), Pods: map[spread.Place]int{spread.Home: 3, "p1": 3}},
			nodes: []*corev1.Node{home("a"), home("b"), away("v", "p1")},
		},
		"Even ignores places that cannot take the pod": {
			facts: spread.Facts{Spread: only(v1beta1.SpreadEven), Pods: map[spread.Place]int{
				spread.Home: 3, "p1": 3, "p2": 0,
			}},
			nodes: []*corev1.Node{home("a"), away("v", "p1")},
		},
		"Weighted prefers the lower value": {
			facts: spread.Facts{Spread: weighted()},
			nodes: []*corev1.Node{home("a", cost, "3"), away("v", "p1", cost, "1"), away("w", "p2", cost, "5")},
			want:  []int64{50, 100, 0},
		},
		"Weighted sees numbers, not words": {
			facts: spread.Facts{Spread: weighted()},
			nodes: []*corev1.Node{home("a", cost, "9"), away("v", "p1", cost, "10")},
			want:  []int64{100, 0},
		},
		"Weighted takes ordinary nodes without the label for free, virtual ones for the dearest": {
			facts: spread.Facts{Spread: weighted()},
			nodes: []*corev1.Node{home("a"), home("b", cost, "0"), away("v", "p1", cost, "7"), away("w", "p2")},
			want:  []int64{100, 100, 50, 0},
		},
		"Weighted tells nodes of one place apart": {
			facts: spread.Facts{Spread: weighted()},
			nodes: []*corev1.Node{home("a", cost, "2"), home("b", cost, "1")},
			want:  []int64{0, 100},
		},
		"Weighted ignores what is no integer of at least 0": {
			facts: spread.Facts{Spread: weighted()},
			nodes: []*corev1.Node{
				home("a", cost, "cheap"), home("b", cost, "-1"), away("v", "p1", cost, "1.5"),
				away("w", "p2", cost, ""), away("x", "p3", cost, "9223372036854775808"), away("y", "p4", cost, "4"),
			},
			want: []int64{100, 100, 0, 0, 0, 50},
		},
		"Weighted without a label is as good as PreferHome": {
			facts: spread.Facts{Spread: only(v1beta1.SpreadWeighted)},
			nodes: []*corev1.Node{home("a"), away("v", "p1")},
			want:  []int64{100, 0},
		},
		"None has no say": {
			facts: spread.Facts{Spread: only(v1beta1.SpreadNone)},
			nodes: []*corev1.Node{home("a"), away("v", "p1")},
		},
		"a policy of a later version has no say": {
			facts: spread.Facts{Spread: only("Nearest")},
			nodes: []*corev1.Node{home("a"), away("v", "p1")},
		},
		"no nodes, no say": {
			facts: spread.Facts{Spread: only(v1beta1.SpreadPreferHome)},
		},
		"the pod's own preference goes before PreferHome": {
			facts: spread.Facts{Spread: only(v1beta1.SpreadPreferHome), Preference: prefers("v")},
			nodes: []*corev1.Node{home("a"), away("v", "p1"), away("w", "p2")},
			want:  []int64{50, 100, 0},
		},
		"the pod's own preference for one home node is for home, and which node is for others to say": {
			facts: spread.Facts{
				Spread: only(v1beta1.SpreadEven), Preference: prefers("b"),
				Pods: map[spread.Place]int{spread.Home: 9, "p1": 1},
			},
			nodes: []*corev1.Node{home("a"), home("b"), away("v", "p1"), away("w", "p2")},
			want:  []int64{100, 100, 0, 50},
		},
		"a preference that does not tell groups apart leaves the choice to the policy": {
			facts: spread.Facts{Spread: only(v1beta1.SpreadPreferHome), Preference: prefers("a", "v")},
			nodes: []*corev1.Node{home("a"), away("v", "p1")},
			want:  []int64{100, 0},
		},
		"a preference is for others to weigh where the policy has no say": {
			facts: spread.Facts{Spread: only(v1beta1.SpreadPreferHome), Preference: prefers("v")},
			nodes: []*corev1.Node{away("v", "p1"), away("w", "p2")},
		},
		"the pod's own preference goes before cost": {
			facts: spread.Facts{Spread: weighted(), Preference: prefers("b")},
			nodes: []*corev1.Node{home("a", cost, "1"), home("b", cost, "2"), away("v", "p1", cost, "1")},
			want:  []int64{0, 100, 0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			order, ok := spread.Among(test.facts, slices.Values(test.nodes))
			var got []int64
			if ok {
				for _, node := range test.nodes {
					got = append(got, order.Score(node))
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("scores (-want +got):\n%s", diff)
			}
		})
	}
}

// prefers is a preference for nodes by name.
func prefers(names ...string) func(*corev1.Node) int64 {
	return func(node *corev1.Node) int64 {
		if slices.Contains(names, node.Name) {
			return 10
		}
		return 0
	}
}

// TestManyGroupsStayInOrder: scores have 101 steps. More groups than that share some, but the first never shares.
func TestManyGroupsStayInOrder(t *testing.T) {
	for _, groups := range []int{2, 3, 7, 101, 102, 1000} {
		t.Run(fmt.Sprint(groups), func(t *testing.T) {
			nodes := make([]*corev1.Node, groups)
			for i := range nodes {
				nodes[i] = home("n", cost, fmt.Sprint(i*i))
			}
			order, ok := spread.Among(spread.Facts{Spread: weighted()}, slices.Values(nodes))
			if !ok {
				t.Fatal("no order")
			}
			first, second, last := order.Score(nodes[0]), order.Score(nodes[1]), order.Score(nodes[groups-1])
			if first != spread.Max || second >= first || last != 0 {
				t.Errorf("first %d, second %d, last %d; want %d, less, 0", first, second, last, spread.Max)
			}
			for i := 1; i < groups; i++ {
				before, after := order.Score(nodes[i-1]), order.Score(nodes[i])
				if after > before || after == before && groups <= spread.Max+1 {
					t.Errorf("cost %d scores %d, cost %d scores %d", i-1, before, i, after)
				}
			}
		})
	}
}

func TestPlaces(t *testing.T) {
	nameless := away("v", "p1")
	delete(nameless.Labels, v1beta1.LabelRemoteClusterID)
	for name, test := range map[string]struct {
		node *corev1.Node
		want spread.Place
	}{
		"an ordinary node is home": {home("a"), spread.Home},
		"an ordinary node with a cluster id is home all the same": {
			home("a", v1beta1.LabelRemoteClusterID, "p1"), spread.Home,
		},
		"a virtual node is its provider":            {away("v", "p1"), "p1"},
		"a virtual node of nobody is a place alone": {nameless, "node/v"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := spread.PlaceOf(test.node); got != test.want {
				t.Errorf("PlaceOf = %q, want %q", got, test.want)
			}
		})
	}
}

func TestWhichLabelsAreMisread(t *testing.T) {
	for value, want := range map[string]bool{
		"0": false, "7": false, "007": false, fmt.Sprint(math.MaxInt64): false,
		"": true, "-1": true, "1.5": true, "1e3": true, "cheap": true, "0x10": true, "1_000": true,
		"9223372036854775808": true, strings.Repeat("9", 63): true,
	} {
		t.Run(value, func(t *testing.T) {
			if got, bad := spread.Misread(home("a", cost, value), cost); bad != want || got != value {
				t.Errorf("Misread = %q, %v; want %q, %v", got, bad, value, want)
			}
		})
	}
	if _, bad := spread.Misread(home("a"), cost); bad {
		t.Error("a label that is not there was misread")
	}
}
