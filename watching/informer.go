package watching

import (
	"context"
	"reflect"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// Client lists and watches one resource, as typed clients and those of metadata do.
type Client[List runtime.Object] interface {
	List(ctx context.Context, opts metav1.ListOptions) (List, error)
	Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error)
}

// Through lists and watches with a client of one resource what tweak, which may be nil, selects. of is where that is
// from, and knows whether it streams lists.
func Through[List runtime.Object](
	client Client[List], of any, tweak func(*metav1.ListOptions),
) cache.ListerWatcher {
	if tweak == nil {
		tweak = func(*metav1.ListOptions) {}
	}
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			tweak(&opts)
			return client.List(ctx, opts)
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
			tweak(&opts)
			return client.Watch(ctx, opts)
		},
	}, of)
}

// Informers makes the patient informers of a cluster. It serves as NewInformer of a cache of controller-runtime.
func Informers(cluster string) func(
	cache.ListerWatcher, runtime.Object, time.Duration, cache.Indexers,
) cache.SharedIndexInformer {
	return func(
		lw cache.ListerWatcher, object runtime.Object, resync time.Duration, indexers cache.Indexers,
	) cache.SharedIndexInformer {
		attempts := &Attempts{Cluster: cluster, Resource: kindOf(object)}
		return cache.NewSharedIndexInformer(attempts.ListWatch(lw), object, resync, indexers)
	}
}

// kindOf is what an object says that it is, or what its type is called.
func kindOf(object runtime.Object) string {
	if kind := object.GetObjectKind().GroupVersionKind().Kind; kind != "" {
		return kind
	}
	return reflect.TypeOf(object).Elem().Name()
}
