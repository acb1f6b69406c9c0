package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// errNoCopy: the claim is bound, but nobody has seen its copy yet.
var errNoCopy = errors.New("there is no copy yet")

// attend keeps the volume of a bound claim true.
func (v *Volumes) attend(
	ctx context.Context, claim *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume,
) (time.Duration, error) {
	if claim.Annotations[v1beta1.AnnotationVolumeRefused] != "" {
		if err := v.note(ctx, claim, nil, false); err != nil {
			return 0, err
		}
	}
	if outgrown(claim, pv) {
		size := claim.Status.Capacity[corev1.ResourceStorage]
		patch := map[string]any{"spec": map[string]any{"capacity": map[string]any{"storage": size.String()}}}
		return 0, v.patchVolume(ctx, pv, patch)
	}
	return 0, v.follow(ctx, claim, pv)
}

// follow notes which copy has the data, and tells of a loss when it is another one than before.
func (v *Volumes) follow(
	ctx context.Context, claim *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume,
) error {
	twin, reflected := v.twin(claim.Namespace) // which is another one than before if the mapping strategy has changed
	if !reflected {
		return nil
	}
	have, err := v.copyOf(ctx, twin, claim.Name)
	if err != nil {
		return err
	}
	if have == nil || have.Annotations[v1beta1.AnnotationHomeUID] != string(claim.UID) {
		return errNoCopy
	}
	before := pv.Annotations[v1beta1.AnnotationRemoteClaimUID]
	if before == string(have.UID) {
		return nil
	}
	if before != "" {
		message := lossOf(have, v.opts.Provider)
		if c := lost(claim); c == nil || c.Message != message {
			return nil // the status is on its way, and has the claim looked at again
		}
		v.opts.Events.Event(claim, corev1.EventTypeWarning, ReasonLost, message)
	}
	return v.patchVolume(ctx, pv, map[string]any{"metadata": map[string]any{
		"annotations": map[string]any{v1beta1.AnnotationRemoteClaimUID: have.UID},
	}})
}

func (v *Volumes) patchVolume(ctx context.Context, pv *corev1.PersistentVolume, patch map[string]any) error {
	write := func(ctx context.Context, obj client.Object, p client.Patch, _ ...client.SubResourcePatchOption) error {
		return v.opts.Home.Patch(ctx, obj, p)
	}
	if err := v.patch(ctx, pv.DeepCopy(), write, patch); err != nil {
		return fmt.Errorf("patch volume %s: %w", pv.Name, err)
	}
	return nil
}

// outgrown says that a claim has become larger than its volume says.
func outgrown(claim *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) bool {
	has, says := claim.Status.Capacity[corev1.ResourceStorage], pv.Spec.Capacity[corev1.ResourceStorage]
	return has.Cmp(says) > 0
}

// lost returns the condition of a claim whose volume was lost, or nil.
func lost(claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaimCondition {
	for i := range claim.Status.Conditions {
		if c := &claim.Status.Conditions[i]; c.Type == v1beta1.ClaimVolumeLost && c.Status == corev1.ConditionTrue {
			return c
		}
	}
	return nil
}

// Feedback sets what home's status of a claim takes from its copy: the size, how an expansion goes, and that the volume
// is not the one that it was. pv is home's volume, nil when there is none.
func Feedback(dst, src *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) {
	if dst.Status.Phase == corev1.ClaimBound && src.Status.Phase == corev1.ClaimBound && len(src.Status.Capacity) > 0 {
		dst.Status.Capacity = onlySize(src.Status.Capacity)
		dst.Status.AllocatedResources = onlySize(src.Status.AllocatedResources)
		dst.Status.AllocatedResourceStatuses = nil
		if of := onlySize(src.Status.AllocatedResourceStatuses); ofResizing(of[corev1.ResourceStorage]) {
			dst.Status.AllocatedResourceStatuses = of
		}
	}
	dst.Status.Conditions = resizing(dst.Status.Conditions, src.Status.Conditions)
	if pv == nil {
		return
	}
	at, ok := handleOf(pv)
	if known := pv.Annotations[v1beta1.AnnotationRemoteClaimUID]; ok && known != "" && known != string(src.UID) {
		dst.Status.Conditions = withCondition(dst.Status.Conditions, v1beta1.ClaimVolumeLost,
			lossOf(src, at.provider), src.CreationTimestamp)
	}
}

// onlySize keeps what is said about the size: nothing else about a volume is a provider's to add (SEC-12).
func onlySize[M ~map[corev1.ResourceName]V, V any](all M) M {
	value, has := all[corev1.ResourceStorage]
	if !has {
		return nil
	}
	return M{corev1.ResourceStorage: value}
}

// lossOf says that a copy is not the one that had the data. The time tells one loss from the next.
func lossOf(made *corev1.PersistentVolumeClaim, provider string) string {
	return bounded(fmt.Sprintf("the volume on cluster %q was deleted there, with its data; claim %s/%s there was made "+
		"anew at %s and is empty; this condition goes with the claim", provider, made.Namespace, made.Name,
		made.CreationTimestamp.UTC().Format(time.RFC3339)))
}

// resizing returns have with those conditions of an expansion that the copy has, and no others of that kind.
func resizing(have, from []corev1.PersistentVolumeClaimCondition) []corev1.PersistentVolumeClaimCondition {
	var out []corev1.PersistentVolumeClaimCondition
	for _, c := range have {
		if !ofExpansion(c.Type) {
			out = append(out, c)
		}
	}
	for _, c := range from {
		known := func(o corev1.PersistentVolumeClaimCondition) bool { return o.Type == c.Type }
		if ofExpansion(c.Type) && !slices.ContainsFunc(out, known) {
			c.Message, c.Reason = bounded(c.Message), bounded(c.Reason)
			out = append(out, c)
		}
	}
	return out
}

func ofResizing(status corev1.ClaimResourceStatus) bool {
	switch status {
	case corev1.PersistentVolumeClaimControllerResizeInProgress, corev1.PersistentVolumeClaimControllerResizeInfeasible,
		corev1.PersistentVolumeClaimNodeResizePending, corev1.PersistentVolumeClaimNodeResizeInProgress,
		corev1.PersistentVolumeClaimNodeResizeInfeasible:
		return true
	}
	return false
}

func ofExpansion(kind corev1.PersistentVolumeClaimConditionType) bool {
	switch kind {
	case corev1.PersistentVolumeClaimResizing, corev1.PersistentVolumeClaimFileSystemResizePending,
		corev1.PersistentVolumeClaimControllerResizeError, corev1.PersistentVolumeClaimNodeResizeError:
		return true
	}
	return false
}

// lookAtVolume takes away a volume whose claim is gone, and its data first, if its reclaim policy says so.
func (v *Volumes) lookAtVolume(ctx context.Context, it item) (time.Duration, error) {
	pv := &corev1.PersistentVolume{}
	if err := v.opts.Home.Get(ctx, client.ObjectKey{Name: it.name}, pv); err != nil {
		if client.IgnoreNotFound(err) != nil {
			return 0, fmt.Errorf("read volume: %w", err)
		}
		return 0, nil
	}
	if !v.ours(pv) || pv.Status.Phase != corev1.VolumeReleased ||
		pv.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete {
		return 0, nil
	}
	if after, err := v.release(ctx, pv); after > 0 || err != nil {
		return after, err
	}
	if err := v.opts.Home.Delete(ctx, pv, exactly(pv)); client.IgnoreNotFound(err) != nil {
		return 0, fmt.Errorf("delete volume: %w", err)
	}
	return 0, nil
}
