// Package spread says which of the nodes that may take a pod come first, so that a namespace's pods fill home, are
// shared out evenly, or go where it costs least, as the namespace wishes.
//
// It is pure: facts go in, scores come out. It tells groups of nodes apart, such as home and away, and gives all nodes
// of a group the same score, because which node of a group is best is for the scheduler's other plugins to say. Where
// it has nothing to tell apart, it says so and costs nothing more.
package spread

import (
	"cmp"
	"iter"
	"maps"
	"math"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/schedplugin/placement"
)

// Max is the score of the nodes that come first. Those that come last have 0.
const Max = 100

// Place is where pods are spread over: home, or one provider.
type Place string

// Home is all ordinary nodes together.
const Home Place = ""

// PlaceOf returns the place that a node belongs to. All virtual nodes of one provider are one place; a virtual node
// that does not say whose it is, is a place of its own.
func PlaceOf(node *corev1.Node) Place {
	if !placement.IsVirtual(node) {
		return Home
	}
	if cluster := node.Labels[v1beta1.LabelRemoteClusterID]; cluster != "" {
		return Place(cluster)
	}
	return Place("node/" + node.Name) // no cluster has such an id
}

// Facts are all that the order of nodes depends on, besides the nodes.
type Facts struct {
	// Spread is what the namespace wishes.
	Spread v1beta1.Spread
	// Pods counts the pods of the namespace in each place. Only policy Even needs it.
	Pods map[Place]int
	// Preference returns how much the pod itself prefers a node, by its own preferred node affinity; nil when it has
	// none. What the pod says goes before what its namespace says, but only between groups that the namespace tells
	// apart: within them, the scheduler's own plugin for node affinity decides.
	Preference func(*corev1.Node) int64
	// Virtual tells virtual nodes from ordinary ones, for callers that know a cheaper way than a look at the labels of
	// every node; nil is [placement.IsVirtual].
	Virtual func(*corev1.Node) bool
}

// Order is the order of the nodes that may take one pod.
type Order struct {
	facts  Facts
	cost   func(*corev1.Node) int64
	scores map[group]int64
}

// group is a set of nodes that are alike to the policy.
type group struct {
	cost int64 // lower comes first
	// place splits groups when the pod has preferences, which may be for one provider out of several.
	place Place
}

// Among puts nodes in order, or returns false if the policy has no say about them.
func Among(facts Facts, nodes iter.Seq[*corev1.Node]) (*Order, bool) {
	cost := costs(facts)
	if cost == nil {
		return nil, false
	}
	o := &Order{facts: facts, cost: cost}
	wishes, costs := map[group]int64{}, map[int64]bool{}
	var last group
	for node := range nodes {
		g := o.group(node)
		if g == last && len(wishes) > 0 && facts.Preference == nil {
			continue // as nearly always: most nodes are at home
		}
		last = g
		if wish, seen := wishes[g]; !seen {
			wishes[g], costs[g.cost] = o.preference(node), true
		} else if facts.Preference != nil {
			wishes[g] = max(wish, o.preference(node))
		}
	}
	if len(costs) < 2 {
		return nil, false
	}
	o.scores = scores(wishes)
	return o, true
}

// Score returns the score, from 0 to [Max], of one of the nodes that the order is among.
func (o *Order) Score(node *corev1.Node) int64 { return o.scores[o.group(node)] }

func (o *Order) group(node *corev1.Node) group {
	g := group{cost: o.cost(node)}
	if o.facts.Preference != nil {
		g.place = PlaceOf(node)
	}
	return g
}

func (o *Order) preference(node *corev1.Node) int64 {
	if o.facts.Preference == nil {
		return 0
	}
	return o.facts.Preference(node)
}

// costs returns what a policy puts nodes in order by, nil if it does not.
func costs(facts Facts) func(*corev1.Node) int64 {
	switch facts.Spread.Policy {
	case v1beta1.SpreadPreferHome:
		return func(node *corev1.Node) int64 { return distance(facts.virtual(node)) }
	case v1beta1.SpreadEven:
		return func(node *corev1.Node) int64 { return int64(facts.Pods[PlaceOf(node)]) }
	case v1beta1.SpreadWeighted:
		return func(node *corev1.Node) int64 { return weight(node, facts.Spread.WeightLabel) }
	case v1beta1.SpreadNone:
	}
	return nil
}

func (f *Facts) virtual(node *corev1.Node) bool {
	if f.Virtual == nil {
		return placement.IsVirtual(node)
	}
	return f.Virtual(node)
}

func distance(virtual bool) int64 {
	if virtual {
		return 1
	}
	return 0
}

// weight returns the value of a node's weight label. Without one, ordinary nodes are free and virtual ones come last.
func weight(node *corev1.Node, label string) int64 {
	if value, err := parse(node.Labels[label]); err == nil {
		return value
	}
	if placement.IsVirtual(node) {
		return math.MaxInt64
	}
	return 0
}

func parse(value string) (int64, error) {
	n, err := strconv.ParseUint(value, 10, 63)
	return int64(n), err
}

// Misread returns the value of a node's weight label, and true if it is no weight: such a label is ignored, which the
// user should hear of.
func Misread(node *corev1.Node, label string) (string, bool) {
	value, ok := node.Labels[label]
	if !ok {
		return "", false
	}
	_, err := parse(value)
	return value, err != nil
}

// scores gives the first group [Max], the last one 0, and the others what lies between at equal distances, whatever the
// distances between their costs are: that one costs a little less is as good a reason as that it costs a lot less.
func scores(wishes map[group]int64) map[group]int64 {
	type rank struct{ wish, cost int64 }
	ranks := map[rank]int64{}
	for g, wish := range wishes {
		ranks[rank{wish, g.cost}] = 0
	}
	ordered := slices.SortedFunc(maps.Keys(ranks), func(a, b rank) int {
		if a.wish != b.wish {
			return cmp.Compare(b.wish, a.wish)
		}
		return cmp.Compare(a.cost, b.cost)
	})
	last := int64(len(ordered) - 1)
	for i, r := range ordered {
		ranks[r] = (last - int64(i)) * Max / last
	}
	out := make(map[group]int64, len(wishes))
	for g, wish := range wishes {
		out[g] = ranks[rank{wish, g.cost}]
	}
	return out
}
