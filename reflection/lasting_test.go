package reflection

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/watching"
)

// A connection that ends every few moments ends all watches each time.
func TestWatchesThatEndAtOnceAreBegunAnewSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		heard := make(chan time.Duration, 1)
		const broken = 8
		watches := 0
		c := interceptor.NewClient(fake.NewClientBuilder().WithScheme(testScheme(t)).Build(), interceptor.Funcs{
			Watch: func(
				context.Context, client.WithWatch, client.ObjectList, ...client.ListOption,
			) (watch.Interface, error) {
				w := watch.NewFakeWithChanSize(1, false)
				if watches++; watches <= broken {
					w.Stop()
				} else {
					w.Add(build.Service("shop", "web"))
				}
				return w, nil
			},
		})
		w := &watched{
			client: &watchedCluster{WithWatch: c}, namespace: "shop",
			lent:     func(bool) client.WithWatch { return nil },
			list:     func() client.ObjectList { return &corev1.ServiceList{} },
			attempts: watching.Attempts{},
		}
		ctx, cancel := context.WithCancel(t.Context())
		_, runs := cache.NewInformerWithOptions(cache.InformerOptions{
			ListerWatcher: w.listWatch(), ObjectType: &corev1.Service{},
			Handler: cache.ResourceEventHandlerFuncs{AddFunc: func(any) { heard <- time.Since(begun) }},
		})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			runs.RunWithContext(ctx)
		}()
		if took := <-heard; took > (broken+1)*watching.ShortestWatch {
			t.Errorf("after %d watches that ended at once, the next one began after %s", broken, took)
		}
		cancel()
		<-ended
	})
}
