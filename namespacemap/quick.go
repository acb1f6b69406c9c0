package namespacemap

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/namespacemap/naming"
)

// stamp is written on the NamespaceOffloadings that the label makes. Any stamp, also that of another tool which speaks
// the same language, makes one go with the label.
const stamp = "made by the namespace's label " + v1beta1.LabelEnabled

// Quick makes a NamespaceOffloading with defaults for every namespace labelled [v1beta1.LabelEnabled]=true, and deletes
// it when the label is gone. Every other value counts as no label, and what users made themselves is left alone.
type Quick struct {
	// Home reads from caches.
	Home client.Client
	// Events tells users why a namespace is not offloaded: there is no NamespaceOffloading yet to say it. nil tells
	// nobody.
	Events events.EventRecorder
}

// Reconcile looks at one namespace.
func (q *Quick) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	namespace := namespaceMeta(request.Name)
	if err := q.Home.Get(ctx, request.NamespacedName, namespace); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !namespace.DeletionTimestamp.IsZero() || naming.Reserved(request.Name) {
		return reconcile.Result{}, nil
	}
	off := &v1beta1.NamespaceOffloading{}
	err := q.Home.Get(ctx, client.ObjectKey{Namespace: request.Name, Name: v1beta1.OffloadingName}, off)
	switch asked := namespace.Labels[v1beta1.LabelEnabled] == "true"; {
	case apierrors.IsNotFound(err) && asked:
		return reconcile.Result{}, q.tell(namespace, q.create(ctx, request.Name))
	case err != nil:
		return reconcile.Result{}, client.IgnoreNotFound(err)
	case !asked && off.Annotations[v1beta1.AnnotationControlledBy] != "" && off.DeletionTimestamp.IsZero():
		return settle(q.remove(ctx, off))
	}
	return reconcile.Result{}, nil
}

func (q *Quick) create(ctx context.Context, home string) error {
	off := &v1beta1.NamespaceOffloading{ObjectMeta: metav1.ObjectMeta{
		Namespace: home, Name: v1beta1.OffloadingName,
		Annotations: map[string]string{v1beta1.AnnotationControlledBy: stamp},
	}}
	err := q.Home.Create(ctx, off)
	if err != nil && !apierrors.IsAlreadyExists(err) && !namespaceLost(err) {
		return fmt.Errorf("create offloading of %s: %w", home, err)
	}
	return nil
}

// tell passes an error on, and tells users of it.
func (q *Quick) tell(namespace *metav1.PartialObjectMetadata, err error) error {
	if err != nil && q.Events != nil {
		q.Events.Eventf(namespace, nil, corev1.EventTypeWarning, "OffloadingRefused", "Offload", "%s", err)
	}
	return err
}

// remove deletes exactly the object that was seen to carry our stamp.
func (q *Quick) remove(ctx context.Context, off *v1beta1.NamespaceOffloading) error {
	seen := client.Preconditions{UID: ptr.To(off.UID), ResourceVersion: ptr.To(off.ResourceVersion)}
	if err := q.Home.Delete(ctx, off, seen); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete offloading of %s: %w", off.Namespace, err)
	}
	return nil
}

// SetupWithManager runs the reconciler in a manager, on its leader.
func (q *Quick) SetupWithManager(mgr manager.Manager) error {
	toNamespace := func(_ context.Context, o client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: o.GetNamespace()}}}
	}
	return builder.ControllerManagedBy(mgr).Named("quickoffloading").
		For(&corev1.Namespace{}, builder.OnlyMetadata, builder.WithPredicates(namespaceChanged())).
		Watches(&v1beta1.NamespaceOffloading{}, handler.EnqueueRequestsFromMapFunc(toNamespace)).
		WithOptions(queueOptions[reconcile.Request](1)).
		Complete(q)
}
