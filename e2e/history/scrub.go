package history

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// scrub returns what is recorded of an object: all but managedFields, and of a Secret hashes of what is in it. A hash
// has the form of data, so that a scrubbed Secret still is one.
func scrub(obj *unstructured.Unstructured) (json.RawMessage, error) {
	obj.SetManagedFields(nil)
	if obj.GetKind() == "Secret" && obj.GroupVersionKind().Group == "" {
		for _, field := range []string{"data", "stringData"} {
			hashes(obj, field)
		}
		annotations := obj.GetAnnotations()
		if _, applied := annotations[corev1.LastAppliedConfigAnnotation]; applied {
			annotations[corev1.LastAppliedConfigAnnotation] = "(not recorded)"
			obj.SetAnnotations(annotations)
		}
	}
	raw, err := obj.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("encode %s %s/%s: %w", obj.GetKind(), obj.GetNamespace(), obj.GetName(), err)
	}
	return raw, nil
}

func hashes(obj *unstructured.Unstructured, field string) {
	data, ok := obj.Object[field].(map[string]any)
	if !ok {
		delete(obj.Object, field)
		return
	}
	for key, value := range data {
		sum := sha256.Sum256(fmt.Append(nil, value))
		data[key] = base64.StdEncoding.EncodeToString(sum[:])
	}
}
