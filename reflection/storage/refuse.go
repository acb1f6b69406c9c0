package storage

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Reasons of events on claims.
const (
	// ReasonRefused: the provider cannot have the volume; the pod is placed elsewhere, or waits.
	ReasonRefused = "VolumeRefused"
	// ReasonLost: the volume was deleted on the provider, with its data.
	ReasonLost = "VolumeLost"
)

// refuse notes on the claim that a virtual Node cannot have its volume and, by taking back the choice of that Node,
// has the scheduler place the pod once more.
func (v *Volumes) refuse(ctx context.Context, claim *corev1.PersistentVolumeClaim, node, why string) error {
	refused := Refusals(claim)
	why = bounded(why)
	news := refused[node] != why
	refused[node] = why
	if err := v.note(ctx, claim, refused, chosen(claim) == node); err != nil {
		return err
	}
	if news {
		v.opts.Events.Event(claim, corev1.EventTypeWarning, ReasonRefused,
			refusedMessage(map[string]string{node: why}))
	}
	return nil
}

// permit takes back that a virtual Node cannot have the volume.
func (v *Volumes) permit(ctx context.Context, claim *corev1.PersistentVolumeClaim, node string) error {
	refused := Refusals(claim)
	delete(refused, node)
	return v.note(ctx, claim, refused, false)
}

// note writes who refuses a claim: for people into its conditions and, in the same words, for schedulers into an
// annotation. Nothing is written that is there already.
func (v *Volumes) note(
	ctx context.Context, claim *corev1.PersistentVolumeClaim, refused map[string]string, release bool,
) error {
	now := metav1.NewTime(v.opts.Clock.Now().Truncate(1e9))
	conditions := withCondition(claim.Status.Conditions, v1beta1.ClaimVolumeRefused, refusedMessage(refused), now)
	if !equality.Semantic.DeepEqual(conditions, claim.Status.Conditions) {
		patch := map[string]any{"status": map[string]any{"conditions": conditions}}
		if err := v.patch(ctx, claim, v.opts.Home.Status().Patch, patch); err != nil {
			return fmt.Errorf("patch the conditions of claim %s/%s: %w", claim.Namespace, claim.Name, err)
		}
	}
	if maps.Equal(refused, Refusals(claim)) && !release {
		return nil
	}
	text, err := refusedText(refused)
	if err != nil {
		return err
	}
	annotations := map[string]any{v1beta1.AnnotationVolumeRefused: text}
	if release {
		annotations[v1beta1.AnnotationSelectedNode] = nil
	}
	patch := map[string]any{"metadata": map[string]any{"annotations": annotations}}
	write := func(ctx context.Context, obj client.Object, p client.Patch, _ ...client.SubResourcePatchOption) error {
		return v.opts.Home.Patch(ctx, obj, p)
	}
	if err := v.patch(ctx, claim, write, patch); err != nil {
		return fmt.Errorf("patch the annotations of claim %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	return nil
}

// patch writes a merge patch for exactly the object that was read, and leaves in it what has become of it.
func (v *Volumes) patch(
	ctx context.Context, obj client.Object,
	write func(context.Context, client.Object, client.Patch, ...client.SubResourcePatchOption) error,
	patch map[string]any,
) error {
	metadata, _ := patch["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
		patch["metadata"] = metadata
	}
	metadata["uid"], metadata["resourceVersion"] = obj.GetUID(), obj.GetResourceVersion()
	text, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encode patch: %w", err)
	}
	return write(ctx, obj, client.RawPatch(types.MergePatchType, text))
}
