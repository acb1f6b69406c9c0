package watching

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	clocktesting "k8s.io/utils/clock/testing"
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
	w := lasting(inner, c)
	inner.Stop() // its connection has ended
	if ends(w) {
		t.Fatal("it ended at once")
	}
	c.Step(ShortestWatch)
	if !ends(w) {
		t.Errorf("it did not end after %s", ShortestWatch)
	}
	w.Stop()
}

func TestAWatchThatBroughtSomethingEndsAtOnce(t *testing.T) {
	inner := watch.NewFake()
	w := lasting(inner, clocktesting.NewFakeClock(time.Unix(1000, 0)))
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
			w := lasting(inner, clocktesting.NewFakeClock(time.Unix(1000, 0)))
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
