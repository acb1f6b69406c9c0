package reflection

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/reflection/remote"
)

// watched is what one watch looks at.
type watched struct {
	client client.WithWatch
	// lent returns the client to ask with, another one after a failure; nil says that it is the one above.
	lent      func(failed bool) client.WithWatch
	namespace string
	selector  labels.Selector
	list      func() client.ObjectList
	clock     clock.Clock
	refusal   refusal
	missing   func(is bool) // hears whether the API server knows the kind
}

func (w *watched) options(raw metav1.ListOptions) *client.ListOptions {
	return &client.ListOptions{Namespace: w.namespace, LabelSelector: w.selector, Raw: &raw}
}

// in calls f with the client whose turn it is.
func (w *watched) in(f func(client.WithWatch) error) error {
	c := w.client
	if lent := w.lent(false); lent != nil {
		c = lent
	}
	err := f(c)
	if err != nil {
		w.lent(true)
	}
	return err
}

// listWatch is what an informer needs. client-go's reflector waits up to a minute between attempts and logs each;
// here rights come a moment after the namespace is offloaded and links heal, so attempts that may yet succeed are
// repeated inside, every few seconds, a watch that ends at once does not count as one that failed, and a word is said
// only of what lasts.
func (w *watched) listWatch() cache.ListerWatcher {
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			return patiently(ctx, w.clock, func() (runtime.Object, error) {
				list := w.list()
				err := w.in(func(c client.WithWatch) error { return c.List(ctx, list, w.options(opts)) })
				w.hear(ctx, err)
				return list, err
			})
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
			return patiently(ctx, w.clock, func() (watch.Interface, error) {
				var stream watch.Interface
				err := w.in(func(c client.WithWatch) (err error) {
					stream, err = c.Watch(ctx, w.list(), w.options(opts))
					return err
				})
				w.hear(ctx, err)
				if err != nil {
					return nil, err
				}
				return remote.Lasting(stream, w.clock), nil
			})
		},
	}, w.client)
}

// retryCeiling is the longest pause between two attempts to watch.
const retryCeiling = 5 * time.Second

// patiently calls f until it succeeds, fails for good, or ctx ends.
func patiently[T any](ctx context.Context, clk clock.Clock, f func() (T, error)) (T, error) {
	pause := 200 * time.Millisecond
	for {
		out, err := f()
		if err == nil || !passing(err) {
			return out, err
		}
		wait := pause
		if unknownKind(err) {
			wait = retryEach
		}
		select {
		case <-ctx.Done():
			return out, ctx.Err()
		case <-clk.After(wait):
		}
		pause = min(2*pause, retryCeiling)
	}
}

// passing says whether a failure to list or watch may go away by itself. What the reflector handles in its own way
// (an expired resourceVersion, a server that does not stream lists) is not.
func passing(err error) bool {
	switch apierrors.ReasonForError(err) {
	case metav1.StatusReasonUnknown: // no answer
		return !meta.IsNoMatchError(err)
	case metav1.StatusReasonNotFound: // no such kind
		return true
	case metav1.StatusReasonForbidden, metav1.StatusReasonUnauthorized, metav1.StatusReasonTooManyRequests,
		metav1.StatusReasonServerTimeout, metav1.StatusReasonTimeout, metav1.StatusReasonServiceUnavailable,
		metav1.StatusReasonInternalError:
		return true
	}
	return false
}

// unknownKind says whether an API server answers that it does not know what is asked for; there is always a list.
func unknownKind(err error) bool { return apierrors.IsNotFound(err) }
