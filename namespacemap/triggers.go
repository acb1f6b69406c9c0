package namespacemap

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// workers is how many namespaces are reconciled at once; each only once at a time. They spend their time waiting for
// the API server, and keys of maps that wait together are written together.
const workers = 64

type requestQueue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// CacheOptions returns what a manager must cache for the reconcilers of this package: of nodes only the virtual ones,
// of role bindings only those that concern a peering.
func CacheOptions() (map[client.Object]cache.ByObject, error) {
	virtual, err := labels.NewRequirement(v1beta1.LabelNodeType, selection.Equals, []string{v1beta1.NodeTypeVirtual})
	if err != nil {
		return nil, err
	}
	peering, err := labels.NewRequirement(v1beta1.LabelRemoteClusterID, selection.Exists, nil)
	if err != nil {
		return nil, err
	}
	return map[client.Object]cache.ByObject{
		&corev1.Node{}:        {Label: labels.NewSelector().Add(*virtual)},
		&rbacv1.RoleBinding{}: {Label: labels.NewSelector().Add(*peering)},
	}, nil
}

// SetupWithManager runs the reconciler in a manager, on its leader.
func (o *Offloadings) SetupWithManager(mgr manager.Manager) error {
	all := handler.Funcs{
		CreateFunc: func(ctx context.Context, _ event.CreateEvent, q requestQueue) { o.enqueueAll(ctx, q) },
		UpdateFunc: func(ctx context.Context, _ event.UpdateEvent, q requestQueue) { o.enqueueAll(ctx, q) },
		DeleteFunc: func(ctx context.Context, _ event.DeleteEvent, q requestQueue) { o.enqueueAll(ctx, q) },
	}
	return builder.ControllerManagedBy(mgr).Named("namespaceoffloading").
		For(&v1beta1.NamespaceOffloading{}).
		Watches(&v1beta1.NamespaceMap{}, o.mapEvents()).
		Watches(&v1beta1.VirtualNode{}, all, builder.WithPredicates(candidateChanged())).
		WatchesMetadata(&corev1.Node{}, all, builder.WithPredicates(predicate.LabelChangedPredicate{})).
		WatchesMetadata(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(ofNamespace),
			builder.WithPredicates(namespaceChanged())).
		Watches(&rbacv1.RoleBinding{}, handler.EnqueueRequestsFromMapFunc(besides)).
		WithOptions(queueOptions[reconcile.Request](workers)).
		Complete(o)
}

// mapEvents enqueues, of the thousands of namespaces in a map, those for which it changed; for a new map all that are
// offloaded, because it is new to them.
func (o *Offloadings) mapEvents() handler.EventHandler {
	enqueue := func(before, after client.Object, q requestQueue) {
		was, _ := before.(*v1beta1.NamespaceMap)
		is, _ := after.(*v1beta1.NamespaceMap)
		for _, home := range append(changedKeys(was, is), changedReports(was, is)...) {
			q.Add(offloadingOf(home))
		}
		if is == nil {
			return
		}
		latest := o.views.newest(is, o.views.written()[client.ObjectKeyFromObject(is)])
		for _, home := range o.room.wake(latest, o.limit()) {
			q.Add(offloadingOf(home))
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q requestQueue) {
			enqueue(nil, e.Object, q)
			o.enqueueAll(ctx, q)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent,
			q requestQueue) {
			enqueue(e.ObjectOld, e.ObjectNew, q)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q requestQueue) { enqueue(e.Object, nil, q) },
	}
}

func (o *Offloadings) enqueueAll(ctx context.Context, q requestQueue) {
	var all v1beta1.NamespaceOffloadingList
	if err := o.Home.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "Cannot list namespace offloadings") // a handler has nobody to return it to
		return
	}
	for i := range all.Items {
		q.Add(offloadingOf(all.Items[i].Namespace))
	}
}

func offloadingOf(home string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: home, Name: v1beta1.OffloadingName}}
}

func ofNamespace(_ context.Context, namespace client.Object) []reconcile.Request {
	return []reconcile.Request{offloadingOf(namespace.GetName())}
}

func besides(_ context.Context, object client.Object) []reconcile.Request {
	return []reconcile.Request{offloadingOf(object.GetNamespace())}
}

// candidateChanged passes the changes of a VirtualNode that can change what a selector picks.
func candidateChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, known := e.ObjectOld.(*v1beta1.VirtualNode)
		after, ok := e.ObjectNew.(*v1beta1.VirtualNode)
		return e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() ||
			e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero() ||
			known && ok && holding(before) != holding(after)
	}}
}

// namespaceChanged passes a namespace whose labels changed, or that is on its way out.
func namespaceChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectOld.GetUID() != e.ObjectNew.GetUID() ||
			e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero() ||
			!equality.Semantic.DeepEqual(e.ObjectOld.GetLabels(), e.ObjectNew.GetLabels())
	}}
}
