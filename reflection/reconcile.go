package reflection

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// look is one look at one object: what the steps of a pass share.
type look struct {
	*reflector
	t     *twin
	p     *pair
	state *copyState
	name  string        // of the copy
	src   client.Object // at home; nil when it is gone
	hash  uint64        // of the desired copy
}

// reconcile makes one copy what it should be, with at most one write. It returns when to look again if nothing
// happens.
func (r *reflector) reconcile(ctx context.Context, it item) (time.Duration, error) {
	t := r.twins(it.home)
	if t == nil {
		return 0, nil
	}
	ctx, cancel := within(ctx, t.ctx)
	defer cancel()
	l := &look{reflector: r, t: t, p: t.pairs[r.kind.resource], name: it.name}
	if !l.p.ready.Load() {
		return 0, nil // everything is looked at once it is
	}
	l.state = l.p.state(it.name)
	l.src = l.p.source(it.name)
	if l.src == nil {
		return l.remove(ctx, verdict{why: "it is gone at home"})
	}
	v, err := r.judge(t, l.src)
	if err != nil {
		return retryUnready, err
	}
	if v.why != "" {
		return l.remove(ctx, v)
	}
	l.state.since = time.Time{}
	after, err := l.keep(ctx)
	return l.explain(after, err)
}

// within returns a context with the values of ctx that also ends with the twin.
func within(ctx, twin context.Context) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(twin, cancel)
	return out, func() { stop(); cancel() }
}

// apply makes dst, new or live, what the home object asks for.
func (l *look) apply(dst client.Object) {
	stamp(dst, l.src, l.opts.Origin, l.opts.Destination)
	l.kind.mirror(dst, l.src)
}

// fresh returns the copy as it is created.
func (l *look) fresh() client.Object {
	out := l.kind.create()
	out.SetNamespace(l.t.away)
	out.SetName(l.name)
	l.apply(out)
	return out
}

// keep creates or corrects the copy.
func (l *look) keep(ctx context.Context) (time.Duration, error) {
	var err error
	if l.hash, err = hashOf(l.fresh()); err != nil {
		return 0, err
	}
	seen := l.p.seen(l.t.away, l.name)
	if seen != nil && l.state.version == seen.ResourceVersion && l.state.hash == l.hash {
		l.done(outcomeNoop, l.state.version)
		return 0, nil
	}
	// What is written must not share memory with the cache: answers are decoded into it.
	l.src = l.src.DeepCopyObject().(client.Object)
	if seen == nil && l.state.version == "" && !l.state.foreign {
		after, err := l.create(ctx)
		if !apierrors.IsAlreadyExists(err) {
			return after, err
		}
	}
	return l.correct(ctx)
}

func (l *look) create(ctx context.Context) (time.Duration, error) {
	if wait := l.budget(); wait > 0 {
		return wait, &conflictError{"somebody keeps deleting it"}
	}
	dst := l.fresh()
	err := call(ctx, func(ctx context.Context) error {
		return l.opts.Away.Create(ctx, dst, client.FieldOwner(v1beta1.FieldManager))
	})
	if err != nil {
		return 0, fmt.Errorf("create: %w", err)
	}
	l.done(outcomeCreate, dst.GetResourceVersion())
	return 0, nil
}

// correct looks at what is really there before it writes anything.
func (l *look) correct(ctx context.Context) (time.Duration, error) {
	live := l.kind.create()
	err := call(ctx, func(ctx context.Context) error {
		return l.opts.Away.Get(ctx, client.ObjectKey{Namespace: l.t.away, Name: l.name}, live)
	})
	if apierrors.IsNotFound(err) {
		l.state.foreign = false
		return l.create(ctx)
	}
	if err != nil {
		return 0, fmt.Errorf("read: %w", err)
	}
	if !ours(live, l.opts.Origin) {
		*l.state = copyState{foreign: true, told: l.state.told}
		return retryEach, errForeign
	}
	if live.GetDeletionTimestamp() != nil {
		return time.Second, errLeaving
	}
	dst := live.DeepCopyObject().(client.Object)
	l.apply(dst)
	if equality.Semantic.DeepEqual(live, dst) {
		l.done(outcomeNoop, live.GetResourceVersion())
		return 0, nil
	}
	return l.change(ctx, live, dst)
}

// change makes dst of live, which is ours.
func (l *look) change(ctx context.Context, live, dst client.Object) (time.Duration, error) {
	if wait := l.budget(); wait > 0 {
		return wait, &conflictError{otherManager(live) + " keeps changing it"}
	}
	if l.kind.replace(live, dst) {
		if err := l.delete(ctx, live); err != nil {
			return 0, err
		}
		return l.create(ctx)
	}
	patch, err := patchOf(live, dst)
	if err != nil {
		return 0, err
	}
	err = call(ctx, func(ctx context.Context) error {
		return l.opts.Away.Patch(ctx, dst, patch, client.FieldOwner(v1beta1.FieldManager))
	})
	if err != nil {
		return 0, fmt.Errorf("patch: %w", err)
	}
	l.done(outcomePatch, dst.GetResourceVersion())
	return 0, nil
}

// remove deletes the copy of what is not wanted any more. It goes by the cache, whose resourceVersion is a
// precondition: a copy that we made and the cache has not seen is looked at again when it does.
func (l *look) remove(ctx context.Context, v verdict) (time.Duration, error) {
	seen := l.p.seen(l.t.away, l.name)
	if seen == nil || !ours(seen, l.opts.Origin) || seen.DeletionTimestamp != nil {
		l.p.took(l.name, l.opts.Clock.Now())
		l.p.forget(l.name)
		return 0, nil
	}
	if v.linger && l.kind.linger > 0 {
		now := l.opts.Clock.Now()
		if l.state.since.IsZero() {
			l.state.since = now
		}
		if left := l.kind.linger - now.Sub(l.state.since); left > 0 {
			return left, nil
		}
	}
	victim := l.kind.create()
	victim.SetNamespace(l.t.away)
	victim.SetName(l.name)
	victim.SetUID(seen.UID)
	victim.SetResourceVersion(seen.ResourceVersion)
	if err := l.delete(ctx, victim); err != nil {
		return 0, err
	}
	l.p.took(l.name, l.opts.Clock.Now())
	l.p.forget(l.name)
	return 0, nil
}

// delete deletes exactly the object, in exactly the state, that was looked at.
func (l *look) delete(ctx context.Context, obj client.Object) error {
	uid, version := obj.GetUID(), obj.GetResourceVersion()
	err := call(ctx, func(ctx context.Context) error {
		return l.opts.Away.Delete(ctx, obj, client.Preconditions{UID: &uid, ResourceVersion: &version})
	})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete: %w", err)
	}
	l.opts.Metrics.count(l.opts.Destination, l.kind.resource, outcomeDelete)
	return nil
}

// done remembers that the copy is right as of the given resourceVersion.
func (l *look) done(outcome, version string) {
	now := l.opts.Clock.Now()
	if outcome != outcomeNoop && l.state.hash == l.hash && l.state.version != "" {
		l.state.repairs = append(l.state.repairs, now)
	}
	l.state.hash, l.state.version, l.state.foreign, l.state.told = l.hash, version, false, ""
	l.opts.Metrics.count(l.opts.Destination, l.kind.resource, outcome)
	if took, changed := l.p.took(l.name, now); changed && outcome != outcomeNoop {
		l.opts.Metrics.observe(l.opts.Destination, l.kind.resource, took)
	}
}

// maxRepairs is how often in a minute a change that others made to one copy is undone.
const maxRepairs = 5

// budget returns how long to wait before the copy may be repaired once more. What home changed is no repair.
func (l *look) budget() time.Duration {
	if l.state.hash != l.hash || l.state.version == "" {
		return 0
	}
	now := l.opts.Clock.Now()
	l.state.repairs = slices.DeleteFunc(l.state.repairs, func(at time.Time) bool { return now.Sub(at) >= time.Minute })
	if len(l.state.repairs) < maxRepairs {
		return 0
	}
	return time.Minute - now.Sub(l.state.repairs[0])
}

// callTimeout bounds each call to the provider.
const callTimeout = 10 * time.Second

// call bounds one call to the provider.
func call(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return f(ctx)
}

// hashOf tells one desired copy from another, in memory only.
func hashOf(obj client.Object) (uint64, error) {
	text, err := json.Marshal(obj)
	if err != nil {
		return 0, fmt.Errorf("encode copy: %w", err)
	}
	hash := fnv.New64a()
	hash.Write(text)
	return hash.Sum64(), nil
}
