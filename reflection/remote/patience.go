package remote

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

const (
	firstPause = 200 * time.Millisecond
	// longestPause is between two attempts to list or watch, at most.
	longestPause = 5 * time.Second
	// unknownKindPause is the pause while the API server does not know the kind: it does not come by itself.
	unknownKindPause = 30 * time.Second
)

// Patient is what an informer asks where API servers come and go. client-go's reflector waits up to a minute between
// attempts and logs each; here rights come a moment after the namespace is offloaded and links heal, so attempts that
// may yet succeed are repeated inside, at most five seconds apart, and a watch that ends at once does not count as one
// that failed. heard is told what came of each attempt, also of one that succeeded, by one goroutine at a time.
func Patient(asks *cache.ListWatch, c clock.Clock, heard func(ctx context.Context, err error)) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			return Patiently(ctx, c, func() (runtime.Object, error) {
				list, err := asks.ListWithContextFunc(ctx, opts)
				heard(ctx, err)
				return list, err
			})
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
			return Patiently(ctx, c, func() (watch.Interface, error) {
				stream, err := asks.WatchFuncWithContext(ctx, opts)
				heard(ctx, err)
				if err != nil {
					return nil, err
				}
				return lasting(stream, c), nil
			})
		},
	}
}

// Patiently calls f until it succeeds, fails in a way that does not pass by itself, or ctx ends.
func Patiently[T any](ctx context.Context, c clock.Clock, f func() (T, error)) (T, error) {
	pause := firstPause
	for {
		out, err := f()
		if err == nil || !passing(err) {
			return out, err
		}
		wait := pause
		if apierrors.IsNotFound(err) {
			wait = unknownKindPause
		}
		select {
		case <-ctx.Done():
			return out, ctx.Err()
		case <-c.After(wait):
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
	case metav1.StatusReasonNotFound: // no such kind
		return true
	case metav1.StatusReasonForbidden, metav1.StatusReasonUnauthorized, metav1.StatusReasonTooManyRequests,
		metav1.StatusReasonServerTimeout, metav1.StatusReasonTimeout, metav1.StatusReasonServiceUnavailable,
		metav1.StatusReasonInternalError:
		return true
	}
	return false
}
