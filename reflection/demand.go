package reflection

import (
	"sync"
	"time"
)

// restAfter is for how long objects that nothing refers to any more are still watched: the next pod may be near.
const restAfter = time.Minute

// demand is what may be referred to of a kind that is watched on demand: nothing of it is watched in a namespace where
// nothing is.
type demand struct {
	mu   sync.Mutex
	said uint64 // how often something was noted
	of   map[string]*namespaceDemand
}

type namespaceDemand struct {
	names map[string]struct{}
	said  uint64 // when something was noted last
}

// note takes down that the named object may be referred to now, or not any more.
func (d *demand) note(namespace, name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.of == nil {
		d.of = map[string]*namespaceDemand{}
	}
	if d.of[namespace] == nil {
		d.of[namespace] = &namespaceDemand{names: map[string]struct{}{}}
	}
	d.said++
	d.of[namespace].names[name], d.of[namespace].said = struct{}{}, d.said
}

// in returns what was noted of a namespace, and when something was last.
func (d *demand) in(namespace string) (names []string, said uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.of[namespace] == nil {
		return nil, 0
	}
	for name := range d.of[namespace].names {
		names = append(names, name)
	}
	return names, d.of[namespace].said
}

// unless calls f if nothing was noted of a namespace since.
func (d *demand) unless(namespace string, said uint64, f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := d.of[namespace]; now == nil && said == 0 || now != nil && now.said == said {
		f()
	}
}

// onDemand says whether the kind is watched only where something is referred to. That keeps the number of watches down
// in cluster scope, where those of other kinds do not grow with the namespaces; in namespace scope one more counts for
// less than that annotations are seen at once.
func (r *reflector) onDemand() bool {
	return r.kind.policy == PolicyReferenced && r.opts.Home.scope == ScopeCluster
}

// tending is the item that has a namespace looked at as a whole: no object is without a name.
func tending(namespace string) item { return item{home: namespace} }

// wanted says whether something in a namespace is referred to, and forgets it if nothing is. It also returns when
// something was noted last; the twin is nil as long as there is none.
func (r *reflector) wanted(namespace string, t *twin) (wanted bool, said uint64) {
	names, said := r.demand.in(namespace)
	for _, name := range names {
		v, err := r.needed(namespace, t, name)
		if err != nil || v.why == "" {
			return true, said
		}
	}
	r.demand.unless(namespace, said, func() {
		delete(r.demand.of, namespace)
		said = 0
	})
	return false, said
}

// tend begins to watch a namespace where something is referred to, and stops where nothing is and no copy is left. It
// returns when to look again.
func (r *reflector) tend(namespace string) time.Duration {
	t := r.twins(namespace)
	wanted, said := r.wanted(namespace, t)
	if t == nil {
		return 0
	}
	p := t.pair(r.kind.resource)
	switch {
	case p == nil && wanted:
		r.mirror.resume(t, r)
	case p == nil || wanted || !p.idle():
		// All is as it should be, or there is a copy whose end brings us back.
	default:
		if left := p.usedFor(r.opts.Clock.Now()); left > 0 {
			return left
		}
		r.mirror.pause(t, r, said)
	}
	return 0
}

// resume begins to watch a kind again.
func (m *Mirror) resume(t *twin, r *reflector) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.working() && m.twins[t.home] == t && t.pair(r.kind.resource) == nil {
		m.attach(t, r)
	}
}

// pause stops watching a kind, unless more has been said of it meanwhile. Whoever says more looks for the pair later,
// finds none, and has it tended.
func (m *Mirror) pause(t *twin, r *reflector, said uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r.demand.unless(t.home, said, func() { m.detach(t, r) })
}

// idle says whether there are no copies, and nobody works on one.
func (p *pair) idle() bool {
	if !p.ready.Load() || len(p.away.all()) > 0 {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.copies) == 0
}

// used notes that the pair was of use until now.
func (p *pair) used(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.restAt = now.Add(restAfter)
}

// usedFor returns for how long to keep watching although there seems to be no need.
func (p *pair) usedFor(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.restAt.Sub(now)
}
