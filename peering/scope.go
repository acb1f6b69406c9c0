package peering

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// The ClusterRoles of an agent that may watch whole clusters, at home and on the provider. Neither has Secrets.
const (
	agentWideRole = "liqo-virtual-kubelet-cluster"
	peerWideRole  = "liqo-peer-cluster"
)

// ScopeOf returns how much the peering behind a Secret with a credential lets the agent watch.
func ScopeOf(secret *corev1.Secret) v1beta1.WatchScope {
	if v1beta1.WatchScope(secret.Annotations[v1beta1.AnnotationWatchScope]) == v1beta1.WatchCluster {
		return v1beta1.WatchCluster
	}
	return v1beta1.WatchNamespaces
}

// CheckScope refuses what is no scope.
func CheckScope(scope v1beta1.WatchScope) error {
	if scope == v1beta1.WatchNamespaces || scope == v1beta1.WatchCluster {
		return nil
	}
	return refuse("the watch scope must be %s or %s, not %q", v1beta1.WatchNamespaces, v1beta1.WatchCluster, scope)
}

// settleScope decides about the scope of a peering that asks for none: what is there stays.
func (p *Peering) settleScope(ctx context.Context, home Identity) error {
	if p.WatchScope != "" {
		return CheckScope(p.WatchScope)
	}
	var secret corev1.Secret
	key := client.ObjectKey{Namespace: v1beta1.TenantNamespace(p.AwayID), Name: SecretName(p.AwayID)}
	err := p.Home.Get(ctx, key, &secret)
	switch {
	case err == nil:
		p.WatchScope = ScopeOf(&secret)
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("this cluster: read the credential: %w", err)
	case home.WatchScope == "":
		p.WatchScope = v1beta1.WatchNamespaces
	default:
		p.WatchScope = home.WatchScope
		if err := CheckScope(p.WatchScope); err != nil {
			return refuse("ConfigMap %s/%s, key %s: %s", v1beta1.SystemNamespace, v1beta1.ClusterIDConfigMap,
				v1beta1.WatchScopeKey, err)
		}
	}
	return nil
}

// wideBinding lets the agent watch all of home, where only its RoleBindings in offloaded namespaces let it do more.
func (p *Peering) wideBinding() *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: agentWideRole + ":" + p.AwayID, Labels: clusterLabel(p.AwayID)},
		RoleRef:    clusterRole(agentWideRole), Subjects: p.agent(),
	}
}

// widePeerBinding lets it watch all of the provider.
func (p *Peering) widePeerBinding() *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: peerWideRole + ":" + p.HomeID, Labels: clusterLabel(p.HomeID)},
		RoleRef:    clusterRole(peerWideRole), Subjects: p.peer(),
	}
}

// widen returns what a wide scope takes, one for each side, or nothing.
func (p *Peering) widen(binding *rbacv1.ClusterRoleBinding) []client.Object {
	if p.WatchScope != v1beta1.WatchCluster {
		return nil
	}
	return []client.Object{binding}
}

// narrow takes back what an earlier, wider scope needed. The Secret says by then that it is over.
func (p *Peering) narrow(ctx context.Context) error {
	if p.WatchScope == v1beta1.WatchCluster {
		return nil
	}
	if err := remove(ctx, p.Home, p.wideBinding()); err != nil {
		return fmt.Errorf("this cluster: %w", err)
	}
	if err := remove(ctx, p.Away, p.widePeerBinding()); err != nil {
		return fmt.Errorf("provider: %w", err)
	}
	return nil
}

// scoped says it for people.
func (p *Peering) scoped() string {
	if p.WatchScope == v1beta1.WatchCluster {
		return "its agent watches all namespaces on both sides, Secrets excepted"
	}
	return "its agent watches offloaded namespaces and their twins only"
}
