package manifests_test

import (
	"context"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/e2e/env"
)

// aggregation asks who may add to what all consumers have in their twins, and all agents in offloaded namespaces:
// nobody who does not have it himself, not even who may write ClusterRoles.
func aggregation(t *testing.T, cluster *env.Cluster) {
	admin := cluster.Client()
	everything := rbacv1.PolicyRule{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}}
	writer := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "role-writer"},
		Rules: []rbacv1.PolicyRule{{
			Verbs: []string{"get", "create", "patch", "update"}, APIGroups: []string{rbacv1.GroupName},
			Resources: []string{"clusterroles"},
		}},
	}
	powerful := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "powerful"}, Rules: []rbacv1.PolicyRule{everything},
	}
	user := func(name string) []rbacv1.Subject {
		return []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name}}
	}
	ref := func(name string) rbacv1.RoleRef {
		return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}
	}
	for _, object := range []client.Object{
		writer, powerful,
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "role-writer"}, Subjects: user("writer"), RoleRef: ref(writer.Name),
		},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "tenant"},
			Subjects:   user("tenant"), RoleRef: ref("admin"),
		},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "consumer"}, RoleRef: ref("liqo-peer"),
			Subjects: []rbacv1.Subject{{
				Kind: rbacv1.ServiceAccountKind, Namespace: "liqo-tenant-a", Name: "liqo-consumer",
			}},
		},
	} {
		if err := admin.Create(t.Context(), object); client.IgnoreAlreadyExists(err) != nil {
			t.Fatal(err)
		}
	}
	as := func(name string) client.Client {
		config := cluster.Config()
		config.Impersonate = rest.ImpersonationConfig{UserName: name}
		c, err := client.New(config, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	until(t, "the rights of who writes ClusterRoles", func(ctx context.Context) bool {
		harmless := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "harmless"}}
		return as("writer").Create(ctx, harmless, client.DryRunAll) == nil
	})
	for _, label := range []string{
		"offloading.liqo.io/aggregate-to-twin", "offloading.liqo.io/aggregate-to-offloaded-namespace",
	} {
		more := &rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: "more", Labels: map[string]string{label: "true"}},
			Rules:      []rbacv1.PolicyRule{everything},
		}
		patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"`+label+`":"true"}}}`))
		for _, who := range []string{"writer", "tenant", "system:serviceaccount:liqo-tenant-a:liqo-consumer"} {
			if err := as(who).Create(t.Context(), more.DeepCopy(), client.DryRunAll); !apierrors.IsForbidden(err) {
				t.Errorf("%s makes a role with label %s: %v", who, label, err)
			}
			err := as(who).Patch(t.Context(), powerful.DeepCopy(), patch, client.DryRunAll)
			if !apierrors.IsForbidden(err) {
				t.Errorf("%s gives a role the label %s: %v", who, label, err)
			}
		}
		if err := admin.Patch(t.Context(), powerful.DeepCopy(), patch, client.DryRunAll); err != nil {
			t.Errorf("the administrator: %v", err)
		}
	}
}
