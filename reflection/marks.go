package reflection

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// ours says whether an object on the provider is a copy that we made. Both marks are in the first write of every
// copy.
func ours(obj metav1.Object, origin string) bool {
	return obj.GetLabels()[v1beta1.LabelOrigin] == origin && obj.GetAnnotations()[v1beta1.AnnotationHomeUID] != ""
}

// stamp gives dst the labels and annotations of src and our marks. Keys that we carried once and src has no longer
// go; keys that others set stay, since cloud controllers keep notes there.
func stamp(dst, src metav1.Object, origin, destination string) {
	labels := map[string]string{}
	for key, value := range src.GetLabels() {
		labels[key] = value
	}
	labels[v1beta1.LabelOrigin] = origin
	labels[v1beta1.LabelDestination] = destination

	annotations := map[string]string{}
	for key, value := range src.GetAnnotations() {
		annotations[key] = value
	}
	for _, key := range []string{
		corev1.LastAppliedConfigAnnotation, v1beta1.AnnotationSkipReflection, v1beta1.AnnotationAllowReflection,
		v1beta1.AnnotationForceNodePort,
		// What the components of each cluster tell each other about a claim would have the provider's take it for lost.
		v1beta1.AnnotationSelectedNode, v1beta1.AnnotationStorageProvisioner, v1beta1.AnnotationBetaStorageProvisioner,
		v1beta1.AnnotationStorageResizer, v1beta1.AnnotationBindCompleted, v1beta1.AnnotationBoundByController,
		// It would win over the class that the provider, or the VirtualNode, offers.
		corev1.BetaStorageClassAnnotation,
		v1beta1.AnnotationVolumeRefused, v1beta1.AnnotationRemoteStorageClass, v1beta1.AnnotationRemoteAccessModes,
	} {
		delete(annotations, key)
	}
	annotations[v1beta1.AnnotationHomeUID] = string(src.GetUID())

	dst.SetLabels(overlay(dst.GetLabels(), labels, carried(dst, "f:labels")))
	dst.SetAnnotations(overlay(dst.GetAnnotations(), annotations, carried(dst, "f:annotations")))
}

// overlay returns have with the pairs of want, and without the keys of gone that want has not.
func overlay(have, want map[string]string, gone []string) map[string]string {
	out := make(map[string]string, len(have)+len(want))
	for key, value := range have {
		out[key] = value
	}
	for _, key := range gone {
		delete(out, key)
	}
	for key, value := range want {
		out[key] = value
	}
	return out
}

// carried returns the keys of a map in the metadata that the API server has noted as ours. It knows better than we do
// after a restart.
func carried(obj metav1.Object, field string) []string {
	var keys []string
	for _, entry := range obj.GetManagedFields() {
		if entry.Manager != v1beta1.FieldManager || entry.FieldsV1 == nil {
			continue
		}
		var fields struct {
			Metadata map[string]json.RawMessage `json:"f:metadata"`
		}
		var set map[string]json.RawMessage
		if json.Unmarshal(entry.FieldsV1.Raw, &fields) != nil || json.Unmarshal(fields.Metadata[field], &set) != nil {
			continue // nothing of ours is in it
		}
		for key := range set {
			if name, ok := strings.CutPrefix(key, "f:"); ok {
				keys = append(keys, name)
			}
		}
	}
	return keys
}

// otherManager returns who else last changed a copy, or "somebody".
func otherManager(obj metav1.Object) string {
	name, last := "somebody", metav1.Time{}
	for _, entry := range obj.GetManagedFields() {
		if entry.Manager != v1beta1.FieldManager && entry.Time != nil && !entry.Time.Before(&last) {
			name, last = entry.Manager, *entry.Time
		}
	}
	return name
}

// annotated says whether an object carries an annotation of which any value but "false" counts.
func annotated(obj metav1.Object, key string) bool {
	value, ok := obj.GetAnnotations()[key]
	return ok && value != "false"
}

// suffixed returns a name that tells whose copy it is, within the limit of names; a hash keeps shortened ones apart.
func suffixed(name, origin string) string {
	suffix := "." + origin
	if len(name)+len(suffix) <= validation.DNS1123SubdomainMaxLength {
		return name + suffix
	}
	hash := fnv.New64a()
	hash.Write([]byte(name))
	suffix = fmt.Sprintf("-%016x%s", hash.Sum64(), suffix)
	kept := name[:validation.DNS1123SubdomainMaxLength-len(suffix)]
	return strings.TrimRight(kept, "-.") + suffix
}
