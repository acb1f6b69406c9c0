package storage

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/reflection/remote"
)

// release deletes the copy that has the data of a volume, and returns when to look again while it is there.
func (v *Volumes) release(ctx context.Context, pv *corev1.PersistentVolume) (time.Duration, error) {
	at, ok := handleOf(pv)
	if !ok {
		return 0, nil
	}
	have, err := v.copyOf(ctx, at.twin, at.claim)
	if apierrors.IsForbidden(err) { // as rights in a twin go with it
		gone, lookErr := v.twinIsGone(ctx, at.twin)
		if gone {
			return 0, nil
		}
		if lookErr != nil {
			err = lookErr
		}
	}
	if err != nil || have == nil {
		return 0, err
	}
	if have.Labels[v1beta1.LabelOrigin] != v.opts.Origin ||
		have.Annotations[v1beta1.AnnotationHomeUID] != string(pv.Spec.ClaimRef.UID) {
		return 0, nil // it is not the one that had the data
	}
	if have.DeletionTimestamp == nil {
		if err := v.opts.Away.Delete(ctx, have, exactly(have)); client.IgnoreNotFound(err) != nil {
			return 0, fmt.Errorf("delete claim %s/%s on the provider: %w", at.twin, at.claim, err)
		}
		return firstRetry, nil
	}
	return soon, nil // a pod still uses it
}

func (v *Volumes) twinIsGone(ctx context.Context, twin string) (bool, error) {
	err := v.opts.Away.Get(ctx, client.ObjectKey{Name: twin}, &corev1.Namespace{})
	if remote.Absent(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read twin %s: %w", twin, err)
	}
	return false, nil
}

// exactly makes a deletion be one of that object in that state.
func exactly(obj client.Object) client.Preconditions {
	uid, version := obj.GetUID(), obj.GetResourceVersion()
	return client.Preconditions{UID: &uid, ResourceVersion: &version}
}

// isRetained says that the data behind a copy were to be kept when its claim goes.
func isRetained(have *corev1.PersistentVolumeClaim) bool {
	return have.Annotations[v1beta1.AnnotationReclaimPolicy] == string(corev1.PersistentVolumeReclaimRetain)
}

// retainedTimeout bounds the look at a copy whose volume at home is gone.
const retainedTimeout = 10 * time.Second

// retained says why a copy is kept that, as far as we know, has no volume at home: somebody deleted the volume of data
// that were to stay, or of a claim that is there; or we do not know all, and data are not deleted on a cache's word.
func (v *Volumes) retained(namespace, name string) (string, error) {
	twin, ok := v.twin(namespace)
	if !ok {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), retainedTimeout)
	defer cancel()
	have, err := v.copyOf(ctx, twin, name)
	switch {
	case err != nil || have == nil:
		return "", err
	case isRetained(have):
		return "its reclaim policy was Retain", nil
	}
	claim := &corev1.PersistentVolumeClaim{}
	err = v.opts.Home.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, claim)
	switch {
	case err == nil && string(claim.UID) == have.Annotations[v1beta1.AnnotationHomeUID]:
		return "its claim is there still, and whoever deletes the volume at home does not delete data", nil
	case client.IgnoreNotFound(err) != nil:
		return "", fmt.Errorf("read claim: %w", err)
	}
	return v.standing(ctx, namespace, name)
}

// standing asks home itself whether there is a volume of a claim.
func (v *Volumes) standing(ctx context.Context, namespace, name string) (string, error) {
	var volumes corev1.PersistentVolumeList
	ours := client.MatchingLabels{v1beta1.LabelRemoteClusterID: v.opts.Provider}
	if err := v.opts.Home.List(ctx, &volumes, ours); err != nil {
		return "", fmt.Errorf("list the volumes at home: %w", err)
	}
	for i := range volumes.Items {
		pv := &volumes.Items[i]
		if ref := pv.Spec.ClaimRef; v.ours(pv) && ref.Namespace == namespace && ref.Name == name {
			return standsFor(pv), nil
		}
	}
	return "", nil
}
