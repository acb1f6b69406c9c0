package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/provider/translate"
	"github.com/twinspace/twinspace/schedplugin/placement/nodefit"
)

// drainPoll is how often a Node that waits for its last pods is looked at, and for how long it stays closed at least: a
// binding may be under way while it is cordoned.
const drainPoll = 2 * time.Second

// retire lets the Node of a VirtualNode go that wants none any more.
func (n *Nodes) retire(ctx context.Context, vn *v1beta1.VirtualNode, node *corev1.Node) (state, error) {
	if node == nil || !n.ours(node) {
		n.Pods.Release(vn.Name)
		n.leases.release(vn.Name)
		if node != nil {
			return n.foreign(vn.Name), nil
		}
		return state{node: v1beta1.StatusNone}, nil
	}
	return n.empty(ctx, vn, node)
}

// replace lets a Node go that somebody deleted. Its VirtualNode is still there, so a new one follows.
func (n *Nodes) replace(ctx context.Context, vn *v1beta1.VirtualNode, node *corev1.Node) (state, error) {
	is, err := n.empty(ctx, vn, node)
	if is.node == v1beta1.StatusDraining && is.message != "" {
		is.message = "somebody deleted the Node, which is made anew when it is empty: " + is.message
	}
	return is, err
}

// abandon lets a Node of ours go whose VirtualNode is gone, because somebody took its finalizer away. What the
// VirtualNode said is not known any more, so the Node keeps what it says.
func (n *Nodes) abandon(ctx context.Context, name string) (reconcile.Result, error) {
	node, err := n.node(ctx, name)
	if err != nil {
		return reconcile.Result{}, err
	}
	vn := &v1beta1.VirtualNode{Spec: v1beta1.VirtualNodeSpec{ClusterID: n.Provider}}
	vn.Name = name
	switch {
	case node == nil:
	case !n.ours(node), node.Labels[v1beta1.LabelNodeType] != v1beta1.NodeTypeVirtual,
		!slices.Contains(node.Finalizers, v1beta1.FinalizerNode):
		return reconcile.Result{}, nil // it may be an ordinary one
	default:
		vn.Spec.Labels, vn.Spec.Annotations = node.Labels, node.Annotations
	}
	is, err := n.retire(ctx, vn, node)
	return reconcile.Result{RequeueAfter: is.poll}, err
}

// empty closes a Node, waits for its last pod, and deletes it. Pods leave because the controller-manager evicts them:
// it does so once the Node is being deleted, or its VirtualNode is and may go. Our finalizer keeps the Node until
// then, or the pod garbage collector would force-delete pods that still run over there.
func (n *Nodes) empty(ctx context.Context, vn *v1beta1.VirtualNode, node *corev1.Node) (state, error) {
	is, node, err := n.keep(ctx, vn, node, true)
	is = state{node: v1beta1.StatusDraining, message: is.message, poll: drainPoll}
	if err != nil {
		return is, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	safe := slices.Contains(node.Finalizers, v1beta1.FinalizerNode)
	if safe && node.DeletionTimestamp == nil && !held(vn) {
		if err := n.remove(ctx, node); err != nil {
			is.message = err.Error()
			return is, err
		}
	}
	if wait := n.remaining(vn, node); wait != "" {
		is.message = wait
		return is, nil
	}
	if err := n.letGo(ctx, node); err != nil {
		is.message = err.Error()
		return is, err
	}
	delete(n.closed, node.UID)
	return state{node: v1beta1.StatusDeleting, poll: drainPoll}, nil
}

// held says that the controller-manager keeps a VirtualNode that is being deleted, for its volumes or until its pods
// have left. Condition VirtualKubelet says which.
func held(vn *v1beta1.VirtualNode) bool {
	return !vn.DeletionTimestamp.IsZero() && controllerutil.ContainsFinalizer(vn, v1beta1.FinalizerVirtualNode) &&
		vn.Annotations[v1beta1.AnnotationForceRemoval] != "true" &&
		!slices.ContainsFunc(vn.Status.Conditions, func(c v1beta1.VirtualNodeCondition) bool {
			return c.Type == v1beta1.VirtualKubeletCondition && c.Status == v1beta1.StatusDeleting
		})
}

// remove asks for the deletion of exactly this Node.
func (n *Nodes) remove(ctx context.Context, node *corev1.Node) error {
	err := n.Home.CoreV1().Nodes().Delete(ctx, node.Name, metav1.DeleteOptions{
		Preconditions: metav1.NewUIDPreconditions(string(node.UID)),
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete Node: %w", err)
	}
	return nil
}

// letGo takes our finalizer from a Node. One that changed meanwhile comes back to us by its event.
func (n *Nodes) letGo(ctx context.Context, node *corev1.Node) error {
	others := slices.DeleteFunc(slices.Clone(node.Finalizers),
		func(f string) bool { return f == v1beta1.FinalizerNode })
	if len(others) == len(node.Finalizers) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": node.UID, "resourceVersion": node.ResourceVersion, "finalizers": others,
	}})
	if err != nil {
		return fmt.Errorf("encode finalizers: %w", err)
	}
	_, err = n.Home.CoreV1().Nodes().Patch(ctx, node.Name, types.MergePatchType, patch,
		metav1.PatchOptions{FieldManager: fieldManager})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("release Node: %w", err)
	}
	return nil
}

// remaining says what a Node that is closed still waits for.
func (n *Nodes) remaining(vn *v1beta1.VirtualNode, node *corev1.Node) string {
	if n.closed == nil {
		n.closed = map[types.UID]time.Time{}
	}
	if _, seen := n.closed[node.UID]; !seen && node.Spec.Unschedulable {
		n.closed[node.UID] = n.Clock.Now()
	}
	since, closed := n.closed[node.UID]
	left, known := n.Pods.left(vn.Name)
	switch {
	case !known:
		return "waiting for the list of the Node's pods"
	case len(left) > 0:
		slices.Sort(left)
		return fmt.Sprintf("waiting for %d pods to end, such as %s", len(left),
			strings.Join(left[:min(len(left), 3)], ", "))
	case !closed || n.Clock.Since(since) < drainPoll:
		return "waiting for pods that were on their way when the Node was cordoned"
	case held(vn):
		return "waiting for the controller-manager, see condition VirtualKubelet"
	default:
		return ""
	}
}

// left returns the pods that a Node waits for before it goes, and whether they are all known: home pods that are not
// over, and remote pods that outlived theirs. Those of a DaemonSet that come back whatever the Node says do not count.
func (p *Pods) left(node string) ([]string, bool) {
	at := p.homeWatches()[node]
	twins, known := p.twinWatches()
	if !known || !at.hasSynced() {
		return nil, false
	}
	var names []string
	told := map[key]bool{}
	for _, pod := range at.pods(metav1.NamespaceAll) {
		if over(pod) {
			continue
		}
		told[key{Namespace: pod.Namespace, Name: pod.Name}] = true
		if !stubborn(pod) {
			names = append(names, pod.Namespace+"/"+pod.Name)
		}
	}
	for namespace, w := range twins {
		for _, pod := range w.pods(metav1.NamespaceAll) {
			if pod.Labels[v1beta1.LabelNodeName] == node && !over(pod) &&
				!told[key{Namespace: namespace, Name: pod.Name}] {
				names = append(names, fmt.Sprintf("%s/%s (at the provider)", pod.Namespace, pod.Name))
			}
		}
	}
	return names, true
}

// over says that a pod is finished and stays as it is.
func over(pod *corev1.Pod) bool {
	return translate.Finished(pod.Status.Phase) && pod.DeletionTimestamp == nil
}

// stubborn says that a pod belongs to its node and is not kept from coming back by the taint of a Node that leaves.
func stubborn(pod *corev1.Pod) bool {
	leaving := v1beta1.TaintLeaving()
	return nodefit.BelongsToNode(pod) && nodefit.Tolerates(pod, &leaving)
}
