package reflection

import (
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/reflection/remote"
)

// ReasonFailed is the reason of the event on a home object that cannot be reflected.
const ReasonFailed = "FailedReflection"

// errForeign: the name is taken on the provider by an object that is not ours.
var errForeign = errors.New("an object of that name is there and not ours; rename this one, or remove that one")

// errLeaving: the copy is being deleted by somebody and held by a finalizer.
var errLeaving = errors.New("the copy is being deleted")

// heldAfter is how long a copy may take to go before somebody is told.
const heldAfter = 10 * time.Second

// heldError is errLeaving that lasts.
type heldError struct{ by []string }

// Error says what to expect: with data, such as those of a volume, there may be something to save.
func (e *heldError) Error() string {
	return "somebody has deleted the copy there; it is made anew, with nothing in it that is not from home, " +
		"as soon as " + strings.Join(e.by, ", ") + " lets it go"
}

// conflictError says who keeps undoing what we write.
type conflictError struct{ who string }

// Error says that we do less for a while.
func (e *conflictError) Error() string {
	return "conflict: " + e.who + fmt.Sprintf("; it is put right at most %d times a minute: change the object at home "+
		"instead, or keep it there by annotation %s", maxRepairs, v1beta1.AnnotationSkipReflection)
}

// explain decides when to try again after an error, and tells the user once if it will not pass by itself. The
// returned pause wins over the queue's own when it is not zero.
func (l *look) explain(after time.Duration, err error) (time.Duration, error) {
	var conflict *conflictError
	var held *heldError
	switch {
	case err == nil, errors.Is(err, errLeaving):
		return after, err
	case errors.Is(err, errForeign):
		l.tell(v1beta1.ProblemNameTaken, err)
	case errors.As(err, &conflict), errors.As(err, &held):
		l.tell(v1beta1.ProblemConflict, err)
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause), apierrors.IsNotFound(err):
		return retryEach, err // whoever makes twins, or watches, will tell
	case refused(err):
		l.tell(v1beta1.ProblemRefused, err)
		l.state.refusedUntil, l.state.refusedHash = l.opts.Clock.Now().Add(retryRefused), l.hash
		return retryRefused, err
	case apierrors.IsForbidden(err):
		l.tell(v1beta1.ProblemRefused, err)
	}
	return after, err
}

// refused says whether an API server will answer the same to the same request.
func refused(err error) bool {
	var answer apierrors.APIStatus
	return errors.Is(err, errLargeStatus) ||
		apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsRequestEntityTooLargeError(err) ||
		errors.As(err, &answer) && strings.Contains(answer.Status().Message, "etcdserver: request is too large")
}

// refusedFor returns for how long not to repeat a request that was refused.
func (l *look) refusedFor(seen *metav1.PartialObjectMetadata) time.Duration {
	if l.state.refusedHash != l.hash || l.state.version != "" && !l.right(seen) {
		return 0
	}
	return l.state.refusedUntil.Sub(l.opts.Clock.Now())
}

// tell puts an event on the home object, unless it has just said the same, and keeps the problem.
func (l *look) tell(reason string, err error) {
	message := short(fmt.Sprintf("cannot be reflected to %s: %s", l.opts.Destination, err))
	problem := v1beta1.ReflectionProblem{
		Resource: l.kind.resource, Name: l.src.GetName(), Reason: reason, Message: message,
	}
	if l.p.complain(l.name, problem) {
		l.opts.Events.Event(l.src, corev1.EventTypeWarning, ReasonFailed, message)
		l.problemsChanged(l.t.home)
	}
}

// short makes a message, part of which is a provider's, fit into an event, a problem and a terminal (SEC-12).
func short(message string) string { return remote.Shown(message, 1000) }
