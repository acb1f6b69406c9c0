package provider

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/provider/translate"
	"github.com/twinspace/twinspace/reflection/remote"
)

const fieldManager = "virtual-kubelet"

// mirror tells home what the remote pod does, and then the remote pod what home has changed: this is where both are
// known to exist, and to belong together.
func (p *Pods) mirror(ctx context.Context, w *work) error {
	update := w.target.Update(w.home)
	lag := update.Lag(w.away)
	told := p.tell(ctx, w, lag)
	if told != nil && !errors.As(told, &again{}) {
		return told
	}
	return soonest(told, p.follow(ctx, w, update, lag), p.release(ctx, w))
}

func (p *Pods) tell(ctx context.Context, w *work, lag translate.Lag) error {
	status := p.view().Status(w.home, w.away)
	if w.home.DeletionTimestamp != nil {
		lag = translate.InStep // what the last generation asks for is the end, which is under way
	}
	translate.Follow(&status, w.home, w.away, lag)
	if status.Phase == corev1.PodPending && status.Reason == "" && !translate.Existed(w.home) {
		if rest := p.settling(w); rest > 0 {
			return again{after: rest}
		}
	}
	if rest := p.parting(w, &status); rest > 0 {
		return again{after: rest}
	}
	return p.write(ctx, w, status)
}

// flag labels a home pod whose provider cannot be reached, and does not call it ready any more, or takes the label
// away, where nothing else is written: such as by an agent that was started while it could not be reached.
func (p *Pods) flag(ctx context.Context, w *work, do action) error {
	view := p.view()
	if w.home == nil || do == doMirror || !view.Unreachable && !view.Mislabelled(w.home, w.home.Status.Phase) {
		return nil
	}
	return p.write(ctx, w, view.Unsure(w.home))
}

// settling returns for how long news that may soon be overtaken are still held back.
func (p *Pods) settling(w *work) time.Duration {
	return p.heldBack(w, func(r *record) *time.Time { return &r.since })
}

// parting is settling for a pod that home is deleting: that it is counts as a generation of its own, and how most of
// them end is known within moments.
func (p *Pods) parting(w *work, status *corev1.PodStatus) time.Duration {
	if w.home.DeletionTimestamp == nil || !translate.OnlyObserved(&w.home.Status, status) ||
		p.view().Mislabelled(w.home, status.Phase) {
		return 0
	}
	return p.heldBack(w, func(r *record) *time.Time { return &r.parting })
}

// heldBack returns what is left of settle since it was first asked about the news whose time is given.
func (p *Pods) heldBack(w *work, of func(*record) *time.Time) time.Duration {
	var rest time.Duration
	now := p.opts.Clock.Now()
	p.memory.with(w.key, w.home.UID, func(r *record) {
		since := of(r)
		if since.IsZero() {
			*since = now
		}
		rest = since.Add(settle).Sub(now)
	})
	return rest
}

// write makes the home pod's status so, and its label about the provider, with one patch, or none when it is so
// already.
func (p *Pods) write(ctx context.Context, w *work, status corev1.PodStatus) error {
	patch, err := p.view().Patch(w.home, &status)
	if err != nil || patch == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	got, err := p.opts.Home.CoreV1().Pods(w.Namespace).Patch(ctx, w.Name, types.StrategicMergePatchType, patch,
		metav1.PatchOptions{FieldManager: fieldManager}, "status")
	switch {
	case remote.Absent(err) || apierrors.IsConflict(err) || ofAnother(err):
		// Gone, or a successor: its event is on the way.
		return nil
	case err != nil:
		return fmt.Errorf("write status: %w", err)
	}
	got.ManagedFields = nil
	p.memory.with(w.key, w.home.UID, func(r *record) { r.written = got })
	w.home = got
	return nil
}

// remove deletes exactly this remote pod. How it ends is told by its watch; if that is cut, the pod is asked for again.
func (p *Pods) remove(ctx context.Context, k key, away *corev1.Pod, grace *int64) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := p.opts.Away.CoreV1().Pods(away.Namespace).Delete(ctx, away.Name, metav1.DeleteOptions{
		GracePeriodSeconds: grace, Preconditions: metav1.NewUIDPreconditions(string(away.UID)),
	})
	switch {
	case remote.Absent(err):
		p.memory.bury(k, away.UID)
		return again{}
	case apierrors.IsConflict(err):
		return p.contested(ctx, k, away, err)
	case err != nil:
		return fmt.Errorf("delete remote pod: %w", err)
	default:
		return again{after: lateWatch}
	}
}

// contested finds out whether a deletion met a successor, or was turned down by somebody in the words for that.
func (p *Pods) contested(ctx context.Context, k key, away *corev1.Pod, refusal error) error {
	live, err := p.live(ctx, away.Namespace, away.Name)
	if err != nil {
		return err
	}
	if same(live, away) {
		return fmt.Errorf("delete remote pod: %w", refusal)
	}
	p.memory.bury(k, away.UID)
	return again{}
}

// ownGrace is the grace period that a remote pod asks for. The API accepts negative ones, and means 1.
func ownGrace(away *corev1.Pod) *int64 {
	g := away.Spec.TerminationGracePeriodSeconds
	if g != nil && *g < 0 {
		return ptr.To[int64](1)
	}
	return g
}

// live reads a remote pod itself; nil means that there is none.
func (p *Pods) live(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	away, err := p.opts.Away.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if remote.Absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read remote pod: %w", err)
	}
	return away, nil
}

// ReasonLabelsLost is of the event about a remote pod from which somebody at the provider took our labels.
const ReasonLabelsLost = "RemotePodLabelsLost"

// liveOwn is live for the remote pod of this home pod only. One that has lost our mark is an error: it is the same pod,
// so the home pod may not go on without it, and we may not touch it. After a restart its annotation tells whose it is.
func (p *Pods) liveOwn(ctx context.Context, w *work) (*corev1.Pod, error) {
	away, err := p.live(ctx, w.space.away, w.Name)
	if away == nil || err != nil {
		return nil, err
	}
	switch {
	case translate.HomeUID(away, p.opts.Origin) == string(w.home.UID):
		return away, nil
	case w.record.away != "" && away.UID == w.record.away, claims(away, w.home):
		p.unmarked(w, away)
		return nil, errBackoff
	default:
		return nil, nil
	}
}

// same says that a live read found the remote pod that the watch shows.
func same(live, shown *corev1.Pod) bool { return live != nil && live.UID == shown.UID }

// claims says that a pod in a twin of ours, whatever its labels, was created for this home pod.
func claims(away, home *corev1.Pod) bool {
	return home.UID != "" && away.Annotations[v1beta1.AnnotationHomeUID] == string(home.UID)
}

// unmarked tells the user, once, who has to do something. What the home pod says stays as it was.
func (p *Pods) unmarked(w *work, away *corev1.Pod) {
	if !p.memory.lostMark(w.key, w.home.UID, away) {
		return
	}
	p.opts.Recorder.Eventf(w.home, nil, corev1.EventTypeWarning, ReasonLabelsLost, "Offload",
		"remote pod %s/%s at provider %s has lost label %s, so nothing is known of it any more: put it back there "+
			"(its value is %s), or delete the remote pod",
		away.Namespace, away.Name, p.opts.Destination, v1beta1.LabelOrigin, p.opts.Origin)
}
