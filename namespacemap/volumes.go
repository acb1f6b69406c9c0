package namespacemap

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// volumesPerPage bounds what one answer holds of a cluster's volumes, which are read only while a VirtualNode leaves.
const volumesPerPage = 500

// holding says that a VirtualNode is being deleted and it is not known yet that no volume is lost with its twins, or
// known that some would be. Until then the twins that it has stay.
func holding(node *v1beta1.VirtualNode) bool {
	return !node.DeletionTimestamp.IsZero() && controllerutil.ContainsFinalizer(node, v1beta1.FinalizerVirtualNode) &&
		!forcedAway(node) && !slices.ContainsFunc(node.Status.Conditions, func(c v1beta1.VirtualNodeCondition) bool {
		return c.Type == v1beta1.VirtualKubeletCondition && c.Status == v1beta1.StatusDeleting
	})
}

// forcedAway says that somebody accepts the loss of what a VirtualNode's volumes hold.
func forcedAway(node *v1beta1.VirtualNode) bool {
	return node.Annotations[v1beta1.AnnotationForceRemoval] == "true"
}

// volumesOf says which volumes keep a VirtualNode, or nothing. Once it said nothing, it does so for good: twins may be
// on their way out by then.
func (r *Maps) volumesOf(ctx context.Context, node *v1beta1.VirtualNode) (string, error) {
	if !holding(node) {
		return "", nil
	}
	var claims []string
	var page corev1.PersistentVolumeList
	for {
		err := r.Live.List(ctx, &page, client.Limit(volumesPerPage), client.Continue(page.Continue))
		if err != nil {
			return "", fmt.Errorf("list the volumes of virtual node %s: %w", node.Name, err)
		}
		claims = append(claims, claimsOn(page.Items, node.Name)...)
		if page.Continue == "" {
			break
		}
	}
	if len(claims) == 0 {
		return "", nil
	}
	slices.Sort(claims)
	return fmt.Sprintf("waiting for volumes on this virtual node that would be lost, %d left: delete the claims %s, "+
		"or accept the loss by annotating the VirtualNode with %s=true", len(claims), listed(claims, ", "),
		v1beta1.AnnotationForceRemoval), nil
}

// claimsOn returns the claims whose volumes can only be used on a node.
func claimsOn(volumes []corev1.PersistentVolume, node string) []string {
	var claims []string
	for i := range volumes {
		v := &volumes[i]
		if v.Spec.ClaimRef != nil && pinned(v, node) {
			claims = append(claims, v.Spec.ClaimRef.Namespace+"/"+v.Spec.ClaimRef.Name)
		}
	}
	return claims
}

// pinned says that a volume names a node as the place where it is.
func pinned(v *corev1.PersistentVolume, node string) bool {
	if v.Spec.NodeAffinity == nil || v.Spec.NodeAffinity.Required == nil {
		return false
	}
	names := func(r corev1.NodeSelectorRequirement) bool {
		return (r.Key == corev1.LabelHostname || r.Key == "metadata.name") && r.Operator == corev1.NodeSelectorOpIn &&
			slices.Contains(r.Values, node)
	}
	return slices.ContainsFunc(v.Spec.NodeAffinity.Required.NodeSelectorTerms, func(t corev1.NodeSelectorTerm) bool {
		return slices.ContainsFunc(t.MatchExpressions, names) || slices.ContainsFunc(t.MatchFields, names)
	})
}

// retain keeps the twins that a namespace has through virtual nodes which are held: the selection of a VirtualNode that
// is being deleted counts for what is there, not for anything new.
func (p *pass) retain(virtual []v1beta1.VirtualNode, labelsOfNode map[string]map[string]string) {
	var held []v1beta1.VirtualNode
	for i := range virtual {
		if holding(&virtual[i]) {
			node := virtual[i].DeepCopy()
			node.DeletionTimestamp = nil // or it would be no candidate
			held = append(held, *node)
		}
	}
	if len(held) == 0 {
		return
	}
	for _, c := range Candidates(held, labelsOfNode) {
		m := p.maps[c.ClusterID]
		if m == nil || m.Spec.DesiredMapping[p.home] == "" {
			continue
		}
		selected, err := Select(p.off.Spec.ClusterSelector, []Candidate{c})
		if err == nil && selected.Has(c.ClusterID) {
			p.selected.Insert(c.ClusterID)
			p.candidates = append(p.candidates, c)
		}
	}
}
