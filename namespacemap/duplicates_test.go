package namespacemap

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// tenantOf returns the tenant namespace of a provider, of an age in minutes.
func tenantOf(id, uid string, age int) client.Object {
	ns := build.Namespace(v1beta1.TenantNamespace(id)).Annotation(v1beta1.AnnotationClusterUID, uid).Obj()
	ns.CreationTimestamp = metav1.NewTime(morning.Add(time.Duration(-age) * time.Minute))
	return ns
}

func TestOneClusterUnderTwoIDs(t *testing.T) {
	tests := map[string]struct {
		tenants []client.Object
		second  string // none when empty
	}{
		"the one that came later is refused": {[]client.Object{tenantOf("b", "u", 1), tenantOf("c", "u", 9)}, "b"},
		"at the same time, by name":          {[]client.Object{tenantOf("b", "u", 1), tenantOf("c", "u", 1)}, "c"},
		"two clusters":                       {[]client.Object{tenantOf("b", "u", 1), tenantOf("c", "v", 9)}, ""},
		"nobody knows": {[]client.Object{build.Namespace("liqo-tenant-b").Obj(),
			build.Namespace("liqo-tenant-c").Obj()}, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHome(t, shopWorld(build.Offloading("shop"), tc.tenants...)...)
			h.mustOffload(t, "shop")
			off := h.offloading(t, "shop")
			for _, id := range []string{"b", "c"} {
				want, wantReason := "shop-a", v1beta1.ReasonCreating
				if id == tc.second {
					want, wantReason = "", "DuplicateCluster"
				}
				if got := mapOf(t, h, id).Spec.DesiredMapping["shop"]; got != want {
					t.Errorf("%s is asked for twin %q, want %q", id, got, want)
				}
				ready := find(off.Status.RemoteNamespacesConditions[id], v1beta1.ConditionReady)
				advised := strings.Contains(ready.Message, "remove one of the two")
				if ready.Reason != wantReason || advised != (id == tc.second) {
					t.Errorf("%s: %+v", id, ready)
				}
				// The first may not be selected: what it has, nobody can say here.
				if strings.Contains(ready.Message, "has the twin") || advised &&
					!strings.Contains(ready.Message, "gets twins only as") {
					t.Errorf("%s: %s", id, ready.Message)
				}
			}
			if tc.second != "" && off.Status.OffloadingPhase != v1beta1.PhaseSomeFailed {
				t.Errorf("phase %s", off.Status.OffloadingPhase)
			}
		})
	}
}

func TestTwoVirtualNodesOfOneProviderAreNoDuplicates(t *testing.T) {
	h := newHome(t, shopWorld(build.Offloading("shop"), build.VirtualNode("b-2", "b"), tenantOf("b", "u", 1))...)
	h.mustOffload(t, "shop")
	if got := mapOf(t, h, "b").Spec.DesiredMapping["shop"]; got != "shop-a" {
		t.Errorf("twin %q", got)
	}
}

func TestNearest(t *testing.T) {
	candidates := []Candidate{
		{NodeName: "b", Labels: map[string]string{"region": "north", "tier": "gold", "size": "3"}},
		{NodeName: "c", Labels: map[string]string{"region": "south"}},
		{NodeName: "d"}, {NodeName: "e"},
	}
	selector := func(text string) *v1beta1.ClusterSelector {
		s, err := metav1.ParseToLabelSelector(text)
		if err != nil {
			t.Fatal(err)
		}
		return fromLabels(s)
	}
	either := selector("region=east,tier=gold")
	either.NodeSelectorTerms = append(either.NodeSelectorTerms, selector("region=west").NodeSelectorTerms...)
	bigger := selector("region=south")
	bigger.NodeSelectorTerms[0].MatchExpressions = append(bigger.NodeSelectorTerms[0].MatchExpressions,
		build.Selector("size", "7").NodeSelectorTerms[0].MatchExpressions...)
	bigger.NodeSelectorTerms[0].MatchExpressions[1].Operator = "Gt"
	byName := &v1beta1.ClusterSelector{NodeSelectorTerms: build.Selector("metadata.name", "z").NodeSelectorTerms}
	byName.NodeSelectorTerms[0].MatchFields = byName.NodeSelectorTerms[0].MatchExpressions
	byName.NodeSelectorTerms[0].MatchExpressions = nil
	tests := map[string]struct {
		selector *v1beta1.ClusterSelector
		want     string
	}{
		"a value that nobody has": {selector("region=east"),
			"region in (east): b (region=north), c (region=south), d (no label region), and 1 more"},
		"the better of two terms counts": {either, "region in (east),tier in (gold) or region in (west): " +
			"b (region=north), c (region=south), d (no label region), and 1 more"},
		"who misses less comes first": {bigger, "region in (south),size>7: c (no label size), " +
			"b (region=north, size=3), d (no label region, no label size), and 1 more"},
		"by name": {byName, "metadata.name in (z): b (metadata.name=b), c (metadata.name=c), d (metadata.name=d), " +
			"and 1 more"},
		"a term that matches nothing": {&v1beta1.ClusterSelector{
			NodeSelectorTerms: make([]corev1.NodeSelectorTerm, 1)},
			": b (a term without requirements matches nothing), c (a term without requirements matches nothing), " +
				"d (a term without requirements matches nothing), and 1 more"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := spelled(tc.selector) + ": " + nearest(tc.selector, candidates)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

// fromLabels returns a selector of one term.
func fromLabels(s *metav1.LabelSelector) *v1beta1.ClusterSelector {
	out := &v1beta1.ClusterSelector{NodeSelectorTerms: make([]corev1.NodeSelectorTerm, 1)}
	term := &out.NodeSelectorTerms[0]
	for _, key := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		term.MatchExpressions = append(term.MatchExpressions,
			build.Selector(key, s.MatchLabels[key]).NodeSelectorTerms[0].MatchExpressions...)
	}
	return out
}
