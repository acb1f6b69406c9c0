package provider

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/provider/translate"
	"github.com/twinspace/twinspace/reflection/remote"
)

// Reasons of a home pod whose remote pod went without home having asked for it.
const (
	ReasonRemotePodDeleted       = "RemotePodDeleted"
	ReasonRemoteNamespaceDeleted = "RemoteNamespaceDeleted"
)

// orphan deletes a remote pod whose home pod is gone: deleted by force, or while we were not looking. The watch at home
// knows only our Nodes' pods, so home itself is asked.
func (p *Pods) orphan(ctx context.Context, w *work) error {
	lives, err := p.ownerLives(ctx, w)
	if err != nil {
		return err
	}
	if lives {
		return again{after: backoffMax} // of a Node that we do not serve, or not yet
	}
	if w.removal(ptr.To[int64](0), doOrphan) != doOrphan {
		return nil
	}
	return p.remove(ctx, w.key, w.away, ptr.To[int64](0))
}

// replace deletes the remote pod of a predecessor. The watches of two Nodes may tell of a pod and its successor in any
// order, so home itself is asked who is who.
func (p *Pods) replace(ctx context.Context, w *work) error {
	lives, err := p.ownerLives(ctx, w)
	if err != nil {
		return err
	}
	if lives {
		return again{after: time.Second} // our watch is late
	}
	return p.remove(ctx, w.key, w.away, ownGrace(w.away))
}

// ownerLives asks home for the pod that the remote pod belongs to.
func (p *Pods) ownerLives(ctx context.Context, w *work) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	home, err := p.opts.Home.CoreV1().Pods(w.Namespace).Get(ctx, w.Name, metav1.GetOptions{})
	if remote.Absent(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for the home pod: %w", err)
	}
	return string(home.UID) == w.owner, nil
}

// confirm asks for a remote pod that the watch should have shown by now.
func (p *Pods) confirm(ctx context.Context, w *work) error {
	if rest := w.record.at.Add(lateWatch).Sub(p.opts.Clock.Now()); rest > 0 {
		return again{after: rest}
	}
	away, err := p.liveOwn(ctx, w)
	if err != nil {
		return err
	}
	if away == nil {
		return p.fail(ctx, w)
	}
	return again{after: lateWatch}
}

// lose lets a home pod fail whose remote pod went. It never runs again: its controller makes another.
func (p *Pods) lose(ctx context.Context, w *work) error {
	away, err := p.survivor(ctx, w)
	if err != nil {
		return err
	}
	if away != nil {
		return again{after: time.Second} // the watch is late
	}
	return p.fail(ctx, w)
}

// survivor returns the remote pod that seems to be gone, if it is not. Our rights in a twin that is being deleted go
// with it, but after its pods: when we may not ask any more, what the watch has seen counts.
func (p *Pods) survivor(ctx context.Context, w *work) (*corev1.Pod, error) {
	if w.twin == twinGone {
		return nil, nil
	}
	away, err := p.liveOwn(ctx, w)
	if apierrors.IsForbidden(err) && w.twin == twinLeaving && ended(w.record.last) {
		return nil, nil
	}
	return away, err
}

// ended tells a pod that was deleted from one that the watch lost because its label was taken away.
func ended(last *corev1.Pod) bool { return last != nil && last.DeletionTimestamp != nil }

// fail tells of the end once it is written: what is tried again would be told again.
func (p *Pods) fail(ctx context.Context, w *work) error {
	reason, message, err := p.why(ctx, w)
	if err != nil {
		return err
	}
	err = p.write(ctx, w, p.view().Lost(w.home, w.record.last, reason, message))
	if err == nil && translate.Finished(w.home.Status.Phase) { // or it went meanwhile
		p.opts.Recorder.Eventf(w.home, nil, corev1.EventTypeWarning, reason, "Offload", "%s", message)
	}
	return err
}

// why tells a namespace that went from a pod that went. A namespace that is younger than the pod has replaced one.
func (p *Pods) why(ctx context.Context, w *work) (reason, message string, err error) {
	deleted := fmt.Sprintf("the twin of namespace %s was deleted at provider %s", w.Namespace, p.opts.Destination)
	if w.twin == twinGone || w.twin == twinLeaving {
		return ReasonRemoteNamespaceDeleted, deleted, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ns, err := p.opts.Away.CoreV1().Namespaces().Get(ctx, w.space.away, metav1.GetOptions{})
	switch {
	case remote.Absent(err):
		return ReasonRemoteNamespaceDeleted, deleted, nil
	case err != nil:
		return "", "", fmt.Errorf("read twin %s: %w", w.space.away, err)
	case ns.DeletionTimestamp != nil, translate.CreatedBefore(w.home, ns.CreationTimestamp):
		return ReasonRemoteNamespaceDeleted, deleted, nil
	default:
		return ReasonRemotePodDeleted,
			fmt.Sprintf("remote pod %s/%s was deleted at provider %s", w.space.away, w.Name, p.opts.Destination), nil
	}
}

// finish lets a home pod go once its remote pod is gone: first its last status, then the object.
func (p *Pods) finish(ctx context.Context, w *work) error {
	away, err := p.survivor(ctx, w)
	if err != nil {
		return err
	}
	if away != nil {
		if w.twin == twinReady && removal(away, w.home.DeletionGracePeriodSeconds, doRemove) == doRemove {
			return p.remove(ctx, w.key, away, w.home.DeletionGracePeriodSeconds)
		}
		return again{after: time.Second} // the watch is late
	}
	if err := p.write(ctx, w, p.view().Ended(w.home, w.record.last)); err != nil {
		return err
	}
	if ptr.Deref(w.home.DeletionGracePeriodSeconds, 0) == 0 && !w.stalledHome {
		return nil // nothing but finalizers of others holds it
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err = p.opts.Home.CoreV1().Pods(w.Namespace).Delete(ctx, w.Name, metav1.DeleteOptions{
		GracePeriodSeconds: ptr.To[int64](0), Preconditions: metav1.NewUIDPreconditions(string(w.home.UID)),
	})
	if err != nil && !remote.Absent(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete home pod: %w", err)
	}
	return nil
}
