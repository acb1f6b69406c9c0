package watching

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/clock"
)

// ShortestWatch is how long a watch of [Attempts.ListWatch] lasts at least that brings nothing. client-go's reflector
// takes one that ends before for an API server that is not well, and pauses before the next, twice as long each time,
// up to a minute. But it may be a connection that ends, and all of its watches with it, once every few seconds. One
// that streams the list first may end before it has done so, which tells the reflector to list otherwise; after that it
// lasts for twice as long, since the reflector counts from when it has taken the list in.
const ShortestWatch = time.Second

type lastingWatch struct {
	watch.Interface
	clock   clock.Clock
	events  chan watch.Event
	stopped chan struct{}
	stop    func()
}

// lasting makes a watch that has just begun end no sooner than [ShortestWatch] says, unless it has brought something or
// is stopped, as any watch has to be. lists says that it streams the list first.
func lasting(inner watch.Interface, lists bool, c clock.Clock) watch.Interface {
	l := &lastingWatch{
		Interface: inner, clock: c, events: make(chan watch.Event), stopped: make(chan struct{}),
	}
	l.stop = sync.OnceFunc(func() { close(l.stopped) })
	var longEnough <-chan time.Time
	if !lists {
		longEnough = c.After(ShortestWatch)
	}
	go l.pass(longEnough)
	return l
}

// pass hands on what the watch brings. It has lasted for long enough then; longEnough is nil if it may end at any time.
func (l *lastingWatch) pass(longEnough <-chan time.Time) {
	defer close(l.events)
	for event := range l.Interface.ResultChan() {
		select {
		case l.events <- event:
		case <-l.stopped:
			return
		}
		longEnough = nil
		if endsList(event) {
			longEnough = l.clock.After(2 * ShortestWatch)
		}
	}
	if longEnough == nil {
		return
	}
	select {
	case <-longEnough:
	case <-l.stopped:
	}
}

// endsList tells the bookmark that follows a list which was streamed (KEP-3157).
func endsList(event watch.Event) bool {
	if event.Type != watch.Bookmark {
		return false
	}
	bookmark, err := meta.Accessor(event.Object)
	return err == nil && bookmark.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true"
}

// ResultChan is closed when the watch has ended.
func (l *lastingWatch) ResultChan() <-chan watch.Event { return l.events }

// Stop ends the watch at once.
func (l *lastingWatch) Stop() {
	l.stop()
	l.Interface.Stop()
}
