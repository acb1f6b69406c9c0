package reflection

import (
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// ReasonFailed is the reason of the event on a home object that cannot be reflected.
const ReasonFailed = "FailedReflection"

// errForeign: the name is taken on the provider by an object that is not ours.
var errForeign = errors.New("an object of that name is there and not ours; rename this one, or remove that one")

// errLeaving: the copy is being deleted by somebody and held by a finalizer.
var errLeaving = errors.New("the copy is being deleted")

// conflictError says who keeps undoing what we write.
type conflictError struct{ who string }

// Error says that we do less for a while.
func (e *conflictError) Error() string {
	return "conflict: " + e.who + fmt.Sprintf("; it is put right at most %d times a minute", maxRepairs)
}

// explain decides when to try again after an error, and tells the user once if it will not pass by itself. The
// returned pause wins over the queue's own when it is not zero.
func (l *look) explain(after time.Duration, err error) (time.Duration, error) {
	var conflict *conflictError
	switch {
	case err == nil, errors.Is(err, errLeaving):
		return after, err
	case errors.Is(err, errForeign), errors.As(err, &conflict):
		l.tell(err)
		return after, err
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return retryEach, err // whoever makes twins will tell
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		l.tell(err)
		return retryRefused, err
	case apierrors.IsForbidden(err):
		l.tell(err)
	}
	return after, err
}

// tell puts an event on the home object, unless it has just said the same.
func (l *look) tell(err error) {
	message := fmt.Sprintf("cannot be reflected to %s: %s", l.opts.Destination, err)
	message = message[:min(len(message), 1000)]
	if l.state.told == message {
		return
	}
	l.state.told = message
	l.opts.Events.Event(l.src, corev1.EventTypeWarning, ReasonFailed, message)
}
