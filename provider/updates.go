package provider

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/twinspace/twinspace/provider/translate"
)

// ReasonUpdateRefused is the reason of the event by which a user learns that the provider refuses a change of a pod.
// The pod has condition [translate.UpdateRefused] for as long.
const ReasonUpdateRefused = "UpdateRefused"

const (
	// repairBase is the first pause between repairs of one pod's labels and annotations; it doubles up to backoffMax.
	// Somebody at the provider may want them otherwise, and we must not fight at full speed.
	repairBase = time.Second
	// repairPeace is how long nothing was repaired until pauses begin anew.
	repairPeace = 5 * time.Minute
)

// follow makes the remote pod take what home has changed since its creation, as far as the API lets pods change, and
// repairs its labels and annotations.
func (p *Pods) follow(ctx context.Context, w *work, u *translate.Update, lag translate.Lag) error {
	if lag == translate.InStep || !p.changeable(w) {
		return nil
	}
	if rest := w.record.restsFor(u, lag, p.opts.Clock.Now()); rest > 0 {
		return again{after: rest, backoff: true}
	}
	if err := p.enter(w.key, laneAway); err != nil {
		return err
	}
	live, err := p.liveOwn(ctx, w)
	switch {
	case err != nil:
		return err
	case !same(live, w.away):
		return again{after: lateWatch} // how it went is on the way
	}
	changed, refusals, err := p.change(ctx, u, live)
	if changed && lag == translate.Drifted {
		p.memory.with(w.key, w.home.UID, func(r *record) { r.repair(p.opts.Clock.Now()) })
	}
	if err != nil || len(refusals) == 0 {
		return err
	}
	return p.refuseUpdate(ctx, w, u, strings.Join(refusals, "; "))
}

// changeable tells whether changes still mean something to the remote pod, and can reach it.
func (p *Pods) changeable(w *work) bool {
	ends := w.home.DeletionTimestamp != nil || w.away.DeletionTimestamp != nil ||
		translate.Finished(w.home.Status.Phase) || translate.Finished(w.away.Status.Phase)
	return !ends && w.twin == twinReady && !p.view().Unreachable
}

// restsFor returns how long an attempt has to wait: after a refusal its delay, unless home wants something else by now;
// after a repair a while, lest we fight somebody at the provider.
func (r *record) restsFor(u *translate.Update, lag translate.Lag, now time.Time) time.Duration {
	switch {
	case lag == translate.Drifted:
		return r.repaired.Add(r.pause).Sub(now)
	case r.refused == u.ID():
		return r.notUpdated.Sub(now)
	default:
		return 0
	}
}

func (r *record) repair(now time.Time) {
	if now.Sub(r.repaired) > repairPeace {
		r.pause = 0
	}
	r.repaired, r.pause = now, min(max(2*r.pause, repairBase), backoffMax)
}

// change sends one request after the other until nothing is left. What one of them is refused does not keep the others.
func (p *Pods) change(
	ctx context.Context, u *translate.Update, live *corev1.Pod,
) (changed bool, refusals []string, err error) {
	for {
		c, err := u.Next(live, fieldManager)
		if c == nil || err != nil {
			return changed, refusals, err
		}
		got, err := p.patchAway(ctx, live, c)
		switch {
		case err == nil:
			live, changed = got, true
		case !judged(err):
			return changed, refusals, fmt.Errorf("change %s of remote pod: %w", c, err)
		default:
			refusals = append(refusals, fmt.Sprintf("the provider refuses the change of %s: %v", c, err))
		}
		u.Done(c, err != nil)
		p.opts.Metrics.change(err != nil)
	}
}

func (p *Pods) patchAway(ctx context.Context, live *corev1.Pod, c *translate.Change) (*corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var subresources []string
	if c.Subresource != "" {
		subresources = []string{c.Subresource}
	}
	return p.opts.Away.CoreV1().Pods(live.Namespace).Patch(ctx, live.Name, types.StrategicMergePatchType, c.Patch,
		metav1.PatchOptions{FieldManager: fieldManager}, subresources...)
}

// judged tells a refusal of a change from a pod that is no longer the one it was meant for.
func judged(err error) bool {
	switch {
	case apierrors.IsConflict(err), ofAnother(err):
		return false
	case apierrors.IsNotFound(err): // the pod, or an API server too old for the subresource
		return apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
	default:
		return isRefusal(err)
	}
}

// ofAnother tells the answer to a patch that named the UID of a predecessor.
func ofAnother(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	for _, cause := range status.Status().Details.Causes {
		if cause.Field == "metadata.uid" {
			return true
		}
	}
	return false
}

// refuseUpdate tells the user, once per reason, and tries again with growing delays.
func (p *Pods) refuseUpdate(ctx context.Context, w *work, u *translate.Update, why string) error {
	status := p.view().Refused(w.home, why)
	said := translate.Refusal(&corev1.Pod{Status: status})
	news := said != translate.Refusal(w.home)
	if err := p.write(ctx, w, status); err != nil {
		return err
	}
	if news {
		p.opts.Recorder.Eventf(w.home, nil, corev1.EventTypeWarning, ReasonUpdateRefused, "Update", "%s", said)
	}
	delay := p.limiter.When(w.key)
	p.memory.with(w.key, w.home.UID, func(r *record) {
		r.refused, r.notUpdated = u.ID(), p.opts.Clock.Now().Add(delay)
	})
	return again{after: delay, backoff: true}
}

// soonest returns what several things that were tried ask for together: an error if there is one, else the shortest
// wait.
func soonest(errs ...error) error {
	var out error
	for _, err := range errs {
		var a, b again
		switch {
		case err == nil:
		case !errors.As(err, &a):
			return err
		case out == nil:
			out = a
		case errors.As(out, &b):
			out = again{after: min(a.after, b.after), backoff: a.backoff || b.backoff}
		}
	}
	return out
}
