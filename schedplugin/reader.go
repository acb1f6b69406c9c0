package schedplugin

import (
	"context"
	"fmt"
	"math"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/twinspace/twinspace/api/v1beta1"
)

const (
	offloadingsResource = "namespaceoffloadings"
	mapsResource        = "namespacemaps"

	// liveTimeout bounds one live read.
	liveTimeout = 10 * time.Second

	// A kind that is missing is asked for again after retryMin, then less and less often down to every retryMax, so
	// that definitions which arrive late are noticed within seconds.
	retryMin   = 500 * time.Millisecond
	retryMax   = 5 * time.Second
	retryReset = 30 * time.Second
	jitter     = 0.2
)

// reader reads our kinds.
type reader struct {
	rest rest.Interface
}

func newReader(scheduler *rest.Config) (*reader, error) {
	scheme := runtime.NewScheme()
	if err := v1beta1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("register kinds: %w", err)
	}
	config := restConfig(scheduler)
	config.APIPath = "/apis"
	config.GroupVersion = &v1beta1.GroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	c, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return &reader{rest: c}, nil
}

// identity returns the version of a namespace's policy that the API server has at this moment, from a consistent read.
// A kind that does not exist, or is not for us to see, has no objects.
func (r *reader) identity(ctx context.Context, namespace string) (identity, error) {
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	var off v1beta1.NamespaceOffloading
	err := r.rest.Get().Namespace(namespace).Resource(offloadingsResource).Name(v1beta1.OffloadingName).
		Do(ctx).Into(&off)
	switch {
	case absent(err):
		return identity{}, nil
	case err != nil:
		return identity{}, fmt.Errorf("read NamespaceOffloading of %s: %w", namespace, err)
	}
	return identify(&off), nil
}

// absent tells answers that mean "there is nothing for you" from failures.
func absent(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.IsForbidden(err)
}

// watchOffloadings keeps policies up to date until ctx ends.
func (r *reader) watchOffloadings(ctx context.Context, p *policies) {
	watch(ctx, r.rest, offloadingsResource, sink[v1beta1.NamespaceOffloading]{
		put: p.putOffloading, drop: p.dropOffloading, replace: p.replaceOffloadings, absent: p.noOffloadings,
	})
}

// watchMaps keeps the twins in policies up to date until ctx ends.
func (r *reader) watchMaps(ctx context.Context, p *policies) {
	watch(ctx, r.rest, mapsResource, sink[v1beta1.NamespaceMap]{
		put: p.putMap, drop: p.dropMap, replace: p.replaceMaps, absent: func() {},
	})
}

// watch lists and watches one kind for ever. Unlike an informer it takes the absence of the kind for an answer, and
// keeps no second copy of the objects.
func watch[T any, P interface {
	*T
	runtime.Object
}](ctx context.Context, r rest.Interface, resource string, s sink[T]) {
	logger := klog.FromContext(ctx).WithValues("resource", resource)
	reflector := cache.NewReflectorWithOptions(
		cache.NewListWatchFromClient(r, resource, "", fields.Everything()),
		P(new(T)), s, cache.ReflectorOptions{Name: "schedplugin/" + resource},
	)
	missing := false
	pause := wait.Backoff{Duration: retryMin, Cap: retryMax, Factor: 2, Jitter: jitter, Steps: math.MaxInt32}.
		DelayWithReset(clock.RealClock{}, retryReset)
	_ = pause.Until(ctx, true, true, func(ctx context.Context) (bool, error) { // its only error is that ctx ended
		err := reflector.ListAndWatchWithContext(ctx)
		if absent(err) {
			if s.absent(); !missing {
				logger.Info("Cannot watch yet; namespaces that announce an offloading wait", "reason", err.Error())
			}
		} else if err != nil {
			logger.Error(err, "Watch ended; starting again")
		}
		missing = absent(err)
		return false, nil
	})
}

// sink passes what a reflector hears on to functions.
type sink[T any] struct {
	put, drop func(*T)
	replace   func([]*T)
	absent    func()
}

// Add implements [cache.ReflectorStore].
func (s sink[T]) Add(obj any) error { return each(obj, s.put) }

// Update implements [cache.ReflectorStore].
func (s sink[T]) Update(obj any) error { return each(obj, s.put) }

// Delete implements [cache.ReflectorStore].
func (s sink[T]) Delete(obj any) error { return each(obj, s.drop) }

// Replace implements [cache.ReflectorStore].
func (s sink[T]) Replace(objs []any, _ string) error {
	all := make([]*T, 0, len(objs))
	for _, obj := range objs {
		if err := each(obj, func(t *T) { all = append(all, t) }); err != nil {
			return err
		}
	}
	s.replace(all)
	return nil
}

// Resync implements [cache.ReflectorStore]; there is nothing to do again.
func (s sink[T]) Resync() error { return nil }

func each[T any](obj any, do func(*T)) error {
	t, ok := obj.(*T)
	if !ok {
		return fmt.Errorf("expected %T, got %T", t, obj)
	}
	do(t)
	return nil
}
