package reflection

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/reflection/storage"
)

// Volumes are the home volumes whose data are on the provider; package storage has them.
type Volumes interface {
	// Stay says why a claim has no copy, and has a volume made for one that waits for it; "" when its volume is there.
	Stay(claim *corev1.PersistentVolumeClaim) string
	// VolumeOf returns the volume that a claim is bound to, nil when it has none on the provider.
	VolumeOf(claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolume
	// Class returns the storage class of the copy of a claim, "" for the provider's default.
	Class(claim *corev1.PersistentVolumeClaim) string
	// Kept says why the copy of a claim is not deleted with it, "" when it is.
	Kept(namespace, name string) (string, error)
	// OnChange makes f be called with the claim of each volume that changes.
	OnChange(f func(namespace, name string))
}

// PersistentVolumeClaims have a copy on the one provider that has their volume, while home has a volume which stands
// for it. The copy goes when that volume goes: the data of a claim that is gone are up to the volume's reclaim policy.
func PersistentVolumeClaims(volumes Volumes) Kind[*corev1.PersistentVolumeClaim] {
	return Kind[*corev1.PersistentVolumeClaim]{
		Resource: "persistentvolumeclaims",
		New:      func() *corev1.PersistentVolumeClaim { return &corev1.PersistentVolumeClaim{} },
		Whole:    true,
		// Not an annotation can bring a claim to a provider where its data are not.
		Never: volumes.Stay,
		Mirror: func(dst, src *corev1.PersistentVolumeClaim) {
			storage.Fill(dst, src, volumes.Class(src))
			if pv := volumes.VolumeOf(src); pv != nil {
				dst.Annotations[v1beta1.AnnotationReclaimPolicy] = string(pv.Spec.PersistentVolumeReclaimPolicy)
			}
		},
		Feedback: func(dst, src *corev1.PersistentVolumeClaim) { storage.Feedback(dst, src, volumes.VolumeOf(dst)) },
		Kept:     volumes.Kept,
		Watch:    volumes.OnChange,
	}
}
