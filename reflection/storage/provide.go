package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/reflection/remote"
)

// lookAtClaim does what a claim waits for. It reads the claim live: whoever made it be looked at may know an older one.
func (v *Volumes) lookAtClaim(ctx context.Context, it item) (time.Duration, error) {
	claim := &corev1.PersistentVolumeClaim{}
	err := v.opts.Home.Get(ctx, client.ObjectKey{Namespace: it.namespace, Name: it.name}, claim)
	if apierrors.IsNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read claim: %w", err)
	}
	if claim.DeletionTimestamp != nil {
		return 0, nil
	}
	if pv := v.VolumeOf(claim); pv != nil {
		return v.attend(ctx, claim, pv)
	}
	node := v.place(claim)
	if node == "" {
		return 0, nil
	}
	return v.provide(ctx, claim, node)
}

// provide makes the volume of a claim on a virtual Node, or says why it cannot be there. When the Node is not chosen
// any more, all that is left is to see whether it could be.
func (v *Volumes) provide(
	ctx context.Context, claim *corev1.PersistentVolumeClaim, node string,
) (time.Duration, error) {
	twin, ready := v.twin(claim.Namespace)
	if !ready {
		return 0, nil // its claims are looked at when it is
	}
	why, after, err := v.obstacle(ctx, claim, node, twin)
	if err != nil && v.queue.NumRequeues(item{claim.Namespace, claim.Name}) >= patience {
		why, err = silence(err), nil // and the pod is not to wait for it
	}
	switch {
	case err != nil || after > 0:
		return after, err
	case why != "":
		return reconsider, v.refuse(ctx, claim, node, why)
	case chosen(claim) != node:
		return 0, v.permit(ctx, claim, node)
	}
	if err := v.make(ctx, claim, node, twin); err != nil {
		return 0, err
	}
	return 0, v.permit(ctx, claim, node)
}

// make creates the home volume. One of its name is the claim's already, since the name has its UID.
func (v *Volumes) make(ctx context.Context, claim *corev1.PersistentVolumeClaim, node, twin string) error {
	reclaim := corev1.PersistentVolumeReclaimDelete
	if name := claim.Spec.StorageClassName; name != nil {
		var class storagev1.StorageClass
		err := v.opts.Home.Get(ctx, client.ObjectKey{Name: *name}, &class)
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("read storage class %s: %w", *name, err)
		}
		if class.ReclaimPolicy != nil {
			reclaim = *class.ReclaimPolicy
		}
	}
	pv := volume(claim, node, handle{v.opts.Provider, twin, claim.Name}, reclaim)
	if err := v.opts.Home.Create(ctx, pv); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create volume %s: %w", pv.Name, err)
	}
	return nil
}

// obstacle says why the provider cannot have a claim's volume, "" when it can, or after how long to ask again.
func (v *Volumes) obstacle(
	ctx context.Context, claim *corev1.PersistentVolumeClaim, node, twin string,
) (why string, after time.Duration, err error) {
	offered, _ := v.opts.Offered(node)
	class, why := classFor(claim, offered)
	if why == "" {
		why = unsupported(claim)
	}
	if why != "" {
		return why, 0, nil
	}
	have, err := v.copyOf(ctx, twin, claim.Name)
	if err != nil {
		return "", 0, err
	}
	if have != nil {
		why, after = v.taken(claim, have)
		return why, after, nil
	}
	if why, err = v.lacks(ctx, class); why != "" || err != nil {
		return why, 0, err
	}
	return v.rehearse(ctx, claim, class, twin)
}

// silence says that a provider cannot be asked. It is the same each time.
func silence(err error) string {
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		return bounded("the provider cannot be asked: " + err.Error())
	}
	return "the provider does not answer"
}

// taken says what it means that there is a claim of that name in the twin.
func (v *Volumes) taken(claim, have *corev1.PersistentVolumeClaim) (why string, after time.Duration) {
	switch {
	case have.Labels[v1beta1.LabelOrigin] != v.opts.Origin || have.Annotations[v1beta1.AnnotationHomeUID] == "":
		return fmt.Sprintf("a claim %s/%s is there and not ours", have.Namespace, have.Name), 0
	case have.Annotations[v1beta1.AnnotationHomeUID] == string(claim.UID) && have.DeletionTimestamp == nil:
		return "", 0
	case have.Annotations[v1beta1.AnnotationHomeUID] != string(claim.UID) && isRetained(have):
		return fmt.Sprintf("claim %s/%s there retains the data of an earlier claim of that name", have.Namespace,
			have.Name), 0
	case have.DeletionTimestamp != nil && v.opts.Clock.Since(have.DeletionTimestamp.Time) > heldFor:
		return fmt.Sprintf("claim %s/%s there is being deleted, and something holds it, such as a pod that uses it",
			have.Namespace, have.Name), 0
	}
	return "", soon // it is on its way out
}

// lacks says that the provider has not the class, or no default.
func (v *Volumes) lacks(ctx context.Context, class string) (string, error) {
	if class != "" {
		err := v.opts.Away.Get(ctx, client.ObjectKey{Name: class}, &storagev1.StorageClass{})
		if remote.Absent(err) {
			return fmt.Sprintf("the provider has no storage class %q", class), nil
		}
		if err != nil {
			return "", fmt.Errorf("read the provider's storage class %s: %w", class, err)
		}
		return "", nil
	}
	var classes storagev1.StorageClassList
	if err := v.opts.Away.List(ctx, &classes); err != nil {
		return "", fmt.Errorf("list the provider's storage classes: %w", err)
	}
	for i := range classes.Items {
		for _, key := range []string{"storageclass.kubernetes.io/", "storageclass.beta.kubernetes.io/"} {
			if classes.Items[i].Annotations[key+"is-default-class"] == "true" {
				return "", nil
			}
		}
	}
	if len(classes.Items) == 0 {
		return "the provider has no storage class", nil
	}
	return fmt.Sprintf("the provider has no default storage class; annotation %s on the claim names one",
		v1beta1.AnnotationRemoteStorageClass), nil
}

// rehearse asks the provider's API server to create the copy without doing it: quotas and policies speak up before the
// claim is tied to the provider.
func (v *Volumes) rehearse(
	ctx context.Context, claim *corev1.PersistentVolumeClaim, class, twin string,
) (why string, after time.Duration, err error) {
	trial := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
		Namespace: twin, Name: claim.Name,
		Labels: map[string]string{
			v1beta1.LabelOrigin: v.opts.Origin, v1beta1.LabelDestination: v.opts.Provider,
		},
		Annotations: map[string]string{v1beta1.AnnotationHomeUID: string(claim.UID)},
	}}
	Fill(trial, claim, class)
	err = v.opts.Away.Create(ctx, trial, client.DryRunAll, client.FieldOwner(v1beta1.FieldManager))
	switch {
	case apierrors.IsAlreadyExists(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return "", soon, nil
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return "the provider refuses the claim: " + bounded(err.Error()), 0, nil
	case err != nil:
		return "", 0, fmt.Errorf("rehearse the copy: %w", err)
	}
	return "", 0, nil
}

// copyOf reads a claim in a twin; nil when there is none.
func (v *Volumes) copyOf(ctx context.Context, twin, name string) (*corev1.PersistentVolumeClaim, error) {
	have := &corev1.PersistentVolumeClaim{}
	err := v.opts.Away.Get(ctx, client.ObjectKey{Namespace: twin, Name: name}, have)
	if remote.Absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read claim %s/%s on the provider: %w", twin, name, err)
	}
	return have, nil
}
