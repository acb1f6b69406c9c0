package provider

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/provider/translate"
	"github.com/twinspace/twinspace/reflection/remote"
	"github.com/twinspace/twinspace/schedplugin/placement/nodefit"
)

// Reasons of the events by which a home pod is released.
const (
	// ReasonReleased: no node of the provider took it.
	ReasonReleased = "ReleasedUnschedulable"
	// ReasonReleasedRefused: policy came to forbid what the scheduler had chosen before there was a remote pod.
	ReasonReleasedRefused = "ReleasedNotPermitted"
)

// unfitPoll is how often a pod looks whether its Node names its controller; that takes one write.
const unfitPoll = 500 * time.Millisecond

// maxNote is how long the API server lets the text of an event be.
const maxNote = 1024

// admissible asks, besides the policy, whether the provider has room for a pod that is about to be created. Only pods
// that were created with the Node's name are asked about. Who let a scheduler choose has been asked there, and what
// changed since is for the provider's scheduler to judge, which also makes the provider grow where it can.
func (p *Pods) admissible(ctx context.Context, w *work) (refusal string, err error) {
	refusal, err = p.admit(ctx, w)
	if err != nil || refusal != "" || p.opts.Fits == nil || chosen(w.home) {
		return refusal, err
	}
	return p.opts.Fits(ctx, w.home)
}

// release lets go of a home pod that no node of the provider took for long, so that its controller makes another, which
// can be placed elsewhere. Before, the Node has to say that no more pods of this controller are to come, or the next
// one would be sent back.
//
// The home pod is evicted, not deleted: it then carries condition DisruptionTarget, by which a Job knows not to count
// it. It is Pending, so no PodDisruptionBudget speaks of it; that it still is, the eviction makes sure of itself.
func (p *Pods) release(ctx context.Context, w *work) error {
	since, waits := unplaced(w.home, w.away)
	if p.opts.ReleaseAfter <= 0 || !waits || w.twin != twinReady || !releasable(w.home) {
		return nil
	}
	now := p.opts.Clock.Now()
	if rest := since.Add(p.opts.ReleaseAfter).Sub(now); rest > 0 {
		return again{after: rest}
	}
	if err := p.enter(w.key, laneAway); err != nil {
		return err
	}
	away, err := p.liveOwn(ctx, w)
	if err != nil {
		return err
	}
	if !same(away, w.away) || !unbound(away) {
		return again{after: lateWatch}
	}
	until, said := p.noteUnfit(w.home, now)
	if !said {
		return again{after: unfitPoll}
	}
	p.announceRelease(w, ReasonReleased, noMoreOf(metav1.GetControllerOf(w.home), until))
	return p.evict(ctx, w)
}

// noMoreOf tells until when no more pods of a controller are sent to the provider.
func noMoreOf(controller *metav1.OwnerReference, until time.Time) string {
	if until.IsZero() {
		return ""
	}
	return fmt.Sprintf("; no pod of %s %s is sent there before %s", controller.Kind, controller.Name,
		until.UTC().Format(time.RFC3339))
}

// releaseRefused lets go of a home pod that policy has forbidden for long, though a scheduler chose its node: the
// policy changed before the remote pod was made. It was never anywhere, and nobody else would place it anew. The right
// to evict ends with the offloading of the namespace; then the pod fails, as a disruption too.
func (p *Pods) releaseRefused(ctx context.Context, w *work) error {
	since := conditionOf(w.home, translate.Offloaded)
	if p.opts.ReleaseAfter <= 0 || !releasable(w.home) || since == nil {
		return nil
	}
	rest := since.LastTransitionTime.Add(p.opts.ReleaseAfter).Sub(p.opts.Clock.Now())
	switch {
	case rest > backoffMax:
		return nil
	case rest > 0:
		return again{after: rest, backoff: true}
	}
	p.announceRelease(w, ReasonReleasedRefused, "")
	err := p.evict(ctx, w)
	if !apierrors.IsForbidden(err) {
		return err
	}
	if err := p.write(ctx, w, p.view().Lost(w.home, nil, ReasonBackOff, w.home.Status.Message)); err != nil {
		return err
	}
	p.opts.Metrics.release()
	return nil
}

// unbound says that no node over there has taken a remote pod, and may still do so.
func unbound(away *corev1.Pod) bool { return away.Spec.NodeName == "" && away.DeletionTimestamp == nil }

// noteUnfit returns until when the Node takes no more pods of the controller of this one, never if it does not say so
// at all, and whether it says so by now.
func (p *Pods) noteUnfit(home *corev1.Pod, now time.Time) (until time.Time, said bool) {
	if p.opts.UnfitFor <= 0 {
		return time.Time{}, true
	}
	return p.unfits.tell(home.Spec.NodeName, metav1.GetControllerOf(home).UID, now, p.opts.UnfitFor)
}

// announceRelease tells why the pod goes, once.
func (p *Pods) announceRelease(w *work, reason, besides string) {
	var told bool
	p.memory.with(w.key, w.home.UID, func(r *record) { told, r.released = r.released, true })
	if told {
		return
	}
	text := fmt.Sprintf("released after %s at provider %s, to be placed elsewhere%s: %s", p.opts.ReleaseAfter,
		p.opts.Destination, besides, w.home.Status.Message)
	if len(text) > maxNote {
		text = strings.ToValidUTF8(text[:maxNote-3], "") + "..."
	}
	p.opts.Recorder.Eventf(w.home, nil, corev1.EventTypeWarning, reason, "Release", "%s", text)
}

// evict evicts the home pod if it is still as it was looked at.
func (p *Pods) evict(ctx context.Context, w *work) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := p.opts.Home.PolicyV1().Evictions(w.Namespace).Evict(ctx, &policyv1.Eviction{
		ObjectMeta: metav1.ObjectMeta{Name: w.Name, Namespace: w.Namespace},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{
			UID: &w.home.UID, ResourceVersion: &w.home.ResourceVersion,
		}},
	})
	switch {
	case remote.Absent(err):
		return nil
	case apierrors.IsConflict(err):
		return again{after: time.Second} // it changed meanwhile
	case err != nil:
		return fmt.Errorf("evict home pod: %w", err)
	}
	p.opts.Metrics.release()
	return nil
}

// Unfit returns what annotation [v1beta1.AnnotationUnfit] of a Node shall say, "" for nothing, and when that changes by
// itself, 0 for never. live is the Node as it is, nil when there is none.
func (p *Pods) Unfit(node string, live *corev1.Node) (text string, next time.Duration, err error) {
	return p.unfits.on(node, live, p.opts.Clock.Now())
}

// OnUnfit makes f be called when a Node has more to say than it does. f must not block. Call it before Start.
func (p *Pods) OnUnfit(f func()) { p.unfits.notify(f) }

// unplaced says since when no node of the provider took the remote pod, by our clock; false when one did, or when
// nobody tried. When the remote pod came is told by home, where we wrote it; how much later the provider's scheduler
// gave up is the difference of two times of the provider's. So both clocks may be wrong, and a restart forgets nothing.
func unplaced(home, away *corev1.Pod) (time.Time, bool) {
	came, tried := conditionOf(home, translate.Offloaded), conditionOf(away, corev1.PodScheduled)
	if home.Status.Phase != corev1.PodPending || came == nil || came.Status != corev1.ConditionTrue || tried == nil ||
		tried.Status != corev1.ConditionFalse || tried.Reason != corev1.PodReasonUnschedulable {
		return time.Time{}, false
	}
	since := came.LastTransitionTime.Time
	later := tried.LastTransitionTime.Sub(away.CreationTimestamp.Time)
	if later > 0 && !away.CreationTimestamp.IsZero() {
		since = since.Add(later)
	}
	return since, true
}

// releasable says that a home pod would be made again, and could go elsewhere then.
func releasable(home *corev1.Pod) bool {
	return home.DeletionTimestamp == nil && metav1.GetControllerOf(home) != nil && !nodefit.BelongsToNode(home) &&
		chosen(home)
}

// chosen says that a scheduler chose the pod's node: a binding leaves a condition, a pod that is created with the name
// of its node has none.
func chosen(home *corev1.Pod) bool {
	c := conditionOf(home, corev1.PodScheduled)
	return c != nil && c.Status == corev1.ConditionTrue
}

func conditionOf(pod *corev1.Pod, t corev1.PodConditionType) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == t {
			return &pod.Status.Conditions[i]
		}
	}
	return nil
}
