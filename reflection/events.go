package reflection

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Subjects finds what the events on a provider are about.
type Subjects interface {
	// Subject returns the home object whose copy, in the twin of the namespace, is meant. ok is false when none is, as
	// far as is known yet.
	Subject(namespace string, meant corev1.ObjectReference) (home corev1.ObjectReference, ok bool)
}

// EventsOptions are what [Events] is made of. Clock has a default.
type EventsOptions struct {
	// Origin is the id of the home cluster, Destination that of the provider.
	Origin, Destination string
	// Home and Away are uncached clients of both clusters; see [NewClient].
	Home, Away client.WithWatch
	// Subjects are asked in turn.
	Subjects []Subjects
	// Scope is [ScopeNamespace] unless set: one watch for each twin, or one for the provider.
	Scope Scope
	// Metrics may be shared with a [Mirror]; the resource is called "events".
	Metrics *Metrics
	// Clock is the real one unless a test says otherwise.
	Clock clock.WithTicker
}

// Events tells at home what happens to copies on one provider: each event there about one of our objects becomes one at
// home about the home object, with its count kept up to date. It is told of twins like a [Mirror].
//
// Home itself remembers what was told, in annotations, so a restart repeats nothing. Of what happened before a watch
// began the latest is told, after what happens now.
type Events struct {
	opts    EventsOptions
	lanes   []*lane
	running sync.WaitGroup

	mu       sync.Mutex
	ctx      context.Context       // of Start; nil before
	twins    map[string]*eventTwin // by namespace at home
	aways    map[string]*eventTwin // the same, by namespace on the provider
	budget   *bucket
	objects  *lru.Cache // UID of a home object -> *bucket
	subjects *lru.Cache // UID of a copy -> corev1.ObjectReference; some events come when the copy has gone
}

// eventTwin is one twin whose events are told.
type eventTwin struct {
	route
	stop    context.CancelFunc
	listens atomic.Bool // it is known what was told of it

	mu      sync.Mutex
	pending map[string]*corev1.Event // by name, to be told
	told    *lru.Cache               // UID -> resourceVersion that home knows of
}

// eventKey is an event on the provider: the namespace at home, and the event's name.
type eventKey struct{ home, name string }

// lane is a queue with its own worker: what happened long ago does not stand in the way of what happens now.
type lane struct {
	queue workqueue.TypedRateLimitingInterface[eventKey]
}

const (
	laneNow = iota
	lanePast
)

// What a provider can make us write, and remember.
const (
	eventsPerSecond  = 50
	eventsBurst      = 200
	objectBurst      = 25               // events about one object in a row,
	objectPause      = 20 * time.Second // then one in this time
	maxPending       = 1000             // events of a twin that are waiting to be told
	maxPast          = 500              // events of a twin that are told of the time before its watch began,
	maxPastObject    = 10               // and of those about one object
	maxTold          = 20_000           // events of a twin that are known to have been told
	maxObjects       = 10_000
	subjectAttempts  = 7 // 30 s: the event may be here before its object
	eventFirstRetry  = 250 * time.Millisecond
	eventLongestWait = 15 * time.Second
)

// NewEvents returns an Events that does nothing until [Events.Start].
func NewEvents(opts EventsOptions) (*Events, error) {
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	if opts.Origin == "" || opts.Destination == "" || opts.Home == nil || opts.Away == nil || opts.Metrics == nil {
		return nil, errors.New("events need both cluster ids, both clients, and metrics")
	}
	e := &Events{
		opts:   opts,
		budget: newBucket(eventsBurst, time.Second/eventsPerSecond),
		twins:  map[string]*eventTwin{}, aways: map[string]*eventTwin{},
		objects: lru.New(maxObjects), subjects: lru.New(maxObjects),
	}
	for _, name := range []string{"reflection_events", "reflection_events_past"} {
		e.lanes = append(e.lanes, &lane{queue: workqueue.NewTypedRateLimitingQueueWithConfig(
			workqueue.NewTypedItemExponentialFailureRateLimiter[eventKey](eventFirstRetry, eventLongestWait),
			workqueue.TypedRateLimitingQueueConfig[eventKey]{Name: name, Clock: opts.Clock},
		)})
	}
	return e, nil
}

// Start works until ctx is done and everything that it began has ended.
func (e *Events) Start(ctx context.Context) error {
	e.mu.Lock()
	e.ctx = ctx
	if e.opts.Scope == ScopeCluster {
		e.running.Go(func() { e.listen(ctx, metav1.NamespaceAll) })
	}
	for _, t := range e.twins {
		e.begin(t)
	}
	e.mu.Unlock()
	var workers sync.WaitGroup
	for _, l := range e.lanes {
		workers.Go(func() { e.work(ctx, l) })
	}
	<-ctx.Done()
	for _, l := range e.lanes {
		l.queue.ShutDown()
	}
	workers.Wait()
	// begin holds the lock and checks ctx, so nothing is added after this. Those who still run need it, too.
	e.mu.Lock()
	e.mu.Unlock() //nolint:staticcheck // SA2001: whoever was beginning has begun
	e.running.Wait()
	return nil
}

// TwinReady begins to tell of the events in the twin of a namespace. Repeated calls do nothing.
func (e *Events) TwinReady(home, away string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t := e.twins[home]; t != nil {
		if t.away == away {
			return
		}
		e.end(t)
	}
	t := &eventTwin{
		route:   route{origin: e.opts.Origin, destination: e.opts.Destination, home: home, away: away},
		pending: map[string]*corev1.Event{}, told: lru.New(maxTold),
	}
	e.twins[home], e.aways[away] = t, t
	e.begin(t)
}

// TwinLeaving changes nothing: how the last pods end is still told.
func (*Events) TwinLeaving(string) {}

// TwinGone says that there is nothing more to tell of.
func (e *Events) TwinGone(home string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t := e.twins[home]; t != nil {
		e.end(t)
	}
}

// begin starts to watch for a twin. The caller holds the lock.
func (e *Events) begin(t *eventTwin) {
	if e.ctx == nil || e.ctx.Err() != nil {
		return // Start calls again, or is over
	}
	ctx, cancel := context.WithCancel(e.ctx)
	t.stop = cancel
	e.running.Go(func() { e.watch(ctx, t) })
}

// end forgets a twin. The caller holds the lock.
func (e *Events) end(t *eventTwin) {
	if t.stop != nil {
		t.stop()
	}
	delete(e.twins, t.home)
	delete(e.aways, t.away)
}

// listening returns the twin of that name, if its events are heard.
func (e *Events) listening(away string) *eventTwin {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t := e.aways[away]; t != nil && t.listens.Load() {
		return t
	}
	return nil
}

// twin returns the twin of a namespace, if its events are being told.
func (e *Events) twin(home string) *eventTwin {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.twins[home]
}
