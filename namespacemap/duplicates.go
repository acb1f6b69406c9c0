package namespacemap

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// duplicates finds, among the candidates' clusters, those that are the same cluster under a second id: their tenant
// namespaces remember the same UID. liqoctl refuses to make such a peering; this one was made by hand. It returns, per
// id that came later, the sentence that says so. Two virtual nodes of one id are no duplicates.
func (o *Offloadings) duplicates(ctx context.Context, candidates []Candidate) (map[string]string, error) {
	byUID := map[string][]*metav1.PartialObjectMetadata{}
	seen := map[string]bool{}
	for _, c := range candidates {
		if seen[c.ClusterID] {
			continue
		}
		seen[c.ClusterID] = true
		tenant := namespaceMeta(v1beta1.TenantNamespace(c.ClusterID))
		err := o.Home.Get(ctx, client.ObjectKeyFromObject(tenant), tenant, client.UnsafeDisableDeepCopy)
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("get namespace %s: %w", tenant.Name, err)
		}
		if uid := tenant.Annotations[v1beta1.AnnotationClusterUID]; uid != "" {
			byUID[uid] = append(byUID[uid], tenant)
		}
	}
	var twice map[string]string
	for uid, tenants := range byUID {
		if len(tenants) < 2 {
			continue
		}
		slices.SortFunc(tenants, func(a, b *metav1.PartialObjectMetadata) int {
			return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
		})
		first := clusterOf(tenants[0].Name)
		for _, tenant := range tenants[1:] {
			if twice == nil {
				twice = map[string]string{}
			}
			id := clusterOf(tenant.Name)
			twice[id] = fmt.Sprintf("cluster %s is cluster %s under another id (the UID of its kube-system is %s), "+
				"and gets twins only as %s: remove one of the two peerings", id, first, uid, first)
		}
	}
	return twice, nil
}

func clusterOf(tenant string) string { return tenant[len(v1beta1.TenantNamespacePrefix):] }
