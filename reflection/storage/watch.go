package storage

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/watching"
)

// listWatch watches the volumes at home that a selector picks.
func listWatch(home client.WithWatch, selector labels.Selector, c clock.Clock) cache.ListerWatcher {
	attempts := &watching.Attempts{Cluster: "home", Resource: "persistentvolumes", Clock: c}
	options := func(raw metav1.ListOptions) *client.ListOptions {
		return &client.ListOptions{LabelSelector: selector, Raw: &raw}
	}
	return attempts.ListWatch(cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, raw metav1.ListOptions) (runtime.Object, error) {
			list := &corev1.PersistentVolumeList{}
			err := home.List(ctx, list, options(raw))
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, raw metav1.ListOptions) (watch.Interface, error) {
			return home.Watch(ctx, &corev1.PersistentVolumeList{}, options(raw))
		},
	}, home))
}
