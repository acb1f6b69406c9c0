package reflection

import (
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// side listens to one side of a pair.
type side struct {
	*reflector
	t *twin
	p *pair
}

func (s side) refused()  { s.opts.Metrics.count(s.opts.Destination, s.kind.resource, outcomeError) }
func (s side) troubled() { s.problemsChanged(s.t.home) }

// homeSide listens to home.
type homeSide struct{ side }

func (s homeSide) changed(before, now client.Object) {
	src := now
	if src == nil {
		src = before
	}
	s.p.outdated(src.GetName())
	if !s.p.ready.Load() {
		return
	}
	name := s.kind.name(src, s.opts.Origin)
	s.p.touch(name, s.opts.Clock.Now())
	s.queue.Add(item{s.t.home, name})
	for _, f := range s.followers {
		f.lookAtFollowers(s.t, src.GetName())
	}
	s.lookAtReferred(s.t.home, before, now)
}

// lookAtFollowers has the objects that follow the named one looked at.
func (r *reflector) lookAtFollowers(t *twin, leader string) {
	p := t.readyPair(r.kind.resource)
	if p == nil {
		return
	}
	for _, follower := range p.home.by(byLeader, leader) {
		r.queue.Add(item{t.home, r.kind.name(follower, r.opts.Origin)})
	}
}

// awaySide listens to the provider.
type awaySide struct{ side }

func (s awaySide) changed(before, now client.Object) {
	copied := now
	if copied == nil {
		copied = before
	}
	if s.p.ready.Load() {
		s.queue.Add(item{s.t.home, copied.GetName()})
	}
}
