package namespacemap

import (
	"encoding/json"
	"errors"
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
	if got := messageLimit(crowd); got != maxMessage {
		t.Errorf("up to %d namespaces messages may have %d bytes", crowd, got)
	}
	if got := messageLimit(crowd + 1); got != crowdedMessage {
		t.Errorf("beyond %d namespaces messages may have %d bytes", crowd, got)
	}
}

func TestMessagesAreCutByWhatTheyTakeAsJSON(t *testing.T) {
	for name, test := range map[string]struct {
		text  string
		limit int
		want  string
	}{
		"it fits":                         {"plain", 5, "plain"},
		"too long":                        {"plain words", 5, "plain"},
		"a quote takes two":               {`"a"`, 4, `"a`},
		"what HTML would read takes six":  {"<<", 11, "<"},
		"a control character takes six":   {"a\x01b", 6, "a"},
		"a broken character takes six":    {"\xff\xff", 11, "\xff"},
		"characters are never cut in two": {"añ", 2, "a"},
		"nothing":                         {"", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := bounded(test.text, test.limit); got != test.want {
				t.Errorf("bounded(%q, %d) = %q, want %q", test.text, test.limit, got, test.want)
			}
		})
	}
}

func TestNoTextTakesMoreThanItsBound(t *testing.T) {
	everything := strings.Builder{}
	for r := range rune(0x3000) {
		everything.WriteRune(r)
	}
	for at := 0; at+600 < everything.Len(); at += 97 {
		data, err := json.Marshal(bounded(everything.String()[at:], maxMessage))
		if err != nil {
			t.Fatal(err)
		}
		if size := len(data) - len(`""`); size > maxMessage {
			t.Fatalf("%d bytes from %d on: %s", size, at, data)
		}
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

func TestAdmittedAtOnceNeverExceedTheLimit(t *testing.T) {
	var r room
	m := build.Map("b").Want("bank", "bank-a").Obj()
	var admitted atomic.Int64
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if r.take(m, 10) {
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
		again = append(again, r.take(m, 10))
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
	r.take(m, 4)
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

func TestWordsAreFewerInACrowdedMap(t *testing.T) {
	for name, test := range map[string]struct {
		others, want int
	}{
		"there is room": {0, maxMessage},
		"a crowd":       {crowd, crowdedMessage},
	} {
		t.Run(name, func(t *testing.T) {
			m := build.Map("b").Want("shop", "shop-a")
			for i := range test.others {
				m.Want(fmt.Sprint("ns-", i), "x")
			}
			a := newAgent(t, []client.Object{build.Namespace("shop").UID("uid-1").Obj(), m.Obj()})
			a.away.before = func(string, client.Object) error { return errors.New(strings.Repeat("m", 2000)) }
			if _, err := a.visit(t, "shop"); err == nil {
				t.Fatal("no error")
			}
			if got := len(a.entry(t).Message); got != test.want {
				t.Errorf("a message of %d bytes, want %d", got, test.want)
			}
			a.home.forget()
			_, _ = a.visit(t, "shop")
			if len(a.home.writes) > 0 {
				t.Errorf("the same was answered again: %v", a.home.writes)
			}
		})
	}
}
