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
	want := f.metadata(node)
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

// patchStatus writes the conditions if they changed, and says whether it did. They are a list that others write too, so
// the lock is needed.
func (n *Nodes) patchStatus(ctx context.Context, before, after *v1beta1.VirtualNode) (bool, error) {
	if equality.Semantic.DeepEqual(before.Status, after.Status) {
		return false, nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	err := n.Status().Patch(ctx, after, patch)
	switch {
	case err == nil:
		return true, nil
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		return false, nil // what somebody else wrote is on its way to us, and brings us back
	default:
		return false, fmt.Errorf("write status of VirtualNode: %w", err)
	}
}
