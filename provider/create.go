package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/provider/translate"
)

// Reasons of a home pod that has no remote pod. Users see them as the pod's status.
const (
	// ReasonBackOff: the pod was bound to our Node by somebody, and policy forbids it.
	ReasonBackOff = "OffloadingBackOff"
	// ReasonFailedCreate: the provider refuses it.
	ReasonFailedCreate = "FailedCreate"
	// ReasonTwinNotReady: there is no namespace for it over there yet.
	ReasonTwinNotReady = "TwinNotReady"
)

// create makes the remote pod. It carries our marks from its first instant, so a crash after this line loses nothing:
// the pod is found again by them.
func (p *Pods) create(ctx context.Context, w *work) error {
	if rest := w.record.notBefore.Sub(p.opts.Clock.Now()); rest > 0 {
		return again{after: rest, backoff: true}
	}
	if refusal, err := p.admissible(ctx, w); err != nil {
		return err
	} else if refusal != "" {
		return p.refuse(ctx, w, ReasonBackOff, refusal)
	}
	if err := p.arrival(w); err != nil {
		return err
	}
	lacks, err := p.environment(ctx, w)
	if err != nil {
		return err
	}
	if refusal, err := p.prepare(ctx, w); err != nil {
		return err
	} else if refusal != "" {
		return p.refuse(ctx, w, ReasonFailedCreate, refusal)
	}
	return p.send(ctx, w, lacks)
}

// send asks the provider for the pod. What its environment lacks is told once it is there.
func (p *Pods) send(ctx context.Context, w *work, lacks []lack) error {
	calling, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	away, err := p.opts.Away.CoreV1().Pods(w.space.away).Create(calling, w.target.Wanted(w.home),
		metav1.CreateOptions{FieldManager: fieldManager})
	switch {
	case err == nil:
		p.memory.created(w.key, w.home.UID, away.UID, p.opts.Clock.Now())
		p.mention(w.home, lacks)
		return again{after: lateWatch}
	case apierrors.IsAlreadyExists(err):
		return p.occupied(ctx, w)
	case isRefusal(err):
		return p.refuse(ctx, w, ReasonFailedCreate, "the provider refuses the pod: "+err.Error())
	default:
		return fmt.Errorf("create remote pod: %w", err)
	}
}

// occupied finds out who has the name.
func (p *Pods) occupied(ctx context.Context, w *work) error {
	away, err := p.live(ctx, w.space.away, w.Name)
	if err != nil {
		return err
	}
	if away == nil {
		return errBackoff // it went this moment, or somebody over there keeps saying so
	}
	switch translate.HomeUID(away, p.opts.Origin) {
	case string(w.home.UID): // created before a crash, or before an answer was lost
		p.memory.created(w.key, w.home.UID, away.UID, p.opts.Clock.Now())
		return again{after: lateWatch}
	case "":
		if claims(away, w.home) { // ours, from before a crash
			p.memory.created(w.key, w.home.UID, away.UID, p.opts.Clock.Now())
			p.unmarked(w, away)
			return errBackoff
		}
		return p.refuse(ctx, w, ReasonFailedCreate,
			fmt.Sprintf("pod %s/%s exists at the provider and is not ours", away.Namespace, away.Name))
	default: // a predecessor
		if removal(away, nil, doReplace) == doReplace {
			if err := p.remove(ctx, w.key, away, ownGrace(away)); err != nil {
				return err
			}
		}
		return errBackoff
	}
}

func (p *Pods) admit(ctx context.Context, w *work) (refusal string, err error) {
	if p.opts.Admit == nil {
		return "", nil
	}
	return p.opts.Admit(ctx, w.home)
}

// hold says what a pod waits for that cannot be created yet.
func (p *Pods) hold(ctx context.Context, w *work) error {
	if refusal, err := p.admit(ctx, w); err != nil {
		return err
	} else if refusal != "" {
		return p.refuse(ctx, w, ReasonBackOff, refusal)
	}
	if rest := p.settling(w); rest > 0 {
		return again{after: rest}
	}
	status := p.view().Waiting(w.home, ReasonTwinNotReady,
		fmt.Sprintf("namespace %s has no twin at provider %s yet", w.Namespace, p.opts.Destination))
	if err := p.write(ctx, w, status); err != nil {
		return err
	}
	return again{after: backoffMax}
}

// refuse tells the user why there is no remote pod, once per reason, and tries again with growing delays whatever wakes
// the pod in between.
func (p *Pods) refuse(ctx context.Context, w *work, reason, message string) error {
	status := p.view().Waiting(w.home, reason, message)
	news := status.Reason != w.home.Status.Reason || status.Message != w.home.Status.Message
	if err := p.write(ctx, w, status); err != nil {
		return err
	}
	if news { // only now: what is written again would be told again
		p.opts.Recorder.Eventf(w.home, nil, corev1.EventTypeWarning, reason, "Offload", "%s", status.Message)
	}
	switch reason {
	case ReasonFailedCreate:
	case ReasonBackOff:
		return cmp.Or(p.releaseRefused(ctx, w), errBackoff)
	default:
		return errBackoff // nothing was asked of the provider, so whatever wakes the pod may try at once
	}
	delay := p.limiter.When(w.key)
	p.memory.with(w.key, w.home.UID, func(r *record) { r.notBefore = p.opts.Clock.Now().Add(delay) })
	return again{after: delay, backoff: true}
}

// isRefusal tells an answer to the request from a failure to answer: whoever throttles, does not know us or is not
// there has not judged the pod.
func isRefusal(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return false
	}
	switch status.Status().Code {
	case http.StatusTooManyRequests, http.StatusUnauthorized, http.StatusRequestTimeout, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return false
	default:
		return true
	}
}
