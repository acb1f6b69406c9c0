package reflection

import (
	"context"
	"errors"
	"fmt"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Options are what a [Mirror] is made of. Workers and Clock have defaults.
type Options struct {
	// Origin is the id of the home cluster, Destination that of the provider.
	Origin, Destination string
	// Home and Away are uncached clients of both clusters; see [NewClient].
	Home, Away client.WithWatch
	// Kinds is what is reflected.
	Kinds []Reflected
	// Events tells the users of home objects what could not be done.
	Events record.EventRecorder
	// Metrics may be shared with other Mirrors.
	Metrics *Metrics
	// Workers is how many objects of each kind are worked on at once (4).
	Workers int
	// Clock is the real one unless a test says otherwise.
	Clock clock.WithTicker
}

// Mirror reflects all namespaces that have a twin on one provider. It is told by whoever makes the twins when to
// begin ([Mirror.TwinReady]) and to stop ([Mirror.TwinLeaving], [Mirror.TwinGone]); the copies go with the twin.
type Mirror struct {
	opts       Options
	reflectors []*reflector
	running    sync.WaitGroup

	mu    sync.Mutex
	ctx   context.Context // of Start; nil before
	twins map[string]*twin
}

// New returns a Mirror that does nothing until [Mirror.Start].
func New(opts Options) (*Mirror, error) {
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	if opts.Workers < 1 {
		opts.Workers = 4
	}
	if opts.Origin == "" || opts.Destination == "" || opts.Home == nil || opts.Away == nil ||
		opts.Events == nil || opts.Metrics == nil {
		return nil, errors.New("reflection needs both cluster ids, both clients, an event recorder and metrics")
	}
	m := &Mirror{opts: opts, twins: map[string]*twin{}}
	if err := m.wire(opts.Kinds); err != nil {
		return nil, err
	}
	for _, r := range m.reflectors {
		r.kind.watch(r.again)
	}
	return m, nil
}

// wire makes the reflectors and lets those that follow others find them.
func (m *Mirror) wire(kinds []Reflected) error {
	known := map[string]*reflector{}
	var errs []error
	for _, kind := range kinds {
		r, err := newReflector(m, kind)
		if err != nil {
			errs = append(errs, fmt.Errorf("reflect %s: %w", kind.resource, err))
			continue
		}
		known[kind.resource] = r
		m.reflectors = append(m.reflectors, r)
	}
	for _, r := range m.reflectors {
		if r.kind.follows == "" {
			continue
		}
		if r.leader = known[r.kind.follows]; r.leader == nil {
			errs = append(errs, fmt.Errorf("reflect %s: they follow %s, which are not reflected",
				r.kind.resource, r.kind.follows))
			continue
		}
		r.leader.followers = append(r.leader.followers, r)
	}
	return errors.Join(errs...)
}

// Start works until ctx is done and everything that it began has ended.
func (m *Mirror) Start(ctx context.Context) error {
	m.mu.Lock()
	m.ctx = ctx
	for _, t := range m.twins {
		m.begin(t)
	}
	m.mu.Unlock()
	var workers sync.WaitGroup
	for _, r := range m.reflectors {
		for range m.opts.Workers {
			workers.Go(func() { r.work(ctx) })
		}
	}
	<-ctx.Done()
	for _, r := range m.reflectors {
		r.queue.ShutDown()
	}
	workers.Wait()
	// begin holds the lock and checks ctx, so nothing is added while we wait.
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running.Wait()
	return nil
}

// TwinReady begins to reflect a namespace at home into its twin. Repeated calls do nothing.
func (m *Mirror) TwinReady(home, away string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.twins[home]; t != nil {
		if t.away == away {
			return
		}
		t.stop()
	}
	t := &twin{home: home, away: away, pairs: map[string]*pair{}}
	m.twins[home] = t
	m.begin(t)
}

// TwinLeaving stops writing into the twin of a namespace.
func (m *Mirror) TwinLeaving(home string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.twins[home]; t != nil {
		t.stop()
		delete(m.twins, home)
	}
}

// TwinGone is TwinLeaving for a twin that does not exist any more: its copies went with it.
func (m *Mirror) TwinGone(home string) { m.TwinLeaving(home) }

// Refresh looks at everything again, now. Call it when the provider can be reached again, so that nothing waits for
// its next attempt, and when the provider's virtual Nodes have changed.
func (m *Mirror) Refresh() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.twins {
		for _, r := range m.reflectors {
			r.all(t)
		}
	}
}

// begin starts to watch for a twin. The caller holds the lock.
func (m *Mirror) begin(t *twin) {
	if m.ctx == nil || m.ctx.Err() != nil {
		return // Start calls again, or is over
	}
	t.ctx, t.cancel = context.WithCancel(m.ctx)
	var run []func()
	for _, r := range m.reflectors {
		run = append(run, m.watch(t, r)...)
	}
	for _, f := range run { // all pairs are in place before anybody looks at one
		m.running.Go(f)
	}
}

// watch returns what keeps the pair of one kind up to date, and has everything looked at once it is complete.
func (m *Mirror) watch(t *twin, r *reflector) []func() {
	var p *pair
	home, homeRuns := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: r.homeWatch(t.home).listWatch(),
		ObjectType:    r.kind.create(),
		Handler:       handler(func(obj any) { r.homeChanged(t, p, obj) }),
		Indexers:      homeIndexers(r.kind, m.opts.Origin),
		Transform:     lean,
	})
	away, awayRuns := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: r.awayWatch(t.away).listWatch(),
		ObjectType:    &metav1.PartialObjectMetadata{},
		Handler:       handler(func(obj any) { r.awayChanged(t, p, obj) }),
		Indexers:      cache.Indexers{},
		Transform:     leaner,
	})
	p = newPair(home.(cache.Indexer), away.(cache.Indexer))
	t.pairs[r.kind.resource] = p
	ctx := t.ctx
	return []func(){
		func() { homeRuns.RunWithContext(ctx) },
		func() { awayRuns.RunWithContext(ctx) },
		func() {
			if cache.WaitForCacheSync(ctx.Done(), homeRuns.HasSynced, awayRuns.HasSynced) {
				p.ready.Store(true)
				r.all(t)
			}
		},
	}
}

func (t *twin) stop() {
	if t.cancel != nil {
		t.cancel()
	}
}

// twin returns the twin of a namespace, if it is being reflected.
func (m *Mirror) twin(home string) *twin {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.twins[home]; t != nil && t.ctx != nil {
		return t
	}
	return nil
}

func handler(f func(obj any)) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: f, DeleteFunc: f,
		UpdateFunc: func(_, obj any) { f(obj) },
	}
}
