package remote

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// RefusalPatience is for how long an API server may refuse a watch before that is an error: it is a mistake in the
// rights then, and not one that is about to be given.
const RefusalPatience = 30 * time.Second

// Refusals are what an API server keeps answering to one watch. The functions are called by whoever calls Hear, and may
// be nil.
type Refusals struct {
	// Cluster, Namespace and Resource say in the log what is watched; an empty Namespace means all.
	Cluster, Namespace, Resource string
	Clock                        clock.Clock
	Count                        func()             // in the metrics
	Denied                       func(words string) // hears that a right seems to be missing, and "" when it is not
	Missing                      func(is bool)      // hears whether the API server does not know the kind

	reason metav1.StatusReason // empty while there is none
	since  time.Time
	told   bool
}

// Hear takes note of what came of an attempt, and says once that the same refusal lasts, and once that it is over. That
// there is no answer at all is not a refusal: it concerns the whole cluster, and the Node says so.
func (r *Refusals) Hear(ctx context.Context, err error) {
	logger := log.FromContext(ctx).WithValues("cluster", r.Cluster, "namespace", r.Namespace, "resource", r.Resource)
	reason := apierrors.ReasonForError(err)
	switch {
	case err == nil || apierrors.IsNotFound(err): // there is always a list, of a kind that is known
		tell(r.Missing, err != nil)
		r.over(logger)
		return
	case reason == metav1.StatusReasonUnknown || !passing(err):
		return // says nothing about the refusal
	case reason != r.reason:
		r.reason, r.since = reason, r.Clock.Now()
		return
	case r.Clock.Since(r.since) < RefusalPatience:
		return
	}
	if r.Count != nil {
		r.Count()
	}
	if reason == metav1.StatusReasonForbidden {
		tell(r.Denied, err.Error())
	}
	if !r.told {
		r.told = true
		logger.Info("Cannot watch: what changes is not seen", "err", err.Error())
	}
}

// over forgets what was refused.
func (r *Refusals) over(logger logr.Logger) {
	tell(r.Denied, "")
	if r.told {
		logger.Info("Not refused any more", "refusedFor", r.Clock.Since(r.since).String())
	}
	r.reason, r.told = "", false
}

func tell[T any](f func(T), what T) {
	if f != nil {
		f(what)
	}
}
