package namespacemap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// refreshWait is how often the sentence about what a VirtualNode waits for is brought up to date.
const refreshWait = 10 * time.Second

// Maps keeps one NamespaceMap for every provider that has a VirtualNode, and every VirtualNode until its Node and, with
// the provider's last one, all twins there are gone. The map has no owner: it must outlive what made it while the agent
// still has twins to delete.
type Maps struct {
	// Home reads from caches made with [CacheOptions], Live from the API server.
	Home client.Client
	Live client.Reader
	// Clock dates conditions.
	Clock clock.PassiveClock
	// Drains empties virtual nodes on their way out; with nil nobody does.
	Drains Drains
}

// peering is what there is of one provider at home.
type peering struct {
	clusterID string
	staying   []*v1beta1.VirtualNode
	leaving   []*v1beta1.VirtualNode
	m         *v1beta1.NamespaceMap
	// again is when to look again at what is waited for; 0 when nothing is.
	again time.Duration
}

// wait sees to it that somebody looks again after d.
func (p *peering) wait(d time.Duration) {
	if p.again == 0 || d < p.again {
		p.again = d
	}
}

// Reconcile looks at one provider: its request is the namespace and name of the provider's map.
func (r *Maps) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	if request.Namespace != v1beta1.TenantNamespace(request.Name) {
		return reconcile.Result{}, nil
	}
	p, err := r.look(ctx, request)
	if err != nil {
		return reconcile.Result{}, err
	}
	var errs []error
	if len(p.staying) > 0 {
		errs = append(errs, r.ensureMap(ctx, p), r.hold(ctx, p))
	} else if len(p.leaving) == 0 && p.m != nil && len(remaining(p.m)) == 0 {
		errs = append(errs, r.deleteMap(ctx, p)) // its VirtualNodes were force-finalized
	}
	errs = append(errs, r.drainDeleted(ctx, p))
	return r.letGo(ctx, p, errs)
}

func (r *Maps) look(ctx context.Context, request reconcile.Request) (*peering, error) {
	p := &peering{clusterID: request.Name}
	var virtual v1beta1.VirtualNodeList
	if err := r.Home.List(ctx, &virtual, client.InNamespace(request.Namespace)); err != nil {
		return nil, fmt.Errorf("list virtual nodes of %s: %w", request.Name, err)
	}
	for i := range virtual.Items {
		node := &virtual.Items[i]
		switch {
		case node.Spec.ClusterID != request.Name:
		case node.DeletionTimestamp.IsZero():
			p.staying = append(p.staying, node)
		default:
			p.leaving = append(p.leaving, node)
		}
	}
	m := &v1beta1.NamespaceMap{}
	switch err := r.Home.Get(ctx, request.NamespacedName, m, client.UnsafeDisableDeepCopy); {
	case err == nil:
		p.m = m
	case !apierrors.IsNotFound(err):
		return nil, fmt.Errorf("get namespace map %s: %w", request.Name, err)
	}
	return p, nil
}

// ensureMap creates the provider's map, or puts its label back.
func (r *Maps) ensureMap(ctx context.Context, p *peering) error {
	labels := map[string]string{v1beta1.LabelRemoteClusterID: p.clusterID}
	if p.m == nil {
		m := &v1beta1.NamespaceMap{ObjectMeta: metav1.ObjectMeta{
			Namespace: v1beta1.TenantNamespace(p.clusterID), Name: p.clusterID, Labels: labels,
		}}
		err := r.Home.Create(ctx, m)
		if err != nil && !apierrors.IsAlreadyExists(err) && !namespaceLost(err) {
			return fmt.Errorf("create namespace map %s: %w", p.clusterID, err)
		}
		return nil
	}
	if p.m.Labels[v1beta1.LabelRemoteClusterID] == p.clusterID {
		return nil
	}
	key := client.ObjectKeyFromObject(p.m)
	now := &v1beta1.NamespaceMap{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:%q}}}`, v1beta1.LabelRemoteClusterID, p.clusterID)
	if err := r.Home.Patch(ctx, now, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("label namespace map %s: %w", p.clusterID, err)
	}
	return nil
}

// hold puts the finalizer on the VirtualNodes that stay.
func (r *Maps) hold(ctx context.Context, p *peering) error {
	var errs []error
	for _, node := range p.staying {
		before := node.DeepCopy()
		if !controllerutil.AddFinalizer(node, v1beta1.FinalizerVirtualNode) {
			continue
		}
		patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
		if err := r.Home.Patch(ctx, node, patch); client.IgnoreNotFound(err) != nil {
			errs = append(errs, fmt.Errorf("hold virtual node %s: %w", node.Name, err))
		}
	}
	return errors.Join(errs...)
}

// letGo releases the VirtualNodes that nothing holds any more, and says of the others what they wait for. It settles
// what went wrong before as well: when to look again is decided once, or it is lost.
func (r *Maps) letGo(ctx context.Context, p *peering, errs []error) (reconcile.Result, error) {
	for _, node := range p.leaving {
		if !controllerutil.ContainsFinalizer(node, v1beta1.FinalizerVirtualNode) {
			continue
		}
		status, wait, err := r.judge(ctx, node, p)
		switch {
		case err != nil:
			err = errors.Join(err, r.tell(ctx, node, status, "tried again: "+err.Error()))
		case wait != "":
			p.wait(refreshWait)
			err = r.tell(ctx, node, status, wait)
		default:
			err = r.dismiss(ctx, node, p)
		}
		errs = append(errs, err)
	}
	result, err := settle(errors.Join(errs...))
	if err == nil && result.RequeueAfter == 0 {
		result.RequeueAfter = p.again
	}
	return result, err
}

// judge says how far a VirtualNode on its way out is, and what it waits for: first volumes, then pods, and only when
// both are gone twins and the Node.
func (r *Maps) judge(ctx context.Context, node *v1beta1.VirtualNode, p *peering) (
	status v1beta1.VirtualNodeConditionStatus, wait string, err error,
) {
	if wait, err = r.volumesOf(ctx, node); err != nil || wait != "" {
		return v1beta1.StatusDraining, wait, err
	}
	if wait, err = r.emptied(ctx, node, p); err != nil || wait != "" {
		return v1beta1.StatusDraining, wait, err
	}
	wait, err = r.waitsFor(ctx, node, p)
	return v1beta1.StatusDeleting, wait, err
}

// waitsFor says what keeps a VirtualNode, or nothing.
func (r *Maps) waitsFor(ctx context.Context, node *v1beta1.VirtualNode, p *peering) (string, error) {
	if len(p.staying) == 0 && p.m != nil {
		if homes := remaining(p.m); len(homes) > 0 {
			return fmt.Sprintf("waiting for the agent of %s to delete the twins of %d namespaces: %s",
				p.clusterID, len(homes), listed(homes, ", ")), nil
		}
	}
	virtual := nodeMeta(node.Name)
	switch err := r.Live.Get(ctx, client.ObjectKeyFromObject(virtual), virtual); {
	case apierrors.IsNotFound(err):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("get node %s: %w", node.Name, err)
	case virtual.Labels[v1beta1.LabelRemoteClusterID] != p.clusterID:
		return "", nil // an ordinary node that happens to have the name
	}
	return fmt.Sprintf("waiting for the agent of %s to delete Node %s", p.clusterID, node.Name), nil
}

// tell writes what a VirtualNode waits for into its condition.
func (r *Maps) tell(ctx context.Context, node *v1beta1.VirtualNode, status v1beta1.VirtualNodeConditionStatus,
	wait string,
) error {
	before := node.DeepCopy()
	want := v1beta1.VirtualNodeCondition{
		Type: v1beta1.VirtualKubeletCondition, Status: status, Message: wait,
		LastTransitionTime: metav1.NewTime(r.Clock.Now()).Rfc3339Copy(),
	}
	at := slices.IndexFunc(node.Status.Conditions,
		func(c v1beta1.VirtualNodeCondition) bool { return c.Type == want.Type })
	switch {
	case at < 0:
		node.Status.Conditions = append(node.Status.Conditions, want)
	case node.Status.Conditions[at].Status == want.Status && node.Status.Conditions[at].Message == wait:
		return nil
	default:
		if node.Status.Conditions[at].Status == want.Status {
			want.LastTransitionTime = node.Status.Conditions[at].LastTransitionTime
		}
		node.Status.Conditions[at] = want
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Home.Status().Patch(ctx, node, patch); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("patch status of virtual node %s: %w", node.Name, err)
	}
	return nil
}

// dismiss removes the finalizer, after the map if this was the provider's last VirtualNode.
func (r *Maps) dismiss(ctx context.Context, node *v1beta1.VirtualNode, p *peering) error {
	if len(p.staying) == 0 && p.m != nil {
		if err := r.deleteMap(ctx, p); err != nil {
			return err
		}
	}
	before := node.DeepCopy()
	controllerutil.RemoveFinalizer(node, v1beta1.FinalizerVirtualNode)
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Home.Patch(ctx, node, patch); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("release virtual node %s: %w", node.Name, err)
	}
	return nil
}

// deleteMap deletes exactly the map that was seen to be empty.
func (r *Maps) deleteMap(ctx context.Context, p *peering) error {
	m := &v1beta1.NamespaceMap{ObjectMeta: metav1.ObjectMeta{Namespace: p.m.Namespace, Name: p.m.Name}}
	seen := client.Preconditions{UID: ptr.To(p.m.UID), ResourceVersion: ptr.To(p.m.ResourceVersion)}
	if err := r.Home.Delete(ctx, m, seen); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete namespace map %s: %w", p.clusterID, err)
	}
	return nil
}

// remaining returns the namespaces that have, or may come to have, a twin, sorted.
func remaining(m *v1beta1.NamespaceMap) []string {
	homes := sets.KeySet(m.Spec.DesiredMapping).Union(sets.KeySet(m.Status.CurrentMapping))
	return slices.Sorted(maps.Keys(homes))
}

// SetupWithManager runs the reconciler in a manager, on its leader.
func (r *Maps) SetupWithManager(mgr manager.Manager) error {
	ofVirtualNode := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		if node, ok := o.(*v1beta1.VirtualNode); ok {
			return mapRequest(node.Spec.ClusterID)
		}
		return nil
	})
	ofNode := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		return mapRequest(o.GetLabels()[v1beta1.LabelRemoteClusterID])
	})
	leaving := predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return e.Object.GetDeletionTimestamp() != nil },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return e.ObjectNew.GetDeletionTimestamp() != nil && e.ObjectOld.GetDeletionTimestamp() == nil
		},
	}
	// Of the thousands of changes inside a map, those count that make it empty or no longer ours.
	notable := predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		m, ok := e.ObjectNew.(*v1beta1.NamespaceMap)
		return ok && (len(m.Spec.DesiredMapping)+len(m.Status.CurrentMapping) == 0 ||
			m.Labels[v1beta1.LabelRemoteClusterID] != m.Name)
	}}
	return builder.ControllerManagedBy(mgr).Named("namespacemap").
		For(&v1beta1.NamespaceMap{}, builder.WithPredicates(notable)).
		Watches(&v1beta1.VirtualNode{}, ofVirtualNode, builder.WithPredicates(candidateChanged())).
		WatchesMetadata(&corev1.Node{}, ofNode, builder.WithPredicates(leaving)).
		WithOptions(queueOptions[reconcile.Request](1)).
		Complete(r)
}

func mapRequest(clusterID string) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{
		Namespace: v1beta1.TenantNamespace(clusterID), Name: clusterID,
	}}}
}
