package remote

import (
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
)

// Retries are the rate limiter of a queue of things to do at a provider. Beside what the limiter within does, they know
// what failed and waits for its next attempt, so that nothing waits any longer once the provider can be reached again.
type Retries[T comparable] struct {
	workqueue.TypedRateLimiter[T]

	mu     sync.Mutex
	failed map[T]struct{}
}

// NewRetries returns Retries with the pauses of a limiter.
func NewRetries[T comparable](limiter workqueue.TypedRateLimiter[T]) *Retries[T] {
	return &Retries[T]{TypedRateLimiter: limiter, failed: map[T]struct{}{}}
}

// When implements workqueue.TypedRateLimiter.
func (r *Retries[T]) When(item T) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed[item] = struct{}{}
	return r.TypedRateLimiter.When(item)
}

// Forget implements workqueue.TypedRateLimiter.
func (r *Retries[T]) Forget(item T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.failed, item)
	r.TypedRateLimiter.Forget(item)
}

// Hurry calls add for everything that waits. Each keeps count of its failures: should it fail again, its pause goes on
// to grow.
func (r *Retries[T]) Hurry(add func(item T)) {
	r.mu.Lock()
	items := slices.Collect(maps.Keys(r.failed))
	r.mu.Unlock()
	for _, item := range items {
		add(item)
	}
}
