package history

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	watchtools "k8s.io/client-go/tools/watch"
	"k8s.io/utils/clock"
)

// Recorder writes down everything that an API server says about the pods of one namespace. An informer would leave out
// what it was too slow for; a watch of etcd's history does not.
type Recorder struct {
	cluster string
	pods    typedcorev1.PodInterface
	clock   clock.PassiveClock

	mu      sync.Mutex
	changes []Change
	err     error
	more    chan struct{} // closed when there is something new
}

// podWatch makes a watch out of the typed client.
type podWatch struct{ typedcorev1.PodInterface }

// WatchWithContext begins a watch.
func (p podWatch) WatchWithContext(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	return p.Watch(ctx, o)
}

// Record begins with the pods that are there, and ends with ctx.
func Record(ctx context.Context, cluster string, client typedcorev1.PodInterface) (*Recorder, error) {
	r := &Recorder{cluster: cluster, pods: client, clock: clock.RealClock{}, more: make(chan struct{})}
	list, err := client.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the pods of %s: %w", cluster, err)
	}
	for i := range list.Items {
		r.add(&list.Items[i], false)
	}
	watcher, err := watchtools.NewRetryWatcherWithContext(ctx, list.ResourceVersion, podWatch{client})
	if err != nil {
		return nil, fmt.Errorf("watch the pods of %s: %w", cluster, err)
	}
	go r.run(ctx, watcher)
	return r, nil
}

func (r *Recorder) run(ctx context.Context, watcher *watchtools.RetryWatcher) {
	defer watcher.Stop()
	for event := range watcher.ResultChan() {
		switch pod, ok := event.Object.(*corev1.Pod); {
		case ok && event.Type != watch.Bookmark:
			r.add(pod, event.Type == watch.Deleted)
		case event.Type == watch.Error:
			r.fail(fmt.Errorf("watch the pods of %s: %v", r.cluster, event.Object))
			return
		}
	}
	if ctx.Err() == nil {
		r.fail(fmt.Errorf("the watch of the pods of %s ended", r.cluster))
	}
}

func (r *Recorder) add(pod *corev1.Pod, gone bool) {
	pod.ManagedFields = nil
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes = append(r.changes, Change{Cluster: r.cluster, Pod: pod, Gone: gone, At: r.clock.Now()})
	r.wake()
}

func (r *Recorder) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
	r.wake()
}

// wake needs the lock.
func (r *Recorder) wake() {
	close(r.more)
	r.more = make(chan struct{})
}

// since returns the changes from the n-th on, and what closes when there are more.
func (r *Recorder) since(n int) ([]Change, <-chan struct{}, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changes[n:len(r.changes):len(r.changes)], r.more, r.err
}

// Follow calls f with each change from the first on, as it comes, until f says that this was the last, and then returns
// nil.
func (r *Recorder) Follow(ctx context.Context, f func(Change) (last bool, err error)) error {
	for n := 0; ; {
		changes, more, err := r.since(n)
		for _, c := range changes {
			if last, err := f(c); last || err != nil {
				return err
			}
		}
		n += len(changes)
		if err != nil {
			return err
		}
		if len(changes) > 0 {
			continue
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Changes returns everything that was said until now: it waits until nothing that has happened is missing.
func (r *Recorder) Changes(ctx context.Context) ([]Change, error) {
	const often, long = 50 * time.Millisecond, 30 * time.Second
	err := wait.PollUntilContextTimeout(ctx, often, long, true, func(ctx context.Context) (bool, error) {
		list, err := r.pods.List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		live := map[types.UID]string{}
		for _, pod := range list.Items {
			live[pod.UID] = pod.ResourceVersion
		}
		heard, err := r.present()
		return maps.Equal(live, heard), err
	})
	changes, _, broken := r.since(0)
	if err = errors.Join(err, broken); err != nil {
		return nil, fmt.Errorf("complete the history of %s: %w", r.cluster, err)
	}
	return slices.Clone(changes), nil
}

// present returns the versions of the pods that are there, as far as was heard.
func (r *Recorder) present() (map[types.UID]string, error) {
	changes, _, err := r.since(0)
	there := map[types.UID]string{}
	for _, c := range changes {
		if c.Gone {
			delete(there, c.Pod.UID)
		} else {
			there[c.Pod.UID] = c.Pod.ResourceVersion
		}
	}
	return there, err
}
