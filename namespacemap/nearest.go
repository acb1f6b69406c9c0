package namespacemap

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// maxNearest is how many virtual nodes are named that a selector nearly matches.
const maxNearest = 3

// nearest names the virtual nodes that miss the fewest requirements of one of the selector's terms, and what each has
// instead: who mistyped a label finds it here.
func nearest(selector *v1beta1.ClusterSelector, candidates []Candidate) string {
	type miss struct {
		node  string
		unmet []string
	}
	misses := make([]miss, 0, len(candidates))
	for _, c := range candidates {
		best := miss{node: c.NodeName}
		for i := range selector.NodeSelectorTerms {
			unmet := unmet(&selector.NodeSelectorTerms[i], c)
			if i == 0 || len(unmet) < len(best.unmet) {
				best.unmet = unmet
			}
		}
		misses = append(misses, best)
	}
	slices.SortFunc(misses, func(a, b miss) int {
		return cmp.Or(cmp.Compare(len(a.unmet), len(b.unmet)), cmp.Compare(a.node, b.node))
	})
	var words []string
	for _, m := range misses[:min(len(misses), maxNearest)] {
		words = append(words, fmt.Sprintf("%s (%s)", m.node, listed(m.unmet, ", ")))
	}
	if more := len(misses) - maxNearest; more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(words, ", ")
}

// unmet says what a virtual node has where a term asks for something else.
func unmet(term *corev1.NodeSelectorTerm, c Candidate) []string {
	var words []string
	for _, r := range term.MatchExpressions {
		if meets(corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{r}}, c) {
			continue
		}
		word := "no label " + r.Key
		if value, has := c.Labels[r.Key]; has {
			word = r.Key + "=" + value
		}
		words = append(words, word)
	}
	for _, r := range term.MatchFields {
		if !meets(corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{r}}, c) {
			words = append(words, r.Key+"="+c.NodeName)
		}
	}
	if len(term.MatchExpressions)+len(term.MatchFields) == 0 {
		words = append(words, "a term without requirements matches nothing")
	}
	return words
}

func meets(term corev1.NodeSelectorTerm, c Candidate) bool {
	terms := []corev1.NodeSelectorTerm{term}
	parsed, err := nodeaffinity.NewNodeSelector(&corev1.NodeSelector{NodeSelectorTerms: terms})
	return err == nil && parsed.Match(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: c.NodeName, Labels: c.Labels}})
}

// spelled writes a selector as a user would on the command line.
func spelled(selector *v1beta1.ClusterSelector) string {
	var terms []string
	for _, term := range selector.NodeSelectorTerms {
		var words []string
		for _, r := range slices.Concat(term.MatchExpressions, term.MatchFields) {
			words = append(words, spell(r))
		}
		terms = append(terms, strings.Join(words, ","))
	}
	return strings.Join(terms, " or ")
}

// operatorOf returns the operator of label selectors that means the same.
func operatorOf(operator corev1.NodeSelectorOperator) selection.Operator {
	switch operator {
	case corev1.NodeSelectorOpIn:
		return selection.In
	case corev1.NodeSelectorOpNotIn:
		return selection.NotIn
	case corev1.NodeSelectorOpExists:
		return selection.Exists
	case corev1.NodeSelectorOpDoesNotExist:
		return selection.DoesNotExist
	case corev1.NodeSelectorOpGt:
		return selection.GreaterThan
	default:
		return selection.LessThan
	}
}

func spell(r corev1.NodeSelectorRequirement) string {
	parsed, err := labels.NewRequirement(r.Key, operatorOf(r.Operator), r.Values)
	if err != nil {
		return fmt.Sprintf("%s %s %v", r.Key, r.Operator, r.Values)
	}
	return parsed.String()
}
