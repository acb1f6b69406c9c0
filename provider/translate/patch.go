package translate

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
)

// StatusPatch returns the strategic merge patch that makes the status src into dst, or nil when they mean the same. It
// names the UID, so that it never meets a successor of the same name, and holds only what differs, so that conditions
// of others survive. Hand-made, as the library's two-way diff costs ten times as much and runs once per pod and change.
func StatusPatch(uid types.UID, src, dst *corev1.PodStatus) ([]byte, error) {
	status := map[string]any{}
	scalars(status, src, dst)
	change(status, "podIPs", src.PodIPs, dst.PodIPs, replace(dst.PodIPs))
	change(status, "hostIPs", src.HostIPs, dst.HostIPs, replace(dst.HostIPs))
	change(status, "initContainerStatuses", src.InitContainerStatuses, dst.InitContainerStatuses,
		dst.InitContainerStatuses)
	change(status, "containerStatuses", src.ContainerStatuses, dst.ContainerStatuses, dst.ContainerStatuses)
	change(status, "ephemeralContainerStatuses", src.EphemeralContainerStatuses, dst.EphemeralContainerStatuses,
		dst.EphemeralContainerStatuses)
	if list := conditionChanges(src.Conditions, dst.Conditions); len(list) > 0 {
		status["conditions"] = list
	}
	if len(status) == 0 {
		return nil, nil
	}
	out, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": uid}, "status": status})
	if err != nil {
		return nil, fmt.Errorf("encode status patch: %w", err)
	}
	return out, nil
}

func scalars(status map[string]any, src, dst *corev1.PodStatus) {
	change(status, "phase", src.Phase, dst.Phase, text(dst.Phase))
	change(status, "reason", src.Reason, dst.Reason, text(dst.Reason))
	change(status, "message", src.Message, dst.Message, text(dst.Message))
	change(status, "podIP", src.PodIP, dst.PodIP, text(dst.PodIP))
	change(status, "hostIP", src.HostIP, dst.HostIP, text(dst.HostIP))
	change(status, "resize", src.Resize, dst.Resize, text(dst.Resize))
	change(status, "startTime", src.StartTime, dst.StartTime, dst.StartTime)
	change(status, "observedGeneration", src.ObservedGeneration, dst.ObservedGeneration, dst.ObservedGeneration)
	// Replaced as a whole: a merge would keep resources that are gone.
	change(status, "allocatedResources", src.AllocatedResources, dst.AllocatedResources,
		whole(len(dst.AllocatedResources) > 0, dst.AllocatedResources))
	change(status, "resources", src.Resources, dst.Resources, whole(dst.Resources != nil, dst.Resources))
}

// change notes that field becomes value, if it does.
func change[T any](status map[string]any, field string, src, dst T, value any) {
	if !equality.Semantic.DeepEqual(src, dst) {
		status[field] = value
	}
}

// text is null, which removes the field, for the empty string.
func text[T ~string](s T) any {
	if s == "" {
		return nil
	}
	return s
}

// replace is a list that stands in place of the old one, in spite of its merge key.
func replace[T any](list []T) any {
	if len(list) == 0 {
		return nil
	}
	out := []any{map[string]any{"$patch": "replace"}}
	for _, item := range list {
		out = append(out, item)
	}
	return out
}

// whole is an object that stands in place of the old one.
func whole(present bool, object any) any {
	if !present {
		return nil
	}
	fields := map[string]any{}
	data, err := json.Marshal(object)
	if err != nil || json.Unmarshal(data, &fields) != nil {
		return object
	}
	fields["$patch"] = "replace"
	return fields
}

func conditionChanges(src, dst []corev1.PodCondition) []any {
	var out []any
	for i := range dst {
		had := find(src, dst[i].Type)
		if had == nil || !equality.Semantic.DeepEqual(*had, dst[i]) {
			out = append(out, conditionFields(dst[i]))
		}
	}
	for i := range src {
		if find(dst, src[i].Type) == nil {
			out = append(out, map[string]any{"type": src[i].Type, "$patch": "delete"})
		}
	}
	return out
}

// conditionFields names every field: what is not named would keep the value it had.
func conditionFields(c corev1.PodCondition) map[string]any {
	fields := map[string]any{
		"type": c.Type, "status": c.Status, "reason": text(c.Reason), "message": text(c.Message),
		"lastTransitionTime": c.LastTransitionTime, "lastProbeTime": nil,
		"observedGeneration": nil,
	}
	if !c.LastProbeTime.IsZero() {
		fields["lastProbeTime"] = c.LastProbeTime
	}
	if c.ObservedGeneration != 0 {
		fields["observedGeneration"] = c.ObservedGeneration
	}
	return fields
}
