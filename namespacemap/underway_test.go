package namespacemap

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

func TestATwinThatIsMadeWhileItsMapGoes(t *testing.T) {
	required := build.Offloading("shop").Phase(v1beta1.PhaseReady).Obj()
	required.Status.ObservedGeneration, required.Status.RemoteNamespaceName = 1, "shop-a"
	required.Status.RemoteNamespacesConditions = map[string][]v1beta1.ClusterCondition{
		"b": conditionsOf(clusterFacts{Selected: true, Want: "shop-a"}),
	}
	tests := map[string]struct {
		off       *v1beta1.NamespaceOffloading
		holder    string
		wantStays bool
		wantAgain time.Duration
	}{
		"it was taken back, and the last virtual node went": {},
		"it is required: the map will be made anew":         {off: required, wantStays: true},
		"the provider takes its time": {
			holder: "example.com/slow", wantStays: true, wantAgain: retryTerminating,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			home := wantShop()
			if tc.off != nil {
				home = append(home, tc.off)
			}
			a := newAgent(t, home)
			a.away.before = func(verb string, o client.Object) error {
				if twin, ok := o.(*corev1.Namespace); ok && verb == "create" {
					if tc.holder != "" {
						twin.Finalizers = []string{tc.holder}
					}
					return a.home.Delete(t.Context(), mapOf(t, a.home, "b"))
				}
				return nil
			}
			if _, err := a.visit(t, "shop"); !apierrors.IsNotFound(err) {
				t.Fatalf("the answer found a map, or: %v", err)
			}
			if result := a.mustVisit(t, "shop"); result.RequeueAfter != tc.wantAgain {
				t.Errorf("result %+v, want it again after %v", result, tc.wantAgain)
			}
			err := a.away.Get(t.Context(), client.ObjectKey{Name: "shop-a"}, &corev1.Namespace{})
			if stays := err == nil; stays != tc.wantStays {
				t.Errorf("twin stays: %v, want %v", stays, tc.wantStays)
			}
			if forgotten := a.begun.of("shop") == ""; forgotten == tc.wantStays {
				t.Errorf("forgotten: %v", forgotten)
			}
		})
	}
}

func TestATwinThatWasAnsweredOutlivesItsMap(t *testing.T) {
	a := newAgent(t, wantShop())
	a.mustVisit(t, "shop")
	if err := a.home.Delete(t.Context(), mapOf(t, a.home, "b")); err != nil {
		t.Fatal(err)
	}
	a.mustVisit(t, "shop")
	get(t, a.away, "", "shop-a", &corev1.Namespace{})
	if diff := cmp.Diff(heard{"ready shop shop-a"}, a.heard); diff != "" {
		t.Errorf("heard (-want,+got):\n%s", diff)
	}
}

func TestATwinThatLeavesWhenItsMapGoesIsToldToBeGone(t *testing.T) {
	for what, again := range map[string]client.Object{
		"the map is gone for good":          nil,
		"another map came, which knows not": build.Map("b").Obj(),
	} {
		t.Run(what, func(t *testing.T) {
			a := newAgent(t, wantShop())
			a.mustVisit(t, "shop")
			twin := &corev1.Namespace{}
			get(t, a.away, "", "shop-a", twin)
			twin.Finalizers = []string{"example.com/slow"}
			if err := a.away.Update(t.Context(), twin); err != nil {
				t.Fatal(err)
			}
			unwanted := mapOf(t, a.home, "b")
			unwanted.Spec.DesiredMapping = nil
			if err := a.home.Update(t.Context(), unwanted); err != nil {
				t.Fatal(err)
			}
			a.mustVisit(t, "shop")
			if err := a.home.Delete(t.Context(), unwanted); err != nil {
				t.Fatal(err)
			}
			if again != nil {
				again.SetUID("another")
				if err := a.home.Create(t.Context(), again); err != nil {
					t.Fatal(err)
				}
			}
			if result := a.mustVisit(t, "shop"); result.RequeueAfter == 0 {
				t.Error("nobody looks whether it is gone")
			}
			get(t, a.away, "", "shop-a", twin)
			twin.Finalizers = nil
			if err := a.away.Update(t.Context(), twin); err != nil {
				t.Fatal(err)
			}
			a.mustVisit(t, "shop")
			a.mustVisit(t, "shop")
			got := slices.Compact(slices.Clone(a.heard))
			if diff := cmp.Diff(heard{"ready shop shop-a", "leaving shop", "gone shop"}, got); diff != "" {
				t.Errorf("heard (-want,+got):\n%s", diff)
			}
		})
	}
}
