package eviction

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
)

const (
	// afterProgress is when to look again after something has changed, afterNone when nothing has, and whenHopeless
	// where nothing will before somebody does something about the pods that are left.
	afterProgress = 2 * time.Second
	afterNone     = 10 * time.Second
	whenHopeless  = time.Minute
	// whenQuiet is when to look again where every pod is permitted: pods may still come past the scheduler.
	whenQuiet = 5 * time.Minute
	// retryConflict is when a status that lost a race is written again.
	retryConflict = time.Second
	// jitter keeps the looks at many namespaces apart.
	jitter = 0.2
)

// Limit bounds the evictions of all namespaces together, as a token bucket of client-go does.
type Limit interface {
	// TryAccept takes a token, if there is one.
	TryAccept() bool
}

// Reconciler evicts the pods of a namespace from where its policy does not permit them any more.
type Reconciler struct {
	// Home reads NamespaceOffloadings, NamespaceMaps and the metadata of namespaces and virtual nodes from caches, Live
	// everything from the API server.
	Home client.Client
	Live client.Reader
	// Evictor evicts.
	Evictor Evictor
	// Schedulers are the names of those that apply the policy; none stands for the two names that manifests give ours.
	// Pods of others are never evicted: they would come back.
	Schedulers []string
	// Pace and Limit say how many pods may be evicted at once, in a namespace and in all of them.
	Pace  Pace
	Limit Limit
	// Clock dates conditions.
	Clock clock.PassiveClock
	// Events tells users what was evicted.
	Events events.EventRecorder
	// Metrics may be nil.
	Metrics *Metrics

	// memory is by namespace, of those where something is left to do. One worker needs no lock.
	memory map[string]*comebacks
	// toldHeld is by draining node; it is Drain's alone.
	toldHeld map[string]*heldPods
}

// Reconcile looks at one namespace, evicts what it is time for, and says what is left.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	off := &v1beta1.NamespaceOffloading{}
	if err := r.Home.Get(ctx, request.NamespacedName, off); err != nil {
		r.forget(request.Namespace)
		if apierrors.IsNotFound(err) {
			return reconcile.Result{}, nil
		}
		return reconcile.Result{}, fmt.Errorf("get offloading of %s: %w", request.Namespace, err)
	}
	switch {
	case off.Name != v1beta1.OffloadingName || !off.DeletionTimestamp.IsZero():
		r.forget(off.Namespace)
		return reconcile.Result{}, nil // the twins go, and with them what runs there
	case !asked(off):
		r.forget(off.Namespace)
		return settle(reconcile.Result{}, r.withdraw(ctx, off))
	}
	seen := off.Status.Conditions
	off, found, err := r.round(ctx, off)
	changed, statusErr := r.report(ctx, off, found, err)
	result := reconcile.Result{RequeueAfter: pause(found, changed, observed(seen, off.Generation))}
	return settle(result, errors.Join(err, statusErr))
}

func asked(off *v1beta1.NamespaceOffloading) bool {
	return off.Spec.PodEvictionStrategy == v1beta1.EvictOnPolicyChange
}

// settle keeps lost races out of the logs.
func settle(result reconcile.Result, err error) (reconcile.Result, error) {
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: retryConflict}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	return result, nil
}

// observed says that an earlier round saw the same policy. A round that is the first to see it is followed by another:
// the scheduler may have bound a pod by the old policy in the meantime.
func observed(conditions []metav1.Condition, generation int64) bool {
	c := meta.FindStatusCondition(conditions, v1beta1.ConditionPodsPermitted)
	return c != nil && c.ObservedGeneration == generation
}

// pause says when to look again.
func pause(found []violation, changed, observed bool) time.Duration {
	switch {
	case len(found) > 0 && changed:
		return afterProgress
	case !observed || slices.ContainsFunc(found, violation.mayGo):
		return wait.Jitter(afterNone, jitter)
	case len(found) > 0:
		return wait.Jitter(whenHopeless, jitter)
	default:
		return wait.Jitter(whenQuiet, jitter)
	}
}

func (r *Reconciler) remember(namespace string) *comebacks {
	if r.memory == nil {
		r.memory = map[string]*comebacks{}
	}
	if r.memory[namespace] == nil {
		r.memory[namespace] = &comebacks{}
	}
	return r.memory[namespace]
}

// forget drops what is known of a namespace that does not evict pods (any more).
func (r *Reconciler) forget(namespace string) {
	delete(r.memory, namespace)
	r.Metrics.forget(namespace)
}

// report writes what is left into the status, if that is news, and says whether it was.
func (r *Reconciler) report(ctx context.Context, off *v1beta1.NamespaceOffloading, found []violation, failure error) (
	bool, error,
) {
	if !asked(off) || !off.DeletionTimestamp.IsZero() {
		return false, nil
	}
	before := off.DeepCopy()
	is := condition(found, off.Generation)
	if failure != nil && !has(found, failed) {
		is.Status, is.Reason = metav1.ConditionUnknown, ReasonFailed
		is.Message = truncate("tried again: " + failure.Error())
	} else {
		off.Status.ViolatingPods = ptr.To(int32(len(found))) //nolint:gosec // no namespace has 2^31 pods
		r.Metrics.setViolating(off.Namespace, len(found))
	}
	is.LastTransitionTime = metav1.NewTime(r.Clock.Now()).Rfc3339Copy()
	meta.SetStatusCondition(&off.Status.Conditions, is)
	changed, err := r.patch(ctx, before, off)
	was := meta.FindStatusCondition(before.Status.Conditions, is.Type)
	if changed && is.Status == metav1.ConditionTrue && was != nil && was.Status != is.Status {
		r.Events.Eventf(off, nil, corev1.EventTypeNormal, is.Type, "Evict", "%s", is.Message)
	}
	return changed, err
}

// withdraw takes back what was said about a namespace that does not ask for eviction any more.
func (r *Reconciler) withdraw(ctx context.Context, off *v1beta1.NamespaceOffloading) error {
	before := off.DeepCopy()
	off.Status.ViolatingPods = nil
	meta.RemoveStatusCondition(&off.Status.Conditions, v1beta1.ConditionPodsPermitted)
	_, err := r.patch(ctx, before, off)
	return err
}

// patch writes the status where it differs. The list of conditions is shared with others and replaced as a whole, so it
// is never written on top of a state that we have not seen.
func (r *Reconciler) patch(ctx context.Context, before, off *v1beta1.NamespaceOffloading) (bool, error) {
	if equality.Semantic.DeepEqual(before.Status, off.Status) {
		return false, nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Home.Status().Patch(ctx, off, patch); err != nil {
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return false, fmt.Errorf("patch status of offloading of %s: %w", off.Namespace, err)
	}
	return true, nil
}
