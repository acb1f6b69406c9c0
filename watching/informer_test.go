package watching

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// onlyLists is a client that cannot stream a list.
type onlyLists struct{}

func (onlyLists) IsWatchListSemanticsUnSupported() bool { return true }

func TestAnInformerKnowsSecondsAfterItsAPIServerIsThere(t *testing.T) {
	const absent = 10 * time.Minute
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		there := func() error {
			if time.Since(begun) < absent {
				return errors.New("connection refused")
			}
			return nil
		}
		asks := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
			ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
				return &corev1.PodList{Items: []corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Name: "web"}}}}, there()
			},
			WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) {
				return watch.NewFake(), there()
			},
		}, onlyLists{})
		heard := make(chan time.Time, 1)
		informer := Informers("home", clock.RealClock{})(asks, &corev1.Pod{}, 0, cache.Indexers{})
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { heard <- time.Now() },
		}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			informer.RunWithContext(ctx)
		}()
		if took := (<-heard).Sub(begun); took > absent+longestPause {
			t.Errorf("it knew %s after the API server was there", took-absent)
		}
		cancel()
		<-ended
	})
}
