package namespacemap

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

const tenantB = "liqo-tenant-b"

// heldNode returns a virtual node of b that we hold.
func heldNode(name string) *v1beta1.VirtualNode {
	node := build.VirtualNode(name, "b")
	node.Finalizers = []string{v1beta1.FinalizerVirtualNode}
	return node
}

// waitMessage returns what a virtual node says that it waits for.
func (h *homeSide) waitMessage(t *testing.T, name string) string {
	t.Helper()
	node := get(t, h, tenantB, name, &v1beta1.VirtualNode{})
	i := slices.IndexFunc(node.Status.Conditions, func(c v1beta1.VirtualNodeCondition) bool {
		return c.Type == v1beta1.VirtualKubeletCondition && c.Status == v1beta1.StatusDeleting
	})
	if i < 0 {
		return ""
	}
	return node.Status.Conditions[i].Message
}

func (h *homeSide) mustProvide(t *testing.T) {
	t.Helper()
	if _, err := h.provider(t, "b"); err != nil {
		t.Fatal(err)
	}
}

func (h *homeSide) deleteNode(t *testing.T, name string) {
	t.Helper()
	if err := h.Delete(t.Context(), build.VirtualNode(name, "b")); err != nil {
		t.Fatal(err)
	}
	h.forget()
}

func TestAProviderGetsItsMap(t *testing.T) {
	h := newHome(t, build.VirtualNode("b-1", "b"))
	h.mustProvide(t)
	if got := mapOf(t, h, "b").Labels[v1beta1.LabelRemoteClusterID]; got != "b" {
		t.Errorf("label %q", got)
	}
	if diff := cmp.Diff([]string{v1beta1.FinalizerVirtualNode},
		get(t, h, tenantB, "b-1", &v1beta1.VirtualNode{}).Finalizers); diff != "" {
		t.Errorf("finalizers (-want,+got):\n%s", diff)
	}
	h.forget()
	h.mustProvide(t)
	if len(h.writes) > 0 {
		t.Errorf("it wrote again: %v", h.writes)
	}
}

func TestTheMapsLabelIsRepaired(t *testing.T) {
	m := build.Map("b").Want("shop", "shop-a").Obj()
	m.Labels = nil
	h := newHome(t, heldNode("b-1"), m)
	h.mustProvide(t)
	now := mapOf(t, h, "b")
	if now.Labels[v1beta1.LabelRemoteClusterID] != "b" || now.Spec.DesiredMapping["shop"] != "shop-a" {
		t.Errorf("map %+v", now)
	}
}

func TestAVirtualNodeElsewhereIsNoProvider(t *testing.T) {
	node := build.VirtualNode("b-1", "b")
	node.Namespace = "liqo-tenant-z"
	h := newHome(t, node)
	for _, id := range []string{"b", "z"} {
		if _, err := h.provider(t, id); err != nil {
			t.Fatal(err)
		}
	}
	if len(h.writes) > 0 {
		t.Errorf("writes %v", h.writes)
	}
}

func TestTheLastVirtualNodeWaitsForTwinsThenForItsNode(t *testing.T) {
	node := heldNode("b-1")
	m := build.Map("b").Want("shop", "shop-a").Has("shop", "shop-a", v1beta1.MappingAccepted).
		Has("bank", "bank-a", v1beta1.MappingTerminating)
	h := newHome(t, node, m.Obj(), build.VirtualNodesNode(node))
	h.deleteNode(t, "b-1")

	result, err := h.provider(t, "b")
	if err != nil || result.RequeueAfter != refreshWait {
		t.Errorf("got %+v, %v: the sentence would never be refreshed", result, err)
	}
	want := "waiting for the agent of b to delete the twins of 2 namespaces: bank, shop"
	if got := h.waitMessage(t, "b-1"); got != want {
		t.Errorf("message %q", got)
	}
	h.forget()
	h.mustProvide(t)
	if len(h.writes) > 0 {
		t.Errorf("the same wait was written again: %v", h.writes)
	}

	for _, home := range []string{"shop", "bank"} {
		answer(t, h, "b", home, nil)
	}
	ask(t, h, "b", "shop", "")
	h.mustProvide(t)
	if got := h.waitMessage(t, "b-1"); got != "waiting for the agent of b to delete Node b-1" {
		t.Errorf("message %q", got)
	}

	if err := h.Delete(t.Context(), build.Node("b-1")); err != nil {
		t.Fatal(err)
	}
	h.mustProvide(t)
	missing(t, h, tenantB, "b-1", &v1beta1.VirtualNode{})
	missing(t, h, tenantB, "b", &v1beta1.NamespaceMap{})
}

func TestAnotherVirtualNodeStandsIn(t *testing.T) {
	first, second := heldNode("b-1"), heldNode("b-2")
	h := newHome(t, first, second, build.VirtualNodesNode(first),
		build.Map("b").Want("shop", "shop-a").Has("shop", "shop-a", v1beta1.MappingAccepted).Obj())
	h.deleteNode(t, "b-1")
	result, err := h.provider(t, "b")
	if err != nil || result.RequeueAfter != refreshWait {
		t.Errorf("got %+v, %v: the sentence would never be refreshed", result, err)
	}
	if got := h.waitMessage(t, "b-1"); !strings.HasSuffix(got, "to delete Node b-1") {
		t.Errorf("message %q, but the twins are served by b-2", got)
	}
	if err := h.Delete(t.Context(), build.Node("b-1")); err != nil {
		t.Fatal(err)
	}
	h.mustProvide(t)
	missing(t, h, tenantB, "b-1", &v1beta1.VirtualNode{})
	if got := mapOf(t, h, "b").Spec.DesiredMapping["shop"]; got != "shop-a" {
		t.Errorf("mapping %q", got)
	}
	get(t, h, tenantB, "b-2", &v1beta1.VirtualNode{})
}

// TestAConflictIsTriedAgain: nothing else wakes the reconciler for a virtual node whose status was written meanwhile.
func TestAConflictIsTriedAgain(t *testing.T) {
	tests := map[string]func(*testing.T) *homeSide{
		"while the finalizer is added": func(t *testing.T) *homeSide {
			return newHome(t, build.VirtualNode("b-1", "b"), build.Map("b").Obj())
		},
		"while the finalizer is removed, and another node stands in": func(t *testing.T) *homeSide {
			h := newHome(t, heldNode("b-1"), heldNode("b-2"), build.Map("b").Obj())
			h.deleteNode(t, "b-1")
			return h
		},
	}
	for name, start := range tests {
		t.Run(name, func(t *testing.T) {
			h := start(t)
			h.before = func(_ string, object client.Object) error {
				h.before = nil
				return apierrors.NewConflict(schema.GroupResource{}, object.GetName(), errors.New("changed"))
			}
			result, err := h.provider(t, "b")
			if err != nil || result.RequeueAfter != retryConflict {
				t.Errorf("got %+v, %v, want another try", result, err)
			}
		})
	}
}

func TestAnOrdinaryNodeOfTheNameIsNotWaitedFor(t *testing.T) {
	h := newHome(t, heldNode("b-1"), build.Node("b-1"), build.Map("b").Obj())
	h.deleteNode(t, "b-1")
	h.mustProvide(t)
	missing(t, h, tenantB, "b-1", &v1beta1.VirtualNode{})
	get(t, h, "", "b-1", &corev1.Node{})
}

func TestTheMapOutlivesForceFinalizedVirtualNodes(t *testing.T) {
	h := newHome(t, build.Map("b").Has("shop", "shop-a", v1beta1.MappingAccepted).Obj())
	h.mustProvide(t)
	mapOf(t, h, "b") // its agent still has a twin to delete
	answer(t, h, "b", "shop", nil)
	h.mustProvide(t)
	missing(t, h, tenantB, "b", &v1beta1.NamespaceMap{})
}

func TestAMapThatGotAKeyMeanwhileIsNotDeleted(t *testing.T) {
	h := newHome(t, heldNode("b-1"), build.Map("b").Obj())
	h.deleteNode(t, "b-1")
	h.before = func(verb string, object client.Object) error {
		if verb == "delete" && object.GetName() == "b" {
			h.before = nil
			ask(t, h.WithWatch, "b", "shop", "shop-a")
		}
		return nil
	}
	result, err := h.provider(t, "b")
	if err != nil || result.RequeueAfter == 0 {
		t.Errorf("got %+v, %v, want another try", result, err)
	}
	if got := mapOf(t, h, "b").Spec.DesiredMapping["shop"]; got != "shop-a" {
		t.Errorf("mapping %q", got)
	}
	get(t, h, tenantB, "b-1", &v1beta1.VirtualNode{})
}
