package provider

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/reflection/remote"
)

// Nodes makes the Node of every VirtualNode of one provider, keeps it true, and takes it away again.
type Nodes struct {
	// Client reads VirtualNodes and Nodes from a cache that keeps managed fields, and writes VirtualNodes' status.
	client.Client
	// Home acts as the agent. It writes Nodes and leases, and reads a Node that the cache does not have.
	Home kubernetes.Interface
	// Provider is the id of the provider.
	Provider string
	// Offers are what the provider's nodes have to give.
	Offers *Offers
	// Pods runs the pods of the Nodes.
	Pods *Pods
	// Health of the provider; nil means always healthy. It must have been asked once before.
	Health Health
	// IPs and Port are where the API server at home finds our kubelet endpoint.
	IPs  []string
	Port int32
	// Version is shown as the kubelet's; it must parse as a version.
	Version  string
	Recorder events.EventRecorder
	Clock    clock.Clock

	leases leases
	kicks  chan event.GenericEvent
	// closed is when Nodes on their way out were first seen to take no more pods; only Reconcile touches it.
	closed map[types.UID]time.Time
}

// SetupWithManager registers the reconciler, and what it starts, with a manager.
func (n *Nodes) SetupWithManager(mgr ctrl.Manager) error {
	n.kicks = make(chan event.GenericEvent, 1)
	n.Offers.Notify(n.kick)
	n.Pods.OnUnfit(n.kick)
	if n.Health != nil {
		n.Health.Notify(n.kick)
	}
	for _, r := range []manager.Runnable{n.Offers, &n.leases, manager.RunnableFunc(n.watchPods)} {
		if err := mgr.Add(r); err != nil {
			return fmt.Errorf("add to manager: %w", err)
		}
	}
	toVirtualNode := func(_ context.Context, o client.Object) []reconcile.Request {
		if o.GetLabels()[v1beta1.LabelRemoteClusterID] != n.Provider {
			return nil
		}
		return []reconcile.Request{{NamespacedName: n.key(o.GetName())}}
	}
	// Managed fields tell which fields of a Node are ours, so a cache must not strip them.
	return ctrl.NewControllerManagedBy(mgr).Named("virtualnodes").
		For(&v1beta1.VirtualNode{}).
		Watches(&corev1.Node{}, handler.EnqueueRequestsFromMapFunc(toVirtualNode)).
		WatchesRawSource(source.Channel(n.kicks, handler.EnqueueRequestsFromMapFunc(n.all))).
		WithOptions(controller.Options{
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](
				backoffBase, backoffMax),
		}).
		Complete(n)
}

func (n *Nodes) key(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: v1beta1.TenantNamespace(n.Provider), Name: name}
}

// kick looks at every VirtualNode again. One kick that is under way covers the next.
func (n *Nodes) kick() {
	select {
	case n.kicks <- event.GenericEvent{Object: &v1beta1.VirtualNode{}}:
	default:
	}
}

func (n *Nodes) all(ctx context.Context, _ client.Object) []reconcile.Request {
	var list v1beta1.VirtualNodeList
	if err := n.List(ctx, &list, client.InNamespace(v1beta1.TenantNamespace(n.Provider))); err != nil {
		log.FromContext(ctx).Error(err, "Cannot list VirtualNodes")
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return out
}

// Reconcile brings one VirtualNode's Node in line.
func (n *Nodes) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var vn v1beta1.VirtualNode
	err := n.Get(ctx, req.NamespacedName, &vn)
	if apierrors.IsNotFound(err) {
		return n.abandon(ctx, req.Name)
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("read VirtualNode: %w", err)
	}
	if vn.Spec.ClusterID != n.Provider || vn.Namespace != v1beta1.TenantNamespace(n.Provider) {
		return reconcile.Result{}, nil
	}
	before := vn.DeepCopy()
	node, err := n.node(ctx, vn.Name)
	if err != nil {
		return reconcile.Result{}, err
	}
	state, err := n.step(&vn, node)(ctx, &vn, node)
	n.setConditions(&vn, state)
	written, statusErr := n.patchStatus(ctx, before, &vn)
	if written { // a lost race comes back, and would be told twice
		n.tell(before, &vn, state)
	}
	return reconcile.Result{RequeueAfter: state.poll}, errors.Join(err, statusErr)
}

// step returns what is to be done about a VirtualNode's Node.
func (n *Nodes) step(vn *v1beta1.VirtualNode, node *corev1.Node) func(
	context.Context, *v1beta1.VirtualNode, *corev1.Node) (state, error) {
	switch {
	case !vn.DeletionTimestamp.IsZero(), vn.Spec.CreateNode != nil && !*vn.Spec.CreateNode:
		return n.retire
	case node != nil && n.ours(node) && node.DeletionTimestamp != nil:
		return n.replace
	default:
		return n.serve
	}
}

// state is what the VirtualNode's conditions say about its Node.
type state struct {
	node    v1beta1.VirtualNodeConditionStatus
	message string
	poll    time.Duration
}

// node returns the Node of that name, ours or not; nil when there is none.
func (n *Nodes) node(ctx context.Context, name string) (*corev1.Node, error) {
	var cached corev1.Node
	err := n.Get(ctx, types.NamespacedName{Name: name}, &cached)
	if err == nil {
		return &cached, nil
	}
	if !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("read Node %s: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	live, err := n.Home.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read Node %s: %w", name, err)
	}
	return live, nil
}

func (n *Nodes) ours(node *corev1.Node) bool {
	return node.Labels[v1beta1.LabelRemoteClusterID] == n.Provider
}

func (n *Nodes) foreign(name string) state {
	return state{node: v1beta1.StatusNone, message: fmt.Sprintf(
		"a Node %s exists and is not ours: rename the VirtualNode, or delete the Node", name), poll: backoffMax}
}

// serve makes the Node and keeps it true.
func (n *Nodes) serve(ctx context.Context, vn *v1beta1.VirtualNode, node *corev1.Node) (state, error) {
	if node != nil && !n.ours(node) {
		return n.foreign(vn.Name), nil
	}
	is, _, err := n.keep(ctx, vn, node, false)
	return is, err
}

// keep makes the Node and its lease as they should be, whether it stays or leaves: its pods run until they are gone.
func (n *Nodes) keep(ctx context.Context, vn *v1beta1.VirtualNode, node *corev1.Node, leaving bool) (
	state, *corev1.Node, error) {
	f, ok, err := n.form(vn, node, leaving)
	is := state{node: v1beta1.StatusRunning, message: f.unreachable, poll: f.next}
	if node == nil {
		is.node = v1beta1.StatusCreating
	}
	switch {
	case err != nil:
		is.message = err.Error()
		return is, node, err
	case !ok && is.message == "":
		is.message = "waiting for the list of the provider's nodes"
		return is, node, nil
	case !ok:
		return is, node, nil
	}
	now, err := n.apply(ctx, f, node)
	switch {
	case apierrors.IsAlreadyExists(err):
		return n.foreign(vn.Name), node, nil // or ours and new: then its event comes
	case apierrors.IsConflict(err):
		return is, node, err // somebody else wrote at the same time, which is nothing to tell
	case err != nil:
		is.message = err.Error()
		return is, node, err
	}
	n.Pods.Serve(vn.Name, vn.Spec.OffloadingPatch)
	if err := n.leases.ensure(n, now); err != nil {
		is.message = err.Error()
		return is, now, err
	}
	is.node = v1beta1.StatusRunning
	return is, now, nil
}

// form gathers what the Node follows from. As long as the provider's nodes cannot be read, a Node that was complete
// once, or that leaves, keeps what it says: its lease and its pods must not wait for them.
func (n *Nodes) form(vn *v1beta1.VirtualNode, live *corev1.Node, leaving bool) (f form, known bool, err error) {
	f = form{
		vn: vn, ips: n.IPs, port: n.Port, version: n.Version, now: metav1.NewTime(n.Clock.Now()), leaving: leaving,
	}
	if n.Health != nil {
		if err := n.Health.Err(); err != nil {
			f.reason, f.unreachable = remote.Reason(err), err.Error()
		}
	}
	f.offer, known = n.Offers.Current()
	if !known && live != nil && (leaving || live.Labels[corev1.LabelOSStable] != "") {
		f.offer = Offer{
			OS: live.Labels[corev1.LabelOSStable], Arch: live.Labels[corev1.LabelArchStable],
			Capacity: live.Status.Capacity, Allocatable: live.Status.Allocatable,
		}
		known = true
	}
	var told bool
	f.free, told = n.free()
	if served := n.Pods.homeWatches()[vn.Name].hasSynced(); live != nil && (!told || !served) {
		f.free = live.Annotations[v1beta1.AnnotationLargestFree]
	}
	f.crowded = n.crowded(vn.Name, live)
	f.unfit, f.next, err = n.Pods.Unfit(vn.Name, live)
	return f, known, err
}

func (n *Nodes) setConditions(vn *v1beta1.VirtualNode, s state) {
	if vn.DeletionTimestamp.IsZero() { // after that it is the controller-manager's, which says what it waits for
		n.setCondition(vn, v1beta1.VirtualNodeCondition{
			Type: v1beta1.VirtualKubeletCondition, Status: v1beta1.StatusRunning,
		})
	}
	n.setCondition(vn, v1beta1.VirtualNodeCondition{Type: v1beta1.NodeCondition, Status: s.node, Message: s.message})
}

// tell writes an event when the Node begins something else.
func (n *Nodes) tell(before, after *v1beta1.VirtualNode, s state) {
	for _, c := range before.Status.Conditions {
		if c.Type == v1beta1.NodeCondition && c.Status == s.node {
			return
		}
	}
	message := s.message
	if message == "" {
		message = fmt.Sprintf("Node %s is now %s", after.Name, s.node)
	}
	n.Recorder.Eventf(after, nil, corev1.EventTypeNormal, "Node"+string(s.node), "Serve", "%s", message)
}

func (n *Nodes) setCondition(vn *v1beta1.VirtualNode, c v1beta1.VirtualNodeCondition) {
	c.LastTransitionTime = metav1.NewTime(n.Clock.Now())
	for i, had := range vn.Status.Conditions {
		if had.Type != c.Type {
			continue
		}
		if had.Status == c.Status {
			c.LastTransitionTime = had.LastTransitionTime
		}
		vn.Status.Conditions[i] = c
		return
	}
	vn.Status.Conditions = append(vn.Status.Conditions, c)
}
