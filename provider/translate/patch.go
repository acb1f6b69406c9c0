package translate

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// StatusPatch returns the strategic merge patch that makes the status src into dst, or nil when they mean the same. It
// names the UID, so that it never meets a successor of the same name, and holds only what differs, so that conditions
// of others survive.
//
// strategicpatch.CreateTwoWayMergePatch does so for anything, by way of JSON and back, which was a tenth of what a pod
// costs the agent. Tests apply these patches with that package, as an API server does.
func StatusPatch(uid types.UID, src, dst *corev1.PodStatus) ([]byte, error) {
	status := difference(statusFields, src, dst)
	delete(status, "conditions")
	if conditions := conditionsPatch(src.Conditions, dst.Conditions); len(conditions) > 0 {
		status["conditions"] = conditions
	}
	if len(status) == 0 {
		return nil, nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": uid}, "status": status})
	if err != nil {
		return nil, fmt.Errorf("encode status: %w", err)
	}
	return patch, nil
}

// directive is what says in a strategic merge patch that something is to be replaced or deleted, not merged.
const directive = "$patch"

// conditionsPatch merges by type: those that are the same on both sides are not named.
func conditionsPatch(src, dst []corev1.PodCondition) []map[string]any {
	was, leaves := map[corev1.PodConditionType]*corev1.PodCondition{}, map[corev1.PodConditionType]bool{}
	for i := range src {
		was[src[i].Type], leaves[src[i].Type] = &src[i], true
	}
	var patch []map[string]any
	for i := range dst {
		c := &dst[i]
		before := was[c.Type]
		if before == nil {
			before = &corev1.PodCondition{}
		}
		was[c.Type], leaves[c.Type] = c, false
		if changes := difference(conditionFields, before, c); len(changes) > 0 {
			changes["type"] = c.Type
			patch = append(patch, changes)
		}
	}
	for i := range src {
		if t := src[i].Type; leaves[t] {
			leaves[t] = false
			patch = append(patch, map[string]any{"type": t, directive: "delete"})
		}
	}
	return patch
}

// member is a field of a struct, as it is in JSON.
type member struct {
	name string
	// merged says that a list is merged by a key unless a patch says otherwise.
	merged bool
}

var (
	statusFields    = fieldsOf[corev1.PodStatus]()
	conditionFields = fieldsOf[corev1.PodCondition]()
)

func fieldsOf[T any]() []member {
	t := reflect.TypeFor[T]()
	fields := make([]member, t.NumField())
	for i := range fields {
		tag := t.Field(i).Tag
		name, _, _ := strings.Cut(tag.Get("json"), ",")
		fields[i] = member{name, strings.Contains(tag.Get("patchStrategy"), "merge")}
	}
	return fields
}

// difference returns the fields that differ, as they are to be after the patch.
func difference[T any](fields []member, src, dst *T) map[string]any {
	before, after := reflect.ValueOf(src).Elem(), reflect.ValueOf(dst).Elem()
	changes := map[string]any{}
	for i, f := range fields {
		was, is := before.Field(i), after.Field(i)
		if equality.Semantic.DeepEqual(was.Interface(), is.Interface()) {
			continue
		}
		switch {
		case empty(is):
			changes[f.name] = nil
		case !empty(was) && (f.merged || isObject(is.Type())):
			changes[f.name] = whole{is.Interface()}
		default:
			changes[f.name] = is.Interface()
		}
	}
	return changes
}

func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	default:
		return v.IsZero()
	}
}

// isObject says whether a type is an object in JSON, with which a patch merges.
func isObject(t reflect.Type) bool {
	return t.Kind() == reflect.Map ||
		t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct && t.Elem() != reflect.TypeFor[metav1.Time]()
}

// whole is an object, or a list of them, that replaces what is there.
type whole struct{ value any }

// MarshalJSON implements json.Marshaler.
func (w whole) MarshalJSON() ([]byte, error) {
	data, err := json.Marshal(w.value)
	switch {
	case err != nil:
		return nil, err
	case data[0] == '[': // not empty
		return append([]byte(`[{"`+directive+`":"replace"},`), data[1:]...), nil
	case len(data) == len("{}"):
		return []byte(`{"` + directive + `":"replace"}`), nil
	default:
		return append([]byte(`{"`+directive+`":"replace",`), data[1:]...), nil
	}
}
