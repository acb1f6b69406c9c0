package reflection

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// leanWhole drops from a home object what is never reflected.
func leanWhole(obj client.Object) client.Object {
	obj.SetManagedFields(nil)
	if annotations := obj.GetAnnotations(); annotations[corev1.LastAppliedConfigAnnotation] != "" {
		delete(annotations, corev1.LastAppliedConfigAnnotation)
		obj.SetAnnotations(annotations)
	}
	return obj
}

// leanMetadata keeps of a home object what policies, names and leaders are decided by.
func leanMetadata(obj client.Object, gvk schema.GroupVersionKind) client.Object {
	out := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Name: obj.GetName(), Namespace: obj.GetNamespace(), UID: obj.GetUID(),
		ResourceVersion: obj.GetResourceVersion(), CreationTimestamp: obj.GetCreationTimestamp(),
		DeletionTimestamp: obj.GetDeletionTimestamp(), Labels: obj.GetLabels(),
	}}
	out.SetGroupVersionKind(gvk)
	for key, value := range obj.GetAnnotations() {
		if strings.HasPrefix(key, "liqo.io/") {
			metav1.SetMetaDataAnnotation(&out.ObjectMeta, key, value)
		}
	}
	return out
}

// leanCopy keeps of a copy what tells whose it is and whether it changed.
func leanCopy(obj client.Object) client.Object {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Name: obj.GetName(), Namespace: obj.GetNamespace(), UID: obj.GetUID(),
		ResourceVersion: obj.GetResourceVersion(), DeletionTimestamp: obj.GetDeletionTimestamp(),
		Labels:      map[string]string{v1beta1.LabelOrigin: obj.GetLabels()[v1beta1.LabelOrigin]},
		Annotations: map[string]string{v1beta1.AnnotationHomeUID: obj.GetAnnotations()[v1beta1.AnnotationHomeUID]},
	}}
}

// copiesOf selects the copies of a home cluster, which carry other labels besides.
func copiesOf(origin string, others map[string]string) labels.Selector {
	return labels.SelectorFromSet(labels.Merge(others, labels.Set{v1beta1.LabelOrigin: origin}))
}
