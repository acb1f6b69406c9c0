package reflection

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/twinspace/twinspace/reflection/remote"
)

// item is a copy to look at: the namespace at home, and the copy's name.
type item struct{ home, name string }

// reflector is the engine for one kind in all twins of a provider.
type reflector struct {
	kind   Reflected
	gvk    schema.GroupVersionKind
	opts   Options
	mirror *Mirror
	twins  func(home string) *twin
	queue  workqueue.TypedRateLimitingInterface[item]
	// retries are what of the queue has failed.
	retries *remote.Retries[item]
	list    client.ObjectList // an empty one, of kinds that are cached whole
	bare    atomic.Bool       // the kind has no subresource for its status at home

	leader    *reflector            // of the kind that this one follows
	followers []*reflector          // of the kinds that follow this one
	peers     map[string]*reflector // by resource, of kinds that this one may refer to
	referrers []*reflector          // of the kinds that may refer to this one
	demand    demand                // of a kind under PolicyReferenced
}

// Pauses between attempts at one object. There is no limit over all objects: a burst is not an error.
const (
	firstRetry   = 200 * time.Millisecond
	retryEach    = 30 * time.Second
	retryRefused = 5 * time.Minute // what the provider's API server finds invalid is not sent again soon
)

func newReflector(m *Mirror, kind Reflected) (*reflector, error) {
	scheme := m.opts.Home.client.Scheme()
	gvk, err := apiutil.GVKForObject(kind.create(), scheme)
	if err != nil {
		return nil, fmt.Errorf("find kind: %w", err)
	}
	r := &reflector{
		kind: kind, gvk: gvk, opts: m.opts, mirror: m, twins: m.twin,
		retries: remote.NewRetries(workqueue.NewTypedItemExponentialFailureRateLimiter[item](firstRetry, retryEach)),
	}
	r.queue = workqueue.NewTypedRateLimitingQueueWithConfig[item](r.retries,
		workqueue.TypedRateLimitingQueueConfig[item]{Name: "reflection_" + kind.resource, Clock: m.opts.Clock})
	if !kind.whole {
		learn(gvk, kind.resource, m.opts.Home.client, m.opts.Away.client)
		return r, nil
	}
	list, err := scheme.New(gvk.GroupVersion().WithKind(gvk.Kind + "List"))
	if err != nil {
		return nil, fmt.Errorf("make list: %w", err)
	}
	empty, ok := list.(client.ObjectList)
	if !ok {
		return nil, fmt.Errorf("%s has no list", gvk)
	}
	r.list = empty
	return r, nil
}

// dependents are the reflectors of kinds about which nothing is decided before this one is known.
func (r *reflector) dependents() []*reflector {
	out := slices.Clone(r.followers)
	for _, other := range r.peers {
		if r.kind.refers != nil && other.kind.policy == PolicyReferenced {
			out = append(out, other)
		}
	}
	return out
}

// homeSubject is what is watched at home.
func (r *reflector) homeSubject() subject {
	about := subject{
		resource: r.kind.resource, gvk: r.gvk, apart: r.kind.apart, indexers: homeIndexers(r.kind, r.opts.Origin),
	}
	if r.kind.whole {
		about.whole = &wholeObjects{
			object: r.kind.create,
			list:   func() client.ObjectList { return r.list.DeepCopyObject().(client.ObjectList) },
		}
	}
	return about
}

// awaySubject is what is watched on the provider.
func (r *reflector) awaySubject() subject {
	return subject{
		resource: r.kind.resource, gvk: r.gvk, apart: r.kind.apart, copies: r.opts.Origin, labels: r.kind.labels,
	}
}

// all has everything in a twin looked at.
func (r *reflector) all(t *twin) {
	if r.onDemand() {
		r.queue.Add(tending(t.home))
	}
	p := t.readyPair(r.kind.resource)
	if p == nil {
		return // all is called when it is
	}
	for _, src := range p.home.all() {
		r.queue.Add(item{t.home, r.kind.name(src, r.opts.Origin)})
	}
	for _, copied := range p.away.all() {
		r.queue.Add(item{t.home, copied.GetName()})
	}
}

// again has the named home object looked at.
func (r *reflector) again(namespace, name string) {
	if r.onDemand() {
		r.demand.note(namespace, name)
	}
	t := r.twins(namespace)
	if t == nil || t.pair(r.kind.resource) == nil {
		if r.onDemand() {
			r.queue.Add(tending(namespace))
		}
		return
	}
	p := t.readyPair(r.kind.resource)
	if p == nil {
		return // everything is looked at once it is
	}
	var src metav1.Object = &metav1.ObjectMeta{Namespace: namespace, Name: name}
	if known := p.home.get(name); known != nil {
		src = known
	}
	r.queue.Add(item{namespace, r.kind.name(src, r.opts.Origin)})
}

// named returns a home object with everything in it, or nil.
func (r *reflector) named(namespace, name string) client.Object {
	t := r.twins(namespace)
	if t == nil {
		return nil
	}
	p := t.readyPair(r.kind.resource)
	if p == nil {
		return nil
	}
	known := p.home.get(name)
	if known == nil {
		return nil
	}
	return p.whole(known)
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
