package reflection

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// rootCA is the ConfigMap that every cluster publishes, with its own certificate authority, in every namespace.
const rootCA = "kube-root-ca.crt"

// ConfigMaps are reflected unless they say otherwise.
func ConfigMaps() Kind[*corev1.ConfigMap] {
	return Kind[*corev1.ConfigMap]{
		Resource: "configmaps",
		New:      func() *corev1.ConfigMap { return &corev1.ConfigMap{} },
		Name: func(src metav1.Object, origin string) string {
			if src.GetName() == rootCA {
				return suffixed(src.GetName(), origin)
			}
			return src.GetName()
		},
		Mirror: func(dst, src *corev1.ConfigMap) {
			dst.Data, dst.BinaryData, dst.Immutable = src.Data, src.BinaryData, src.Immutable
		},
		Replace: func(live, want *corev1.ConfigMap) bool {
			same := equality.Semantic.DeepEqual(live.Data, want.Data) &&
				equality.Semantic.DeepEqual(live.BinaryData, want.BinaryData)
			return frozen(live.Immutable, want.Immutable, same)
		},
	}
}

// frozen says whether something immutable would have to change: its data, or that it is immutable.
func frozen(live, want *bool, sameData bool) bool {
	return ptr.Deref(live, false) && (!sameData || !ptr.Deref(want, false))
}
