package peering

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Identity tells a cluster from all others.
type Identity struct {
	// ID is the id that the cluster has as a home cluster; empty when it is not one.
	ID string
	// UID is the UID of its namespace kube-system.
	UID types.UID
	// WatchScope is what its installation says about new peerings; empty when it says nothing.
	WatchScope v1beta1.WatchScope
}

// Identify asks a cluster who it is.
func Identify(ctx context.Context, c client.Reader) (Identity, error) {
	var system corev1.Namespace
	if err := c.Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, &system); err != nil {
		return Identity{}, fmt.Errorf("read the namespace %s: %w", metav1.NamespaceSystem, err)
	}
	identity := Identity{UID: system.UID}
	var config corev1.ConfigMap
	key := client.ObjectKey{Namespace: v1beta1.SystemNamespace, Name: v1beta1.ClusterIDConfigMap}
	if err := c.Get(ctx, key, &config); client.IgnoreNotFound(err) != nil {
		return Identity{}, fmt.Errorf("read the cluster id: %w", err)
	} else if apierrors.IsNotFound(err) {
		return identity, nil
	}
	identity.ID = config.Data[v1beta1.ClusterIDKey]
	identity.WatchScope = v1beta1.WatchScope(config.Data[v1beta1.WatchScopeKey])
	return identity, nil
}

// SecretName returns the name of the Secret, in the tenant namespace at home, with the credential for a provider.
func SecretName(awayID string) string { return "kubeconfig-" + awayID }
