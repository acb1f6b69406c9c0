package namespacemap

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

func unreachableTwin() *v1beta1.TwinStatus {
	return &v1beta1.TwinStatus{RemoteNamespace: "shop-a", Phase: v1beta1.MappingTerminating,
		Reason: v1beta1.ReasonClusterUnreachable, Message: "the provider's API server cannot be reached"}
}

func heldTwin() *v1beta1.TwinStatus {
	return &v1beta1.TwinStatus{RemoteNamespace: "shop-a", Phase: v1beta1.MappingTerminating,
		Message: "namespace shop-a is being deleted: example.com/hold in 1 resource instances"}
}

// forceShop deletes the offloading of shop by force, and sets the clock to that moment.
func forceShop(t *testing.T) *homeSide {
	t.Helper()
	h := offloadedShop(t)
	off := h.offloading(t, "shop")
	metav1.SetMetaDataAnnotation(&off.ObjectMeta, v1beta1.AnnotationForceRemoval, "true")
	if err := h.Update(t.Context(), off); err != nil {
		t.Fatal(err)
	}
	h.deleteOffloading(t, "shop")
	h.clock.SetTime(h.offloading(t, "shop").DeletionTimestamp.Time)
	return h
}

func (h *homeSide) forceOnce(t *testing.T) reconcile.Result {
	t.Helper()
	result, err := h.offloadings.Reconcile(t.Context(), offloadingOf("shop"))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestForceGivesUpOnlyWhatDoesNotGo(t *testing.T) {
	tests := map[string]struct {
		b, c      *v1beta1.TwinStatus
		after     time.Duration
		wantGone  bool
		wantAgain time.Duration
		wantTold  []string
	}{
		"one that cannot be reached is given up at once": {c: unreachableTwin(), wantGone: true, wantTold: []string{
			"Warning TwinLeftBehind cluster c: namespace shop-a is left behind, its agent deletes it as soon as it " +
				"can (the provider's API server cannot be reached)",
		}},
		"one that answers has its time": {c: heldTwin(), after: 3 * time.Second, wantAgain: 7 * time.Second},
		"one that answers has had its time": {c: heldTwin(), after: forceGrace, wantGone: true, wantTold: []string{
			"Warning TwinLeftBehind cluster c: namespace shop-a is left behind, its agent deletes it as soon as it " +
				"can (namespace shop-a is being deleted: example.com/hold in 1 resource instances)",
		}},
		"an agent that has not spoken has its time": {c: accepted("shop-a"), wantAgain: forceGrace},
		"an agent that never speaks": {c: accepted("shop-a"), after: time.Minute, wantGone: true, wantTold: []string{
			"Warning TwinLeftBehind cluster c: namespace shop-a is left behind, its agent deletes it as soon as it " +
				"can (waiting for the agent to delete namespace shop-a)",
		}},
		"one hopeless, one not": {b: heldTwin(), c: unreachableTwin(), after: time.Second, wantAgain: 9 * time.Second},
		"nothing is left":       {wantGone: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			h := forceShop(t)
			answer(t, h, "b", "shop", tc.b)
			answer(t, h, "c", "shop", tc.c)
			h.clock.SetTime(h.clock.Now().Add(tc.after))
			result := h.forceOnce(t)
			if tc.wantGone {
				missing(t, h, "shop", v1beta1.OffloadingName, &v1beta1.NamespaceOffloading{})
			} else if off := h.offloading(t, "shop"); off.Status.OffloadingPhase != v1beta1.PhaseTerminating {
				t.Errorf("phase %s while it waits", off.Status.OffloadingPhase)
			}
			if diff := cmp.Diff(tc.wantAgain, result.RequeueAfter); diff != "" {
				t.Errorf("when it looks again (-want,+got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.wantTold, h.events()); diff != "" {
				t.Errorf("events (-want,+got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.c, entryOf(mapOf(t, h, "c"), "shop")); diff != "" {
				t.Errorf("what the agent needs to delete the twin later (-want,+got):\n%s", diff)
			}
		})
	}
}

func TestWithoutForceNothingIsGivenUp(t *testing.T) {
	for name, value := range map[string]string{"not asked": "", "another value": "yes"} {
		t.Run(name, func(t *testing.T) {
			h := offloadedShop(t)
			off := h.offloading(t, "shop")
			metav1.SetMetaDataAnnotation(&off.ObjectMeta, v1beta1.AnnotationForceRemoval, value)
			if err := h.Update(t.Context(), off); err != nil {
				t.Fatal(err)
			}
			h.deleteOffloading(t, "shop")
			answer(t, h, "b", "shop", nil)
			answer(t, h, "c", "shop", unreachableTwin())
			h.clock.SetTime(h.offloading(t, "shop").DeletionTimestamp.Add(time.Hour))
			if result := h.forceOnce(t); result != (reconcile.Result{}) {
				t.Errorf("result %+v", result)
			}
			h.offloading(t, "shop")
		})
	}
}

// An offloading that stays may carry the annotation in advance: it means nothing yet.
func TestForceBeforeTheDeletionMeansNothing(t *testing.T) {
	h := offloadedShop(t)
	off := h.offloading(t, "shop")
	metav1.SetMetaDataAnnotation(&off.ObjectMeta, v1beta1.AnnotationForceRemoval, "true")
	if err := h.Update(t.Context(), off); err != nil {
		t.Fatal(err)
	}
	answer(t, h, "c", "shop", unreachableTwin())
	h.mustOffload(t, "shop")
	if got := h.offloading(t, "shop").Finalizers; len(got) != 1 {
		t.Errorf("finalizers %v", got)
	}
}

func TestForceDoesNotSkipWhatHomeHasToDo(t *testing.T) {
	h := forceShop(t)
	answer(t, h, "b", "shop", unreachableTwin())
	answer(t, h, "c", "shop", unreachableTwin())
	h.before = func(verb string, o client.Object) error {
		if verb == "patch" && o.GetName() == "c" {
			return errors.New("down")
		}
		return nil
	}
	if err := h.offload(t, "shop"); err == nil {
		t.Error("no error")
	}
	off := h.offloading(t, "shop") // or the key of c would ask for a twin that nobody wants
	if ready := find(off.Status.RemoteNamespacesConditions["c"], v1beta1.ConditionReady); ready == nil ||
		!strings.Contains(ready.Message, "down") {
		t.Errorf("conditions %+v", off.Status.RemoteNamespacesConditions["c"])
	}
}

// What force left behind goes when its provider is back, and then its agent's rights at home.
func TestWhatForceLeftBehindIsSwept(t *testing.T) {
	h := forceShop(t)
	answer(t, h, "b", "shop", nil)
	answer(t, h, "c", "shop", unreachableTwin())
	h.forceOnce(t)
	h.mustOffload(t, "shop")
	missing(t, h, "shop", "liqo-tenant-b", &rbacv1.RoleBinding{})
	get(t, h, "shop", "liqo-tenant-c", &rbacv1.RoleBinding{})

	a := newAgent(t, []client.Object{build.Namespace("shop").UID("uid-1").Obj(), movedMap(t, h)}, twinOf("uid-1").Obj())
	a.mustVisit(t, "shop")
	missing(t, a.away, "", "shop-a", &corev1.Namespace{})
	if entry := a.entry(t); entry != nil {
		t.Errorf("entry %+v", entry)
	}
	answer(t, h, "c", "shop", nil)
	h.mustOffload(t, "shop")
	missing(t, h, "shop", "liqo-tenant-c", &rbacv1.RoleBinding{})
}

// movedMap is the map of c as that of b, whom the agent in these tests serves.
func movedMap(t *testing.T, h *homeSide) client.Object {
	t.Helper()
	left := mapOf(t, h, "c")
	twin := left.Status.CurrentMapping["shop"].RemoteNamespace
	return build.Map("b").Has("shop", twin, v1beta1.MappingTerminating).Obj()
}

// A namespace that is offloaded again while its twin is left behind gets that twin back, with what is in it.
func TestOffloadingAgainTakesTheTwinBack(t *testing.T) {
	a := newAgent(t, []client.Object{
		build.Namespace("shop").UID("uid-1").Obj(), build.Offloading("shop").Obj(),
		build.Map("b").Want("shop", "shop-a").Has("shop", "shop-a", v1beta1.MappingTerminating).Obj(),
	}, twinOf("uid-1").Obj())
	a.mustVisit(t, "shop")
	if diff := cmp.Diff(accepted("shop-a"), a.entry(t)); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
	if twin := get(t, a.away, "", "shop-a", &corev1.Namespace{}); !twin.DeletionTimestamp.IsZero() {
		t.Error("the twin was deleted")
	}
}

// Under another name it goes before the new one comes, so that no pod runs in both.
func TestOffloadingAgainUnderAnotherName(t *testing.T) {
	a := newAgent(t, []client.Object{
		build.Namespace("shop").UID("uid-1").Obj(),
		build.Map("b").Want("shop", "shop").Has("shop", "shop-a", v1beta1.MappingTerminating).Obj(),
	}, twinOf("uid-1").Obj())
	a.mustVisit(t, "shop")
	missing(t, a.away, "", "shop-a", &corev1.Namespace{})
	a.mustVisit(t, "shop")
	if diff := cmp.Diff(accepted("shop"), a.entry(t)); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
}
