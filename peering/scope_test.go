package peering_test

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/peering"
)

// scopedID is what an installation knows of itself that has a scope for new peerings.
func scopedID(scope string) *corev1.ConfigMap {
	config := idOf("a")
	config.Data[v1beta1.WatchScopeKey] = scope
	return config
}

func TestScopeOf(t *testing.T) {
	says := func(scope string) map[string]string { return map[string]string{v1beta1.AnnotationWatchScope: scope} }
	for name, c := range map[string]struct {
		annotations map[string]string
		want        v1beta1.WatchScope
	}{
		"a peering that says nothing":           {nil, v1beta1.WatchNamespaces},
		"a peering of single namespaces":        {says("namespace"), v1beta1.WatchNamespaces},
		"a peering of clusters":                 {says("cluster"), v1beta1.WatchCluster},
		"a peering that says what nobody knows": {says("Cluster"), v1beta1.WatchNamespaces},
	} {
		t.Run(name, func(t *testing.T) {
			secret := &corev1.Secret{}
			secret.Annotations = c.annotations
			if got := peering.ScopeOf(secret); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestWatchScope widens and narrows a peering of real API servers, and asks them what that allows.
func TestWatchScope(t *testing.T) {
	planes := env.Planes(t, 2)
	home, away := planes[0], planes[1]
	p := between(t, home, away, &said{})
	if err := home.Apply(t.Context(), "base"); err != nil {
		t.Fatal(err)
	}
	installed := scopedID("cluster")
	installed.Data[v1beta1.ClusterIDKey] = p.HomeID
	if err := p.Home.Create(t.Context(), installed); err != nil {
		t.Fatal(err)
	}
	again := func(scope v1beta1.WatchScope) (agent, peered client.Client) {
		t.Helper()
		p.WatchScope = scope
		peer(t, p)
		config, err := home.ConfigFor(t.Context(), v1beta1.TenantNamespace(p.AwayID), v1beta1.AgentServiceAccount)
		if err != nil {
			t.Fatal(err)
		}
		return connect(t, config), as(t, away.Config(), credential(t, p).Token)
	}
	agent, peered := again("")
	t.Run("a new peering has the scope of its installation", func(t *testing.T) {
		scoped(t, p, v1beta1.WatchCluster)
		asked(t, agent, atHome(true))
		asked(t, peered, atProvider(true))
	})
	t.Run("a peering is narrowed", func(t *testing.T) {
		agent, peered = again(v1beta1.WatchNamespaces)
		scoped(t, p, v1beta1.WatchNamespaces)
		denied(t, agent, "list services", "watch configmaps", "list endpointslices.discovery.k8s.io")
		denied(t, peered, "list pods", "watch services", "list configmaps")
		asked(t, agent, atHome(false))
		asked(t, peered, atProvider(false))
	})
	t.Run("a peering that is made again keeps its scope", func(t *testing.T) {
		again("")
		scoped(t, p, v1beta1.WatchNamespaces)
		again(v1beta1.WatchCluster)
		again("")
		scoped(t, p, v1beta1.WatchCluster)
	})
	t.Run("nothing is left of it", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := p.Unpeer(ctx, true); err != nil {
			t.Fatal(err)
		}
		absent(t, p.Home, &rbacv1.ClusterRoleBinding{ObjectMeta: meta("liqo-virtual-kubelet-cluster:provider-1", nil)})
		absent(t, p.Away, &rbacv1.ClusterRoleBinding{ObjectMeta: meta("liqo-peer-cluster:consumer", nil)})
		absent(t, p.Away, &rbacv1.ClusterRole{ObjectMeta: meta("liqo-peer-cluster", nil)})
	})
}

func scoped(t *testing.T, p *peering.Peering, want v1beta1.WatchScope) {
	t.Helper()
	if got := peering.ScopeOf(secretOf(t, p)); got != want {
		t.Errorf("the Secret says %q, want %q", got, want)
	}
}

func atHome(wide bool) map[string]bool {
	return map[string]bool{
		"list virtualnodes.offloading.liqo.io liqo-tenant-provider-1": true,
		"list services": wide, "watch services": wide, "list configmaps": wide, "watch configmaps": wide,
		"list endpointslices.discovery.k8s.io": wide, "watch endpointslices.discovery.k8s.io": wide,
		"get configmaps kube-system": false, "list secrets": false, "watch secrets": false,
		"list secrets liqo-tenant-provider-1": false, "get secrets kube-system": false,
		"patch services": false, "create configmaps": false, "delete endpointslices.discovery.k8s.io": false,
	}
}

func atProvider(wide bool) map[string]bool {
	return map[string]bool{
		"list namespaces": true,
		"list pods":       wide, "watch pods": wide, "list services": wide, "watch services": wide,
		"list configmaps": wide, "watch persistentvolumeclaims": wide, "watch events": wide,
		"list endpointslices.discovery.k8s.io": wide, "watch ingresses.networking.k8s.io": wide,
		"get pods kube-system": false, "get pods/log kube-system": false, "list secrets": false, "watch secrets": false,
		"create pods default": false, "patch services default": false, "delete configmaps default": false,
	}
}

// denied waits until rights are gone: an API server learns of a lost binding through a watch.
func denied(t *testing.T, c client.Client, rights ...string) {
	t.Helper()
	for _, right := range rights {
		err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true,
			func(context.Context) (bool, error) { return !may(t, c, right), nil })
		if err != nil {
			t.Errorf("it may still %s", right)
		}
	}
}
