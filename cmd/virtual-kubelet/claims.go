package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/schedplugin/placement"
)

// claims reads the claims that a pod refers to, live: it is asked once for a pod that has some, and caches of them
// would need rights in every namespace.
func (a *admission) claims(ctx context.Context, pod *corev1.Pod) ([]placement.Claim, error) {
	var out []placement.Claim
	for _, name := range placement.ClaimNames(pod) {
		claim := &corev1.PersistentVolumeClaim{}
		err := a.live.Get(ctx, client.ObjectKey{Namespace: pod.Namespace, Name: name}, claim)
		if apierrors.IsNotFound(err) {
			continue // the pod waits for it over there
		}
		if err != nil {
			return nil, fmt.Errorf("read claim %s/%s: %w", pod.Namespace, name, err)
		}
		one, err := a.claim(ctx, claim)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

// claim reads what a claim refers to.
func (a *admission) claim(ctx context.Context, claim *corev1.PersistentVolumeClaim) (placement.Claim, error) {
	if name := claim.Spec.VolumeName; name != "" {
		volume := &corev1.PersistentVolume{}
		err := a.live.Get(ctx, client.ObjectKey{Name: name}, volume)
		if client.IgnoreNotFound(err) != nil {
			return placement.Claim{}, fmt.Errorf("read volume %s: %w", name, err)
		}
		return placement.ReadClaim(claim, volume, ""), nil
	}
	var class storagev1.StorageClass
	if name := placement.ClassOf(claim); name != "" {
		if err := a.live.Get(ctx, client.ObjectKey{Name: name}, &class); client.IgnoreNotFound(err) != nil {
			return placement.Claim{}, fmt.Errorf("read storage class %s: %w", name, err)
		}
	}
	return placement.ReadClaim(claim, nil, class.Provisioner), nil
}
