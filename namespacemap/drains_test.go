package namespacemap

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// fakeDrains drains as the test says.
type fakeDrains struct {
	waits   map[string]string
	err     error
	drained []string
}

// Drain says what the test wants of the node.
func (d *fakeDrains) Drain(_ context.Context, node string) (string, error) {
	d.drained = append(d.drained, node)
	return d.waits[node], d.err
}

// The twins of the provider's last virtual node hold the pods that are to be evicted.
func TestATwinStaysUntilTheLeavingVirtualNodeIsEmpty(t *testing.T) {
	h := leavingProvider(t, volume("pv-1", "shop/data", "b-1"))
	d := &fakeDrains{waits: map[string]string{"b-1": "waiting for 1 pods to leave"}}
	h.maps.Drains = d
	h.mustProvide(t)
	if len(d.drained) > 0 {
		t.Error("pods are evicted from a virtual node that its volumes hold")
	}
	if err := h.Delete(t.Context(), volume("pv-1", "", "")); err != nil {
		t.Fatal(err)
	}
	result, err := h.provider(t, "b")
	if err != nil || result.RequeueAfter != drainWait {
		t.Errorf("it looks again: %+v, %v", result, err)
	}
	want := v1beta1.VirtualNodeCondition{
		Type: v1beta1.VirtualKubeletCondition, Status: v1beta1.StatusDraining, Message: "waiting for 1 pods to leave",
	}
	got := h.kubelet(t, "b-1")
	got.LastTransitionTime = metav1.Time{}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
	h.mustOffload(t, "shop")
	if got := mapOf(t, h, "b").Spec.DesiredMapping["shop"]; got != "shop-a" {
		t.Fatalf("the twin with the pods is asked for as %q", got)
	}

	d.waits = nil
	h.mustProvide(t)
	h.mustOffload(t, "shop")
	if got := mapOf(t, h, "b").Spec.DesiredMapping["shop"]; got != "" {
		t.Errorf("the empty twin is still asked for as %q", got)
	}
	drained := len(d.drained)
	h.mustProvide(t) // from here on there is no way back
	if got := h.kubelet(t, "b-1"); got.Status != v1beta1.StatusDeleting || len(d.drained) != drained {
		t.Errorf("condition %+v, drained %v", got, d.drained)
	}
}

func TestForceDoesNotWaitForPods(t *testing.T) {
	h := leavingProvider(t)
	d := &fakeDrains{waits: map[string]string{"b-1": "waiting for 1 pods to leave"}}
	h.maps.Drains = d
	h.mustProvide(t)
	node := get(t, h, tenantB, "b-1", &v1beta1.VirtualNode{})
	metav1.SetMetaDataAnnotation(&node.ObjectMeta, v1beta1.AnnotationForceRemoval, "true")
	if err := h.Update(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	h.mustProvide(t)
	if got := h.kubelet(t, "b-1"); got.Status != v1beta1.StatusDeleting {
		t.Errorf("condition %+v", got)
	}
}

func TestADrainThatFailsIsTriedAgain(t *testing.T) {
	h := leavingProvider(t)
	h.maps.Drains = &fakeDrains{err: errors.New("down")}
	if _, err := h.provider(t, "b"); err == nil {
		t.Error("no error, so no retry")
	}
	want := "tried again: drain virtual node b-1: down"
	if got := h.kubelet(t, "b-1"); got.Status != v1beta1.StatusDraining || got.Message != want {
		t.Errorf("condition %+v", got)
	}
}

// deletedNode is a Node of a provider that somebody deleted, and that its agent holds.
func deletedNode(name, provider string) *corev1.Node {
	node := build.VirtualNodesNode(build.VirtualNode(name, provider))
	node.Finalizers = []string{v1beta1.FinalizerNode}
	return node
}

func TestNodesThatAreBeingDeletedAreDrained(t *testing.T) {
	leavingAnyway := heldNode("b-2")
	for name, tc := range map[string]struct {
		virtual []client.Object
		waits   map[string]string
		want    []string
		err     error
	}{
		"whose VirtualNode stays":   {virtual: []client.Object{heldNode("b-1")}, want: []string{"b-1"}},
		"whose VirtualNode is gone": {want: []string{"b-1"}},
		"while pods are left": {
			virtual: []client.Object{heldNode("b-1")}, waits: map[string]string{"b-1": "waiting"},
			want: []string{"b-1"},
		},
		"besides a VirtualNode that leaves": {
			virtual: []client.Object{heldNode("b-1"), leavingAnyway}, want: []string{"b-1", "b-2"},
		},
		"though it fails": {virtual: []client.Object{heldNode("b-1")}, want: []string{"b-1"}, err: errors.New("down")},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHome(t, append(tc.virtual, deletedNode("b-1", "b"), deletedNode("b-2", "b"),
				deletedNode("c-1", "c"))...)
			nodes := []string{"b-1", "c-1"}
			if slices.Contains(tc.virtual, client.Object(leavingAnyway)) {
				h.deleteNode(t, "b-2")
				nodes = append(nodes, "b-2")
			}
			for _, node := range nodes {
				if err := h.Delete(t.Context(), build.Node(node)); err != nil {
					t.Fatal(err)
				}
			}
			d := &fakeDrains{waits: tc.waits, err: tc.err}
			h.maps.Drains = d
			result, err := h.provider(t, "b")
			slices.Sort(d.drained)
			if diff := cmp.Diff(tc.want, d.drained); diff != "" || (err != nil) != (tc.err != nil) {
				t.Errorf("error %v, drained (-want,+got):\n%s", err, diff)
			}
			wait := refreshWait
			if tc.waits != nil {
				wait = drainWait
			}
			if tc.err == nil && result.RequeueAfter != wait {
				t.Errorf("it looks again after %v, want %v", result.RequeueAfter, wait)
			}
		})
	}
}
