package namespacemap

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

func TestTheLimitFollowsFromTheSizes(t *testing.T) {
	room := storeLimit - storeMargin
	if worst := MaxNamespaces * (namespaceSize + crowdedMessage); worst > room {
		t.Errorf("%d namespaces may take %d bytes, but there is room for %d", MaxNamespaces, worst, room)
	}
	if worst := crowd * (namespaceSize + maxMessage); worst > room {
		t.Errorf("%d namespaces with long messages may take %d bytes, but there is room for %d", crowd, worst, room)
	}
}

// fullWorld is a home cluster whose map of b holds all that it can: bank.
func fullWorld(t *testing.T) *homeSide {
	t.Helper()
	h := newHome(t, append(shopWorld(build.Offloading("shop")), build.Namespace("bank").UID("uid-2").Obj(),
		build.Offloading("bank").Obj())...)
	h.offloadings.MaxNamespaces = 1
	h.mustOffload(t, "bank")
	return h
}

func readyOn(off *v1beta1.NamespaceOffloading, cluster string) v1beta1.ClusterCondition {
	return *find(off.Status.RemoteNamespacesConditions[cluster], v1beta1.ConditionReady)
}

func TestAFullMapTakesNoMoreNamespacesAndSaysSo(t *testing.T) {
	h := fullWorld(t)
	h.mustOffload(t, "shop")

	condition := readyOn(h.offloading(t, "shop"), "b")
	want := v1beta1.ClusterCondition{
		Type: v1beta1.ConditionReady, Status: corev1.ConditionFalse, Reason: v1beta1.ReasonMapFull,
		Message: "the NamespaceMap of cluster b holds 1 of at most 1 namespaces: un-offload one that is " +
			"offloaded there, or select other clusters; this one follows by itself once there is room",
		LastTransitionTime: condition.LastTransitionTime,
	}
	if diff := cmp.Diff(want, condition); diff != "" {
		t.Errorf("condition (-want,+got):\n%s", diff)
	}
	if got := h.offloading(t, "shop").Status.OffloadingPhase; got != v1beta1.PhaseAllFailed {
		t.Errorf("phase %s", got)
	}
	if diff := cmp.Diff(map[string]string{"bank": "bank-a"}, mapOf(t, h, "b").Spec.DesiredMapping); diff != "" {
		t.Errorf("map (-want,+got):\n%s", diff)
	}
	missing(t, h, "shop", tenantB, &rbacv1.RoleBinding{})

	h.forget()
	h.mustOffload(t, "shop")
	h.mustOffload(t, "bank")
	if len(h.writes) > 0 {
		t.Errorf("nothing changed, and yet: %v", h.writes)
	}
}

func TestWhatAFullMapHoldsKeepsWorking(t *testing.T) {
	h := fullWorld(t)
	h.mustOffload(t, "shop")
	for _, id := range []string{"b", "c"} {
		answer(t, h, id, "bank", accepted("bank-a"))
	}
	h.mustOffload(t, "bank")
	if got := h.offloading(t, "bank").Status.OffloadingPhase; got != v1beta1.PhaseReady {
		t.Errorf("phase %s", got)
	}
}

// mapChanged hands the controller the event of a change of b's map, and returns who is looked at because of it.
func (h *homeSide) mapChanged(t *testing.T, before *v1beta1.NamespaceMap) []string {
	t.Helper()
	q := workqueue.NewTypedRateLimitingQueue(backoff[reconcile.Request]())
	defer q.ShutDown()
	h.offloadings.mapEvents().Update(t.Context(),
		event.UpdateEvent{ObjectOld: before, ObjectNew: mapOf(t, h, "b")}, q)
	var homes []string
	for q.Len() > 0 {
		request, _ := q.Get()
		homes = append(homes, request.Namespace)
		q.Done(request)
	}
	slices.Sort(homes)
	return homes
}

func TestRoomThatIsMadeIsUsed(t *testing.T) {
	h := fullWorld(t)
	h.mustOffload(t, "shop")
	before := mapOf(t, h, "b")
	if _, err := h.offloadings.commits.setDesired(t.Context(), h, shopMap, "bank", ""); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"bank", "shop"}, h.mapChanged(t, before)); diff != "" {
		t.Errorf("woken (-want,+got):\n%s", diff)
	}
	h.mustOffload(t, "shop")
	if got := mapOf(t, h, "b").Spec.DesiredMapping["shop"]; got != "shop-a" {
		t.Errorf("mapping %q", got)
	}
	get(t, h, "shop", tenantB, &rbacv1.RoleBinding{})
}

func TestATwinThatIsStillLeavingTakesRoom(t *testing.T) {
	h := fullWorld(t)
	answer(t, h, "b", "bank", &v1beta1.TwinStatus{RemoteNamespace: "bank-a", Phase: v1beta1.MappingTerminating})
	if _, err := h.offloadings.commits.setDesired(t.Context(), h, shopMap, "bank", ""); err != nil {
		t.Fatal(err)
	}
	h.mustOffload(t, "shop")
	if got := readyOn(h.offloading(t, "shop"), "b").Reason; got != v1beta1.ReasonMapFull {
		t.Errorf("reason %s", got)
	}
	h.mustOffload(t, "bank") // offloaded again while it leaves: its place is its own
	if got := mapOf(t, h, "b").Spec.DesiredMapping["bank"]; got != "bank-a" {
		t.Errorf("mapping %q", got)
	}
}

func TestWhoIsRefusedBecauseOfOthersThatComeLooksAgain(t *testing.T) {
	h := newHome(t, shopWorld(build.Offloading("shop"))...)
	h.offloadings.MaxNamespaces = 1
	if err := h.offloadings.room.take("bank", 1, reads(mapOf(t, h, "b"))); err != nil {
		t.Fatal(err)
	}
	result, err := h.offloadings.Reconcile(t.Context(), offloadingOf("shop"))
	if err != nil || result.RequeueAfter != retryFull {
		t.Errorf("result %+v, error %v: what comes may come to nothing, without an event", result, err)
	}
	condition := readyOn(h.offloading(t, "shop"), "b")
	if condition.Reason != v1beta1.ReasonMapFull || !strings.Contains(condition.Message, "holds 1 of at most 1 ") {
		t.Errorf("condition %+v", condition)
	}

	h.offloadings.room.written([]string{"b"}) // or failed to be
	h.mustOffload(t, "shop")
	if got := mapOf(t, h, "b").Spec.DesiredMapping["shop"]; got != "shop-a" {
		t.Errorf("mapping %q", got)
	}
}

func TestWhoLookedBeforeOthersWereAdmittedIsNotAdmittedOnTop(t *testing.T) {
	h := newHome(t, append(shopWorld(build.Offloading("shop")), build.Namespace("bank").UID("uid-2").Obj(),
		build.Offloading("bank").Obj())...)
	h.offloadings.MaxNamespaces = 1
	p, err := h.offloadings.look(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	h.mustOffload(t, "bank")
	if _, err := h.offloadings.look(t.Context(), "bank"); err != nil { // and the cache has caught up since
		t.Fatal(err)
	}
	if err := h.offloadings.admit(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if len(p.admitted) > 0 {
		t.Errorf("admitted to %v, which are full", p.admitted)
	}
}

func TestWhoIsUnoffloadedWhileWaitingKeepsNobodyElseWaiting(t *testing.T) {
	h := fullWorld(t)
	h.mustOffload(t, "shop")
	if err := h.Delete(t.Context(), build.Offloading("shop").Obj()); err != nil {
		t.Fatal(err)
	}
	h.mustOffload(t, "shop")
	if waiting := h.offloadings.room.waiting["b"]; waiting.Len() > 0 {
		t.Errorf("%v would be woken in another's place", waiting)
	}
}

func reads(m *v1beta1.NamespaceMap) func() (*v1beta1.NamespaceMap, error) {
	return func() (*v1beta1.NamespaceMap, error) { return m, nil }
}

func TestAdmittedAtOnceNeverExceedTheLimit(t *testing.T) {
	var r room
	m := build.Map("b").Want("bank", "bank-a").Obj()
	var admitted atomic.Int64
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if r.take("shop", 10, reads(m)) == nil {
				admitted.Add(1)
			}
		})
	}
	all.Wait()
	if got := admitted.Load(); got != 9 {
		t.Errorf("%d were admitted where there was room for 9", got)
	}
	r.written([]string{"b", "b"})
	var again []bool
	for range 3 {
		again = append(again, r.take("shop", 10, reads(m)) == nil)
	}
	if diff := cmp.Diff([]bool{true, true, false}, again); diff != "" {
		t.Errorf("what came to nothing gives its room back (-want,+got):\n%s", diff)
	}
}

func TestAsManyAreWokenAsThereIsRoomFor(t *testing.T) {
	var r room
	for i := range 5 {
		r.wait("b", fmt.Sprint("ns-", i))
		r.wait("c", fmt.Sprint("ns-", i))
	}
	m := build.Map("b").Want("bank", "bank-a").Obj()
	if err := r.take("shop", 4, reads(m)); err != nil {
		t.Fatal(err)
	}
	if got := r.wake(m, 4); len(got) != 2 {
		t.Errorf("woken %v, want 2", got)
	}
	if got := r.wake(m, 2); len(got) != 0 {
		t.Errorf("woken %v though it is full", got)
	}
	if got := r.wake(m, 100); len(got) != 3 {
		t.Errorf("woken %v, want the other 3", got)
	}
	if got := r.waiting["c"].Len(); got != 5 {
		t.Errorf("%d wait for c, which did not change", got)
	}
}

// TestAFullMapFitsIntoTheStore: on a real API server, with every name, reason and message as long as it may be.
func TestAFullMapFitsIntoTheStore(t *testing.T) {
	plane := env.Planes(t, 1)[0]
	c := plane.Client()
	m := build.Map("b").Obj()
	for _, object := range []client.Object{build.Namespace(m.Namespace).Obj(), m} {
		if err := c.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	write := func(half half, namespaces, message int) error {
		var group []*change
		for i := range namespaces {
			home := fmt.Sprintf("%0*d", longestName, i)
			var value any = strings.Repeat("t", longestName)
			if half == currentHalf {
				value = v1beta1.TwinStatus{
					RemoteNamespace: strings.Repeat("t", longestName), Phase: v1beta1.MappingCreationLoopBackOff,
					Reason: v1beta1.ReasonCreationLoopBackOff, Message: strings.Repeat("m", message),
				}
			}
			group = append(group, &change{key: home, value: value})
		}
		_, err := patchKeys(t.Context(), c, place{shopMap, half}, group)
		return err
	}
	for _, step := range []struct {
		half                half
		namespaces, message int
		fits                bool
	}{
		{desiredHalf, crowd, 0, true},
		{currentHalf, crowd, maxMessage, true},
		{currentHalf, crowd, crowdedMessage, true},
		{desiredHalf, MaxNamespaces, 0, true},
		{currentHalf, MaxNamespaces, crowdedMessage, true},
		{currentHalf, MaxNamespaces, maxMessage, false}, // or the limit would be too careful
	} {
		err := write(step.half, step.namespaces, step.message)
		if fits := err == nil; fits != step.fits {
			t.Fatalf("%+v: %v", step, err)
		}
		if err != nil && !divisible(err) {
			t.Errorf("this is not seen to be about the size: %v", err)
		}
	}
	now := mapOf(t, c, "b")
	if len(now.ManagedFields) > 0 {
		t.Errorf("who owns which key takes room as well: %v", now.ManagedFields)
	}
	if got := holds(now); got != MaxNamespaces {
		t.Errorf("it holds %d", got)
	}
}
