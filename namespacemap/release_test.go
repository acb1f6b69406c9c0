package namespacemap

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// offloadedShop is namespace shop with ready twins on b and c.
func offloadedShop(t *testing.T) *homeSide {
	t.Helper()
	namespace := build.Namespace("shop").UID("uid-1").Obj()
	namespace.Finalizers = []string{"example.com/keep"} // so that a fake can have it terminating
	objects := shopWorld(build.Offloading("shop"))
	objects[0] = namespace
	h := newHome(t, objects...)
	h.mustOffload(t, "shop")
	for _, id := range []string{"b", "c"} {
		answer(t, h, id, "shop", accepted("shop-a"))
	}
	h.mustOffload(t, "shop")
	h.forget()
	h.events()
	return h
}

func (h *homeSide) deleteOffloading(t *testing.T, home string) {
	t.Helper()
	if err := h.Delete(t.Context(), h.offloading(t, home)); err != nil {
		t.Fatal(err)
	}
	h.forget()
}

func TestReleaseInOrder(t *testing.T) {
	h := offloadedShop(t)
	h.deleteOffloading(t, "shop")
	h.mustOffload(t, "shop")
	if h.writes[0] != "patch shop" {
		t.Errorf("first write is %q, want that of the label", h.writes[0])
	}
	if _, labelled := get(t, h, "", "shop", &corev1.Namespace{}).Labels[v1beta1.LabelSchedulingEnabled]; labelled {
		t.Error("the label stayed")
	}
	off := h.offloading(t, "shop")
	ready := meta.FindStatusCondition(off.Status.Conditions, v1beta1.ConditionReady)
	if off.Status.OffloadingPhase != v1beta1.PhaseTerminating || ready.Status != "False" ||
		ready.Message != "b: waiting for the agent to delete namespace shop-a; "+
			"c: waiting for the agent to delete namespace shop-a" {
		t.Errorf("phase %s, %s", off.Status.OffloadingPhase, ready.Message)
	}
	for _, id := range []string{"b", "c"} {
		if len(mapOf(t, h, id).Spec.DesiredMapping) > 0 {
			t.Errorf("%s still has its key", id)
		}
	}

	// One provider is done, of the other something holds the twin.
	answer(t, h, "b", "shop", nil)
	answer(t, h, "c", "shop", &v1beta1.TwinStatus{RemoteNamespace: "shop-a", Phase: v1beta1.MappingTerminating,
		Message: "namespace shop-a is being deleted: example.com/hold in 1 resource instances"})
	h.rest()
	h.mustOffload(t, "shop")
	missing(t, h, "shop", "liqo-tenant-b", &rbacv1.RoleBinding{})
	get(t, h, "shop", "liqo-tenant-c", &rbacv1.RoleBinding{})
	off = h.offloading(t, "shop")
	ready = meta.FindStatusCondition(off.Status.Conditions, v1beta1.ConditionReady)
	if !strings.Contains(ready.Message, "c: ") || !strings.Contains(ready.Message, "example.com/hold") {
		t.Errorf("message %q does not name what holds the twin", ready.Message)
	}
	if diff := cmp.Diff(map[string]string{"c": "Terminating"}, reasons(off)); diff != "" {
		t.Errorf("clusters (-want,+got):\n%s", diff)
	}

	answer(t, h, "c", "shop", nil)
	h.mustOffload(t, "shop")
	missing(t, h, "shop", v1beta1.OffloadingName, &v1beta1.NamespaceOffloading{})
	missing(t, h, "shop", "liqo-tenant-c", &rbacv1.RoleBinding{})
	if told := h.events(); len(told) > 0 {
		t.Errorf("events into a namespace that may be going: %v", told)
	}
}

func TestReleaseWritesNothingWhileItWaits(t *testing.T) {
	h := offloadedShop(t)
	h.deleteOffloading(t, "shop")
	h.mustOffload(t, "shop")
	h.forget()
	h.mustOffload(t, "shop")
	if len(h.writes) > 0 {
		t.Errorf("writes %v", h.writes)
	}
}

func TestReleaseUnreachableProvider(t *testing.T) {
	h := offloadedShop(t)
	h.deleteOffloading(t, "shop")
	answer(t, h, "b", "shop", nil)
	answer(t, h, "c", "shop", &v1beta1.TwinStatus{RemoteNamespace: "shop-a", Phase: v1beta1.MappingTerminating,
		Reason: "ClusterUnreachable", Message: "the provider's API server cannot be reached"})
	h.mustOffload(t, "shop")
	off := h.offloading(t, "shop")
	ready := meta.FindStatusCondition(off.Status.Conditions, v1beta1.ConditionReady)
	if off.Status.OffloadingPhase != v1beta1.PhaseTerminating ||
		ready.Message != "c: the provider's API server cannot be reached" {
		t.Errorf("%s: %q", off.Status.OffloadingPhase, ready.Message)
	}
}

func TestReleaseBeforeTheAgentAnswered(t *testing.T) {
	h := newHome(t, shopWorld(build.Offloading("shop"))...)
	h.mustOffload(t, "shop")
	stale := newServer(t, build.Namespace("shop").Obj(), build.Map("b").Obj(), build.Map("c").Obj())
	h.deleteOffloading(t, "shop")
	if err := stale.Create(t.Context(), build.Offloading("other").Obj()); err != nil {
		t.Fatal(err)
	}
	// The cache shows the offloading, but not yet the keys that were just written.
	h.offloadings.Home = &behind{server: h.server, maps: stale}
	h.mustOffload(t, "shop")
	for _, id := range []string{"b", "c"} {
		if got := mapOf(t, h, id).Spec.DesiredMapping["shop"]; got != "" {
			t.Errorf("the key on %s was left behind: %q", id, got)
		}
	}
}

// behind is a client whose cache of maps has not seen the latest writes.
type behind struct {
	*server
	maps client.Client
}

func (b *behind) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if _, ok := list.(*v1beta1.NamespaceMapList); ok {
		return b.maps.List(ctx, list, opts...)
	}
	return b.server.List(ctx, list, opts...)
}

func TestNamespaceDeletedWhileOffloaded(t *testing.T) {
	h := offloadedShop(t)
	if err := h.Delete(t.Context(), build.Namespace("shop").Obj()); err != nil {
		t.Fatal(err)
	}
	if err := h.DeleteAllOf(t.Context(), &rbacv1.RoleBinding{}, client.InNamespace("shop")); err != nil {
		t.Fatal(err)
	}
	h.mustOffload(t, "shop")
	for _, write := range h.writes {
		if strings.HasPrefix(write, "create") {
			t.Errorf("%s in a namespace that is being deleted", write)
		}
	}
	off := h.offloading(t, "shop")
	if off.Status.OffloadingPhase != v1beta1.PhaseTerminating || len(off.Finalizers) != 1 {
		t.Errorf("phase %s, finalizers %v", off.Status.OffloadingPhase, off.Finalizers)
	}
	h.deleteOffloading(t, "shop") // as the namespace controller does
	for _, id := range []string{"b", "c"} {
		answer(t, h, id, "shop", nil)
	}
	h.mustOffload(t, "shop")
	missing(t, h, "shop", v1beta1.OffloadingName, &v1beta1.NamespaceOffloading{})
}
