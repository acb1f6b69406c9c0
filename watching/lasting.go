package watching

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/clock"
)

// ShortestWatch is how long a watch of [Attempts.ListWatch] lasts at least that brings nothing. client-go's reflector
// takes one that ends before for an API server that is not well, and pauses before the next, twice as long each time,
// up to a minute. But it may be a connection that ends, and all of its watches with it, once every few seconds.
const ShortestWatch = time.Second

type lastingWatch struct {
	watch.Interface
	events  chan watch.Event
	stopped chan struct{}
	stop    func()
}

// lasting makes a watch that has just begun end no sooner than [ShortestWatch] from now, unless it has brought
// something or is stopped, as any watch has to be.
func lasting(inner watch.Interface, c clock.Clock) watch.Interface {
	l := &lastingWatch{Interface: inner, events: make(chan watch.Event), stopped: make(chan struct{})}
	l.stop = sync.OnceFunc(func() { close(l.stopped) })
	go l.pass(c.After(ShortestWatch))
	return l
}

// pass hands on what the watch brings.
func (l *lastingWatch) pass(longEnough <-chan time.Time) {
	defer close(l.events)
	brought := false
	for event := range l.Interface.ResultChan() {
		select {
		case l.events <- event:
			brought = true
		case <-l.stopped:
			return
		}
	}
	if brought {
		return
	}
	select {
	case <-longEnough:
	case <-l.stopped:
	}
}

// ResultChan is closed when the watch has ended.
func (l *lastingWatch) ResultChan() <-chan watch.Event { return l.events }

// Stop ends the watch at once.
func (l *lastingWatch) Stop() {
	l.stop()
	l.Interface.Stop()
}
