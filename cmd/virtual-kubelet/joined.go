package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// joined is the cache of one peering in a shared agent: what is in the tenant namespace it has itself, the rest is in
// the cache of all. When it ends, nobody there calls what it has registered any more.
type joined struct {
	own, common cache.Cache

	mu       sync.Mutex
	handlers []handled
	over     bool
}

type handled struct {
	informer cache.Informer
	handle   toolscache.ResourceEventHandlerRegistration
}

var errOver = errors.New("the peering is not served any more")

// ofTenant says whether objects are those of one peering.
func ofTenant(obj runtime.Object) bool {
	switch obj.(type) {
	case *v1beta1.NamespaceMap, *v1beta1.NamespaceMapList, *v1beta1.VirtualNode, *v1beta1.VirtualNodeList:
		return true
	}
	return false
}

func (j *joined) of(obj runtime.Object) cache.Cache {
	if ofTenant(obj) {
		return j.own
	}
	return j.common
}

// Get reads from the cache that has such objects.
func (j *joined) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	return j.of(obj).Get(ctx, key, obj, opts...)
}

// List reads from the cache that has such objects.
func (j *joined) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	return j.of(list).List(ctx, list, opts...)
}

// GetInformer returns the informer of such objects; of a common one, what is registered goes with the peering.
func (j *joined) GetInformer(
	ctx context.Context, obj client.Object, opts ...cache.InformerGetOption,
) (cache.Informer, error) {
	informer, err := j.of(obj).GetInformer(ctx, obj, opts...)
	if err != nil || ofTenant(obj) {
		return informer, err
	}
	return &leased{Informer: informer, of: j}, nil
}

// GetInformerForKind is not needed by anything that a peering runs.
func (j *joined) GetInformerForKind(
	_ context.Context, gvk schema.GroupVersionKind, _ ...cache.InformerGetOption,
) (cache.Informer, error) {
	return nil, fmt.Errorf("ask for informers of %s by an object", gvk)
}

// RemoveInformer leaves the common ones to the others.
func (j *joined) RemoveInformer(ctx context.Context, obj client.Object) error {
	if ofTenant(obj) {
		return j.own.RemoveInformer(ctx, obj)
	}
	return nil
}

// IndexField has an index kept of such objects.
func (j *joined) IndexField(ctx context.Context, obj client.Object, field string, f client.IndexerFunc) error {
	return j.of(obj).IndexField(ctx, obj, field, f)
}

// WaitForCacheSync waits for both.
func (j *joined) WaitForCacheSync(ctx context.Context) bool {
	return j.own.WaitForCacheSync(ctx) && j.common.WaitForCacheSync(ctx)
}

// Start runs the peering's own cache; who has made the common one runs that.
func (j *joined) Start(ctx context.Context) error {
	err := j.own.Start(ctx)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.over = true
	for _, h := range j.handlers {
		err = errors.Join(err, h.informer.RemoveEventHandler(h.handle))
	}
	return err
}

// keep remembers what was registered with a common informer.
func (j *joined) keep(
	informer cache.Informer, add func() (toolscache.ResourceEventHandlerRegistration, error),
) (toolscache.ResourceEventHandlerRegistration, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.over {
		return nil, errOver
	}
	handle, err := add()
	if err == nil {
		j.handlers = append(j.handlers, handled{informer, handle})
	}
	return handle, err
}

// leased is a common informer in the hands of one peering.
type leased struct {
	cache.Informer
	of *joined
}

// AddEventHandler registers for as long as the peering is served.
func (l *leased) AddEventHandler(
	h toolscache.ResourceEventHandler,
) (toolscache.ResourceEventHandlerRegistration, error) {
	return l.of.keep(l.Informer, func() (toolscache.ResourceEventHandlerRegistration, error) {
		return l.Informer.AddEventHandler(h)
	})
}

// AddEventHandlerWithResyncPeriod registers for as long as the peering is served.
func (l *leased) AddEventHandlerWithResyncPeriod(
	h toolscache.ResourceEventHandler, period time.Duration,
) (toolscache.ResourceEventHandlerRegistration, error) {
	return l.of.keep(l.Informer, func() (toolscache.ResourceEventHandlerRegistration, error) {
		return l.Informer.AddEventHandlerWithResyncPeriod(h, period)
	})
}

// AddEventHandlerWithOptions registers for as long as the peering is served.
func (l *leased) AddEventHandlerWithOptions(
	h toolscache.ResourceEventHandler, options toolscache.HandlerOptions,
) (toolscache.ResourceEventHandlerRegistration, error) {
	return l.of.keep(l.Informer, func() (toolscache.ResourceEventHandlerRegistration, error) {
		return l.Informer.AddEventHandlerWithOptions(h, options)
	})
}
