package reflection

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/watching"
)

// watched is what one watch looks at.
type watched struct {
	client client.WithWatch
	// lent returns the client to ask with, another one after a failure; nil says that it is the one above.
	lent      func(failed bool) client.WithWatch
	namespace string
	selector  labels.Selector
	list      func() client.ObjectList
	attempts  watching.Attempts
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

// listWatch is what an informer needs.
func (w *watched) listWatch() cache.ListerWatcher {
	return w.attempts.ListWatch(cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			list := w.list()
			return list, w.in(func(c client.WithWatch) error { return c.List(ctx, list, w.options(opts)) })
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (stream watch.Interface, err error) {
			err = w.in(func(c client.WithWatch) (err error) {
				stream, err = c.Watch(ctx, w.list(), w.options(opts))
				return err
			})
			return stream, err
		},
	}, w.client))
}
