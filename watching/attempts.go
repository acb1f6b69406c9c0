package watching

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	firstPause = 200 * time.Millisecond
	// longestPause is between two attempts, at most.
	longestPause = 5 * time.Second
	// missingPause is between two attempts when the API server lacks the kind, and may do so for good.
	missingPause = 30 * time.Second
)

// RefusalPatience is for how long an API server may refuse a watch before that is an error: it is a mistake in the
// rights then, and not one that is about to be given.
const RefusalPatience = 30 * time.Second

// Attempts are those to list and watch one thing, by one goroutine at a time. The functions are called by that one, and
// may be nil.
type Attempts struct {
	// Cluster, Namespace and Resource say in the log what is watched; an empty Namespace means all.
	Cluster, Namespace, Resource string
	Clock                        clock.Clock
	// Count is called for each attempt that is refused after [RefusalPatience].
	Count func()
	// Denied hears what the API server says when a right seems to be missing, and "" when it is not.
	Denied func(words string)
	// Missing hears whether the API server lacks the kind, which is asked for every 30 seconds only while it does. Nil
	// says that the kind belongs to what is installed: that it is missing is a refusal like any other.
	Missing func(is bool)

	reason metav1.StatusReason // why it is refused; empty while it is not
	since  time.Time
	told   bool
}

// ListWatch is what an informer needs: it asks as asks does, with [Attempts.Until], and a watch that ends at once does
// not count as one that failed. client is what asks uses, or what knows whether that streams lists.
func (a *Attempts) ListWatch(asks cache.ListerWatcherWithContext, client any) cache.ListerWatcher {
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (list runtime.Object, err error) {
			err = a.Until(ctx, func() (err error) {
				list, err = asks.ListWithContext(ctx, opts)
				return err
			})
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
			var stream watch.Interface
			err := a.Until(ctx, func() (err error) {
				stream, err = asks.WatchWithContext(ctx, opts)
				return err
			})
			if err != nil {
				return nil, err
			}
			return lasting(stream, a.Clock), nil
		},
	}, client)
}

// Until asks until that succeeds, fails in a way that does not pass by itself, or ctx ends.
func (a *Attempts) Until(ctx context.Context, ask func() error) error {
	pause := firstPause
	for {
		err := ask()
		a.hear(ctx, err)
		if err == nil || !passing(err) {
			return err
		}
		wait := pause
		if a.lacksKind(err) {
			wait = missingPause
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.Clock.After(wait):
		}
		pause = min(2*pause, longestPause)
	}
}

// passing says whether a failure to list or watch may go away by itself. What the reflector handles in its own way
// (an expired resourceVersion, a server that does not stream lists) is not.
func passing(err error) bool {
	switch apierrors.ReasonForError(err) {
	case metav1.StatusReasonUnknown: // no answer
		return !meta.IsNoMatchError(err)
	case metav1.StatusReasonNotFound: // no such kind: there is always a list
		return true
	case metav1.StatusReasonForbidden, metav1.StatusReasonUnauthorized, metav1.StatusReasonTooManyRequests,
		metav1.StatusReasonServerTimeout, metav1.StatusReasonTimeout, metav1.StatusReasonServiceUnavailable,
		metav1.StatusReasonInternalError:
		return true
	}
	return false
}

func (a *Attempts) lacksKind(err error) bool { return a.Missing != nil && apierrors.IsNotFound(err) }

// hear takes note of what came of an attempt, and says once that the same refusal lasts, and once that it is over. That
// there is no answer at all is not a refusal: it concerns the whole cluster, and the Node says so.
func (a *Attempts) hear(ctx context.Context, err error) {
	logger := log.FromContext(ctx).WithValues("cluster", a.Cluster, "namespace", a.Namespace, "resource", a.Resource)
	reason := apierrors.ReasonForError(err)
	switch {
	case err == nil || a.lacksKind(err):
		tell(a.Missing, err != nil)
		a.over(logger)
		return
	case reason == metav1.StatusReasonUnknown || !passing(err):
		return // says nothing about the refusal
	case reason != a.reason:
		a.reason, a.since = reason, a.Clock.Now()
		return
	case a.Clock.Since(a.since) < RefusalPatience:
		return
	}
	if a.Count != nil {
		a.Count()
	}
	if reason == metav1.StatusReasonForbidden {
		tell(a.Denied, err.Error())
	}
	if !a.told {
		a.told = true
		logger.Info("Cannot watch: what changes is not seen", "err", err.Error())
	}
}

// over forgets what was refused.
func (a *Attempts) over(logger logr.Logger) {
	tell(a.Denied, "")
	if a.told {
		logger.Info("Not refused any more", "refusedFor", a.Clock.Since(a.since).String())
	}
	a.reason, a.told = "", false
}

func tell[T any](f func(T), what T) {
	if f != nil {
		f(what)
	}
}
