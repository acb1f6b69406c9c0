package watching

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// Informers makes the informers of a cache of controller-runtime for a cluster, as its cache.Options.NewInformer. All
// its kinds are taken to belong to what is installed.
func Informers(cluster string, c clock.Clock) func(
	cache.ListerWatcher, runtime.Object, time.Duration, cache.Indexers,
) cache.SharedIndexInformer {
	return func(
		asks cache.ListerWatcher, object runtime.Object, resync time.Duration, indexers cache.Indexers,
	) cache.SharedIndexInformer {
		attempts := &Attempts{Cluster: cluster, Resource: fmt.Sprintf("%T", object), Clock: c}
		if kind := object.GetObjectKind().GroupVersionKind(); !kind.Empty() {
			attempts.Resource = kind.GroupKind().String()
		}
		return cache.NewSharedIndexInformer(
			attempts.ListWatch(cache.ToListerWatcherWithContext(asks), asks), object, resync, indexers)
	}
}
