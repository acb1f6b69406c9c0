package namespacemap

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/namespacemap/naming"
)

// EnsureClusterID returns the id of the cluster behind c, which must not be cached: the stored one or, the first time,
// the wanted one or else the UID of namespace kube-system. A cluster never changes its id: every twin carries it.
func EnsureClusterID(ctx context.Context, c client.Client, wanted string) (string, error) {
	if wanted != "" {
		if err := naming.CheckClusterID(wanted); err != nil {
			return "", err
		}
	}
	stored := &corev1.ConfigMap{}
	key := client.ObjectKey{Namespace: v1beta1.SystemNamespace, Name: v1beta1.ClusterIDConfigMap}
	err := c.Get(ctx, key, stored)
	if apierrors.IsNotFound(err) {
		stored, err = storeClusterID(ctx, c, wanted)
	}
	if err != nil {
		return "", fmt.Errorf("get the cluster id: %w", err)
	}
	id := stored.Data[v1beta1.ClusterIDKey]
	switch {
	case id == "":
		return "", fmt.Errorf("ConfigMap %s has no key %s: delete it, or set the key to this cluster's id",
			key, v1beta1.ClusterIDKey)
	case wanted != "" && wanted != id:
		return "", fmt.Errorf("this cluster's id is %q (ConfigMap %s), but %q was given: twins made under the one "+
			"would be foreign under the other; use %q", id, key, wanted, id)
	}
	return id, naming.CheckClusterID(id)
}

// storeClusterID creates the ConfigMap, or returns the one that somebody else was faster to create.
func storeClusterID(ctx context.Context, c client.Client, id string) (*corev1.ConfigMap, error) {
	if id == "" {
		system := &corev1.Namespace{}
		if err := c.Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, system); err != nil {
			return nil, fmt.Errorf("get namespace %s for its UID: %w", metav1.NamespaceSystem, err)
		}
		id = string(system.UID)
	}
	store := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: v1beta1.SystemNamespace, Name: v1beta1.ClusterIDConfigMap,
			Labels: map[string]string{v1beta1.LabelClusterID: v1beta1.ClusterIDConfigMap},
		},
		Data: map[string]string{v1beta1.ClusterIDKey: id},
	}
	err := c.Create(ctx, store)
	if apierrors.IsAlreadyExists(err) {
		return store, c.Get(ctx, client.ObjectKeyFromObject(store), store)
	}
	if err != nil {
		return nil, fmt.Errorf("create ConfigMap %s/%s: %w", store.Namespace, store.Name, err)
	}
	return store, nil
}
