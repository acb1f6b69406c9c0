package provider

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/provider/translate"
)

// twinPhase is what is known of the twin of a home namespace.
type twinPhase string

const (
	twinUnknown twinPhase = "unknown" // nobody said anything yet
	twinSyncing twinPhase = "syncing" // ready, but its pods are not all read yet
	twinReady   twinPhase = "ready"
	twinLeaving twinPhase = "leaving" // about to go: nothing is written into it
	twinGone    twinPhase = "gone"
)

// facts are all that a decision about one pod name depends on.
type facts struct {
	// home is the pod at home, bound to one of our nodes; nil when there is none.
	home *corev1.Pod
	// away is the pod of that name in the twin with our mark, as the watch shows it; nil when there is none.
	away *corev1.Pod
	// owner is the UID of the home pod that away belongs to.
	owner string
	twin  twinPhase
	// existed: home's status, or this process, remembers that a remote pod of this home pod has existed.
	existed bool
	// unseen: this process has created the remote pod and the watch has not shown it yet.
	unseen bool
	// gone: the watch has seen the remote pod of this home pod go.
	gone bool
	// stalledHome and stalledAway: the API server has begun to delete the pod, and not gone on.
	stalledHome, stalledAway bool
}

// action is what a decision asks for.
type action string

const (
	doWait    action = "wait"    // nothing to do until something changes
	doForget  action = "forget"  // nothing exists any more
	doCreate  action = "create"  // create the remote pod
	doHold    action = "hold"    // say at home what the pod waits for
	doMirror  action = "mirror"  // remote status -> home status
	doRemove  action = "remove"  // delete the remote pod with home's grace period
	doStop    action = "stop"    // delete the remote pod with its own grace period: home's is finished
	doReplace action = "replace" // make sure that it is a predecessor's, then delete it with its own grace period
	doOrphan  action = "orphan"  // make sure that there is no home pod, then delete the remote one at once
	doConfirm action = "confirm" // the watch is late: make sure that the remote pod exists
	doLose    action = "lose"    // make sure that the remote pod is gone, then let the home pod fail
	doFinish  action = "finish"  // make sure that the remote pod is gone, then let the home pod go
)

// decide says what to do about one pod name. It is the whole policy of the pod loop, and pure.
func decide(f facts) action {
	switch {
	case f.home == nil && f.away == nil:
		return doForget
	case f.home == nil:
		return unlessLeaving(f, doOrphan)
	case f.away == nil:
		return decideWithoutRemote(f)
	case f.owner != string(f.home.UID):
		return unlessLeaving(f, f.removal(nil, doReplace))
	default:
		return decideWithRemote(f)
	}
}

func decideWithRemote(f facts) action {
	deleting, finished := f.home.DeletionTimestamp != nil, translate.Finished(f.home.Status.Phase)
	switch {
	case deleting && f.removal(f.home.DeletionGracePeriodSeconds, doRemove) == doRemove:
		return unlessLeaving(f, doRemove)
	case finished && !translate.Finished(f.away.Status.Phase):
		// Home holds it for finished and has replaced it: it must not go on.
		return unlessLeaving(f, f.removal(nil, doStop))
	case finished:
		return doWait
	default:
		return doMirror
	}
}

func decideWithoutRemote(f facts) action {
	finished := translate.Finished(f.home.Status.Phase)
	switch {
	case f.home.DeletionTimestamp != nil && !finished:
		return onceSettled(f, doFinish)
	case f.home.DeletionTimestamp != nil:
		return f.farewell()
	case finished:
		return doWait
	case f.existed && f.unseen && f.twin == twinReady:
		return doConfirm
	case f.existed:
		return onceSettled(f, doLose)
	case f.twin == twinReady:
		return doCreate
	default:
		return doHold
	}
}

// farewell is for a home pod that is finished and being deleted, and has no remote pod.
func (f facts) farewell() action {
	if ptr.Deref(f.home.DeletionGracePeriodSeconds, 0) == 0 && !f.stalledHome {
		return doWait // nothing but finalizers of others holds it
	}
	return onceSettled(f, doFinish)
}

// onceSettled returns the given action unless it is not known yet what is in the twin, or whether there is one. A twin
// that leaves may do so for days, for somebody's finalizer: a pod that was seen to go there is not waited for.
func onceSettled(f facts, do action) action {
	if f.twin == twinReady || f.twin == twinGone || f.twin == twinLeaving && f.gone {
		return do
	}
	return doWait
}

// removal is the function of that name, about a remote pod that may be half deleted.
func (f facts) removal(grace *int64, do action) action {
	if f.stalledAway {
		return do
	}
	return removal(f.away, grace, do)
}

// removal returns the given action unless the remote pod is already being deleted, at least as fast as grace asks.
func removal(away *corev1.Pod, grace *int64, do action) action {
	if away.DeletionTimestamp == nil {
		return do
	}
	if grace != nil && *grace < ptr.Deref(away.DeletionGracePeriodSeconds, 0) {
		return do
	}
	return doWait
}

func unlessLeaving(f facts, do action) action {
	if f.twin == twinLeaving || f.twin == twinGone {
		return doWait
	}
	return do
}
