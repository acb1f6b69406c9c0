package namespacemap

import (
	"time"

	"k8s.io/client-go/util/workqueue"
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
