package namespacemap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/reflection/remote"
)

// remove deletes a twin that home no longer asks for, and drops its entry once a live read says that it is gone.
// Whether home still requires it is asked once, before it is deleted, and not each time that its slow end is looked at:
// of thousands that leave together, that was more than half of what home had to answer.
func (t *Twins) remove(ctx context.Context, v *visit, away string) (reconcile.Result, error) {
	there, err := t.expel(ctx, v.home, away)
	if errors.Is(err, errRequired) {
		return reconcile.Result{RequeueAfter: retryRequired}, nil
	}
	var atHome *homeError
	if errors.As(err, &atHome) {
		return reconcile.Result{}, err
	}
	if apierrors.IsConflict(err) { // it changed since we read it: nobody needs to hear of that
		return reconcile.Result{}, err
	}
	if err != nil {
		reason, message := explain(err)
		if recordErr := t.record(ctx, v, terminating(away, reason, message)); recordErr != nil {
			return reconcile.Result{}, fmt.Errorf("%w (after: %w)", recordErr, err)
		}
		return reconcile.Result{}, err
	}
	if there != nil {
		err := t.record(ctx, v, terminating(away, "", heldBy(there)))
		return reconcile.Result{RequeueAfter: spread(retryTerminating, v.twins)}, err
	}
	t.gone(v.home)
	if v.entry == nil {
		return reconcile.Result{}, nil
	}
	return reconcile.Result{}, t.forget(ctx, v)
}

// discard deletes a twin that another one of the same home namespace stands in for.
func (t *Twins) discard(ctx context.Context, v *visit, away string) error {
	_, err := t.expelUnless(ctx, v.home, away, func() error { return t.unrequired(ctx, v.home, away) })
	if errors.Is(err, errRequired) {
		return nil
	}
	return err
}

// tidy is for a home namespace without a map. One that was deleted by hand is made anew, and the twins stay. But a twin
// that was being created when its key was taken back, before there was an answer, is known to nobody else once the
// provider's last VirtualNode took the map along, and of one that was leaving everybody still waits to hear that it is
// gone.
func (t *Twins) tidy(ctx context.Context, home string) (reconcile.Result, error) {
	away := cmp.Or(t.begun.of(home), t.going.of(home))
	if away == "" {
		return reconcile.Result{}, nil
	}
	there, err := t.expel(ctx, home, away)
	if errors.Is(err, errRequired) {
		return reconcile.Result{}, nil // with the new map we come back
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	if there != nil {
		return reconcile.Result{RequeueAfter: retryTerminating}, nil
	}
	t.gone(home)
	return reconcile.Result{}, nil
}

// required protects twins from a map that somebody edited or deleted by hand: as long as the NamespaceOffloading, read
// live, says that this twin is required, it is the map that is wrong. One that was not processed yet says nothing.
func (t *Twins) required(ctx context.Context, home, away string) (bool, error) {
	off := &v1beta1.NamespaceOffloading{}
	err := t.Live.Get(ctx, client.ObjectKey{Namespace: home, Name: v1beta1.OffloadingName}, off)
	switch {
	case remote.Absent(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("get offloading of %s: %w", home, err)
	case !off.DeletionTimestamp.IsZero() || off.Status.OffloadingPhase == v1beta1.PhaseTerminating:
		return false, nil
	case off.Status.ObservedGeneration == 0:
		return true, nil
	}
	conditions := off.Status.RemoteNamespacesConditions[t.ClusterID]
	ready := find(conditions, v1beta1.ConditionReady)
	if ready != nil && ready.Reason == v1beta1.ReasonDuplicateCluster {
		return false, nil // required of the cluster, but under its other id
	}
	return isRequired(conditions) && off.Status.RemoteNamespaceName == away, nil
}

// errRequired keeps a twin that home still requires.
var errRequired = errors.New("home still requires the twin")

func (t *Twins) unrequired(ctx context.Context, home, away string) error {
	required, err := t.required(ctx, home, away)
	if err != nil {
		return &homeError{err}
	}
	if required {
		return errRequired
	}
	return nil
}

// homeError is one of home, of which the provider's entry says nothing.
type homeError struct{ error }

func (e *homeError) Unwrap() error { return e.error }

// expel deletes the twin of a home namespace, after nothing is written into it any more; see [Twins.expelUnless].
func (t *Twins) expel(ctx context.Context, home, away string) (*corev1.Namespace, error) {
	twin, err := t.expelUnless(ctx, home, away, func() error {
		if err := t.unrequired(ctx, home, away); err != nil {
			return err
		}
		t.leaving(home, away)
		return nil
	})
	if err == nil && twin != nil {
		t.leaving(home, away) // also when somebody else has deleted it
	}
	return twin, err
}

// expelUnless deletes a namespace of the provider if it is ours and the guard lets it, and returns it while it is still
// there. What is not ours is as good as gone.
func (t *Twins) expelUnless(
	ctx context.Context, home, away string, guard func() error,
) (*corev1.Namespace, error) {
	if len(validation.IsDNS1123Label(away)) > 0 {
		return nil, nil // refused from the start, or written by hand: no namespace is called so
	}
	twin, err := t.read(ctx, away)
	switch {
	case remote.Absent(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("get twin %s: %w", away, err)
	case !t.ours(twin, home):
		return nil, nil
	case !twin.DeletionTimestamp.IsZero():
		return twin, nil
	}
	if err := guard(); err != nil {
		return nil, err
	}
	if err := t.delete(ctx, twin); err != nil {
		return nil, err
	}
	twin, err = t.read(ctx, away)
	if remote.Absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get twin %s: %w", away, err)
	}
	return twin, nil
}

// delete deletes exactly the namespace that was just seen to be ours.
func (t *Twins) delete(ctx context.Context, twin *corev1.Namespace) error {
	seen := client.Preconditions{UID: ptr.To(twin.UID), ResourceVersion: ptr.To(twin.ResourceVersion)}
	err := t.call(ctx, "delete", func(ctx context.Context) error { return t.Away.Delete(ctx, twin, seen) })
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete twin %s: %w", twin.Name, err)
	}
	return nil
}

// holders are the conditions by which the provider says what keeps a namespace from going.
var holders = []corev1.NamespaceConditionType{
	corev1.NamespaceDeletionDiscoveryFailure, corev1.NamespaceDeletionGVParsingFailure,
	corev1.NamespaceDeletionContentFailure, corev1.NamespaceContentRemaining, corev1.NamespaceFinalizersRemaining,
}

// heldBy says, in the provider's words, what a namespace that is being deleted waits for.
func heldBy(namespace *corev1.Namespace) string {
	var words []string
	for _, kind := range holders {
		for _, condition := range namespace.Status.Conditions {
			if condition.Type == kind && condition.Status == corev1.ConditionTrue && condition.Message != "" {
				words = append(words, condition.Message)
			}
		}
	}
	text := fmt.Sprintf("namespace %s is being deleted", namespace.Name)
	if len(words) > 0 {
		text += ": " + strings.Join(words, "; ")
	}
	return text
}

func terminating(twin, reason, message string) v1beta1.TwinStatus {
	return v1beta1.TwinStatus{
		RemoteNamespace: twin, Phase: v1beta1.MappingTerminating, Reason: reason, Message: truncate(message,
			maxMessage),
	}
}
