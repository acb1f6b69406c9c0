package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// apply creates the Node, or writes what of it is not as it should be, and returns it.
func (n *Nodes) apply(ctx context.Context, f form, node *corev1.Node) (*corev1.Node, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var err error
	if node == nil {
		node, err = n.Home.CoreV1().Nodes().Create(ctx, f.node(), metav1.CreateOptions{FieldManager: fieldManager})
		if err != nil {
			return nil, fmt.Errorf("create Node: %w", err)
		}
	}
	// Taints first: the annotation, which is metadata, says which ones are ours, and must not say so too early.
	for _, step := range []func(context.Context, form, *corev1.Node) (*corev1.Node, error){
		n.applyTaints, n.applyMetadata, n.applyStatus,
	} {
		if node, err = step(ctx, f, node); err != nil {
			return nil, err
		}
	}
	return node, nil
}

// applyTaints patches the list as a whole, as it is one: Kubernetes and users write to it too, so only what was read
// may be replaced.
func (n *Nodes) applyTaints(ctx context.Context, f form, node *corev1.Node) (*corev1.Node, error) {
	want := f.taints(node.Spec.Taints, node.Annotations[annotationTaints])
	if equality.Semantic.DeepEqual(want, node.Spec.Taints) {
		return node, nil
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": node.UID, "resourceVersion": node.ResourceVersion},
		"spec":     map[string]any{"taints": want},
	})
	if err != nil {
		return nil, fmt.Errorf("encode taints: %w", err)
	}
	node, err = n.Home.CoreV1().Nodes().Patch(ctx, node.Name, types.MergePatchType, patch,
		metav1.PatchOptions{FieldManager: fieldManager})
	if err != nil {
		return nil, fmt.Errorf("write taints of Node: %w", err)
	}
	return node, nil
}

func (n *Nodes) applyMetadata(ctx context.Context, f form, node *corev1.Node) (*corev1.Node, error) {
	has, err := corev1ac.ExtractNode(node, fieldManager)
	if err != nil {
		return nil, fmt.Errorf("read own fields of Node: %w", err)
	}
	want := f.metadata()
	if equality.Semantic.DeepEqual(has, want) {
		return node, nil
	}
	node, err = n.Home.CoreV1().Nodes().Apply(ctx, want.WithUID(node.UID),
		metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
	if err != nil {
		return nil, fmt.Errorf("write Node: %w", err)
	}
	return node, nil
}

// applyStatus writes only changes: that we live is told by the lease.
func (n *Nodes) applyStatus(ctx context.Context, f form, node *corev1.Node) (*corev1.Node, error) {
	has, err := corev1ac.ExtractNodeStatus(node, fieldManager)
	if err != nil {
		return nil, fmt.Errorf("read own status fields of Node: %w", err)
	}
	want := f.status(node)
	if equality.Semantic.DeepEqual(inOrder(has), inOrder(want)) {
		return node, nil
	}
	node, err = n.Home.CoreV1().Nodes().ApplyStatus(ctx, want.WithUID(node.UID),
		metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
	if err != nil {
		return nil, fmt.Errorf("write status of Node: %w", err)
	}
	return node, nil
}

// inOrder sorts the lists that are maps.
func inOrder(n *corev1ac.NodeApplyConfiguration) *corev1ac.NodeApplyConfiguration {
	if n.Status != nil {
		slices.SortFunc(n.Status.Conditions, func(a, b corev1ac.NodeConditionApplyConfiguration) int {
			return strings.Compare(string(*a.Type), string(*b.Type))
		})
		slices.SortFunc(n.Status.Addresses, func(a, b corev1ac.NodeAddressApplyConfiguration) int {
			return strings.Compare(string(*a.Type), string(*b.Type))
		})
	}
	return n
}

// retire lets the Node go: no new pods, then wait for the last one, then delete it. The other order would make the pod
// garbage collector force-delete pods that still run over there.
func (n *Nodes) retire(ctx context.Context, vn *v1beta1.VirtualNode, node *corev1.Node) (state, error) {
	if node == nil || !n.ours(node) {
		n.Pods.Release(vn.Name)
		n.leases.release(vn.Name)
		if node != nil {
			return n.foreign(vn.Name), nil
		}
		return state{node: v1beta1.StatusNone}, nil
	}
	n.Pods.Serve(vn.Name, vn.Spec.OffloadingPatch)
	draining := state{node: v1beta1.StatusDraining, poll: drainPoll}
	calling, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if !node.Spec.Unschedulable {
		if err := n.cordon(calling, node); err != nil {
			draining.message = err.Error()
			return draining, err
		}
	}
	if draining.message = n.remaining(vn, node); draining.message != "" {
		return draining, nil
	}
	err := n.Home.CoreV1().Nodes().Delete(calling, node.Name, metav1.DeleteOptions{
		Preconditions: metav1.NewUIDPreconditions(string(node.UID)),
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		draining.message = err.Error()
		return draining, fmt.Errorf("delete Node: %w", err)
	}
	return state{node: v1beta1.StatusDeleting, poll: drainPoll}, nil
}

// cordon makes the Node take no more pods. All else that we applied stays, or it would be taken back.
func (n *Nodes) cordon(ctx context.Context, node *corev1.Node) error {
	has, err := corev1ac.ExtractNode(node, fieldManager)
	if err != nil {
		return fmt.Errorf("read own fields of Node: %w", err)
	}
	if has.Spec == nil {
		has.WithSpec(corev1ac.NodeSpec())
	}
	has.Spec.WithUnschedulable(true)
	_, err = n.Home.CoreV1().Nodes().Apply(ctx, has.WithUID(node.UID),
		metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
	if err != nil {
		return fmt.Errorf("cordon Node: %w", err)
	}
	return nil
}

// settled says that the Node has been draining long enough for a binding that was under way to show. The Node's own
// event may bring us back at once.
func (n *Nodes) settled(vn *v1beta1.VirtualNode) bool {
	for _, c := range vn.Status.Conditions {
		if c.Type == v1beta1.NodeCondition {
			return c.Status == v1beta1.StatusDeleting ||
				c.Status == v1beta1.StatusDraining && n.Clock.Since(c.LastTransitionTime.Time) >= drainPoll
		}
	}
	return false
}

// remaining says what the Node still waits for.
func (n *Nodes) remaining(vn *v1beta1.VirtualNode, node *corev1.Node) string {
	live, known := n.Pods.Live(vn.Name)
	switch {
	case !known:
		return "waiting for the list of the Node's pods"
	case len(live) == 0 && node.Spec.Unschedulable && n.settled(vn):
		return ""
	case len(live) == 0:
		return "waiting for pods that were on their way when the Node was cordoned"
	}
	slices.Sort(live)
	shown := live[:min(len(live), 3)]
	return fmt.Sprintf("waiting for %d pods to end, such as %s", len(live), strings.Join(shown, ", "))
}

// patchStatus writes the conditions if they changed. They are a list that others write too, so the lock is needed.
func (n *Nodes) patchStatus(ctx context.Context, before, after *v1beta1.VirtualNode) error {
	if equality.Semantic.DeepEqual(before.Status, after.Status) {
		return nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	err := n.Status().Patch(ctx, after, patch)
	if apierrors.IsConflict(err) {
		return nil // what somebody else wrote is on its way to us, and brings us back
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write status of VirtualNode: %w", err)
	}
	return nil
}
