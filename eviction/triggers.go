package eviction

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// The bounds of the backoff per namespace.
const (
	minBackoff = 200 * time.Millisecond
	maxBackoff = 30 * time.Second
)

// SetupWithManager runs the reconciler in a manager, on its leader. It looks at one namespace after the other, so that
// its lists never add up to a burst and no room is promised to two namespaces at once.
func (r *Reconciler) SetupWithManager(mgr manager.Manager) error {
	return builder.ControllerManagedBy(mgr).Named("eviction").
		For(&v1beta1.NamespaceOffloading{}, builder.WithPredicates(policyChanged())).
		WatchesMetadata(&corev1.Node{}, handler.EnqueueRequestsFromMapFunc(r.everyone),
			builder.WithPredicates(predicate.LabelChangedPredicate{})).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: 1,
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](minBackoff,
				maxBackoff),
			UsePriorityQueue: ptr.To(false), // it can hang at the end, see namespacemap
		}).
		Complete(r)
}

// policyChanged passes the changes of a NamespaceOffloading that evicts pods, or did, which can make pods violate it.
func policyChanged() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return concerned(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool {
			was, ok := e.ObjectOld.(*v1beta1.NamespaceOffloading)
			is, also := e.ObjectNew.(*v1beta1.NamespaceOffloading)
			return ok && also && concerned(is) && (was.Generation != is.Generation || was.UID != is.UID ||
				was.Status.ObservedGeneration != is.Status.ObservedGeneration || says(was) && !says(is))
		},
	}
}

// concerned says that a NamespaceOffloading asks for eviction, or still shows that it did.
func concerned(o client.Object) bool {
	off, ok := o.(*v1beta1.NamespaceOffloading)
	return ok && (asked(off) || says(off))
}

func says(off *v1beta1.NamespaceOffloading) bool {
	return off.Status.ViolatingPods != nil ||
		meta.FindStatusCondition(off.Status.Conditions, v1beta1.ConditionPodsPermitted) != nil
}

// everyone returns the namespaces that ask for eviction: a virtual node that appears, changes or goes may concern each.
func (r *Reconciler) everyone(ctx context.Context, _ client.Object) []reconcile.Request {
	var all v1beta1.NamespaceOffloadingList
	if err := r.Home.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "Cannot list namespace offloadings") // a handler has nobody to return it to
		return nil
	}
	var requests []reconcile.Request
	for i := range all.Items {
		if asked(&all.Items[i]) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&all.Items[i])})
		}
	}
	return requests
}
