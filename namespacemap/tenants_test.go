package namespacemap

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// tenants are the pods of namespace shop on each cluster.
type tenants struct {
	pods  map[string]int
	err   error
	asked []string
}

func (t *tenants) Staying(_ context.Context, home, clusterID string) (int, error) {
	t.asked = append(t.asked, home+" on "+clusterID)
	return t.pods[clusterID], t.err
}

// offloadedToBoth is namespace shop with twins on b and c, before its selector is narrowed to c.
func offloadedToBoth(t *testing.T, eviction v1beta1.PodEvictionStrategy) (*homeSide, *tenants) {
	t.Helper()
	h := newHome(t, shopWorld(build.Offloading("shop"))...)
	pods := &tenants{pods: map[string]int{"b": 2}}
	h.offloadings.Tenants = pods
	h.mustOffload(t, "shop")
	answer(t, h, "b", "shop", accepted("shop-a"))
	answer(t, h, "c", "shop", accepted("shop-a"))
	h.mustOffload(t, "shop")
	off := h.offloading(t, "shop")
	off.Spec.PodEvictionStrategy, off.Spec.ClusterSelector = eviction, build.Selector("region", "south")
	if err := h.Update(t.Context(), off); err != nil {
		t.Fatal(err)
	}
	h.forget()
	return h, pods
}

func (h *homeSide) readyOn(t *testing.T, id string) v1beta1.ClusterCondition {
	t.Helper()
	condition := find(h.offloading(t, "shop").Status.RemoteNamespacesConditions[id], v1beta1.ConditionReady)
	if condition == nil {
		t.Fatalf("cluster %s has no condition", id)
	}
	return *condition
}

func TestATwinStaysUntilItsPodsAreEvicted(t *testing.T) {
	h, pods := offloadedToBoth(t, v1beta1.EvictOnPolicyChange)
	result, err := h.offloadings.Reconcile(t.Context(), offloadingOf("shop"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(reconcile.Result{RequeueAfter: lookAgain}, result); diff != "" {
		t.Errorf("when it looks again (-want,+got):\n%s", diff)
	}
	if got := mapOf(t, h, "b").Spec.DesiredMapping["shop"]; got != "shop-a" {
		t.Errorf("the twin with pods in it is asked for as %q", got)
	}
	if diff := cmp.Diff([]string{"shop on b"}, pods.asked); diff != "" {
		t.Errorf("clusters that are selected need not be asked (-want,+got):\n%s", diff)
	}
	got := h.readyOn(t, "b")
	want := "waiting for pods to be evicted before namespace shop-a goes, 2 left: see condition PodsPermitted"
	if got.Reason != v1beta1.ReasonTerminating || got.Message != want {
		t.Errorf("condition %+v", got)
	}
	if off := h.offloading(t, "shop"); off.Status.OffloadingPhase != v1beta1.PhaseReady ||
		isRequired(off.Status.RemoteNamespacesConditions["b"]) {
		t.Errorf("status %+v", off.Status)
	}

	h.forget()
	h.mustOffload(t, "shop")
	if len(h.writes) > 0 {
		t.Errorf("waiting costs %v", h.writes)
	}

	pods.pods["b"] = 0
	result, err = h.offloadings.Reconcile(t.Context(), offloadingOf("shop"))
	if err != nil || result.RequeueAfter != 0 {
		t.Errorf("after the last pod: %v, %v", result, err)
	}
	if got, ok := mapOf(t, h, "b").Spec.DesiredMapping["shop"]; ok {
		t.Errorf("the empty twin is still asked for as %q", got)
	}
}

func TestATwinThatNobodyKeepsGoesAtOnce(t *testing.T) {
	for name, change := range map[string]func(*testing.T, *homeSide){
		"pods are never evicted": func(t *testing.T, h *homeSide) {
			off := h.offloading(t, "shop")
			off.Spec.PodEvictionStrategy = v1beta1.EvictNever
			if err := h.Update(t.Context(), off); err != nil {
				t.Fatal(err)
			}
		},
		"nobody can count pods": func(_ *testing.T, h *homeSide) { h.offloadings.Tenants = nil },
		"the offloading is deleted": func(t *testing.T, h *homeSide) {
			if err := h.Delete(t.Context(), h.offloading(t, "shop")); err != nil {
				t.Fatal(err)
			}
		},
		"its cluster is unpeered": func(t *testing.T, h *homeSide) {
			if err := h.Delete(t.Context(), build.VirtualNode("b-1", "b")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := offloadedToBoth(t, v1beta1.EvictOnPolicyChange)
			change(t, h)
			h.mustOffload(t, "shop")
			if got, ok := mapOf(t, h, "b").Spec.DesiredMapping["shop"]; ok {
				t.Errorf("the twin is still asked for as %q", got)
			}
		})
	}
}

func TestATwinStaysWhileItsPodsCannotBeCounted(t *testing.T) {
	h, pods := offloadedToBoth(t, v1beta1.EvictOnPolicyChange)
	pods.err = errors.New("the server is asleep")
	if err := h.offload(t, "shop"); !errors.Is(err, pods.err) {
		t.Errorf("error %v", err)
	}
	if got := mapOf(t, h, "b").Spec.DesiredMapping["shop"]; got != "shop-a" {
		t.Errorf("the twin is asked for as %q", got)
	}
	if got := h.readyOn(t, "b").Message; got != "waiting to learn which pods are to be evicted before namespace "+
		"shop-a goes" {
		t.Errorf("condition %q", got)
	}
}
