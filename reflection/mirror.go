package reflection

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
)

// Options are what a [Mirror] is made of. Policies, ProblemsChanged, Workers and Clock may be left out.
type Options struct {
	// Origin is the id of the home cluster, Destination that of the provider.
	Origin, Destination string
	// Home and Away are the watches on both clusters; other Mirrors may share them.
	Home, Away *Sources
	// Kinds is what is reflected; see also [Mirror.Reflect].
	Kinds []Reflected
	// Policies says which objects of those, where the installation wants it otherwise than the kinds.
	Policies Policies
	// Events tells the users of home objects what could not be done.
	Events record.EventRecorder
	// ProblemsChanged is called when [Mirror.Problems] of a namespace at home may be others than before. It must not
	// block.
	ProblemsChanged func(home string)
	// Metrics may be shared with other Mirrors.
	Metrics *Metrics
	// Workers is how many objects of each kind are worked on at once (4).
	Workers int
	// Clock is the real one unless a test says otherwise.
	Clock clock.WithTicker
}

// complete fills in what was left out and returns what is missing.
func (o *Options) complete() error {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Workers < 1 {
		o.Workers = 4
	}
	if o.ProblemsChanged == nil {
		o.ProblemsChanged = func(string) {}
	}
	if o.Origin == "" || o.Destination == "" || o.Home == nil || o.Away == nil || o.Events == nil || o.Metrics == nil {
		return errors.New("reflection needs both cluster ids, both clusters' sources, an event recorder and metrics")
	}
	return nil
}

// Mirror reflects all namespaces that have a twin on one provider. It is told by whoever makes the twins when to
// begin ([Mirror.TwinReady]) and to stop ([Mirror.TwinLeaving], [Mirror.TwinGone]); the copies go with the twin.
type Mirror struct {
	opts    Options
	running sync.WaitGroup

	mu         sync.Mutex
	reflectors []*reflector
	extra      map[string]*reflector // by resource, those of Reflect
	ctx        context.Context       // of Start; nil before
	twins      map[string]*twin
}

// New returns a Mirror that does nothing until [Mirror.Start].
func New(opts Options) (*Mirror, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	m := &Mirror{opts: opts, twins: map[string]*twin{}, extra: map[string]*reflector{}}
	kinds, err := opts.Policies.over(opts.Kinds)
	if err := errors.Join(err, opts.Policies.check(opts.Kinds)); err != nil {
		return nil, err
	}
	if err := m.wire(kinds); err != nil {
		return nil, err
	}
	for _, r := range m.reflectors {
		r.kind.watch(r.again)
	}
	return m, nil
}

// wire makes the reflectors and lets those that follow or refer to others find them.
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
		r.peers = known
		m.reflectors = append(m.reflectors, r)
	}
	for _, r := range m.reflectors {
		errs = append(errs, r.join(known))
	}
	return errors.Join(errs...)
}

// join lets a reflector and those that it has to do with know of each other.
func (r *reflector) join(known map[string]*reflector) error {
	for _, other := range known {
		if other.kind.refers != nil {
			r.referrers = append(r.referrers, other)
		}
	}
	if r.kind.follows == "" {
		return nil
	}
	if r.leader = known[r.kind.follows]; r.leader == nil {
		return fmt.Errorf("reflect %s: they follow %s, which are not reflected", r.kind.resource, r.kind.follows)
	}
	r.leader.followers = append(r.leader.followers, r)
	r.kind.lead(r.leader.named)
	return nil
}

// Start works until ctx is done and everything that it began has ended.
func (m *Mirror) Start(ctx context.Context) error {
	defer m.opts.Metrics.objects.count(m)()
	m.mu.Lock()
	m.ctx = ctx
	for _, r := range m.reflectors {
		m.employ(r)
	}
	for _, t := range m.twins {
		m.begin(t)
	}
	m.mu.Unlock()
	<-ctx.Done()
	m.mu.Lock() // everybody who begins something holds the lock, and looks at ctx first
	for _, r := range m.reflectors {
		r.queue.ShutDown()
	}
	for _, t := range m.twins {
		m.end(t)
	}
	m.mu.Unlock()
	m.running.Wait()
	return nil
}

// working says whether Start has begun and is not over. The caller holds the lock.
func (m *Mirror) working() bool { return m.ctx != nil && m.ctx.Err() == nil }

// employ has the objects of a kind worked on. The caller holds the lock.
func (m *Mirror) employ(r *reflector) {
	ctx := m.ctx
	for range m.opts.Workers {
		m.running.Go(func() { r.work(ctx) })
	}
}

// TwinReady begins to reflect a namespace at home into its twin. Repeated calls do nothing.
func (m *Mirror) TwinReady(home, away string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.twins[home]; t != nil {
		if t.away == away {
			return
		}
		m.end(t)
	}
	t := &twin{home: home, away: away, pairs: map[string]*pair{}}
	m.twins[home] = t
	m.begin(t)
}

// TwinLeaving stops writing into the twin of a namespace.
func (m *Mirror) TwinLeaving(home string) {
	m.mu.Lock()
	t := m.twins[home]
	if t != nil {
		m.end(t)
		delete(m.twins, home)
	}
	m.mu.Unlock()
	if t != nil {
		m.opts.ProblemsChanged(home)
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

// Retry looks again, now, at what has failed. Call it when the provider answers again.
func (m *Mirror) Retry() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.reflectors {
		r.retries.Hurry(r.queue.Add)
	}
}

// begin starts to watch for a twin. The caller holds the lock.
func (m *Mirror) begin(t *twin) {
	if !m.working() {
		return // Start calls again, or is over
	}
	t.ctx, t.cancel = context.WithCancel(m.ctx)
	for _, r := range m.reflectors {
		m.attach(t, r)
	}
}

// attach begins to watch a kind for a twin, and has everything looked at once all of it is known. The caller holds
// the lock.
func (m *Mirror) attach(t *twin, r *reflector) {
	p := newPair()
	s := side{r, t, p}
	p.home = m.opts.Home.open(t.ctx, r.homeSubject(), t.home, homeSide{s})
	p.away = m.opts.Away.open(t.ctx, r.awaySubject(), t.away, awaySide{s})
	t.set(r.kind.resource, p)
	m.running.Go(func() {
		if p.home.blind() || p.away.blind() {
			s.troubled() // it was told before this pair was there
		}
		for _, v := range []*view{p.home, p.away} {
			select {
			case <-v.complete():
			case <-p.over:
				return
			}
		}
		p.used(r.opts.Clock.Now())
		p.ready.Store(true)
		r.all(t)
		for _, other := range r.dependents() { // nothing could be decided about them before
			other.all(t)
		}
	})
}

// detach ends what attach has begun. The caller holds the lock.
func (m *Mirror) detach(t *twin, r *reflector) {
	p := t.take(r.kind.resource)
	if p == nil {
		return
	}
	close(p.over)
	p.ready.Store(false)
	for _, ended := range []<-chan struct{}{m.opts.Home.close(p.home), m.opts.Away.close(p.away)} {
		m.running.Go(func() { <-ended })
	}
}

// end stops what begin has begun. The caller holds the lock.
func (m *Mirror) end(t *twin) {
	if t.cancel == nil {
		return
	}
	t.cancel()
	for _, r := range m.reflectors {
		m.detach(t, r)
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
