package reflection

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/twinspace/twinspace/e2e/build"
)

// ends says whether a watch ends within a moment.
func ends(w watch.Interface) bool {
	select {
	case _, open := <-w.ResultChan():
		return !open
	case <-time.After(50 * time.Millisecond):
		return false
	}
}

func TestAWatchThatBringsNothingLasts(t *testing.T) {
	c := clocktesting.NewFakeClock(time.Unix(1000, 0))
	inner := watch.NewFake()
	w := last(inner, c)
	inner.Stop() // its connection has ended
	if ends(w) {
		t.Fatal("it ended at once")
	}
	c.Step(shortestWatch)
	if !ends(w) {
		t.Errorf("it did not end after %s", shortestWatch)
	}
	w.Stop()
}

func TestAWatchThatBroughtSomethingEndsAtOnce(t *testing.T) {
	inner := watch.NewFake()
	w := last(inner, clocktesting.NewFakeClock(time.Unix(1000, 0)))
	go func() {
		inner.Add(&corev1.Pod{})
		inner.Stop()
	}()
	if event := <-w.ResultChan(); event.Type != watch.Added {
		t.Errorf("it brought %v", event)
	}
	if !ends(w) {
		t.Error("it did not end")
	}
	w.Stop()
}

func TestAWatchThatIsStoppedEndsAtOnce(t *testing.T) {
	for name, before := range map[string]func(*watch.FakeWatcher){
		"while it is open":          func(*watch.FakeWatcher) {},
		"after its connection ends": func(w *watch.FakeWatcher) { w.Stop() },
		"while it brings something": func(w *watch.FakeWatcher) { w.Add(&corev1.Pod{}) },
	} {
		t.Run(name, func(t *testing.T) {
			inner := watch.NewFakeWithChanSize(1, false)
			w := last(inner, clocktesting.NewFakeClock(time.Unix(1000, 0)))
			before(inner)
			w.Stop()
			w.Stop()
			deadline := time.After(10 * time.Second)
			for {
				select {
				case _, open := <-w.ResultChan():
					if !open {
						return
					}
				case <-deadline:
					t.Fatal("it did not end")
				}
			}
		})
	}
}

// A connection that ends every few moments ends all watches each time.
func TestWatchesThatEndAtOnceAreBegunAnewSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		heard := make(chan time.Duration, 1)
		const broken = 8
		watches := 0
		c := interceptor.NewClient(fake.NewClientBuilder().WithScheme(testScheme(t)).Build(), interceptor.Funcs{
			Watch: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) (watch.Interface, error) {
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
			client: &watchedCluster{WithWatch: c}, namespace: "shop", clock: clock.RealClock{}, missing: func(bool) {},
			lent: func(bool) client.WithWatch { return nil }, list: func() client.ObjectList { return &corev1.ServiceList{} },
			refusal: refusal{count: func() {}, denied: func(string) {}},
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
		if took := <-heard; took > (broken+1)*shortestWatch {
			t.Errorf("after %d watches that ended at once, the next one began after %s", broken, took)
		}
		cancel()
		<-ended
	})
}
