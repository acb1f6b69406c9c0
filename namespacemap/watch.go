package namespacemap

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/reflection/remote"
	"github.com/twinspace/twinspace/watching"
)

// twinWorkers is how many twins are worked on at once: nearly all of that is waiting for the provider, and
// answers that wait together are written together.
const twinWorkers = 64

// byHome is the index of the provider's namespaces by the home namespace that they are marked with.
const byHome = "home"

type twinQueue = workqueue.TypedRateLimitingInterface[TwinKey]

// SetupWithManager runs the reconciler in a manager, on its leader. The manager's cache must hold the NamespaceMap of
// the provider's tenant namespace and the metadata of all namespaces at home. away is the provider: its namespaces are
// watched there as metadata, by our label, for a sign that something happened to a twin. A provider that does not
// answer keeps neither the manager nor the reconciler from starting.
func (t *Twins) SetupWithManager(mgr manager.Manager, away metadata.Interface) error {
	options := queueOptions[TwinKey](twinWorkers)
	options.Reconciler = t
	retries := remote.NewRetries(options.RateLimiter)
	options.RateLimiter = retries
	c, err := controller.NewTyped("twins-"+t.ClusterID, mgr, options)
	if err != nil {
		return fmt.Errorf("set up twins: %w", err)
	}
	maps := source.TypedKind(mgr.GetCache(), &v1beta1.NamespaceMap{}, t.mapEvents())
	namespaces := source.TypedKind(mgr.GetCache(), namespaceMeta(""), homeEvents())
	informer := t.informer(away)
	t.strays = func(home string) []string { return marked(informer.GetIndexer(), home) }
	t.homes = func() []string { return informer.GetIndexer().ListIndexFuncValues(byHome) }
	for _, s := range []source.TypedSource[TwinKey]{
		maps, namespaces, watched(informer), t.recovery(retries), t.refusals(informer.GetIndexer()),
	} {
		if err := c.Watch(s); err != nil {
			return fmt.Errorf("watch for twins: %w", err)
		}
	}
	return nil
}

// recovery enqueues what has failed when the provider answers again.
func (t *Twins) recovery(failed *remote.Retries[TwinKey]) source.TypedSource[TwinKey] {
	return source.TypedFunc[TwinKey](func(_ context.Context, q twinQueue) error {
		if t.OnRecovery != nil {
			t.OnRecovery(func() { failed.Hurry(q.Add) })
		}
		return nil
	})
}

// mapEvents enqueues, of the thousands of namespaces in the map, those for which it changed; for a new map also all
// that have a namespace on the provider, because the one before may have been deleted before they were gone.
func (t *Twins) mapEvents() handler.TypedEventHandler[*v1beta1.NamespaceMap, TwinKey] {
	enqueue := func(before, after *v1beta1.NamespaceMap, q twinQueue) {
		for _, home := range changedKeys(t.mine(before), t.mine(after)) {
			q.Add(TwinKey{Home: home})
		}
	}
	return handler.TypedFuncs[*v1beta1.NamespaceMap, TwinKey]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[*v1beta1.NamespaceMap], q twinQueue) {
			enqueue(nil, e.Object, q)
			if t.mine(e.Object) != nil && t.homes != nil {
				for _, home := range t.homes() {
					q.Add(TwinKey{Home: home})
				}
			}
		},
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[*v1beta1.NamespaceMap], q twinQueue) {
			enqueue(e.ObjectOld, e.ObjectNew, q)
		},
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[*v1beta1.NamespaceMap], q twinQueue) {
			enqueue(e.Object, nil, q)
		},
	}
}

// mine returns the map if it is the one that this agent serves.
func (t *Twins) mine(m *v1beta1.NamespaceMap) *v1beta1.NamespaceMap {
	if m == nil || m.Name != t.ClusterID || m.Namespace != v1beta1.TenantNamespace(t.ClusterID) {
		return nil
	}
	return m
}

// homeEvents enqueues a home namespace that is new, perhaps under the name of an earlier one.
func homeEvents() handler.TypedEventHandler[*metav1.PartialObjectMetadata, TwinKey] {
	return handler.TypedFuncs[*metav1.PartialObjectMetadata, TwinKey]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[*metav1.PartialObjectMetadata], q twinQueue) {
			q.Add(TwinKey{Home: e.Object.Name})
		},
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[*metav1.PartialObjectMetadata], q twinQueue) {
			if e.ObjectOld.UID != e.ObjectNew.UID {
				q.Add(TwinKey{Home: e.ObjectNew.Name})
			}
		},
	}
}

// informer watches the provider's namespaces that carry our label.
func (t *Twins) informer(away metadata.Interface) cache.SharedIndexInformer {
	mark := labels.SelectorFromSet(labels.Set{v1beta1.LabelRemoteClusterID: t.Origin}).String()
	index := cache.Indexers{byHome: func(object any) ([]string, error) {
		if home := homeOf(object); home != "" {
			return []string{home}, nil
		}
		return nil, nil
	}}
	namespaces := watching.Through(away.Resource(corev1.SchemeGroupVersion.WithResource("namespaces")), away,
		func(o *metav1.ListOptions) { o.LabelSelector = mark })
	return watching.Informers(t.ClusterID)(namespaces, namespaceMeta(""), 0, index)
}

// watched makes an informer a source that is started without waiting for its provider.
func watched(informer cache.SharedIndexInformer) source.TypedSource[TwinKey] {
	return source.TypedFunc[TwinKey](func(ctx context.Context, q twinQueue) error {
		enqueue := func(object any) {
			if home := homeOf(object); home != "" {
				q.Add(TwinKey{Home: home})
			}
		}
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: enqueue, UpdateFunc: func(_, now any) { enqueue(now) }, DeleteFunc: enqueue,
		})
		if err != nil {
			return fmt.Errorf("watch twins: %w", err)
		}
		go informer.RunWithContext(ctx)
		return nil
	})
}

// homeOf returns the home namespace that a namespace of the provider is marked with.
func homeOf(object any) string {
	if last, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = last.Obj
	}
	namespace, err := meta.Accessor(object)
	if err != nil {
		return ""
	}
	return namespace.GetAnnotations()[v1beta1.AnnotationTwinHomeName]
}

func marked(index cache.Indexer, home string) []string {
	objects, err := index.ByIndex(byHome, home)
	if err != nil {
		return nil // an index that does not exist; ours does
	}
	var names []string
	for _, object := range objects {
		if namespace, err := meta.Accessor(object); err == nil {
			names = append(names, namespace.GetName())
		}
	}
	return names
}
