package translate

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// StatusPatch returns the strategic merge patch that makes the status src into dst, or nil when they mean the same. It
// names the UID, so that it never meets a successor of the same name, and holds only what differs, so that conditions
// of others survive.
func StatusPatch(uid types.UID, src, dst *corev1.PodStatus) ([]byte, error) {
	if equality.Semantic.DeepEqual(src, dst) {
		return nil, nil
	}
	before, err := json.Marshal(map[string]any{"status": src})
	if err != nil {
		return nil, fmt.Errorf("encode status: %w", err)
	}
	after, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": uid}, "status": dst})
	if err != nil {
		return nil, fmt.Errorf("encode status: %w", err)
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(before, after, &corev1.Pod{})
	if err != nil {
		return nil, fmt.Errorf("compare status: %w", err)
	}
	return patch, nil
}
