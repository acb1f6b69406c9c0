package build

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// ClaimBuilder builds a PersistentVolumeClaim of 1Gi.
type ClaimBuilder struct{ obj corev1.PersistentVolumeClaim }

// Claim begins a claim of class liqo in namespace shop.
func Claim(name string) *ClaimBuilder {
	return &ClaimBuilder{corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: ptr.To(v1beta1.StorageClass),
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			VolumeMode:       ptr.To(corev1.PersistentVolumeFilesystem),
			Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			},
		},
	}}
}

// Namespace sets the namespace.
func (b *ClaimBuilder) Namespace(ns string) *ClaimBuilder {
	b.obj.Namespace = ns
	return b
}

// UID sets the UID.
func (b *ClaimBuilder) UID(uid string) *ClaimBuilder {
	b.obj.UID = types.UID(uid)
	return b
}

// Label sets a label.
func (b *ClaimBuilder) Label(key, value string) *ClaimBuilder {
	metav1.SetMetaDataLabel(&b.obj.ObjectMeta, key, value)
	return b
}

// Annotation sets an annotation.
func (b *ClaimBuilder) Annotation(key, value string) *ClaimBuilder {
	metav1.SetMetaDataAnnotation(&b.obj.ObjectMeta, key, value)
	return b
}

// Class sets the storage class; "" takes it away.
func (b *ClaimBuilder) Class(name string) *ClaimBuilder {
	b.obj.Spec.StorageClassName = nil
	if name != "" {
		b.obj.Spec.StorageClassName = &name
	}
	return b
}

// Size sets what is asked for.
func (b *ClaimBuilder) Size(size string) *ClaimBuilder {
	b.obj.Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse(size)
	return b
}

// Placed makes the claim wait for a volume on a virtual Node, as the scheduler and home's volume controller do.
func (b *ClaimBuilder) Placed(node string) *ClaimBuilder {
	b.Annotation(v1beta1.AnnotationStorageProvisioner, v1beta1.StorageProvisioner)
	return b.Annotation(v1beta1.AnnotationSelectedNode, node)
}

// Bound makes the claim be bound to a volume of its size.
func (b *ClaimBuilder) Bound(volume string) *ClaimBuilder {
	b.obj.Spec.VolumeName = volume
	b.obj.Status.Phase = corev1.ClaimBound
	b.obj.Status.Capacity = b.obj.Spec.Resources.Requests.DeepCopy()
	return b.Annotation(v1beta1.AnnotationBindCompleted, "yes")
}

// Spec changes the spec in any other way.
func (b *ClaimBuilder) Spec(change func(*corev1.PersistentVolumeClaimSpec)) *ClaimBuilder {
	change(&b.obj.Spec)
	return b
}

// Status changes the status.
func (b *ClaimBuilder) Status(change func(*corev1.PersistentVolumeClaimStatus)) *ClaimBuilder {
	change(&b.obj.Status)
	return b
}

// Obj returns what was built.
func (b *ClaimBuilder) Obj() *corev1.PersistentVolumeClaim { return b.obj.DeepCopy() }

// Volume is a volume at home. With a node its data are on that virtual Node.
func Volume(name, node string) *corev1.PersistentVolume {
	pv := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if node == "" {
		pv.Spec.NFS = &corev1.NFSVolumeSource{Server: "nfs", Path: "/"}
		return pv
	}
	pv.Spec.CSI = &corev1.CSIPersistentVolumeSource{Driver: v1beta1.VolumeDriver, VolumeHandle: node + "/twin/claim"}
	pv.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{
			Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node},
		}}}},
	}}
	return pv
}

// Claim has the pod use a claim.
func (b *PodBuilder) Claim(name string) *PodBuilder {
	b.obj.Spec.Volumes = append(b.obj.Spec.Volumes, corev1.Volume{
		Name: name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name},
		},
	})
	return b
}
