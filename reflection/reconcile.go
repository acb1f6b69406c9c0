package reflection

import (
	"context"
	"errors"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/reflection/remote"
)

// look is one look at one object: what the steps of a pass share.
type look struct {
	*reflector
	t     *twin
	p     *pair
	state *copyState
	name  string        // of the copy
	src   client.Object // at home; nil when it is gone
	known string        // edition of that in the cache when the look began
	news  bool          // home has changed the object since it was last examined
	hash  uint64        // of the desired copy
	size  int           // of it, in bytes
}

// reconcile makes one copy what it should be, with at most one write to each cluster. It returns when to look again if
// nothing happens.
func (r *reflector) reconcile(ctx context.Context, it item) (time.Duration, error) {
	if it == tending(it.home) {
		return r.tend(it.home), nil
	}
	t := r.twins(it.home)
	if t == nil {
		return 0, nil
	}
	p := t.readyPair(r.kind.resource)
	if p == nil {
		return 0, nil // everything is looked at once it is
	}
	ctx, cancel := within(ctx, t.ctx)
	defer cancel()
	l := &look{reflector: r, t: t, p: p, state: p.state(it.name), name: it.name, src: p.source(it.name)}
	if l.src == nil {
		after, err := l.remove(ctx, verdict{why: "it is gone at home"})
		return after, l.discreet(err)
	}
	l.known = edition(l.src)
	after, err := l.decide(ctx)
	if errors.Is(err, errGone) {
		return 0, nil
	}
	return l.explain(after, l.discreet(err))
}

// discreet keeps to itself what an API server says about an object that must not be quoted.
func (l *look) discreet(err error) error {
	if l.kind.discreet {
		return remote.Discreet(err)
	}
	return err
}

// within returns a context with the values of ctx that also ends with the twin.
func within(ctx, twin context.Context) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(twin, cancel)
	return out, func() { stop(); cancel() }
}

// decide makes the copy of a home object what it should be. What is in the object is looked at last, since it may have
// to be read.
func (l *look) decide(ctx context.Context) (time.Duration, error) {
	v, forced, err := l.admit(ctx, l.t, l.src)
	if err != nil {
		return 0, err
	}
	if v.why != "" {
		return l.remove(ctx, v)
	}
	l.news = l.state.source != edition(l.src)
	if l.settled() {
		return l.rest(ctx)
	}
	whole, err := l.readWhole(ctx, l.p, l.src)
	if err != nil {
		return 0, err
	}
	l.src = whole
	if err := l.meetLeader(ctx, l.t, l.src); err != nil {
		return 0, err
	}
	if v, err = l.examine(l.src, forced); err != nil {
		return 0, err
	}
	if l.state.verdict = v; v.why != "" {
		l.state.source = edition(l.src)
		return l.remove(ctx, v)
	}
	l.state.since = time.Time{}
	return l.keep(ctx)
}

// settled says whether what came of the last look at an object still holds, as far as that can be known without
// reading it: neither it nor the copy has changed.
func (l *look) settled() bool {
	if l.news || l.kind.whole {
		return false
	}
	return l.state.verdict.why != "" || l.right(l.p.seen(l.name))
}

// rest repeats what came of the last look.
func (l *look) rest(ctx context.Context) (time.Duration, error) {
	if v := l.state.verdict; v.why != "" {
		return l.remove(ctx, v)
	}
	l.state.since, l.hash = time.Time{}, l.state.hash
	l.done(outcomeNoop, l.state.version)
	return 0, nil
}

// edition tells one state of a home object from others, and from other objects.
func edition(obj client.Object) string { return string(obj.GetUID()) + "/" + obj.GetResourceVersion() }
