package watching

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/net/http2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
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

// Attempts are those to list and watch one thing, by one goroutine at a time, which calls the functions. These may be
// nil.
type Attempts struct {
	// Cluster, Namespace and Resource say in the log what is watched.
	Cluster, Namespace, Resource string
	// Clock is the real one unless set.
	Clock clock.Clock
	// Count is called for each attempt that is refused after [RefusalPatience].
	Count func()
	// Denied hears what the API server says when a right seems to be missing, and "" when it is not.
	Denied func(words string)
	// Optional says that the API server may lack the kind for good: it is asked for every 30 seconds only, and Missing
	// hears whether it is so. That any other is missing is a refusal.
	Optional bool
	Missing  func(is bool)

	refusal refusal // empty while there is none
	since   time.Time
	told    bool
}

// ListWatch makes one of an informer patient: it asks as lw does, with [Attempts.Until], and a watch that ends at once
// does not count as one that failed.
func (a *Attempts) ListWatch(lw cache.ListerWatcher) cache.ListerWatcher {
	asks := cache.ToListerWatcherWithContext(lw)
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
			switch {
			case err != nil && ctx.Err() != nil:
				return nil, io.EOF // a watch that is over, while the reflector takes other words for a failure
			case err != nil:
				return nil, err
			}
			return lasting(stream, opts.SendInitialEvents != nil, a.clock()), nil
		},
	}, lw)
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
		longest := pause
		if a.lacksKind(err) {
			longest = missingPause
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		// What one cut has ended does not come back in step.
		case <-a.clock().After(wait.Jitter(longest/2, 1)):
		}
		pause = min(2*pause, longestPause)
	}
}

func (a *Attempts) clock() clock.Clock {
	if a.Clock == nil {
		return clock.RealClock{}
	}
	return a.Clock
}

func (a *Attempts) lacksKind(err error) bool { return a.Optional && apierrors.IsNotFound(err) }

// refusal is a kind of answer that may be another one later.
type refusal string

const (
	unauthorized refusal = "unauthorized"
	forbidden    refusal = "forbidden"
	noSuchKind   refusal = "no such kind" // there is always a list of one that is known
	unable       refusal = "unable"       // in whatever words: too many requests, not ready, etcd does not answer
)

// refusalIn returns what an API server says by a failure, or "".
func refusalIn(err error) refusal {
	switch apierrors.ReasonForError(err) {
	case metav1.StatusReasonUnauthorized:
		return unauthorized
	case metav1.StatusReasonForbidden:
		return forbidden
	case metav1.StatusReasonNotFound:
		return noSuchKind
	case metav1.StatusReasonTimeout:
		// It knows no resourceVersion as new as ours, as after a backup was restored: the reflector lists again.
		if apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) {
			return ""
		}
		return unable
	case metav1.StatusReasonTooManyRequests, metav1.StatusReasonServerTimeout, metav1.StatusReasonServiceUnavailable,
		metav1.StatusReasonInternalError:
		return unable
	}
	return ""
}

// unanswered says whether a request failed on its way, there or back.
func unanswered(err error) bool {
	var (
		network net.Error // also url.Error, which all are that net/http has no answer to
		stream  http2.StreamError
		ended   http2.GoAwayError
	)
	return errors.As(err, &network) || errors.As(err, &stream) || errors.As(err, &ended) ||
		errors.Is(err, io.ErrUnexpectedEOF)
}

// passing says whether a failure to list or watch may go away by itself. The reflector handles the others in its own
// way: an expired resourceVersion, a server that does not stream lists, what cannot be read.
func passing(err error) bool { return refusalIn(err) != "" || unanswered(err) }

// hear takes note of what came of an attempt, and says once that the same refusal lasts, and once that it is over. That
// there is no answer at all is not a refusal: it concerns the whole cluster, of which others tell.
func (a *Attempts) hear(ctx context.Context, err error) {
	logger := log.FromContext(ctx).WithValues("cluster", a.Cluster, "namespace", a.Namespace, "resource", a.Resource)
	now, refused := a.clock().Now(), refusalIn(err)
	switch {
	case err == nil || a.lacksKind(err):
		tell(a.Missing, err != nil)
		a.over(logger, now)
		return
	case refused == "":
		return // says nothing about the refusal
	case refused != a.refusal:
		a.refusal, a.since = refused, now
		return
	case now.Sub(a.since) < RefusalPatience:
		return
	}
	if a.Count != nil {
		a.Count()
	}
	if refused == forbidden {
		tell(a.Denied, err.Error())
	}
	if !a.told {
		a.told = true
		logger.Info("Cannot watch: what changes is not seen", "err", err.Error())
	}
}

// over forgets what was refused.
func (a *Attempts) over(logger logr.Logger, now time.Time) {
	tell(a.Denied, "")
	if a.told {
		logger.Info("Not refused any more", "refusedFor", now.Sub(a.since).String())
	}
	a.refusal, a.told = "", false
}

func tell[T any](f func(T), what T) {
	if f != nil {
		f(what)
	}
}
