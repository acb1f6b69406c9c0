package reflection

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// remove deletes the copy of what is not wanted any more. It goes by the cache, whose resourceVersion is a
// precondition: a copy that we made and the cache has not seen is looked at again when it does.
func (l *look) remove(ctx context.Context, v verdict) (time.Duration, error) {
	seen := l.p.seen(l.name)
	if seen == nil || !ours(seen, l.opts.Origin) || seen.DeletionTimestamp != nil {
		l.removed()
		return 0, nil
	}
	if left, err := l.respite(v); err != nil || left > 0 {
		return left, err
	}
	victim := l.kind.create()
	victim.SetNamespace(l.t.away)
	victim.SetName(l.name)
	victim.SetUID(seen.UID)
	victim.SetResourceVersion(seen.ResourceVersion)
	if err := l.delete(ctx, victim); err != nil {
		return 0, err
	}
	l.removed()
	return 0, nil
}

// respite returns for how long an unwanted copy is kept.
func (l *look) respite(v verdict) (time.Duration, error) {
	name := l.name
	if l.src != nil {
		name = l.src.GetName()
	}
	why, err := l.kind.kept(l.t.home, name)
	switch {
	case err != nil:
		return 0, err
	case why != "":
		return retryEach, nil
	case !v.linger || l.kind.linger == 0:
		return 0, nil
	}
	now := l.opts.Clock.Now()
	if l.state.since.IsZero() {
		l.state.since = now
	}
	return max(0, l.kind.linger-now.Sub(l.state.since)), nil
}

// removed forgets a copy. What came of the examination of an object that is still there is not forgotten, since it
// would have to be read again.
func (l *look) removed() {
	now := l.opts.Clock.Now()
	l.p.took(l.name, now)
	if l.onDemand() {
		l.p.used(now)
		l.queue.AddAfter(tending(l.t.home), restAfter)
	}
	if l.p.content(l.name) {
		l.problemsChanged(l.t.home)
	}
	if l.src == nil || l.state.source == "" || l.kind.whole || l.onDemand() {
		l.p.forget(l.name)
		return
	}
	*l.state = copyState{source: l.state.source, verdict: l.state.verdict}
}

// delete deletes exactly the object, in exactly the state, that was looked at.
func (l *look) delete(ctx context.Context, obj client.Object) error {
	uid, version := obj.GetUID(), obj.GetResourceVersion()
	err := call(ctx, func(ctx context.Context) error {
		return l.opts.Away.client.Delete(ctx, obj, client.Preconditions{UID: &uid, ResourceVersion: &version})
	})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete: %w", err)
	}
	l.opts.Metrics.count(l.opts.Destination, l.kind.resource, outcomeDelete)
	return nil
}
