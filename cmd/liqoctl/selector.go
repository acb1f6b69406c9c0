package main

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// clusterSelector turns label selectors, which are alternatives, into one selector of clusters. Without any it picks
// every virtual node.
func clusterSelector(selectors []string) (*v1beta1.ClusterSelector, error) {
	if len(selectors) == 0 {
		selectors = []string{v1beta1.LabelNodeType + " in (" + v1beta1.NodeTypeVirtual + ")"}
	}
	out := &v1beta1.ClusterSelector{}
	for _, text := range selectors {
		term, err := nodeTerm(text)
		if err != nil {
			return nil, usage("--selector %q: %w; write for example region=eu,tier in (gold,silver),!spot", text, err)
		}
		out.NodeSelectorTerms = append(out.NodeSelectorTerms, term)
	}
	return out, nil
}

func nodeTerm(text string) (corev1.NodeSelectorTerm, error) {
	parsed, err := labels.Parse(text)
	if err != nil {
		return corev1.NodeSelectorTerm{}, err
	}
	requirements, selectable := parsed.Requirements()
	if !selectable || len(requirements) == 0 {
		return corev1.NodeSelectorTerm{}, fmt.Errorf("it is empty")
	}
	var term corev1.NodeSelectorTerm
	for _, r := range requirements {
		operator, err := nodeOperator(r.Operator())
		if err != nil {
			return corev1.NodeSelectorTerm{}, err
		}
		expression := corev1.NodeSelectorRequirement{Key: r.Key(), Operator: operator}
		if len(r.Values()) > 0 {
			expression.Values = r.ValuesUnsorted()
		}
		term.MatchExpressions = append(term.MatchExpressions, expression)
	}
	return term, nil
}

func nodeOperator(operator selection.Operator) (corev1.NodeSelectorOperator, error) {
	switch operator {
	case selection.Equals, selection.DoubleEquals, selection.In:
		return corev1.NodeSelectorOpIn, nil
	case selection.NotEquals, selection.NotIn:
		return corev1.NodeSelectorOpNotIn, nil
	case selection.Exists:
		return corev1.NodeSelectorOpExists, nil
	case selection.DoesNotExist:
		return corev1.NodeSelectorOpDoesNotExist, nil
	case selection.GreaterThan:
		return corev1.NodeSelectorOpGt, nil
	case selection.LessThan:
		return corev1.NodeSelectorOpLt, nil
	}
	return "", fmt.Errorf("operator %q is not known", operator)
}
