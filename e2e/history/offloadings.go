package history

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// missingTwins is I9 for namespaces: what is offloaded to a provider has its twin there.
func (v *visit) missingTwins(c *cluster) {
	home := v.world.byID[v.world.home]
	twins := v.world.twins(c)
	for _, o := range home.all(resourceOffloadings) {
		namespace := home.get(resourceNamespaces, o.Namespace)
		if namespace == nil || !v.offloads(o, namespace, c) {
			continue
		}
		v.judged[I9]++
		if !slices.ContainsFunc(twins, func(t twin) bool {
			return t.home == o.Namespace && t.uid == namespace.UID && t.DeletionTimestamp == nil
		}) {
			says := fmt.Sprintf("namespace %s has no twin on %s", o.Namespace, c.name)
			v.found(I9, home, resourceOffloadings, o, says)
		}
	}
}

// offloads says whether a namespace must have a twin at a provider by now.
func (v *visit) offloads(o, namespace *object, c *cluster) bool {
	if namespace.DeletionTimestamp != nil || o.DeletionTimestamp != nil {
		return false
	}
	var offloading v1beta1.NamespaceOffloading
	known := !v.late(o.asked) && !v.late(namespace.CreationTimestamp.Time) && v.decode(o, &offloading)
	return known && v.selects(&offloading, c) && !v.hindered(&offloading, c)
}

// selects says whether a namespace is offloaded to a provider: its selector matches one of the provider's virtual nodes
// that was there in time.
func (v *visit) selects(offloading *v1beta1.NamespaceOffloading, c *cluster) bool {
	var terms []corev1.NodeSelectorTerm
	if s := offloading.Spec.ClusterSelector; s != nil {
		terms = s.NodeSelectorTerms
	}
	for _, o := range v.world.byID[v.world.home].all(resourceVirtualNodes) {
		var node v1beta1.VirtualNode
		if o.DeletionTimestamp != nil || v.late(o.asked) || !v.decode(o, &node) || node.Spec.ClusterID != c.name {
			continue
		}
		if len(terms) == 0 {
			return true
		}
		selector, err := nodeaffinity.NewNodeSelector(&corev1.NodeSelector{NodeSelectorTerms: terms})
		if err != nil {
			return false // it selects nothing, and says so
		}
		meta := metav1.ObjectMeta{Name: node.Name, Labels: node.NodeLabels()}
		if selector.Match(&corev1.Node{ObjectMeta: meta}) {
			return true
		}
	}
	return false
}

// deselected says whether a namespace is not offloaded to a provider, and has not been for long enough.
func (v *visit) deselected(o *object, c *cluster) bool {
	var offloading v1beta1.NamespaceOffloading
	if v.late(o.asked) || o.DeletionTimestamp != nil || !v.decode(o, &offloading) {
		return false
	}
	for _, node := range v.world.byID[v.world.home].all(resourceVirtualNodes) {
		if v.late(node.asked) {
			return false
		}
	}
	return !v.selects(&offloading, c)
}

// hindered says whether a namespace cannot have its twin on a provider, for a reason that nobody can heal but its user:
// the name is taken there by somebody else, or cannot be a name.
func (v *visit) hindered(offloading *v1beta1.NamespaceOffloading, c *cluster) bool {
	for _, condition := range offloading.Status.RemoteNamespacesConditions[c.name] {
		if condition.Status != corev1.ConditionTrue && slices.Contains([]string{
			v1beta1.ReasonNameTooLong, v1beta1.ReasonDuplicateCluster, v1beta1.ReasonMapFull,
		}, condition.Reason) {
			return true
		}
	}
	var wanted v1beta1.NamespaceMap
	o := v.world.byID[v.world.home].get(resourceMaps, v1beta1.TenantNamespace(c.name)+"/"+c.name)
	if o == nil || !v.decode(o, &wanted) {
		return false
	}
	taken := c.get(resourceNamespaces, wanted.Spec.DesiredMapping[offloading.Namespace])
	return taken != nil && taken.Labels[v1beta1.LabelRemoteClusterID] != v.world.home
}
