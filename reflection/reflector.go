package reflection

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// item is a copy to look at: the namespace at home, and the copy's name.
type item struct{ home, name string }

// reflector is the engine for one kind in all twins of a provider.
type reflector struct {
	kind      Reflected
	opts      Options
	twins     func(home string) *twin
	queue     workqueue.TypedRateLimitingInterface[item]
	listKind  schema.GroupVersionKind
	emptyList client.ObjectList

	leader    *reflector   // of the kind that this one follows
	followers []*reflector // of the kinds that follow this one
}

// Pauses between attempts at one object. There is no limit over all objects: a burst is not an error.
const (
	firstRetry   = 200 * time.Millisecond
	retryEach    = 30 * time.Second
	retryRefused = 5 * time.Minute // what the provider's API server finds invalid is not sent again soon
	retryUnready = 200 * time.Millisecond
)

func newReflector(m *Mirror, kind Reflected) (*reflector, error) {
	gvk, err := apiutil.GVKForObject(kind.create(), m.opts.Home.Scheme())
	if err != nil {
		return nil, fmt.Errorf("find kind: %w", err)
	}
	gvk.Kind += "List"
	list, err := m.opts.Home.Scheme().New(gvk)
	if err != nil {
		return nil, fmt.Errorf("make list: %w", err)
	}
	empty, ok := list.(client.ObjectList)
	if !ok {
		return nil, fmt.Errorf("%s is no list", gvk)
	}
	return &reflector{
		kind: kind, opts: m.opts, twins: m.twin, listKind: gvk, emptyList: empty,
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(
			workqueue.NewTypedItemExponentialFailureRateLimiter[item](firstRetry, retryEach),
			workqueue.TypedRateLimitingQueueConfig[item]{Name: "reflection_" + kind.resource, Clock: m.opts.Clock},
		),
	}, nil
}

// all has everything in a twin looked at.
func (r *reflector) all(t *twin) {
	p := t.pairs[r.kind.resource]
	if p == nil || !p.ready.Load() {
		return // all is called when it is
	}
	for _, name := range p.names() {
		r.queue.Add(item{t.home, name})
	}
}

// again has the named home object looked at.
func (r *reflector) again(namespace, name string) {
	t := r.twins(namespace)
	if t == nil {
		return
	}
	p := t.pairs[r.kind.resource]
	if obj, exists, _ := p.home.GetByKey(namespace + "/" + name); exists {
		r.queue.Add(item{namespace, r.kind.name(obj.(client.Object), r.opts.Origin)})
	}
}

func (r *reflector) homeChanged(t *twin, p *pair, obj any) {
	if !p.ready.Load() {
		return
	}
	src, ok := last(obj).(client.Object)
	if !ok {
		return
	}
	name := r.kind.name(src, r.opts.Origin)
	p.touch(name, r.opts.Clock.Now())
	r.queue.Add(item{t.home, name})
	for _, f := range r.followers {
		for _, follower := range f.followersOf(t, src.GetName()) {
			f.queue.Add(item{t.home, follower})
		}
	}
}

// followersOf returns the names of the copies of the objects that follow the named one.
func (r *reflector) followersOf(t *twin, leader string) []string {
	p := t.pairs[r.kind.resource]
	if p == nil || !p.ready.Load() {
		return nil
	}
	var names []string
	objs, _ := p.home.ByIndex(byLeader, leader) // fails only without that index
	for _, obj := range objs {
		names = append(names, r.kind.name(obj.(client.Object), r.opts.Origin))
	}
	return names
}

func (r *reflector) awayChanged(t *twin, p *pair, obj any) {
	if !p.ready.Load() {
		return
	}
	if copied, ok := last(obj).(client.Object); ok {
		r.queue.Add(item{t.home, copied.GetName()})
	}
}

// last returns the last known state of a deleted object.
func last(obj any) any {
	if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		return tombstone.Obj
	}
	return obj
}

// work looks at one object after the other until the queue is shut down.
func (r *reflector) work(ctx context.Context) {
	for {
		it, shutdown := r.queue.Get()
		if shutdown {
			return
		}
		r.pass(ctx, it)
		r.queue.Done(it)
	}
}

// pass looks at one object and decides when to look at it next.
func (r *reflector) pass(ctx context.Context, it item) {
	logger := log.FromContext(ctx).WithValues("resource", r.kind.resource, "namespace", it.home, "copy", it.name)
	after, err := r.reconcile(log.IntoContext(ctx, logger), it)
	switch {
	case err == nil:
		r.queue.Forget(it)
	case r.twins(it.home) == nil || ctx.Err() != nil: // it leaves; the error says no more than that
		r.queue.Forget(it)
		return
	default:
		r.opts.Metrics.count(r.opts.Destination, r.kind.resource, outcomeError)
		logger.V(1).Info("cannot reflect yet", "err", err.Error())
		if after == 0 {
			r.queue.AddRateLimited(it)
		}
	}
	if after > 0 {
		r.queue.AddAfter(it, after)
	}
}

// verdict is what was decided about a home object: why it stays there, or "" when it goes.
type verdict struct {
	why    string
	linger bool // the copy may be kept for a while
}

// judge decides about a home object: what must never leave, then its annotations, then what it follows, then its
// kind.
func (r *reflector) judge(t *twin, src client.Object) (verdict, error) {
	if why := r.kind.never(src); why != "" {
		return verdict{why: why}, nil
	}
	if annotated(src, v1beta1.AnnotationSkipReflection) {
		return verdict{why: "annotation " + v1beta1.AnnotationSkipReflection + " asks for it"}, nil
	}
	if annotated(src, v1beta1.AnnotationAllowReflection) {
		return verdict{}, nil
	}
	if r.leader != nil {
		v, err := r.leader.judgeNamed(t, r.kind.leader(src))
		if err != nil || v.why != "" {
			return v, err
		}
	}
	why, err := r.kind.stay(src)
	return verdict{why: why, linger: true}, err
}

// judgeNamed is judge for an object that others follow.
func (r *reflector) judgeNamed(t *twin, name string) (verdict, error) {
	p := t.pairs[r.kind.resource]
	if !p.ready.Load() {
		return verdict{}, fmt.Errorf("%s are not known yet", r.kind.resource)
	}
	obj, exists, _ := p.home.GetByKey(t.home + "/" + name)
	if !exists {
		return verdict{why: "it belongs to none of the " + r.kind.resource}, nil
	}
	return r.judge(t, obj.(client.Object))
}
