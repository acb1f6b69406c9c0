package namespacemap

import (
	"time"

	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/controller"
)

// The bounds of the per-item backoff. There is no limit over all items: a burst of a thousand namespaces must not make
// the last of them wait for minutes.
const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = 30 * time.Second
)

// backoff returns the rate limiter of every queue in this package.
func backoff[T comparable]() workqueue.TypedRateLimiter[T] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[T](minBackoff, maxBackoff)
}

// queueOptions returns the options of every controller in this package. The priority queue that is controller-runtime's
// default stays off: in v0.23.3 it holds its lock while it hands out an item, so a stop in that moment deadlocks with
// the workers that are done, and the process hangs until its grace period ends (seen, with stacks, in the tests).
func queueOptions[T comparable](workers int) controller.TypedOptions[T] {
	return controller.TypedOptions[T]{
		RateLimiter: backoff[T](), MaxConcurrentReconciles: workers, UsePriorityQueue: ptr.To(false),
	}
}
