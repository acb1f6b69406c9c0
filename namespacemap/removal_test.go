package namespacemap

import (
	"errors"
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

// leaveShop is the home side that no longer asks for the twin of shop.
func leaveShop(more ...client.Object) []client.Object {
	return append([]client.Object{
		build.Namespace("shop").UID("uid-1").Obj(),
		build.Map("b").Has("shop", "shop-a", v1beta1.MappingAccepted).Obj(),
	}, more...)
}

func TestRemoval(t *testing.T) {
	a := newAgent(t, leaveShop(), twinOf("uid-1").Obj())
	a.mustVisit(t, "shop")
	missing(t, a.away, "", "shop-a", &corev1.Namespace{})
	if entry := a.entry(t); entry != nil {
		t.Errorf("entry %+v", entry)
	}
	if diff := cmp.Diff(heard{"leaving shop", "gone shop"}, a.heard); diff != "" {
		t.Errorf("heard (-want,+got):\n%s", diff)
	}
}

func TestRemovalOfWhatIsHeld(t *testing.T) {
	twin := twinOf("uid-1").Obj()
	twin.Finalizers = []string{"example.com/hold"}
	a := newAgent(t, leaveShop(), twin)
	result := a.mustVisit(t, "shop")
	if entry := a.entry(t); entry.Phase != v1beta1.MappingTerminating ||
		entry.Message != "namespace shop-a is being deleted" {
		t.Errorf("entry %+v", entry)
	}
	wantAbout(t, retryTerminating, result)

	there := get(t, a.away, "", "shop-a", &corev1.Namespace{})
	there.Status.Conditions = []corev1.NamespaceCondition{
		{Type: corev1.NamespaceContentRemaining, Status: "True", Message: "pods. has 1 resource instances"},
		{Type: corev1.NamespaceFinalizersRemaining, Status: "True",
			Message: "example.com/hold in 1 resource instances"},
		{Type: corev1.NamespaceDeletionContentFailure, Status: "False", Message: "all deleted"},
	}
	if err := a.away.Status().Update(t.Context(), there); err != nil {
		t.Fatal(err)
	}
	a.away.forget()
	a.mustVisit(t, "shop")
	want := "namespace shop-a is being deleted: pods. has 1 resource instances; " +
		"example.com/hold in 1 resource instances"
	if diff := cmp.Diff(want, a.entry(t).Message); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
	a.home.forget()
	a.mustVisit(t, "shop")
	if len(a.away.writes)+len(a.home.writes) > 0 {
		t.Errorf("it wrote while it waited: away %v, home %v", a.away.writes, a.home.writes)
	}

	there = get(t, a.away, "", "shop-a", &corev1.Namespace{})
	there.Finalizers = nil
	if err := a.away.Update(t.Context(), there); err != nil {
		t.Fatal(err)
	}
	a.mustVisit(t, "shop")
	if entry := a.entry(t); entry != nil {
		t.Errorf("entry %+v", entry)
	}
}

func TestRemovalLeavesForeignNamespacesAlone(t *testing.T) {
	tests := map[string]*build.NamespaceBuilder{
		"nobody's":                  build.Namespace("shop-a"),
		"another consumer's":        twinOf("uid-1").Label(v1beta1.LabelRemoteClusterID, "z"),
		"of another home namespace": twinOf("uid-1").Annotation(v1beta1.AnnotationTwinHomeName, "bank"),
		"made for another id of the provider": twinOf("uid-1").Annotation(v1beta1.AnnotationTwinMap,
			"liqo-tenant-c/c"),
	}
	for name, foreign := range tests {
		t.Run(name, func(t *testing.T) {
			a := newAgent(t, leaveShop(), foreign.Obj())
			a.mustVisit(t, "shop")
			get(t, a.away, "", "shop-a", &corev1.Namespace{})
			if len(a.away.writes) > 0 {
				t.Errorf("writes %v", a.away.writes)
			}
			if entry := a.entry(t); entry != nil {
				t.Errorf("entry %+v: nothing of ours is there, nothing may wait for it", entry)
			}
		})
	}
}

func TestRemovalIsOfExactlyWhatWasSeen(t *testing.T) {
	a := newAgent(t, leaveShop(), twinOf("uid-1").Obj())
	a.away.before = func(verb string, _ client.Object) error {
		if verb == "delete" { // its owner takes it over between our read and our delete
			a.away.before = nil
			twin := get(t, a.away.WithWatch, "", "shop-a", &corev1.Namespace{})
			twin.Labels = nil
			return a.away.Update(t.Context(), twin)
		}
		return nil
	}
	if _, err := a.visit(t, "shop"); !apierrors.IsConflict(err) {
		t.Errorf("error %v, want a conflict", err)
	}
	if len(a.home.writes) > 0 {
		t.Errorf("it told home of a lost race: %v, entry %+v", a.home.writes, a.entry(t))
	}
	a.mustVisit(t, "shop")
	get(t, a.away, "", "shop-a", &corev1.Namespace{})
}

func TestARenewalThatLosesARaceTellsNobody(t *testing.T) {
	a := newAgent(t, wantShop(), twinOf("uid-of-an-earlier-shop").Obj())
	a.away.before = func(verb string, _ client.Object) error {
		if verb != "delete" {
			return nil
		}
		a.away.before = nil
		return apierrors.NewConflict(schema.GroupResource{Resource: "namespaces"}, "shop-a", errors.New("changed"))
	}
	if _, err := a.visit(t, "shop"); !apierrors.IsConflict(err) {
		t.Errorf("error %v, want a conflict", err)
	}
	if len(a.home.writes) > 0 {
		t.Errorf("it told home of a lost race: %v, entry %+v", a.home.writes, a.entry(t))
	}
	a.mustVisit(t, "shop")
	missing(t, a.away, "", "shop-a", &corev1.Namespace{})
}

func TestRemovalFromAnUnreachableProvider(t *testing.T) {
	a := newAgent(t, leaveShop(), twinOf("uid-1").Obj())
	a.away.read = func(client.ObjectKey, client.Object) error { return refused(1) }
	if _, err := a.visit(t, "shop"); err == nil {
		t.Error("no error, so no retry")
	}
	entry := a.entry(t)
	if entry == nil || entry.Phase != v1beta1.MappingTerminating || entry.Reason != "ClusterUnreachable" ||
		!strings.Contains(entry.Message, "cannot be reached") {
		t.Errorf("entry %+v", entry)
	}
	a.away.read = nil
	a.mustVisit(t, "shop")
	if entry := a.entry(t); entry != nil {
		t.Errorf("entry %+v after it is back", entry)
	}
}

func TestRemovalWithoutTheRight(t *testing.T) {
	a := newAgent(t, leaveShop(), twinOf("uid-1").Obj())
	a.away.before = func(string, client.Object) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "namespaces"}, "shop-a",
			errors.New("peering ended"))
	}
	if _, err := a.visit(t, "shop"); err == nil {
		t.Error("no error")
	}
	if entry := a.entry(t); entry.Reason != "PermissionDenied" || !strings.Contains(entry.Message, "peering ended") {
		t.Errorf("entry %+v", entry)
	}
}

func TestTheOffloadingProtectsTwinsFromAnEditedMap(t *testing.T) {
	processed := func(required bool) *v1beta1.NamespaceOffloading {
		off := build.Offloading("shop").Phase(v1beta1.PhaseReady).Obj()
		off.Status.ObservedGeneration, off.Status.RemoteNamespaceName = 1, "shop-a"
		off.Status.RemoteNamespacesConditions = map[string][]v1beta1.ClusterCondition{
			"b": conditionsOf(clusterFacts{Selected: required, Want: "shop-a"}),
		}
		return off
	}
	leaving := processed(true)
	leaving.Status.OffloadingPhase = v1beta1.PhaseTerminating
	deleted := processed(true)
	deleted.Finalizers = []string{v1beta1.FinalizerOffloading}
	renamed := processed(true)
	renamed.Status.RemoteNamespaceName = "another"
	twice := processed(true)
	twice.Status.RemoteNamespacesConditions["b"] = conditionsOf(clusterFacts{
		Selected: true, Want: "shop-a", Twice: "b is c under another id", Entry: accepted("shop-a"),
	})

	tests := map[string]struct {
		off       *v1beta1.NamespaceOffloading
		delete    bool
		wantStays bool
	}{
		"the cluster is required: the map is wrong": {off: processed(true), wantStays: true},
		"the cluster is not required":               {off: processed(false)},
		"another twin is required":                  {off: renamed},
		"the cluster has it under another id":       {off: twice},
		"the namespace is on its way out":           {off: leaving},
		"the offloading is being deleted":           {off: deleted, delete: true},
		"the offloading is gone":                    {},
		"the offloading was not processed yet":      {off: build.Offloading("shop").Obj(), wantStays: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			home := leaveShop()
			if tc.off != nil {
				home = append(home, tc.off)
			}
			a := newAgent(t, home, twinOf("uid-1").Obj())
			if tc.delete {
				if err := a.home.Delete(t.Context(), tc.off); err != nil {
					t.Fatal(err)
				}
			}
			result := a.mustVisit(t, "shop")
			err := a.away.Get(t.Context(), client.ObjectKey{Name: "shop-a"}, &corev1.Namespace{})
			if stays := err == nil; stays != tc.wantStays {
				t.Errorf("twin stays: %v, want %v", stays, tc.wantStays)
			}
			if tc.wantStays && (result.RequeueAfter != retryRequired || len(a.heard) > 0) {
				t.Errorf("result %+v, heard %v", result, a.heard)
			}
		})
	}
}

func TestARenamedTwinGoesBeforeTheNewOneComes(t *testing.T) {
	a := newAgent(t, []client.Object{
		build.Namespace("shop").UID("uid-1").Obj(),
		build.Map("b").Want("shop", "boutique").Has("shop", "shop-a", v1beta1.MappingAccepted).Obj(),
	}, twinOf("uid-1").Obj())
	a.mustVisit(t, "shop")
	missing(t, a.away, "", "shop-a", &corev1.Namespace{})
	a.mustVisit(t, "shop")
	if diff := cmp.Diff(accepted("boutique"), a.entry(t)); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
	if diff := cmp.Diff(heard{"leaving shop", "gone shop", "ready shop boutique"}, a.heard); diff != "" {
		t.Errorf("heard (-want,+got):\n%s", diff)
	}
}

func TestStrays(t *testing.T) {
	tests := map[string]struct {
		m        *build.MapBuilder
		stray    *build.NamespaceBuilder
		wantGone bool
	}{
		"left by an agent that was killed before it could answer": {m: build.Map("b"), stray: twinOf("uid-1"),
			wantGone: true},
		"a second twin beside the wanted one": {
			m: build.Map("b").Want("shop", "boutique"), stray: twinOf("uid-1"), wantGone: true,
		},
		"the wanted one": {m: build.Map("b").Want("shop", "shop-a"), stray: twinOf("uid-1")},
		"what the watch took for ours, and is not": {
			m: build.Map("b"), stray: twinOf("uid-1").Annotation(v1beta1.AnnotationTwinOrigin, "z"),
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			a := newAgent(t, []client.Object{build.Namespace("shop").UID("uid-1").Obj(), tc.m.Obj()}, tc.stray.Obj())
			a.strays = func(home string) []string {
				if home != "shop" {
					return nil
				}
				return []string{"shop-a"}
			}
			a.mustVisit(t, "shop")
			err := a.away.Get(t.Context(), client.ObjectKey{Name: "shop-a"}, &corev1.Namespace{})
			if gone := apierrors.IsNotFound(err); gone != tc.wantGone {
				t.Errorf("gone: %v, want %v", gone, tc.wantGone)
			}
		})
	}
}
