package namespacemap

import (
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Candidate is a virtual node that a selector may pick, and with it its cluster.
type Candidate struct {
	// ClusterID is the provider behind the node.
	ClusterID string
	// NodeName is the name of the VirtualNode and its Node.
	NodeName string
	// Labels are what a selector sees: those declared by the VirtualNode, and what its agent learnt about the nodes.
	Labels map[string]string
}

// learnt are the labels of a Node that its agent knows and nobody declares. All others count only if the VirtualNode
// declares them: the Node is the agent's to write, and a provider whose agent was taken over must not be able to choose
// by which selectors it is found.
var learnt = [...]string{corev1.LabelOSStable, corev1.LabelArchStable}

// Candidates returns the virtual nodes that may be selected: those that stay, with the labels that their VirtualNode
// declares and what the Node adds of those that are learnt. So a Node that is deleted takes no twin with it.
func Candidates(nodes []v1beta1.VirtualNode, labelsOfNode map[string]map[string]string) []Candidate {
	var candidates []Candidate
	for i := range nodes {
		node := &nodes[i]
		if !node.DeletionTimestamp.IsZero() || node.Namespace != v1beta1.TenantNamespace(node.Spec.ClusterID) {
			continue
		}
		labels := map[string]string{}
		for _, key := range learnt {
			if value, ok := labelsOfNode[node.Name][key]; ok {
				labels[key] = value
			}
		}
		maps.Copy(labels, node.NodeLabels())
		candidates = append(candidates, Candidate{ClusterID: node.Spec.ClusterID, NodeName: node.Name, Labels: labels})
	}
	return candidates
}

// Select returns the ids of the clusters that have a virtual node which the selector matches. A selector without terms
// matches every virtual node; one that cannot be parsed matches none, and the error has the parser's words.
func Select(selector *v1beta1.ClusterSelector, candidates []Candidate) (sets.Set[string], error) {
	selected := sets.New[string]()
	if selector == nil || len(selector.NodeSelectorTerms) == 0 {
		for _, c := range candidates {
			selected.Insert(c.ClusterID)
		}
		return selected, nil
	}
	terms := &corev1.NodeSelector{NodeSelectorTerms: selector.NodeSelectorTerms}
	parsed, err := nodeaffinity.NewNodeSelector(terms, field.WithPath(field.NewPath("spec", "clusterSelector")))
	if err != nil {
		return selected, fmt.Errorf("parse the cluster selector: %w", err)
	}
	for _, c := range candidates {
		if parsed.Match(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: c.NodeName, Labels: c.Labels}}) {
			selected.Insert(c.ClusterID)
		}
	}
	return selected, nil
}
