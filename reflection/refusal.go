package reflection

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// refusalPatience is for how long an API server may refuse a watch before that is an error: it is a mistake in the
// rights then, and not one that is about to be given.
const refusalPatience = 30 * time.Second

// refusal is what an API server keeps answering to one watch.
type refusal struct {
	cluster, resource string
	count             func()             // in the metrics
	denied            func(words string) // hears that a right seems to be missing, and "" when it is not

	reason metav1.StatusReason // empty while there is none
	since  time.Time
	told   bool
}

// hear takes note of what came of an attempt, and says once that the same refusal lasts, and once that it is over. That
// there is no answer at all is not a refusal: it concerns the whole cluster, and the Node says so.
func (w *watched) hear(ctx context.Context, err error) {
	f := &w.refusal
	logger := log.FromContext(ctx).WithValues("cluster", f.cluster, "namespace", w.namespace, "resource", f.resource)
	reason := apierrors.ReasonForError(err)
	switch {
	case unknownKind(err):
		w.missing(true)
		f.over(logger, w.clock.Now())
		return
	case err == nil:
		w.missing(false)
		f.over(logger, w.clock.Now())
		return
	case reason == metav1.StatusReasonUnknown || !passing(err):
		return // says nothing about the refusal
	case reason != f.reason:
		f.reason, f.since = reason, w.clock.Now()
		return
	case w.clock.Since(f.since) < refusalPatience:
		return
	}
	f.count()
	if reason == metav1.StatusReasonForbidden {
		f.denied(err.Error())
	}
	if !f.told {
		f.told = true
		logger.Info("Cannot watch: what changes in the namespace is not reflected", "err", err.Error())
	}
}

// over forgets what was refused.
func (f *refusal) over(logger logr.Logger, now time.Time) {
	f.denied("")
	if f.told {
		logger.Info("Not refused any more", "refusedFor", now.Sub(f.since).String())
	}
	f.reason, f.told = "", false
}
