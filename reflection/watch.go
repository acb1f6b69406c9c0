package reflection

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// watched is what one watch looks at.
type watched struct {
	client    client.WithWatch
	namespace string
	selector  labels.Selector
	list      func() client.ObjectList
	clock     clock.Clock
	refusal   refusal
}

// homeWatch watches whole objects of a namespace at home.
func (r *reflector) homeWatch(namespace string) *watched {
	return &watched{
		client: r.opts.Home, namespace: namespace, clock: r.opts.Clock, refusal: r.refusal("home"),
		list: func() client.ObjectList { return r.emptyList.DeepCopyObject().(client.ObjectList) },
	}
}

// awayWatch watches the metadata of our copies in a twin.
func (r *reflector) awayWatch(twin string) *watched {
	return &watched{
		client: r.opts.Away, namespace: twin, clock: r.opts.Clock, refusal: r.refusal(r.opts.Destination),
		selector: labels.SelectorFromSet(labels.Set{v1beta1.LabelOrigin: r.opts.Origin}),
		list: func() client.ObjectList {
			list := &metav1.PartialObjectMetadataList{}
			list.SetGroupVersionKind(r.listKind)
			return list
		},
	}
}

func (w *watched) options(raw metav1.ListOptions) *client.ListOptions {
	return &client.ListOptions{Namespace: w.namespace, LabelSelector: w.selector, Raw: &raw}
}

// listWatch is what an informer needs. client-go's reflector waits up to a minute between attempts and logs each;
// here rights come a moment after the namespace is offloaded and links heal, so attempts that may yet succeed are
// repeated inside, every few seconds, and a word is said only of what lasts.
func (w *watched) listWatch() cache.ListerWatcher {
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			return patiently(ctx, w.clock, func() (runtime.Object, error) {
				list := w.list()
				err := w.client.List(ctx, list, w.options(opts))
				w.hear(ctx, err)
				return list, err
			})
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
			return patiently(ctx, w.clock, func() (watch.Interface, error) {
				stream, err := w.client.Watch(ctx, w.list(), w.options(opts))
				w.hear(ctx, err)
				return stream, err
			})
		},
	}, w.client)
}

// retryCeiling is the longest pause between two attempts to watch.
const retryCeiling = 5 * time.Second

// patiently calls f until it succeeds, fails for good, or ctx ends.
func patiently[T any](ctx context.Context, clk clock.Clock, f func() (T, error)) (T, error) {
	pause := 200 * time.Millisecond
	for {
		out, err := f()
		if err == nil || !passing(err) {
			return out, err
		}
		select {
		case <-ctx.Done():
			return out, ctx.Err()
		case <-clk.After(pause):
		}
		pause = min(2*pause, retryCeiling)
	}
}

// refusalPatience is for how long an API server may refuse a watch before that is an error: it is a mistake in the
// rights then, and not one that is about to be given.
const refusalPatience = 30 * time.Second

// refusal is what an API server keeps answering to one watch.
type refusal struct {
	cluster, resource string
	count             func() // in the metrics

	reason metav1.StatusReason // empty while there is none
	since  time.Time
	told   bool
}

func (r *reflector) refusal(cluster string) refusal {
	return refusal{cluster: cluster, resource: r.kind.resource, count: func() {
		r.opts.Metrics.count(r.opts.Destination, r.kind.resource, outcomeError)
	}}
}

// hear takes note of what came of an attempt, and says once that the same refusal lasts, and once that it is over. That
// there is no answer at all is not a refusal: it concerns the whole cluster, and the Node says so.
func (w *watched) hear(ctx context.Context, err error) {
	f := &w.refusal
	logger := log.FromContext(ctx).WithValues("cluster", f.cluster, "namespace", w.namespace, "resource", f.resource)
	reason := apierrors.ReasonForError(err)
	switch {
	case err == nil:
		if f.told {
			logger.Info("Watched again", "refusedFor", w.clock.Since(f.since).String())
		}
		f.reason, f.told = "", false
		return
	case reason == metav1.StatusReasonUnknown || !passing(err):
		return // says nothing about the refusal
	case reason != f.reason:
		f.reason, f.since = reason, w.clock.Now()
		return
	case w.clock.Since(f.since) < refusalPatience:
		return
	}
	f.count()
	if !f.told {
		f.told = true
		logger.Info("Cannot watch: what changes in the namespace is not reflected", "err", err.Error())
	}
}

// passing says whether a failure to list or watch may go away by itself. What the reflector handles in its own way
// (an expired resourceVersion, a server that does not stream lists) is not.
func passing(err error) bool {
	switch apierrors.ReasonForError(err) {
	case metav1.StatusReasonUnknown: // no answer
		return !meta.IsNoMatchError(err)
	case metav1.StatusReasonForbidden, metav1.StatusReasonUnauthorized, metav1.StatusReasonTooManyRequests,
		metav1.StatusReasonServerTimeout, metav1.StatusReasonTimeout, metav1.StatusReasonServiceUnavailable,
		metav1.StatusReasonInternalError:
		return true
	}
	return false
}

// lean drops what we never read from a home object before it is cached.
func lean(obj any) (any, error) {
	if accessor, err := meta.Accessor(obj); err == nil {
		accessor.SetManagedFields(nil)
	}
	return obj, nil
}

// leaner keeps of a copy's metadata what tells whose it is and whether it changed.
func leaner(obj any) (any, error) {
	copied, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return obj, nil // a tombstone holds what was made lean before
	}
	return &metav1.PartialObjectMetadata{TypeMeta: copied.TypeMeta, ObjectMeta: metav1.ObjectMeta{
		Name: copied.Name, Namespace: copied.Namespace, UID: copied.UID, ResourceVersion: copied.ResourceVersion,
		DeletionTimestamp: copied.DeletionTimestamp,
		Labels:            map[string]string{v1beta1.LabelOrigin: copied.Labels[v1beta1.LabelOrigin]},
		Annotations: map[string]string{
			v1beta1.AnnotationHomeUID: copied.Annotations[v1beta1.AnnotationHomeUID],
		},
	}}, nil
}
