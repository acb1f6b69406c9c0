package watching

import (
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/clock"
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
	w := lasting(inner, false, c)
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
	w := lasting(inner, false, clocktesting.NewFakeClock(time.Unix(1000, 0)))
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
			w := lasting(inner, false, clocktesting.NewFakeClock(time.Unix(1000, 0)))
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

// What streams the list first may end before that is whole, for the reflector to list otherwise, but not after.
func TestAWatchThatListsFirst(t *testing.T) {
	end := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"},
	}}
	list := watch.Event{Type: watch.Bookmark, Object: end}
	pod := watch.Event{Type: watch.Added, Object: &corev1.Pod{}}
	for name, tc := range map[string]struct {
		brings []watch.Event
		want   time.Duration
	}{
		"nothing":                {},
		"a part of the list":     {brings: []watch.Event{pod}},
		"a bookmark like others": {brings: []watch.Event{pod, {Type: watch.Bookmark, Object: &corev1.Pod{}}}},
		"the list":               {brings: []watch.Event{pod, list}, want: 2 * ShortestWatch},
		"the list, and more":     {brings: []watch.Event{pod, list, pod}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner := watch.NewFakeWithChanSize(len(tc.brings), false)
				w := lasting(inner, true, clock.RealClock{})
				for _, event := range tc.brings {
					inner.Action(event.Type, event.Object)
					<-w.ResultChan()
				}
				begun := time.Now()
				inner.Stop() // its connection has ended
				for range w.ResultChan() {
					t.Error("it brought something")
				}
				if took := time.Since(begun); took != tc.want {
					t.Errorf("it ended after %s, want %s", took, tc.want)
				}
				w.Stop()
			})
		})
	}
}
