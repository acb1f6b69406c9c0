package reflection

import (
	"encoding/json"
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// patchOf returns the merge patch that makes want of live, for exactly that object in exactly that state. The common
// library takes seconds for 30,000 keys, and prints the object, which may be a Secret, when it fails. The mark tells
// the difference between the two from others, in any state of the rest of the object.
func patchOf(live, want client.Object) (patch client.Patch, mark uint64, err error) {
	have, err := fieldsOf(live)
	if err != nil {
		return nil, 0, err
	}
	wanted, err := fieldsOf(want)
	if err != nil {
		return nil, 0, err
	}
	changes := difference(have, wanted)
	if mark, _, err = hashOf([]any{changes, difference(wanted, have)}); err != nil {
		return nil, 0, err
	}
	metadata, _ := changes["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
		changes["metadata"] = metadata
	}
	metadata["uid"], metadata["resourceVersion"] = live.GetUID(), live.GetResourceVersion()
	text, err := json.Marshal(changes)
	if err != nil {
		return nil, 0, fmt.Errorf("encode patch: %w", err)
	}
	return client.RawPatch(types.MergePatchType, text), mark, nil
}

func fieldsOf(obj client.Object) (map[string]any, error) {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return nil, fmt.Errorf("encode object: %w", err)
	}
	return fields, nil
}

// difference is the JSON merge patch (RFC 7386) from have to want.
func difference(have, want map[string]any) map[string]any {
	out := map[string]any{}
	for key := range have {
		if _, kept := want[key]; !kept {
			out[key] = nil
		}
	}
	for key, value := range want {
		old, had := have[key]
		if had && reflect.DeepEqual(old, value) {
			continue
		}
		from, wasMap := old.(map[string]any)
		to, isMap := value.(map[string]any)
		if wasMap && isMap {
			value = difference(from, to)
		}
		out[key] = value
	}
	return out
}
