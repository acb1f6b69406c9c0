package namespacemap

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// serving is the rule that lets an agent serve nodes.
func serving(names ...string) []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{{
		Verbs: []string{"serve"}, APIGroups: []string{"offloading.liqo.io"}, Resources: []string{"virtualnodes"},
		ResourceNames: names,
	}}
}

func nodesRole(rules ...rbacv1.PolicyRule) *rbacv1.Role {
	return &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: "liqo-tenant-b", Name: "liqo-virtual-kubelet-nodes"}, Rules: rules,
	}
}

func TestTheNodesOfAnAgentAreItsProviders(t *testing.T) {
	for name, c := range map[string]struct {
		objects []client.Object
		want    []rbacv1.PolicyRule
		writes  int
	}{
		"a second virtual node comes": {
			objects: []client.Object{
				nodesRole(serving("b")...), build.VirtualNode("b-2", "b"), build.VirtualNode("b", "b"),
			},
			want: serving("b", "b-2"), writes: 1,
		},
		"one of two goes": {
			objects: []client.Object{nodesRole(serving("b", "b-2")...), build.VirtualNode("b-2", "b")},
			want:    serving("b-2"), writes: 1,
		},
		"the last one goes, and a rule without names would be about all": {
			objects: []client.Object{nodesRole(serving("b")...)}, writes: 1,
		},
		"another provider's are none of its": {
			objects: []client.Object{
				nodesRole(serving("b")...), build.VirtualNode("b", "b"), build.VirtualNode("c", "c"),
			},
			want: serving("b"),
		},
		"somebody widened it": {
			objects: []client.Object{
				nodesRole(append(serving("b"), rbacv1.PolicyRule{Verbs: []string{"*"}})...),
				build.VirtualNode("b", "b"),
			},
			want: serving("b"), writes: 1,
		},
		"there was never a peering": {objects: []client.Object{build.VirtualNode("b", "b")}},
	} {
		t.Run(name, func(t *testing.T) {
			scheme := runtime.NewScheme()
			for _, add := range []func(*runtime.Scheme) error{rbacv1.AddToScheme, v1beta1.AddToScheme} {
				if err := add(scheme); err != nil {
					t.Fatal(err)
				}
			}
			writes := 0
			home := fake.NewClientBuilder().WithScheme(scheme).WithObjects(c.objects...).
				WithInterceptorFuncs(interceptor.Funcs{Patch: func(
					ctx context.Context, w client.WithWatch, o client.Object, p client.Patch,
					opts ...client.PatchOption,
				) error {
					writes++
					return w.Patch(ctx, o, p, opts...)
				}}).Build()
			rights := &NodeRights{Home: home, Live: home}
			request := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "liqo-tenant-b"}}
			for range 2 { // the second time there is nothing to do
				if _, err := rights.Reconcile(t.Context(), request); err != nil {
					t.Fatal(err)
				}
			}
			var got rbacv1.RoleList
			if err := home.List(t.Context(), &got); err != nil {
				t.Fatal(err)
			}
			for _, role := range got.Items {
				if diff := cmp.Diff(c.want, role.Rules); diff != "" {
					t.Errorf("rules (-want,+got):\n%s", diff)
				}
			}
			if writes != c.writes {
				t.Errorf("%d writes, want %d", writes, c.writes)
			}
		})
	}
}
