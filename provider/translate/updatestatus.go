package translate

import (
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// UpdateRefused is our condition on a home pod. True: the provider refuses a change of it, for the reason that the
// message gives. It goes when the provider takes the change, or home takes it back.
const UpdateRefused corev1.PodConditionType = "offloading.liqo.io/UpdateRefused"

// Refused returns the home pod's status with the provider's word on a change. The generation stays unobserved.
func (v View) Refused(home *corev1.Pod, message string) corev1.PodStatus {
	out := *home.Status.DeepCopy()
	v.set(&out, home, corev1.PodCondition{
		Type: UpdateRefused, Status: corev1.ConditionTrue, Reason: "Refused", Message: cut(message, maxMessage),
	})
	return out
}

// Refusal returns why the provider refuses a change of the home pod, as far as the pod itself remembers.
func Refusal(home *corev1.Pod) string {
	if c := find(home.Status.Conditions, UpdateRefused); c != nil && c.Status == corev1.ConditionTrue {
		return c.Message
	}
	return ""
}

// Follow makes a status, which [View.Status] has made of the remote pod's, say how far that follows the home pod: its
// generation is observed when the remote pod has taken it, and the provider's kubelet has seen that.
func Follow(out *corev1.PodStatus, home, away *corev1.Pod, lag Lag) {
	if lag != Behind {
		out.Conditions = slices.DeleteFunc(out.Conditions,
			func(c corev1.PodCondition) bool { return c.Type == UpdateRefused })
		// A kubelet that does not say what it has seen is believed.
		if seen := away.Status.ObservedGeneration; seen == 0 || seen >= away.Generation {
			return
		}
	}
	observed := home.Status.ObservedGeneration
	out.ObservedGeneration = observed
	for i := range out.Conditions {
		c := &out.Conditions[i]
		c.ObservedGeneration = min(c.ObservedGeneration, observed)
	}
}

// OnlyObserved tells whether a status has no other news than which generation of the home pod has been seen.
func OnlyObserved(had, next *corev1.PodStatus) bool {
	if had.ObservedGeneration == next.ObservedGeneration {
		return false
	}
	rest := *next.DeepCopy()
	rest.ObservedGeneration = had.ObservedGeneration
	for i := range rest.Conditions {
		if c := find(had.Conditions, rest.Conditions[i].Type); c != nil {
			rest.Conditions[i].ObservedGeneration = c.ObservedGeneration
		}
	}
	return equality.Semantic.DeepEqual(had, &rest)
}

// Patch is [StatusPatch] that also makes [v1beta1.LabelRemoteUnavailable] of the home pod so.
func (v View) Patch(home *corev1.Pod, dst *corev1.PodStatus) ([]byte, error) {
	patch, err := StatusPatch(home.UID, &home.Status, dst)
	if err != nil || !v.Mislabelled(home, dst.Phase) {
		return patch, err
	}
	var value any // none
	if v.Unreachable && !Finished(dst.Phase) {
		value = "true"
	}
	metadata, err := json.Marshal(map[string]any{
		"uid": home.UID, "labels": map[string]any{v1beta1.LabelRemoteUnavailable: value},
	})
	if err != nil {
		return nil, fmt.Errorf("encode label: %w", err)
	}
	body := map[string]json.RawMessage{}
	if patch != nil {
		if err := json.Unmarshal(patch, &body); err != nil {
			return nil, fmt.Errorf("read status patch: %w", err)
		}
	}
	body["metadata"] = metadata
	return json.Marshal(body)
}

// Mislabelled tells whether a home pod of that phase lacks the label that its provider cannot be reached, or has it
// without need. A finished pod needs nobody any more.
func (v View) Mislabelled(home *corev1.Pod, phase corev1.PodPhase) bool {
	value, has := home.Labels[v1beta1.LabelRemoteUnavailable]
	wants := v.Unreachable && !Finished(phase)
	return has != wants || wants && value != "true"
}
