package eviction

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
)

const (
	// evictTimeout bounds one call, in which admission webhooks may have a say.
	evictTimeout = 10 * time.Second
	// evictFor is for how long calls are begun in one round: other namespaces wait for the same worker.
	evictFor = 5 * time.Second
)

// evict evicts the pods whose turn it is, and notes what came of it.
func (r *Reconciler) evict(ctx context.Context, off *v1beta1.NamespaceOffloading, found []violation) error {
	var errs []error
	began := r.Clock.Now()
	for i := range found {
		v := &found[i]
		if v.state != next {
			continue
		}
		if r.Clock.Since(began) >= evictFor {
			v.state, v.why = queued, "evictions take long at the moment"
			continue
		}
		if !r.Limit.TryAccept() {
			v.state, v.why = queued, "enough pods of all namespaces are being evicted"
			continue
		}
		err := r.evictOne(ctx, v.pod)
		switch why, held := heldBack(err); {
		case err == nil:
			v.state = leaving
			r.remember(off.Namespace).evicted(*v)
			r.Metrics.countEvicted(v.verdict.Reason)
			r.Events.Eventf(v.pod, off, corev1.EventTypeNormal, "PolicyEviction", "Evict", "%s", v.verdict.Message)
		case apierrors.IsNotFound(err), apierrors.IsConflict(err):
			v.state = leaving // it is gone, or another one with its name is there
		case held:
			hold(found[i:], owner(v.pod), why)
		default:
			v.state, v.why = failed, err.Error()
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// evictOne asks for the eviction of exactly the pod that was seen.
func (r *Reconciler) evictOne(ctx context.Context, pod *corev1.Pod) error {
	ctx, cancel := context.WithTimeout(ctx, evictTimeout)
	defer cancel()
	eviction := &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: ptr.To(pod.UID)}},
	}
	if err := r.Evictor.Evict(ctx, eviction); err != nil {
		return fmt.Errorf("evict pod %s: %w", pod.Name, err)
	}
	return nil
}

// moreThanOneBudget is in the answer, which has status 500, about a pod that the API server never evicts.
const moreThanOneBudget = "This pod has more than one PodDisruptionBudget"

// heldBack says whether a PodDisruptionBudget forbids an eviction, and which, in the API server's words.
func heldBack(err error) (string, bool) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return "", false
	}
	answer := status.Status()
	if strings.Contains(answer.Message, moreThanOneBudget) {
		return answer.Message, true
	}
	if !apierrors.IsTooManyRequests(err) {
		return "", false
	}
	if answer.Details != nil {
		for _, cause := range answer.Details.Causes {
			if cause.Type == policyv1.DisruptionBudgetCause {
				return cause.Message, true
			}
		}
	}
	return answer.Message, true
}

// hold notes that a controller's pods wait for a budget: what holds one of them holds the others, and nobody asks again
// in this round.
func hold(found []violation, uid types.UID, why string) {
	for i := range found {
		v := &found[i]
		if owner(v.pod) == uid && (v.state == next || v.state == queued) {
			v.state, v.why = budget, why
		}
	}
}

func has(found []violation, s state) bool {
	return slices.ContainsFunc(found, func(v violation) bool { return v.state == s })
}
