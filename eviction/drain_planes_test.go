package eviction_test

import (
	"context"
	"fmt"
	"strings"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// aNodeDrains deletes a virtual node: its pods leave as the budget allows, and only then its twins may go.
func (w *world) aNodeDrains(ns string) {
	virtual := build.VirtualNode("b-2", "b")
	virtual.Finalizers = []string{v1beta1.FinalizerVirtualNode}
	node := build.VirtualNodesNode(virtual)
	held, other := pod(ns, "held", "b-2"), pod(ns, "other", "b-1")
	w.create(virtual, node)
	w.shop(ns, held, other)
	pdb := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "web"},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: ptr.To(intstr.FromInt32(2)),
			Selector:     &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
		},
	}
	w.create(pdb)
	pdb.Status = policyv1.PodDisruptionBudgetStatus{
		ObservedGeneration: pdb.Generation, ExpectedPods: 2, CurrentHealthy: 2, DesiredHealthy: 2,
	}
	ctx := w.t.Context()
	if err := w.home.Client().Status().Update(ctx, pdb); err != nil {
		w.t.Fatal(err)
	}
	if err := w.home.Client().Delete(ctx, virtual); err != nil {
		w.t.Fatal(err)
	}
	w.virtualNodeSays("b-2", v1beta1.StatusDraining, "waiting for the agent to cordon Node b-2")
	w.cordon(node, true)
	w.virtualNodeSays("b-2", v1beta1.StatusDraining, "held by a PodDisruptionBudget: "+ns+"/held (The disruption "+
		"budget web needs 2 healthy pods and has 2 currently)")
	if err := w.home.Client().Delete(ctx, pdb); err != nil {
		w.t.Fatal(err)
	}
	w.gone(held)
	w.virtualNodeSays("b-2", v1beta1.StatusDeleting, "waiting for the agent of b to delete Node b-2")
	if err := w.home.Client().Get(ctx, client.ObjectKeyFromObject(other), other); err != nil {
		w.t.Errorf("a pod of another node: %v", err)
	}
	if err := w.home.Client().Delete(ctx, node); err != nil {
		w.t.Fatal(err)
	}
	w.gone(virtual)
}

// aDeletedNodeDrains deletes a Node, whose VirtualNode stays, as a user may by mistake.
func (w *world) aDeletedNodeDrains(ns string) {
	virtual := build.VirtualNode("b-3", "b")
	node := build.VirtualNodesNode(virtual)
	node.Finalizers, node.Spec.Unschedulable = []string{v1beta1.FinalizerNode}, true
	leaves := pod(ns, "leaves", "b-3")
	w.create(virtual, node)
	w.shop(ns, leaves)
	if err := w.home.Client().Delete(w.t.Context(), node); err != nil {
		w.t.Fatal(err)
	}
	w.gone(leaves)
	w.patch(node, `{"metadata":{"finalizers":null}}`)
	w.gone(node)
}

// virtualNodeSays waits until the controller-manager says this of a VirtualNode.
func (w *world) virtualNodeSays(name string, status v1beta1.VirtualNodeConditionStatus, words string) {
	w.t.Helper()
	w.eventually(words, func(ctx context.Context) error {
		vn := build.VirtualNode(name, "b")
		if err := w.home.Client().Get(ctx, client.ObjectKeyFromObject(vn), vn); err != nil {
			return err
		}
		for _, c := range vn.Status.Conditions {
			if c.Type == v1beta1.VirtualKubeletCondition && c.Status == status && strings.Contains(c.Message, words) {
				return nil
			}
		}
		return fmt.Errorf("conditions %+v", vn.Status.Conditions)
	})
}
